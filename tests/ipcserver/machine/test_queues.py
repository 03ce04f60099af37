"""Message queues beside what the oracle shows: waits, sleep, limits, order (msgop(2))."""

from __future__ import annotations

import pytest

from ipcserver._gen.ipc import (
    RIPC_COPY,
    RIPC_E2BIG,
    RIPC_EACCES,
    RIPC_EAGAIN,
    RIPC_EIDRM,
    RIPC_EINTR,
    RIPC_EINVAL,
    RIPC_ENOMEM,
    RIPC_ENOMSG,
    RIPC_EQUOTA,
    RIPC_ETIMEDOUT,
    RIPC_EXCEPT,
    RIPC_NOERROR,
    RIPC_NOWAIT,
    RIPC_OK,
)
from ipcserver.hypers import from_hyper
from ipcserver.machine import Limits
from tests.ipcserver.machine.lab import Lab, Process


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def me(lab: Lab) -> Process:
    return lab.process()


@pytest.fixture
def queue(me: Process) -> int:
    id = me.msgget(5)
    assert isinstance(id, int)
    return id


class TestReceive:
    """msgrcv: which message is meant."""

    @pytest.fixture(autouse=True)
    def messages(self, me: Process, queue: int) -> None:
        for mtype, text in ((5, b"a"), (3, b"b"), (5, b"c"), (4, b"d"), (3, b"e")):
            assert me.send(queue, mtype, text) is RIPC_OK

    def take_all(self, me: Process, queue: int, msgtyp: int, flags: int = 0) -> bytes:
        taken = b""
        while isinstance(got := me.receive(queue, msgtyp, 100, flags | RIPC_NOWAIT), tuple):
            taken += got[1]
        assert got is RIPC_ENOMSG
        return taken

    def test_type_zero_takes_the_oldest(self, me: Process, queue: int) -> None:
        assert self.take_all(me, queue, 0) == b"abcde"

    def test_a_type_takes_the_oldest_of_it(self, me: Process, queue: int) -> None:
        assert self.take_all(me, queue, 3) == b"be"

    def test_a_negative_type_takes_the_lowest_then_the_oldest(self, me: Process, queue: int) -> None:
        assert self.take_all(me, queue, -4) == b"bed"

    def test_the_most_negative_type_takes_every_type(self, me: Process, queue: int) -> None:
        assert self.take_all(me, queue, -(2**63)) == b"bedac"

    def test_msg_except_takes_the_oldest_of_all_others(self, me: Process, queue: int) -> None:
        assert self.take_all(me, queue, 5, RIPC_EXCEPT) == b"bde"

    def test_msg_copy_leaves_the_message_and_the_fields(self, me: Process, queue: int) -> None:
        before = me.msgstat(queue)
        assert me.receive(queue, 3, 100, RIPC_COPY | RIPC_NOWAIT) == (4, b"d")
        assert me.receive(queue, 5, 100, RIPC_COPY | RIPC_NOWAIT) is RIPC_ENOMSG
        assert me.msgstat(queue) == before
        assert before.qnum == 5

    def test_a_message_that_is_too_long_stays(self, me: Process, queue: int) -> None:
        assert me.receive(queue, 0, 0) is RIPC_E2BIG
        assert me.receive(queue, 0, 0, RIPC_NOERROR) == (5, b"")
        assert me.receive(queue, 0, 1) == (3, b"b")


