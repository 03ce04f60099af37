"""The Python client, against a real server."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

import pytest

from ipcserver._gen import ipc as gen
from ipcserver.client import IPC, Message
from ipcserver.client import connect as connect_ipc
from ipcserver.errors import IPCError
from ipcserver.hypers import from_hyper, to_hyper
from tests.ipcserver.serving import Serving
from tests.peers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One server for the module: every test makes its own private objects."""
    with Serving(tmp_path_factory.mktemp("client"), "--journal", "memory") as running:
        yield running


@pytest.fixture
def ipc(serving: Serving) -> Iterator[IPC]:
    """A client of it."""
    with connect_ipc(serving.local) as client:
        yield client


class TestErrors:
    """OSErrors, with this machine's numbers."""

    def test_a_refusal_has_errno_status_and_one_line(self, ipc: IPC) -> None:
        with pytest.raises(OSError, match="msgget: no object with this key") as caught:
            ipc.msgget(0x7EADBEEF)
        assert isinstance(caught.value, IPCError)
        assert caught.value.errno == errno.ENOENT
        assert caught.value.status is gen.RIPC_ENOENT

    def test_a_status_without_a_number_of_its_own_is_eproto(self) -> None:
        assert IPCError(gen.RIPC_EMISORDERED, "x").errno == errno.EPROTO

    def test_a_key_beyond_32_bits_never_leaves_the_client(self, ipc: IPC) -> None:
        with pytest.raises(ValueError, match="does not fit 32 bits"):
            ipc.msgget(2**32)

    @pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63), 1 << 32, -(1 << 32) - 5])
    def test_64_bit_values_survive_their_two_words(self, value: int) -> None:
        assert from_hyper(to_hyper(value)) == value


class TestQueue:
    """msgget, msgsnd, msgrcv, msgctl."""

    def test_the_lowest_type_up_to_a_bound_comes_first(self, ipc: IPC) -> None:
        queue = ipc.msgget()
        for mtype in (3, 1, 2):
            queue.send(b"%d" % mtype, mtype)
        assert [queue.receive(-2).mtype, queue.receive(-2).mtype, queue.receive(-9).mtype] == [1, 2, 3]

    def test_any_type_but_one(self, ipc: IPC) -> None:
        queue = ipc.msgget()
        queue.send(b"a", 1)
        queue.send(b"b", 2)
        assert queue.receive(1, except_type=True) == Message(2, b"b")

    def test_a_long_message_is_refused_or_cut(self, ipc: IPC) -> None:
        queue = ipc.msgget()
        queue.send(b"long text")
        with pytest.raises(IPCError) as caught:
            queue.receive(size=4)
        assert caught.value.errno == errno.E2BIG
        assert queue.receive(size=4, truncate=True).text == b"long"

    def test_peek_leaves_the_message_there(self, ipc: IPC) -> None:
        queue = ipc.msgget()
        queue.send(b"a")
        queue.send(b"b")
        assert queue.peek(1).text == b"b"
        assert queue.stat().qnum == 2

    def test_a_full_queue_is_eagain_or_a_timeout(self, ipc: IPC) -> None:
        queue = ipc.msgget()
        queue.set(qbytes=4)
        queue.send(b"1234")
        with pytest.raises(IPCError) as caught:
            queue.send(b"5", nowait=True)
        assert caught.value.errno == errno.EAGAIN
        with pytest.raises(IPCError) as caught:
            queue.send(b"5", timeout=0.01)
        assert caught.value.errno == errno.ETIMEDOUT

    def test_removing_wakes_whoever_waits_with_eidrm(self, serving: Serving, ipc: IPC) -> None:
        queue = ipc.msgget()
        caught: list[IPCError] = []

        def receive() -> None:
            try:
                queue.receive(timeout=30)
            except IPCError as error:
                caught.append(error)

        waiting = threading.Thread(target=receive)
        waiting.start()
        with connect_ipc(serving.local) as other:
            wait_until(lambda: other.info().waiters, "the receiver to wait")
            other.queue(queue.id).remove()
        waiting.join(30)
        assert [error.errno for error in caught] == [errno.EIDRM]

    def test_owner_and_mode_can_be_changed(self, ipc: IPC) -> None:
        queue = ipc.msgget(mode=0o600)
        queue.set(mode=0o640)
        assert queue.stat().perm.mode == 0o640


