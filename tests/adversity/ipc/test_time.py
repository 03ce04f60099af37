"""A whole server whose clocks jump: the wall clock while it runs and while it is down, the monotonic one by a reboot.

libfaketime moves the wall clock of the server's process alone; a time namespace gives it a monotonic clock that
begins elsewhere, as a machine's does when it starts again.
"""

from __future__ import annotations

import itertools
import secrets
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

import xdr
from ipcserver._gen import ipc as gen
from ipcserver.client import connect
from ipcserver.errors import IPCError
from ipcserver.hypers import from_hyper, to_hyper
from oncrpc import sync
from oncrpc.auth import AuthSys, encode_opaque_auth
from oncrpc.message import encode_call
from tests.ipcserver.serving import Serving
from tests.peers import environment, require, require_root, unavailable, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipcserver.client import IPC

DAY: Final = 86_400
LEASE_MS: Final = 2000
EARLY_S: Final = 0.1
LATE_S: Final = 10.0
"""How early or late anything may be, on a machine that does other things besides; a day would be seen."""


class Wall:
    """The wall clock of a server, in a file that libfaketime reads again at each look."""

    def __init__(self, path: Path) -> None:
        require("faketime")
        self._path = path
        self.jump(0)
        shown = subprocess.run(["faketime", "-f", "+0", "env"], capture_output=True, text=True, check=True).stdout
        library = next(line for line in shown.splitlines() if line.startswith("LD_PRELOAD="))
        self.changes = {
            "LD_PRELOAD": library.partition("=")[2],
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: int) -> None:
        """Set it off by so many seconds from now on."""
        self._path.write_text(f"{seconds:+d}\n")


@contextmanager
def asked(server: Serving) -> Iterator[gen.IPCPROG_1_SyncClient]:
    with sync.connect(gen.IPCPROG_1_SyncClient, server.tcp, credential=AuthSys.current()) as stub:
        yield stub


def session(stub: gen.IPCPROG_1_SyncClient) -> gen.ripc_hyper:
    granted = stub.ripc_hello(gen.ripc_hello_args(to_hyper(secrets.randbits(62)), "x", 1, 0, 4, LEASE_MS))
    assert isinstance(granted, gen.ripc_hello_res_RIPC_OK)
    return granted.ok.session


def receive(stub: gen.IPCPROG_1_SyncClient, number: gen.ripc_hyper, queue: int) -> Any:
    """Receive, as the first call of the session's slot 0: always the same one."""
    args = gen.ripc_msgrcv_args(gen.ripc_ctx(number, 0, 1, 1), queue, gen.RIPC_NOWAIT, 0, to_hyper(0), to_hyper(100))
    return stub.ripc_msgrcv(args)


def waits(ipc: IPC, seconds: float) -> tuple[threading.Thread, list[float]]:
    """Begin a receive that nothing comes of; what it took is put into the list."""
    queue = ipc.msgget()
    took: list[float] = []

    def run() -> None:
        began = time.monotonic()
        with pytest.raises(IPCError, match="ETIMEDOUT"):
            queue.receive(timeout=seconds)
        took.append(time.monotonic() - began)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, took


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["a day forth", "a day back"])
def test_a_jump_of_the_wall_clock_moves_no_timeout_no_lease_and_no_kept_answer(tmp_path: Path, jump: int) -> None:
    """R6."""
    wall = Wall(tmp_path / "wall")
    with Serving(tmp_path, changes=wall.changes) as server, connect(server.tcp) as ipc, asked(server) as stub:
        queue = ipc.msgget()
        for text in (b"one", b"two"):
            queue.send(text)
        sent = from_hyper(queue.stat().stime)
        number = session(stub)
        assert receive(stub, number, queue.id).msg.mtext == b"one"
        datagram = _datagram(queue.id)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.settimeout(20)
            wire.connect(("127.0.0.1", server.port))
            wire.send(datagram)
            kept = wire.recv(1000)
            thread, took = waits(ipc, 1.5)
            time.sleep(0.2)
            wall.jump(jump)
            # Kept answers are there, of a session and of a datagram.
            assert receive(stub, number, queue.id).msg.mtext == b"one"
            wire.send(datagram)
            assert wire.recv(1000) == kept
        assert queue.stat().qnum == 2  # "two", and what the datagram sent, once
        queue.send(b"three")
        assert abs(from_hyper(queue.stat().stime) - sent - jump) < 20, "the clock did not jump"
        thread.join(20)
        assert -EARLY_S < took[0] - 1.5 < LATE_S
        # The lease neither ended with the jump nor lives on because of it.
        silent = time.monotonic()
        assert receive(stub, number, queue.id).msg.mtext == b"one"
        wait_until(lambda: ipc.info().sessions == 1, "the end of the lease")
        assert -EARLY_S < time.monotonic() - silent - LEASE_MS / 1000 < LATE_S
        assert receive(stub, number, queue.id).status is gen.RIPC_ENOSESSION
        assert [queue.receive(nowait=True).text for _ in range(4)] == [b"one", b"two", b"datagram", b"three"]


