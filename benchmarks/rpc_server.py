"""A server to measure, written with nothing but the public API; and the comparison with libtirpc's C server.

    python -m benchmarks.rpc_server PORT     serve benchmarks/rpc/load.x over TCP and UDP on 127.0.0.1
    python benchmarks/rpc_server.py          compare it with libtirpc: each on one core, the load on another

All limits, deadlines and AUTH_SYS are as they are by default. The comparison needs gcc, rpcgen and
libtirpc's headers, and says so if they are not there. Servers take turns, and each figure is the
median of three; other work on the machine still shows. Prefer CPU per call to calls per second.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from oncrpc import Call

# name, arguments of load, the least share of libtirpc's rate that we want
CELLS = (
    ("NULL, 64 in flight", ("tcp", "1", "64", "null"), 2.0),
    ("ADD, 64 in flight", ("tcp", "1", "64", "add"), 2.0),
    ("NULL, 64 connections", ("tcp", "64", "1", "null"), 1.0),
    ("NULL, 64 connections, 16 in flight", ("tcp", "64", "16", "null"), 2.0),
    ("echo 1 KiB, 8 connections, 16 in flight", ("tcp", "8", "16", "1024"), 1.5),
    ("echo 64 KiB, 4 connections, 4 in flight", ("tcp", "4", "4", "65536"), 0.9),
    ("echo 1 MiB, 2 connections", ("tcp", "2", "1", "1048576"), 1.3),
    ("UDP NULL, 16 in flight", ("udp", "1", "16", "null"), 0.65),
    ("UDP echo 1 KiB, 16 in flight", ("udp", "1", "16", "1024"), 0.65),
)
SAME_CORE = ("NULL, one client on the same core", ("tcp", "1", "1", "null"), 0.85)
SECONDS = "1.5"
ROUNDS = 3


def serve(port: int) -> None:
    """Serve until killed."""
    from oncrpc.tx.reactor import install

    reactor = install()

    from benchmarks.rpc.load_gen import LOAD_PROG_1_Server, load_pair
    from oncrpc.tx.service import RPCService

    class Load(LOAD_PROG_1_Server):
        """Answers at once. Running a call twice does no harm, so that none goes through the replay cache."""

        _repeatable = frozenset({"load_echo", "load_add"})

        def load_echo(self, call: Call, arg: bytes) -> bytes:  # noqa: ARG002 - as the base class has it
            """Return the bytes."""
            return arg

        def load_add(self, call: Call, arg: load_pair) -> int:  # noqa: ARG002 - as the base class has it
            """Return the sum."""
            return arg.a + arg.b

    service = RPCService([Load()], [f"tcp:{port}", f"udp:{port}"])
    service.startService()
    reactor.run()


def build(directory: Path) -> None:
    """Compile the load generator and libtirpc's server."""
    shutil.copy(HERE / "rpc" / "load.x", directory)
    for flag, name in (("-h", "load.h"), ("-c", "load_xdr.c"), ("-m", "load_svc.c")):
        text = subprocess.run(["rpcgen", flag, "load.x"], cwd=directory, check=True, capture_output=True).stdout
        (directory / name).write_bytes(text)
    subprocess.run(["cc", "-O2", "-o", directory / "load", HERE / "rpc" / "load.c"], check=True)
    tirpc = ["-I/usr/include/tirpc", f"-I{directory}", "load_xdr.c", "load_svc.c", "-ltirpc"]
    subprocess.run(["cc", "-O2", "-w", "-o", "twin", HERE / "rpc" / "twin.c", *tirpc], cwd=directory, check=True)


class Running:
    """A server under load, on the first core."""

    def __init__(self, command: list[str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(on_core(0, [*command, str(self.port)]), cwd=ROOT)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        message = f"{command[0]} does not listen"
        raise TimeoutError(message)

    def cpu(self) -> float:
        """Seconds of CPU it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Bytes of memory it has (RSS)."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def measure(self, load: Path, cell: tuple[str, ...], core: int) -> tuple[float, float]:
        """Return calls per second, and microseconds of the server's CPU for each."""
        before = self.cpu()
        transport, connections, depth, what = cell
        command = [str(load), str(self.port), transport, connections, depth, SECONDS, what]
        told = subprocess.run(on_core(core, command), check=False, capture_output=True, text=True, timeout=60)
        calls, errors, seconds, *_ = told.stdout.split() or ("0", "1", "1")
        if int(errors):
            print(f"   {' '.join(cell)}: {errors} replies wrong or missing {told.stderr}")
        # The warm-up used CPU as well.
        return int(calls) / float(seconds), (self.cpu() - before) * 1e6 / max(1.0, int(calls) * 1.1)

    def idle_connection(self) -> float:
        """Return KiB of memory for each idle connection."""
        before = self.memory()
        clients = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(500)]
        time.sleep(0.5)
        used = self.memory() - before
        for client in clients:
            client.close()
        return used / len(clients) / 1024

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def on_core(core: int, command: list[str]) -> list[str]:
    """Return a command that runs on one core, where that can be said."""
    if shutil.which("taskset") and (os.cpu_count() or 1) > core:
        return ["taskset", "-c", str(core), *command]
    return command


def compare() -> int:
    """Print each cell's figures for both servers, and whether ours are where we want them."""
    missing = [program for program in ("cc", "rpcgen") if shutil.which(program) is None]
    if missing or not Path("/usr/include/tirpc").is_dir():
        lacking = ", ".join(missing) or "headers"
        print(f"not compared with libtirpc: no {lacking} (libtirpc-dev rpcsvc-proto gcc)")
        return 0
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        build(directory)
        load = directory / "load"
        servers = {
            "ours": [sys.executable, "-m", "benchmarks.rpc_server"],
            "libtirpc": [str(directory / "twin")],
        }
        print(f"{'':42}{'calls/s':>20}{'CPU us a call':>18}{'ratio':>8}{'goal':>6}")
        print(f"{'':42}{'ours':>10}{'libtirpc':>10}{'ours':>9}{'tirpc':>9}")
        for name, cell, goal in (*CELLS, SAME_CORE):
            rates: dict[str, list[float]] = {each: [] for each in servers}
            cpus: dict[str, list[float]] = {each: [] for each in servers}
            for _ in range(ROUNDS):
                for each, command in servers.items():
                    running = Running(command)
                    try:
                        rate, cpu = running.measure(load, cell, 0 if name == SAME_CORE[0] else 1)
                    finally:
                        running.stop()
                    rates[each].append(rate)
                    cpus[each].append(cpu)
            rate_of = {each: statistics.median(values) for each, values in rates.items()}
            cpu_of = {each: statistics.median(values) for each, values in cpus.items()}
            ratio = rate_of["ours"] / max(1.0, rate_of["libtirpc"])
            verdict = "" if ratio >= goal else " below"
            print(
                f"{name:42}{rate_of['ours']:10,.0f}{rate_of['libtirpc']:10,.0f}{cpu_of['ours']:9.2f}{cpu_of['libtirpc']:9.2f}"
                f"{ratio:8.2f}{goal:6.2f}{verdict}",
                flush=True,
            )
        for each, command in servers.items():
            running = Running(command)
            try:
                print(f"idle connection, {each}: {running.idle_connection():.1f} KiB")
            finally:
                running.stop()
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(int(sys.argv[1]))
    else:
        sys.exit(compare())