class TestWaiting:
    """Blocked calls: order, end of time, cancelling, removal."""

    def test_receivers_are_served_in_order_of_arrival(self, lab: Lab, me: Process, queue: int) -> None:
        waiting = [lab.process() for _ in range(5)]
        for number, process in enumerate(waiting):
            assert process.receive(queue, (0, -9, 7, 0, 7)[number]) is None
        for _ in waiting:
            me.send(queue, 7, b"x")
        tickets = [process.ticket for process in waiting]
        assert [ticket for ticket in lab.outcomes if ticket in tickets] == tickets

    def test_a_receiver_gets_only_what_it_asked_for(self, lab: Lab, me: Process, queue: int) -> None:
        exact, low, other = (lab.process() for _ in range(3))
        exact.receive(queue, 7)
        low.receive(queue, -3)
        other.receive(queue, 5, 100, RIPC_EXCEPT)
        me.send(queue, 5, b"nobody's")
        assert (exact.result(), low.result(), other.result()) == (None, None, None)
        me.send(queue, 3, b"low")
        me.send(queue, 7, b"exact")
        me.send(queue, 7, b"other")
        assert (exact.result(), low.result(), other.result()) == ((7, b"exact"), (3, b"low"), (7, b"other"))
        assert me.receive(queue, 0) == (5, b"nobody's")

    def test_a_receiver_with_too_small_a_buffer_is_told_and_the_next_one_served(
        self, lab: Lab, me: Process, queue: int
    ) -> None:
        small, large = lab.process(), lab.process()
        small.receive(queue, 0, 2)
        large.receive(queue, 0, 9)
        me.send(queue, 1, b"long")
        assert small.result() is RIPC_E2BIG
        assert large.result() == (1, b"long")

    def test_senders_wait_for_bytes_and_for_the_number_of_messages(self, lab: Lab, me: Process, queue: int) -> None:
        me.msgset(queue, 0, 0, 0o600, 10)
        assert me.send(queue, 1, b"12345678") is RIPC_OK
        waiting = [lab.process() for _ in range(3)]
        assert waiting[0].send(queue, 2, b"abcd") is None
        assert waiting[1].send(queue, 2, b"efgh") is None
        assert lab.process().send(queue, 2, b"xyz", RIPC_NOWAIT) is RIPC_EAGAIN
        assert me.receive(queue) == (1, b"12345678")
        assert [process.result() for process in waiting[:2]] == [RIPC_OK, RIPC_OK]
        assert [me.receive(queue)[1] for _ in range(2)] == [b"abcd", b"efgh"]
        for _ in range(10):
            assert me.send(queue, 1) is RIPC_OK
        assert waiting[2].send(queue, 1) is None
        me.receive(queue)
        assert waiting[2].result() is RIPC_OK

    def test_a_large_message_waits_aside_and_keeps_its_turn(self, lab: Lab, me: Process, queue: int) -> None:
        me.msgset(queue, 0, 0, 0o600, 10)
        me.send(queue, 1, b"123456")
        me.send(queue, 1, b"123")
        large, small = lab.process(), lab.process()
        assert large.send(queue, 2, b"large.large"[:8]) is None
        assert small.send(queue, 3, b"sm") is None
        me.receive(queue)
        assert (large.result(), small.result()) == (None, RIPC_OK)
        me.receive(queue)
        assert large.result() is RIPC_OK

    def test_ipc_set_lets_senders_in_and_shuts_receivers_out(self, lab: Lab, me: Process) -> None:
        queue = me.msgget(9, mode=0o666)
        me.msgset(queue, 0, 0, 0o666, 0)
        stranger = lab.process(uid=50)
        assert me.send(queue, 3, b"x") is None
        assert stranger.receive(queue, 2) is None
        other = lab.process()
        other.msgset(queue, 0, 0, 0o600, 100)
        assert me.result() is RIPC_OK
        assert stranger.result() is RIPC_EACCES

    def test_removal_ends_all_waits_with_eidrm(self, lab: Lab, me: Process, queue: int) -> None:
        me.msgset(queue, 0, 0, 0o600, 0)
        receiver, sender = lab.process(), lab.process()
        receiver.receive(queue)
        sender.send(queue, 1, b"x")
        assert me.msgrmid(queue) is RIPC_OK
        assert (receiver.result(), sender.result()) == (RIPC_EIDRM, RIPC_EIDRM)
        assert me.send(queue) is RIPC_EINVAL

    def test_a_wait_ends_with_its_time(self, lab: Lab, me: Process, queue: int) -> None:
        me.receive(queue, wait_ms=50)
        lab.pass_time(49)
        assert me.result() is None
        lab.pass_time(2)
        assert me.result() is RIPC_ETIMEDOUT
        lab.process().send(queue, 1, b"kept")
        assert me.receive(queue) == (1, b"kept")

    def test_a_wait_for_ever_has_no_deadline(self, lab: Lab, me: Process, queue: int) -> None:
        me.receive(queue)
        assert lab.machine.next_deadline() is None

    def test_a_cancelled_wait_is_answered_with_eintr_before_the_cancel(self, lab: Lab, me: Process, queue: int) -> None:
        me.receive(queue)
        assert me.cancel() is RIPC_OK
        assert me.result() is RIPC_EINTR
        assert list(lab.outcomes)[-2] == me.ticket

    def test_cancelling_what_was_answered_does_nothing(self, me: Process, queue: int) -> None:
        me.send(queue, 1, b"x")
        me.receive(queue)
        assert me.cancel() is RIPC_OK
        assert me.result() == (1, b"x")

    def test_another_connection_cannot_cancel_by_xid(self, lab: Lab, me: Process, queue: int) -> None:
        me.receive(queue)
        lab.process().cancel(xid=me.ticket)
        assert me.result() is None

    def test_a_vanished_receiver_is_given_nothing(self, lab: Lab, me: Process, queue: int) -> None:
        gone, there = lab.process(), lab.process()
        gone.receive(queue)
        there.receive(queue)
        lab.close(gone.connection)
        me.send(queue, 1, b"x")
        assert gone.result() is RIPC_EINTR
        assert there.result() == (1, b"x")

    def test_after_a_restart_nobody_of_the_former_life_waits(self, lab: Lab, me: Process, queue: int) -> None:
        me.receive(queue)
        lab.restart()
        other = lab.process()
        other.send(queue, 1, b"x")
        assert me.result() is None
        assert other.receive(queue) == (1, b"x")
        assert lab.machine.read.info().waiters == 0

    def test_a_datagram_waits_for_a_limited_time(self, lab: Lab, queue: int) -> None:
        nobody = lab.process()
        nobody.connection = 0
        assert nobody.receive(queue) is None
        lab.pass_time(Limits().datagram_wait_ms + 1)
        assert nobody.result() is RIPC_ETIMEDOUT


