"""What unmodified programs get from librpcipc.so: calls beside a NULL call, and what a blocked process costs.

    python benchmarks/preload.py [--seconds 2] [--processes 1000]

The server's journal is in memory, and everything goes over its local socket. First a pair of hand-overs between two
processes (msgsnd and msgrcv there, msgsnd and msgrcv back: two hand-overs make one round) and a pair of semop that
locks and unlocks, beside two NULL calls of a plain C client in the same run; each figure is the best of three, turn
about. Then many processes that each wait in msgrcv: how much memory each costs the server, and the processor time
that all of them and the server use while nothing happens but leases being renewed and waits begun again. It needs gcc,
make, pkg-config, rpcgen and libtirpc-dev.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
SERVE: Final = "from ipcserver.cli import main; main(prog_name='ipcserver')"
GOAL: Final = 4.0
"""How many times as long as its NULL calls a pair may take."""

if TYPE_CHECKING:
    from collections.abc import Iterator


def build(directory: Path) -> tuple[Path, Path]:
    """Make the library and the program; return their paths."""
    make = ["make", "-s", "-C", str(ROOT / "clients" / "c"), f"BUILD={directory / 'build'}", "preload"]
    subprocess.run(make, check=True)
    program = directory / "sysv"
    subprocess.run(["gcc", "-O2", "-o", program, HERE / "rpc" / "sysv.c"], check=True)
    return directory / "build" / "librpcipc.so", program


@contextmanager
def serving(directory: Path) -> Iterator[tuple[str, int]]:
    """A server; its local socket and its process."""
    state = directory / "state"
    command = [sys.executable, "-c", SERVE, "serve", "--journal", "memory", "--state", str(state), "--port", "0"]
    command += ["--listen", "127.0.0.1", "--portmapper", "none"]
    with (directory / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        while "serving program" not in (directory / "log").read_text():
            if process.poll() is not None:
                raise ChildProcessError((directory / "log").read_text())
            time.sleep(0.05)
        try:
            yield str(state / "ipcserver.sock"), process.pid
        finally:
            process.terminate()


def memory(pid: int) -> int:
    """Bytes that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor(pid: int) -> float:
    """Seconds of the processor that all threads of a process have used."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def pairs(library: Path, program: Path, address: str, server: int, seconds: float) -> None:
    """Measure pairs of calls."""
    preloaded = {**os.environ, "LD_PRELOAD": str(library), "IPCSERVER": address}
    best: dict[str, tuple[float, float, float]] = {}
    for _ in range(3):
        for what in ("null", "pong", "lock", "same"):
            before = processor(server)
            env = dict(os.environ) if what == "null" else preloaded
            run = [program, what, str(seconds), address]
            told = subprocess.run(run, check=True, capture_output=True, text=True, timeout=60, env=env).stdout.split()
            cost = (processor(server) - before) * 1e6 / int(told[1])
            measured = (float(told[0]), cost, float(told[2]))
            best[what] = min(best.get(what, measured), measured)
    names = {
        "null": "two NULL calls",
        "pong": "msgsnd + msgrcv, ping-pong of two processes",
        "lock": "semop lock + unlock",
        "same": "msgsnd + msgrcv by one process",
    }
    print(f"{'':46}{'us a pair':>10}{'us of processor':>26}{'of NULL':>9}{'goal':>6}")
    print(f"{'':46}{'':>10}{'server':>13}{'program':>13}")
    for what, (each, cost, own) in best.items():
        ratio = each / best["null"][0]
        goal = f"{GOAL:6.1f}{'' if ratio <= GOAL else ' missed'}" if what in {"pong", "lock"} else ""
        print(f"{names[what]:46}{each:10.1f}{cost:13.1f}{own:13.1f}{ratio:9.2f}{goal}")


def waiting(library: Path, program: Path, address: str, server: int, count: int) -> None:
    """Measure what processes that wait cost."""
    preloaded = {**os.environ, "LD_PRELOAD": str(library), "IPCSERVER": address}
    before = memory(server)
    with subprocess.Popen(
        [program, "wait", str(count), address], stdout=subprocess.PIPE, text=True, env=preloaded
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        if len(pids) != count:
            message = f"{len(pids)} of {count} processes wait"
            raise ChildProcessError(message)
        time.sleep(2)
        used = memory(server) - before
        began = time.monotonic()
        spent = processor(server), sum(map(processor, pids))
        time.sleep(10)
        passed = time.monotonic() - began
        ours, theirs = processor(server) - spent[0], sum(map(processor, pids)) - spent[1]
        parent.terminate()
    print(f"{count} processes wait in msgrcv: {used / count / 1024:.1f} KiB of the server's memory for each (goal: 20)")
    shares = [f"{100 * each / passed:.2f}%" for each in (ours, theirs)]
    print(f"    while they wait: server {shares[0]} of a processor, all of them {shares[1]}")


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", __doc__ or "")[0])
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each figure is measured")
    parser.add_argument("--processes", type=int, default=1000, help="how many wait")
    args = parser.parse_args()
    missing = [name for name in ("gcc", "make", "pkg-config", "rpcgen") if shutil.which(name) is None]
    if missing:
        print(f"not measured: no {', '.join(missing)} (gcc make pkg-config rpcsvc-proto libtirpc-dev)")
        return 0
    with tempfile.TemporaryDirectory() as made:
        library, program = build(Path(made))
        with serving(Path(made)) as (address, server):
            pairs(library, program, address, server, args.seconds)
        with serving(Path(made)) as (address, server):
            waiting(library, program, address, server, args.processes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
