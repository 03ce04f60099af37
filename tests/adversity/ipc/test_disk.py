"""What a whole server does when its disk is full, broken or slow (reliability goals D2, D8, D9, D11, A17, R7)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from ipcserver._gen import ipc as gen
from ipcserver.client import connect
from ipcserver.errors import IPCError
from oncrpc import sync
from oncrpc.errors import RPCError
from tests.adversity import summary
from tests.ipcserver.journal.test_sqlite import fill, small_disk
from tests.ipcserver.serving import Serving
from tests.peers import Background, require, unavailable, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def traced(server: Serving, log: Path, *options: str) -> Iterator[None]:
    """Have strace watch the server, or interfere with it, for the length of a with block."""
    require("strace")
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-o", str(log), "-p", str(server.process.process.pid), *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            unavailable(f"strace may not attach here: {said.strip()}")
        yield
    finally:
        tracer.terminate()
        tracer.wait(20)
        assert tracer.stderr is not None
        tracer.stderr.close()


@pytest.mark.parametrize("rounds", [100, pytest.param(1200, marks=pytest.mark.torture)])
def test_no_answer_leaves_before_its_sync(tmp_path: Path, rounds: int) -> None:
    """D2: each reply to a call that changes something follows the sync of its batch, in the order of system calls."""
    log = tmp_path / "trace"
    with Serving(tmp_path) as server, connect(server.tcp) as ipc:
        queue = ipc.msgget()
        with traced(server, log, "-e", "trace=fdatasync,sendto,pwrite64"):
            for number in range(rounds):
                queue.send(b"%d" % number)
                queue.receive()
    synced = False
    answers = 0
    for line in log.read_text(errors="replace").splitlines():
        call = line.split(maxsplit=1)[1]
        if call.startswith("pwrite64") and "-wal>" in call:
            synced = False
        elif "fdatasync" in call and re.search(r"= 0( \(|$)", call):
            synced = True
        elif call.startswith("sendto") and "<socket:" in call:
            assert synced, f"answered before the sync: {line}"
            answers += 1
            synced = False
    assert answers >= 2 * rounds
    summary.add("order of system calls", {"answers": answers, "before their sync": 0})


def test_a_failed_sync_is_told_and_what_was_told_is_true_after_a_crash(tmp_path: Path) -> None:
    """D9: EIO is answered, the service goes on, and a restart finds exactly what was acknowledged."""
    with Serving(tmp_path) as server:
        sent = []
        with connect(server.tcp) as ipc:
            queue = ipc.msgget()
            refused = 0
            with traced(server, tmp_path / "trace", "-e", "inject=fdatasync,fsync:error=EIO:when=3+4"):
                for number in range(40):
                    try:
                        queue.send(b"%d" % number)
                        sent.append(b"%d" % number)
                    except IPCError as error:
                        assert error.status is gen.RIPC_EIO  # noqa: PT017
                        refused += 1
            assert refused
            queue.send(b"after")
            sent.append(b"after")
            server.kill()
            server.start()
            assert [queue.receive(nowait=True).text for _ in sent] == sent
            with pytest.raises(IPCError, match="ENOMSG"):
                queue.receive(nowait=True)
        assert "cannot be written" in (tmp_path / "serve-1.log").read_text()


def test_a_slow_disk_slows_nobody_who_only_reads(tmp_path: Path) -> None:
    """A17: with syncs of a second, NULL and reads are answered as ever."""
    with Serving(tmp_path) as server, connect(server.tcp) as ipc, connect(server.tcp) as reader:
        queue = ipc.msgget()
        seen = reader.queue(queue.id)
        with (
            traced(server, tmp_path / "trace", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_exit=1000000"),
            sync.connect(gen.IPCPROG_1_SyncClient, server.tcp) as stub,
        ):
            begin = time.monotonic()
            sender = threading.Thread(target=queue.send, args=(b"slow",))
            sender.start()
            took = []
            while sender.is_alive():
                for read in (stub.ripc_null, seen.stat):
                    asked = time.monotonic()
                    read()
                    took.append(time.monotonic() - asked)
            sender.join()
            waited = time.monotonic() - begin
    assert waited > 0.9, "the disk was not slow"
    assert len(took) > 100
    assert sorted(took)[len(took) * 99 // 100] < 0.05


def test_on_a_full_disk_sends_are_refused_receives_work_and_space_ends_it(tmp_path: Path) -> None:
    """D8, with a real server."""
    with small_disk(tmp_path, "48m") as disk, Serving(disk) as server, connect(server.tcp) as ipc:
        first, flow = ipc.msgget(), ipc.msgget()
        kept = [b"%d" % number for number in range(50)]
        for text in kept:
            first.send(text)
        fill(disk / "filler")
        os.truncate(disk / "filler", (disk / "filler").stat().st_size - (2 << 20))
        acknowledged = received = 0
        with pytest.raises(IPCError) as refused:  # noqa: PT012 - the loop is what must end so
            for number in range(10_000):
                flow.send(b"%d" % number + bytes(8000), nowait=True)
                acknowledged += 1
                flow.receive()
                received += 1
        assert refused.value.status is gen.RIPC_ENOSPC
        assert acknowledged == received > 10
        assert [first.receive(nowait=True).text for _ in kept] == kept
        extra = ipc.msgget()
        extra.remove()
        (disk / "filler").unlink()
        freed = time.monotonic()

        def accepted() -> bool:
            try:
                flow.send(b"again", timeout=5)
            except IPCError as error:
                assert error.status is gen.RIPC_ENOSPC  # noqa: PT017
                return False
            return True

        wait_until(accepted, "a send after there is space again", timeout=10)
        assert time.monotonic() - freed < 1.5
        server.kill()
        server.start()
        assert flow.receive(nowait=True).text == b"again"
        with pytest.raises(IPCError, match="ENOMSG"):
            first.receive(nowait=True)


def test_a_server_told_to_stop_under_load_answers_and_ends_in_time(tmp_path: Path) -> None:
    """D11: what was acknowledged is there afterwards, whatever moment the stop came at."""
    with Serving(tmp_path) as server:
        with connect(server.tcp) as ipc:
            queue = ipc.msgget()
        acknowledged: list[bytes] = []
        begun = threading.Event()

        def send() -> None:
            with suppress(OSError, RPCError), connect(server.tcp, patience=0.1) as client:
                mine = client.queue(queue.id)
                for number in range(1, 100_000):
                    mine.send(b"%d" % number, timeout=1)
                    acknowledged.append(b"%d" % number)
                    begun.set()

        sender = threading.Thread(target=send)
        sender.start()
        assert begun.wait(20)
        asked = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - asked < 5
        sender.join(20)
        server.start()
        with connect(server.tcp) as ipc:
            mine = ipc.queue(queue.id)
            found = []
            with suppress(IPCError):
                while True:
                    found.append(mine.receive(nowait=True).text)
        assert found[: len(acknowledged)] == acknowledged
        assert len(found) <= len(acknowledged) + 1


_HOLDER = """
import signal, sys
from ipcserver._gen import ipc as gen
from oncrpc import sync
from oncrpc.auth import AuthSys
stub = gen.IPCPROG_1_SyncClient(sync.open_caller(sys.argv[1], credential=AuthSys.current()))
ctx = gen.ripc_ctx(gen.ripc_hyper(0, 0), 0, 0, 1)
assert stub.ripc_semop(gen.ripc_semop_args(ctx, int(sys.argv[2]), 0, [gen.ripc_sembuf(0, -1, gen.RIPC_UNDO)])) == 0
print("held", flush=True)
signal.pause()
"""
"""A process that holds a semaphore with SEM_UNDO, without a session."""


def test_who_saw_a_process_die_reads_what_its_undo_left_also_while_the_disk_is_slow(tmp_path: Path) -> None:
    """D13: a read comes after each end of a connection that the server knew of, though its commit takes long."""
    with Serving(tmp_path) as server, connect(server.tcp) as ipc:
        semaphores = ipc.semget(nsems=1)
        semaphores.set_values([1])
        holder = Background([sys.executable, "-c", _HOLDER, server.tcp, str(semaphores.id)], tmp_path / "holder.log")
        with holder:
            holder.wait_for_output("held")
            assert semaphores.values() == [0]
            with traced(
                server, tmp_path / "trace", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_exit=500000"
            ):
                holder.kill()
                assert semaphores.values() == [1]