def _datagram(queue: int) -> bytes:
    user = AuthSys.current()
    head = encode_call(
        99, gen.IPCPROG_1_Server.program, 1, 11, credential=encode_opaque_auth(user.flavor, user.encode())
    )
    nobody = gen.ripc_ctx(to_hyper(0), 0, 0, 1)
    args = gen.ripc_msgsnd_args(nobody, queue, gen.RIPC_NOWAIT, 0, to_hyper(1), b"datagram")
    return head + xdr.codec(gen.ripc_msgsnd_args).encode(args)


def _after_a_restart(server: Serving, change: Any) -> None:
    """Kill a server, change its clocks, start it; leases, waits and kept answers must go on."""
    with connect(server.tcp) as ipc:
        queue = ipc.msgget()
        for text in (b"one", b"two"):
            queue.send(text)
        with asked(server) as stub:
            number = session(stub)
            assert receive(stub, number, queue.id).msg.mtext == b"one"
        thread, took = waits(ipc, 3)
        wait_until(lambda: ipc.info().waiters == 1, "the wait to begin")
        server.kill()
        change()
        server.start()
        started = time.monotonic()
        with asked(server) as stub:
            assert receive(stub, number, queue.id).msg.mtext == b"one"
            assert queue.stat().qnum == 1
            wait_until(lambda: ipc.info().sessions == 1, "the end of the lease")
            assert -EARLY_S < time.monotonic() - started - LEASE_MS / 1000 < LATE_S
            assert receive(stub, number, queue.id).status is gen.RIPC_ENOSESSION
        assert [queue.receive(nowait=True).text for _ in range(2)] == [b"one", b"two"]
        thread.join(30)
        # It may count anew what it was away for, but neither ends early nor waits a day.
        assert 3 - EARLY_S < took[0] < 3 + 2 * LATE_S
        server.kill()


@pytest.mark.parametrize(
    "jump", [pytest.param(DAY, marks=pytest.mark.torture), -DAY], ids=["a day forth", "a day back"]
)
def test_a_restart_with_another_wall_clock_keeps_leases_waits_and_answers(tmp_path: Path, jump: int) -> None:
    """R7."""
    wall = Wall(tmp_path / "wall")
    with Serving(tmp_path, changes=wall.changes) as server:
        _after_a_restart(server, lambda: wall.jump(jump))


@pytest.mark.parametrize("shift", [pytest.param(DAY, marks=pytest.mark.torture), None], ids=["later", "near zero"])
def test_a_restart_with_another_monotonic_clock_keeps_leases_waits_and_answers(
    tmp_path: Path, shift: int | None
) -> None:
    """R7, as after a reboot: the clock that timeouts count on begins anew, or is far ahead."""
    require("unshare")
    require_root()
    # A clock that began a minute ago has not less to lose than this machine's.
    shift = 60 - int(time.monotonic()) if shift is None else shift
    prefix = ("unshare", "--time", "--monotonic", str(shift), "--fork", "--kill-child=SIGKILL", "--")
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False, env=environment())
    if tried.returncode:
        unavailable(f"no time namespaces here: {tried.stderr.strip()}")
    with Serving(tmp_path) as server:
        prefixes = itertools.chain([prefix])

        def change() -> None:
            server.prefix = next(prefixes)

        _after_a_restart(server, change)