class TestSemaphores:
    """semget, semop, semctl."""

    def test_operations_are_all_or_nothing(self, ipc: IPC) -> None:
        sems = ipc.semget(nsems=2)
        sems.set_values([1, 0])
        with pytest.raises(IPCError) as caught:
            sems.op((0, -1), (1, -1, gen.RIPC_NOWAIT))
        assert caught.value.errno == errno.EAGAIN
        assert sems.values() == [1, 0]
        sems.op((0, -1), (1, 2))
        assert sems.values() == [0, 2]

    def test_what_a_session_took_comes_back_with_its_end(self, serving: Serving, ipc: IPC) -> None:
        sems = ipc.semget(nsems=1, mode=0o666)
        sems.set_value(0, 1)
        with connect_ipc(serving.local) as other:
            other.semaphore_set(sems.id).acquire()
            assert sems.get(0).semval == 0
        assert sems.get(0).semval == 1

    def test_a_timeout_is_told_from_a_semaphore_that_is_not_waited_for(self, ipc: IPC) -> None:
        with pytest.raises(IPCError) as caught:
            ipc.semget(nsems=1).acquire(timeout=0.01)
        assert caught.value.errno == errno.ETIMEDOUT
        with pytest.raises(IPCError) as caught:
            ipc.semget(nsems=1).op((0, -1, gen.RIPC_NOWAIT))
        assert caught.value.errno == errno.EAGAIN

    def test_the_set_is_removed(self, ipc: IPC) -> None:
        sems = ipc.semget(nsems=1)
        sems.remove()
        with pytest.raises(IPCError):
            sems.stat()


class TestSegments:
    """shmget and the explicit reads and writes."""

    def test_what_was_written_is_read_across_chunks(self, ipc: IPC) -> None:
        size = gen.RIPC_CHUNK + 10
        segment = ipc.shmget(size=size)
        data = bytes(range(256)) * (size // 256) + b"tail"[: size % 256]
        segment.write(data[:size])
        assert segment.read() == data[:size].ljust(size, b"\0")

    def test_compare_and_swap_and_fetch_and_add_return_the_old_word(self, ipc: IPC) -> None:
        segment = ipc.shmget(size=64)
        assert segment.compare_and_swap(8, 0, 5) == 0
        assert segment.compare_and_swap(8, 0, 6) == 5
        assert segment.fetch_and_add(8, -1) == 5
        assert segment.read(8, 4) == (4).to_bytes(4, "big")

    def test_a_waiter_is_woken_by_a_change_of_its_range(self, serving: Serving, ipc: IPC) -> None:
        segment = ipc.shmget(size=8192, mode=0o666)
        stamp = segment.stamp()
        changed: list[int] = []
        waiting = threading.Thread(target=lambda: changed.append(segment.wait(0, 4, stamp, timeout=30)))
        waiting.start()
        with connect_ipc(serving.local) as other:
            wait_until(lambda: other.info().waiters, "the waiter")
            other.segment(segment.id).write(b"x")
        waiting.join(30)
        assert changed == [segment.stamp()]

    def test_a_segment_outlives_its_removal_while_attached(self, ipc: IPC) -> None:
        segment = ipc.shmget(size=16)
        segment.attach()
        segment.remove()
        segment.write(b"still here")
        assert segment.stat().removed == 1
        segment.detach()
        with pytest.raises(IPCError):
            segment.read()


class TestListings:
    """Page by page."""

    def test_more_objects_than_a_page_are_all_listed(self, ipc: IPC) -> None:
        made = {ipc.msgget().id for _ in range(gen.RIPC_LISTMAX + 5)}
        assert made <= {ds.id for ds in ipc.queues()}
        for ipc_id in made:
            ipc.queue(ipc_id).remove()

    def test_over_udp_a_page_fits_its_datagram(self, serving: Serving, ipc: IPC) -> None:
        made = {ipc.msgget().id for _ in range(gen.RIPC_LISTMAX + 5)}
        with connect_ipc(serving.udp) as datagrams:
            assert made <= {ds.id for ds in datagrams.queues()}
        for ipc_id in made:
            ipc.queue(ipc_id).remove()


class TestInterruption:
    """KeyboardInterrupt in a blocking receive."""

    def test_the_server_stops_waiting_and_no_message_is_lost(
        self, serving: Serving, ipc: IPC, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queue = ipc.msgget(mode=0o666)
        client = connect_ipc(serving.local)
        theirs = client.queue(queue.id)
        stub = client._calls._free[-1].stub
        assert stub is not None
        with monkeypatch.context() as patched:

            def interrupted(*_: object, **__: object) -> None:
                raise KeyboardInterrupt

            patched.setattr(stub, "ripc_msgrcv", interrupted)
            with pytest.raises(KeyboardInterrupt):
                theirs.receive()
        queue.send(b"for somebody else")
        assert queue.receive(nowait=True).text == b"for somebody else"
        client.close()

    def test_a_client_without_a_session_reports_a_broken_connection(self, tmp_path: Path) -> None:
        with Serving(tmp_path, "--journal", "memory") as running:
            client = connect_ipc(running.local, session=False)
            queue = client.msgget()
            running.kill()
            with pytest.raises(Exception, match="connection"):
                queue.send(b"lost")
            client.close()