class TestFields:
    """IPC_STAT."""

    def test_every_field_tells_what_happened(self, lab: Lab) -> None:
        owner = lab.process(uid=10, gid=20)
        queue = owner.msgget(5, mode=0o640)
        lab.time_s = 2000
        owner.send(queue, 1, b"abc")
        owner.send(queue, 1, b"de")
        lab.time_s = 3000
        reader = lab.process(uid=0)
        reader.receive(queue)
        ds = owner.msgstat(queue)
        assert (from_hyper(ds.ctime), from_hyper(ds.stime), from_hyper(ds.rtime)) == (1000, 2000, 3000)
        assert (ds.qnum, from_hyper(ds.cbytes), from_hyper(ds.qbytes)) == (1, 2, 16384)
        assert (ds.lspid, ds.lrpid) == (owner.pid, reader.pid)
        assert (ds.perm.uid, ds.perm.gid, ds.perm.cuid, ds.perm.cgid, ds.perm.mode) == (10, 20, 10, 20, 0o640)

    def test_ctime_is_set_by_ipc_set(self, lab: Lab, me: Process, queue: int) -> None:
        lab.time_s = 5000
        me.msgset(queue, 1, 2, 0o7777, 16384)
        ds = me.msgstat(queue)
        assert from_hyper(ds.ctime) == 5000
        assert (ds.perm.uid, ds.perm.gid, ds.perm.cuid, ds.perm.mode) == (1, 2, 0, 0o777)


class TestLimits:
    """What the server spends."""

    def test_memory_for_messages_is_bounded_also_for_blocked_senders(self) -> None:
        lab = Lab(Limits(message_memory=3 * (256 + 100)))
        me = lab.process()
        queue = me.msgget()
        me.msgset(queue, 0, 0, 0o600, 150)
        assert me.send(queue, 1, b"x" * 100) is RIPC_OK
        assert lab.process().send(queue, 1, b"x" * 100) is None
        assert lab.process().send(queue, 1, b"x" * 100) is None
        assert lab.process().send(queue, 1, b"x" * 100) is RIPC_ENOMEM
        assert me.msgrmid(queue) is RIPC_OK
        assert lab.machine.accounts.message_memory == 0

    def test_waits_are_bounded_in_all_and_for_each_uid(self) -> None:
        lab = Lab(Limits(waiters=3, owner_waiters=1))
        queue = lab.process().msgget(mode=0o666)
        assert lab.process(uid=1).receive(queue) is None
        assert lab.process(uid=1).receive(queue) is RIPC_EQUOTA
        assert lab.process(uid=0).receive(queue) is None
        assert lab.process(uid=0).receive(queue) is None
        assert lab.process(uid=2).receive(queue) is RIPC_EQUOTA

    def test_objects_and_memory_of_an_owner_are_bounded(self) -> None:
        lab = Lab(Limits(owner_objects=2, owner_memory=1000))
        me = lab.process(uid=5)
        queue = me.msgget()
        assert isinstance(me.semget(), int)
        assert me.shmget() is RIPC_EQUOTA
        assert me.send(queue, 1, b"x" * 500) is RIPC_OK
        assert me.send(queue, 1, b"x" * 500) is RIPC_EQUOTA
        root = lab.process()
        assert isinstance(root.msgget(), int)


def test_a_private_key_makes_a_new_queue_each_time(me: Process) -> None:
    assert len({me.msgget(0, 0) for _ in range(5)}) == 5
