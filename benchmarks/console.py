"""What the console costs the service: processor time of the server for each call, with the console off, on, watched.

    python benchmarks/console.py [--seconds 3] [--page]

Each line is one server with its journal in memory, and one client over TCP that keeps 64 calls in flight: NULL, then
pairs of msgsnd and msgrcv of 64 bytes. "watched" has a page's event stream open and read. --page measures the page
instead, in the system's Chromium: with 200 queues, 200 sets and 200 segments and that load, what a second costs it.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import xdr
from ipcserver._gen import ipc as gen
from ipcserver.client import connect
from ipcserver.hypers import to_hyper
from oncrpc.auth import AuthSys
from oncrpc.records import RecordReader, frame_record
from oncrpc.testing import call_message

IN_FLIGHT = 64
TICKS = os.sysconf("SC_CLK_TCK")
SERVE = "from ipcserver.cli import main; main(prog_name='ipcserver')"


def calls_of(kind: str, queue: int) -> list[bytes]:
    """The messages of a load, as they go on a stream."""
    me = AuthSys(0, "benchmark", 0, 0)
    program = gen.IPCPROG_1_Server.program
    if kind == "NULL":
        return [frame_record(call_message(program, 1, 0, xid=xid, credential=me)) for xid in range(IN_FLIGHT)]
    out = []
    ctx = gen.ripc_ctx(to_hyper(0), 0, 0, os.getpid())
    for xid in range(0, 2 * IN_FLIGHT, 2):
        send = gen.ripc_msgsnd_args(ctx, queue, gen.RIPC_NOWAIT, 0, to_hyper(1), b"x" * 64)
        take = gen.ripc_msgrcv_args(ctx, queue, gen.RIPC_NOWAIT, 0, to_hyper(0), to_hyper(64))
        for procedure, kind_of, args in ((11, gen.ripc_msgsnd_args, send), (12, gen.ripc_msgrcv_args, take)):
            data = xdr.encode(kind_of, args)
            out.append(frame_record(call_message(program, 1, procedure, data, xid=xid + procedure - 11, credential=me)))
    return out


def processor(pid: int) -> float:
    """Seconds of the processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(port: int, kind: str, queue: int, seconds: float, pid: int) -> tuple[float, float]:
    """Return calls a second, and microseconds of the server's processor for each."""
    messages = cycle(calls_of(kind, queue))
    reader = RecordReader(1 << 20)
    answered = 0
    with socket.create_connection(("127.0.0.1", port)) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.sendall(b"".join(next(messages) for _ in range(IN_FLIGHT)))
        began, used = time.monotonic(), processor(pid)
        while time.monotonic() - began < seconds:
            reader.receive_data(made.recv(1 << 18))
            got = 0
            while reader.next_record() is not None:
                got += 1
            answered += got
            made.sendall(b"".join(next(messages) for _ in range(got)))
        took, used = time.monotonic() - began, processor(pid) - used
    return answered / took, used / answered * 1e6


def listen(port: int) -> http.client.HTTPResponse:
    """Open a page's event stream, and read it for ever in a thread."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/api/events")
    response = connection.getresponse()

    def read() -> None:
        try:
            while response.read1(1 << 16):
                pass
        except (OSError, ValueError, AttributeError):  # closed meanwhile
            pass

    threading.Thread(target=read, daemon=True).start()
    return response


def measure_page(url: str, seconds: float) -> None:
    """Print, for each view, what the page costs in a second, and how long the longest pause between two frames is."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
        for view in ("state", "traffic"):
            page.goto("about:blank")
            page.goto(f"{url}/#{view}")
            page.wait_for_selector("#status.good")
            page.wait_for_timeout(2000)
            page.evaluate(
                """() => {
                    window.pauses = []; let last = performance.now();
                    const step = (now) => { window.pauses.push(now - last); last = now; requestAnimationFrame(step); };
                    requestAnimationFrame(step);
                }"""
            )
            before = metrics(client)
            page.wait_for_timeout(seconds * 1000)
            after = metrics(client)
            pauses = sorted(page.evaluate("window.pauses"))
            each = {name: (after[name] - before[name]) * 1000 / seconds for name in after}
            print(
                f"{view:<10}script {each['ScriptDuration']:.1f} ms/s, layout {each['LayoutDuration']:.1f} ms/s, style "
                f"{each['RecalcStyleDuration']:.1f} ms/s, all {each['TaskDuration']:.0f} ms/s; "
                f"{len(pauses) / seconds:.0f} frames/s, longest pause {pauses[-1]:.0f} ms, "
                f"99th percentile {pauses[len(pauses) * 99 // 100]:.0f} ms",
                flush=True,
            )
        browser.close()


def metrics(client: Any) -> dict[str, float]:
    """Chromium's own account of the page, in seconds."""
    wanted = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration", "TaskDuration")
    found = client.send("Performance.getMetrics")["metrics"]
    return {each["name"]: each["value"] for each in found if each["name"] in wanted}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--page", action="store_true", help="measure the page in Chromium instead")
    chosen = parser.parse_args()
    seconds = chosen.seconds
    if chosen.page:
        modes: tuple[str, ...] = ("page",)
    else:
        modes = ("off", "on", "watched")
        print(f"{'console':<10}{'load':<18}{'calls/s':>10}{'us of CPU/call':>16}")
    for mode in modes:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            flags = ["--state", folder, "--listen", "127.0.0.1", "--port", "0", "--portmapper", "none"]
            flags += ["--journal", "memory"] + (["--console", "127.0.0.1:0"] if mode != "off" else [])
            with log.open("w") as out:
                server = subprocess.Popen([sys.executable, "-c", SERVE, "serve", *flags], stderr=out)
            try:
                while "tcp 127" not in (text := log.read_text()) or (mode != "off" and "http://" not in text):
                    time.sleep(0.05)
                served, page = re.search(r"tcp 127.0.0.1:(\d+)", text), re.search(r"http://127.0.0.1:(\d+)", text)
                assert served is not None
                if mode == "watched":
                    assert page is not None
                    watching = listen(int(page[1]))
                with connect(f"tcp:127.0.0.1:{served[1]}") as ipc:
                    queues = [ipc.msgget(create=True) for _ in range(200)]
                    if mode == "page":
                        assert page is not None
                        for key in range(1, 201):
                            ipc.semget(key, 3, create=True)
                            ipc.shmget(key, 64, create=True)
                        loading = threading.Thread(
                            target=load,
                            args=(int(served[1]), "msgsnd+msgrcv", queues[0].id, 3 * seconds + 20, server.pid),
                            daemon=True,
                        )
                        loading.start()
                        measure_page(f"http://127.0.0.1:{page[1]}", seconds)
                        continue
                    for kind in ("NULL", "msgsnd+msgrcv"):
                        rate, cost = load(int(served[1]), kind, queues[0].id, seconds, server.pid)
                        print(f"{mode:<10}{kind:<18}{rate:>10,.0f}{cost:>16.1f}", flush=True)
                if mode == "watched":
                    watching.close()
            finally:
                server.terminate()
                server.wait(20)


if __name__ == "__main__":
    main()
