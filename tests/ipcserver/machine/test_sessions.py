"""Sessions: exactly once, leases, what their end undoes."""

from __future__ import annotations

import pytest

from ipcserver._gen import ipc as wire
from ipcserver._gen.ipc import (
    RIPC_BOUND,
    RIPC_CREAT,
    RIPC_EBUSY,
    RIPC_EFALSERETRY,
    RIPC_EIDRM,
    RIPC_EINTR,
    RIPC_EINVAL,
    RIPC_EMISORDERED,
    RIPC_ENOMSG,
    RIPC_ENOSESSION,
    RIPC_ENOSPC,
    RIPC_EQUOTA,
    RIPC_ETIMEDOUT,
    RIPC_EXCL,
    RIPC_NOERROR,
    RIPC_NOWAIT,
    RIPC_OK,
    RIPC_UNDO,
)
from ipcserver._gen.machine import OP_MSGSND
from ipcserver.hypers import from_hyper, to_hyper
from ipcserver.machine import Limits, body
from tests.ipcserver.machine.lab import Lab, Process


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def root(lab: Lab) -> Process:
    return lab.process()


@pytest.fixture
def me(lab: Lab) -> Process:
    process = lab.process()
    process.hello()
    return process


@pytest.fixture
def queue(root: Process) -> int:
    id = root.msgget(5, mode=0o666)
    assert isinstance(id, int)
    return id


def reconnect(lab: Lab, process: Process, *, close: bool = True) -> None:
    """Let a process go on over another connection."""
    if close:
        lab.close(process.connection)
    process.connection += 1000


class TestHello:
    """Opening a session, and finding it again."""

    def test_the_same_nonce_finds_the_same_session(self, lab: Lab, me: Process) -> None:
        session = me.session
        reconnect(lab, me)
        me.hello()
        assert me.session == session

    def test_another_uid_with_the_same_nonce_gets_another_session(self, lab: Lab, me: Process) -> None:
        other = lab.process(uid=9)
        other.hello()
        assert other.session != me.session

    def test_slots_and_lease_are_kept_within_the_limits(self, lab: Lab) -> None:
        for asked, given in ((0, 1), (3, 3), (1000, 64)):
            assert lab.process().hello(asked, slots=asked).slots == given
        for asked, given in ((0, 60_000), (1, 1_000), (5_000, 5_000), (2**31, 3_600_000)):
            assert lab.process().hello(100 + asked, lease_ms=asked).lease_ms == given

    def test_boot_tells_that_the_server_was_restarted(self, lab: Lab, me: Process) -> None:
        lab.restart(boot=-5)
        assert from_hyper(me.hello().boot) == -5

    def test_session_numbers_cannot_be_told_from_each_other(self, lab: Lab) -> None:
        sessions = {from_hyper(lab.process().hello(nonce).session) for nonce in range(50)}
        assert len(sessions) == 50
        assert all(0 < session < 2**63 for session in sessions)
        assert max(sessions) - min(sessions) > 2**60

    def test_sessions_are_bounded_in_all_and_for_each_uid(self) -> None:
        lab = Lab(Limits(sessions=2, owner_sessions=1))
        assert isinstance(lab.process(uid=1).hello(1), wire.ripc_hello_ok)
        assert lab.process(uid=1).hello(2) is RIPC_EQUOTA
        assert isinstance(lab.process(uid=0).hello(3), wire.ripc_hello_ok)
        assert lab.process(uid=2).hello(4) is RIPC_ENOSPC


class TestExactlyOnce:
    """Slots, sequence numbers, outcomes that are kept."""

    def test_a_send_that_is_sent_again_is_done_once(self, lab: Lab, me: Process, queue: int) -> None:
        assert me.send(queue, 1, b"x") is RIPC_OK
        reconnect(lab, me)
        assert me.again() is RIPC_OK
        lab.restart()
        assert me.again() is RIPC_OK
        assert me.msgstat(queue).qnum == 1

    def test_a_receive_that_is_sent_again_gets_the_same_message(self, lab: Lab, me: Process, queue: int) -> None:
        for text in (b"one", b"two"):
            me.send(queue, 1, text)
        assert me.receive(queue) == (1, b"one")
        assert me.again() == (1, b"one")
        lab.restart()
        assert me.again() == (1, b"one")
        assert me.receive(queue) == (1, b"two")

    def test_an_exclusive_get_that_is_sent_again_gives_the_same_id(self, me: Process) -> None:
        made = me.msgget(99, RIPC_CREAT | RIPC_EXCL)
        assert me.again() == made

    def test_refusals_are_kept_too(self, lab: Lab, me: Process, root: Process, queue: int) -> None:
        assert me.receive(queue, 0, 10, RIPC_NOWAIT) is RIPC_ENOMSG
        root.send(queue, 1, b"x")
        assert me.again() is RIPC_ENOMSG

    def test_a_number_that_is_not_the_next_is_refused_and_changes_nothing(self, me: Process, queue: int) -> None:
        for wrong in (0, 2, 2**32 - 1):
            me.seq = wrong - 1
            assert me.send(queue, 1, b"x") is RIPC_EMISORDERED
        me.seq = 0
        assert me.send(queue, 1, b"x") is RIPC_OK
        assert me.msgstat(queue).qnum == 1

    def test_numbers_go_round(self, lab: Lab, me: Process, queue: int) -> None:
        me.send(queue)
        lab.machine.sessions.by_id[me.session].slots[0].seq = me.seq = 2**32 - 2
        for _ in range(3):
            assert me.send(queue) is RIPC_OK
            assert me.again() is RIPC_OK
        assert me.seq == 1

    @pytest.mark.parametrize("size", [1, 5000])
    def test_the_same_number_with_other_arguments_is_a_false_retry(self, me: Process, queue: int, size: int) -> None:
        me.send(queue, 1, b"x" * size)
        me.seq -= 1
        assert me.send(queue, 1, b"y" * size) is RIPC_EFALSERETRY
        me.seq -= 1
        assert me.send(queue, 1, b"x" * size) is RIPC_OK
        assert me.msgstat(queue).qnum == 1

    def test_the_same_number_from_another_uid_is_a_false_retry(self, lab: Lab, me: Process, queue: int) -> None:
        me.send(queue, 1, b"secret")
        me.receive(queue)
        thief = lab.process(uid=66)
        thief.session, thief.last = me.session, me.last
        assert thief.again() is RIPC_EFALSERETRY

    def test_slots_are_independent(self, lab: Lab, me: Process, queue: int) -> None:
        assert me.receive(queue) is None
        other = Process(lab, me.caller, connection=me.connection, session=me.session, slot=3)
        assert other.send(queue, 1, b"x") is RIPC_OK
        assert me.result() == (1, b"x")

    def test_a_slot_beyond_those_given_is_invalid(self, me: Process, queue: int) -> None:
        me.slot = 4
        assert me.send(queue) is RIPC_EINVAL

    def test_the_next_call_of_a_slot_whose_call_waits_is_busy(self, me: Process, queue: int) -> None:
        assert me.receive(queue) is None
        assert me.send(queue) is RIPC_EBUSY

    def test_every_copy_of_a_waiting_call_is_answered(self, lab: Lab, me: Process, queue: int, root: Process) -> None:
        me.receive(queue)
        first = me.ticket
        reconnect(lab, me, close=False)
        assert me.again() is None
        root.send(queue, 1, b"x")
        assert lab.outcomes[first] == lab.outcomes[me.ticket]

    def test_no_more_than_eight_copies_of_a_waiting_call_are_remembered(
        self, lab: Lab, me: Process, queue: int
    ) -> None:
        me.receive(queue)
        first = me.ticket
        for _ in range(8):
            me.again()
        assert lab.outcomes[first].status is RIPC_EBUSY

    def test_a_call_in_an_unknown_session_is_not_carried_out(self, me: Process, queue: int) -> None:
        me.session += 1
        assert me.send(queue) is RIPC_ENOSESSION
        assert me.msgstat(queue).qnum == 0

    def test_a_kept_outcome_is_let_go_once_it_is_acknowledged(self, lab: Lab, me: Process, queue: int) -> None:
        me.send(queue, 1, b"x" * 1000)
        me.receive(queue)
        assert lab.machine.accounts.message_memory == 1256
        assert me.renew((0, me.seq)) is RIPC_OK
        assert lab.machine.accounts.message_memory == 0
        assert me.again() is RIPC_EMISORDERED

    def test_acknowledging_anything_else_does_nothing(self, me: Process, queue: int) -> None:
        me.send(queue, 1, b"x")
        me.receive(queue)
        assert me.renew((0, me.seq - 1), (9, 1), (0, me.seq + 1)) is RIPC_OK
        assert me.again() == (1, b"x")


class TestWaitsOfSessions:
    """A wait outlives its connection, but is given nothing while nobody is there."""

    def test_a_wait_goes_on_over_another_connection(self, lab: Lab, me: Process, root: Process, queue: int) -> None:
        me.receive(queue)
        reconnect(lab, me)
        assert me.again() is None
        root.send(queue, 1, b"x")
        assert me.result() == (1, b"x")

    def test_a_wait_goes_on_over_a_restart(self, lab: Lab, me: Process, root: Process, queue: int) -> None:
        me.receive(queue)
        lab.restart()
        root.send(queue, 1, b"x")
        assert root.msgstat(queue).qnum == 1
        reconnect(lab, me, close=False)
        assert me.again() == (1, b"x")

    def test_who_is_away_is_passed_over_and_keeps_its_place(
        self, lab: Lab, me: Process, root: Process, queue: int
    ) -> None:
        me.receive(queue)
        second, third = lab.process(), lab.process()
        second.receive(queue)
        third.receive(queue)
        reconnect(lab, me)
        root.send(queue, 1, b"to the second")
        assert me.again() is None
        root.send(queue, 1, b"to the first")
        assert (me.result(), second.result(), third.result()) == ((1, b"to the first"), (1, b"to the second"), None)

    def test_a_sleeping_sender_sends_when_it_is_back(self, lab: Lab, me: Process, root: Process, queue: int) -> None:
        root.msgset(queue, 0, 0, 0o666, 1)
        root.send(queue, 1, b"x")
        assert me.send(queue, 2, b"y") is None
        reconnect(lab, me)
        assert root.receive(queue) == (1, b"x")
        assert root.msgstat(queue).qnum == 0
        assert me.again() is RIPC_OK
        assert root.receive(queue) == (2, b"y")

    def test_a_sleeping_semop_is_tried_when_it_is_back(self, lab: Lab, me: Process, root: Process) -> None:
        set_ = root.semget(5)
        assert me.semop(set_, (0, -1)) is None
        reconnect(lab, me)
        root.semop(set_, (0, 1))
        assert root.getval(set_, 0) == (1, root.pid, 0, 0)
        assert me.again() is RIPC_OK
        assert root.getval(set_, 0) == (0, me.pid, 0, 0)

    def test_removal_and_end_of_time_reach_who_sleeps(self, lab: Lab, me: Process, root: Process, queue: int) -> None:
        other = lab.process()
        other.hello(2)
        me.receive(queue, wait_ms=20)
        other.receive(queue)
        reconnect(lab, me)
        reconnect(lab, other)
        lab.pass_time(30)
        root.msgrmid(queue)
        assert me.again() is RIPC_ETIMEDOUT
        assert other.again() is RIPC_EIDRM

    def test_a_wait_is_cancelled_by_slot_and_number(self, me: Process, queue: int) -> None:
        me.receive(queue)
        assert me.cancel(seq=me.seq + 1) is RIPC_OK
        assert me.result() is None
        assert me.cancel() is RIPC_OK
        assert me.result() is RIPC_EINTR
        assert me.again() is RIPC_EINTR


class TestEnd:
    """What the end of a session undoes."""

    def test_silence_for_the_lease_ends_a_session(self, lab: Lab, me: Process, queue: int) -> None:
        lab.pass_time(59_000)
        assert me.renew() is RIPC_OK
        lab.pass_time(59_000)
        assert me.send(queue) is RIPC_OK
        lab.pass_time(61_000)
        assert me.send(queue) is RIPC_ENOSESSION

    def test_every_call_in_a_session_renews_its_lease(self, lab: Lab, me: Process, queue: int) -> None:
        for call in (me.renew, me.cancel, me.hello, lambda: me.send(queue), lambda: me.semop(5, (0, 0)), me.again):
            lab.pass_time(59_000)
            assert call() is not RIPC_ENOSESSION

    def test_a_waiting_call_ends_with_its_session(self, lab: Lab, me: Process, queue: int) -> None:
        me.receive(queue)
        lab.pass_time(61_000)
        assert me.result() is RIPC_ENOSESSION

    def test_a_message_not_acknowledged_returns_to_its_place(
        self, lab: Lab, me: Process, root: Process, queue: int
    ) -> None:
        for text in (b"1", b"2", b"3", b"4"):
            root.send(queue, 1, text)
        other = Process(lab, me.caller, connection=me.connection, session=me.session, slot=1)
        assert me.receive(queue) == (1, b"1")
        assert other.receive(queue) == (1, b"2")
        assert root.receive(queue) == (1, b"3")
        lab.pass_time(61_000)
        assert [root.receive(queue)[1] for _ in range(3)] == [b"1", b"2", b"4"]

    def test_a_cut_message_returns_whole(self, lab: Lab, me: Process, root: Process, queue: int) -> None:
        root.send(queue, 1, b"long")
        assert me.receive(queue, 0, 2, RIPC_NOERROR) == (1, b"lo")
        lab.restart()
        lab.pass_time(61_000)
        assert root.receive(queue) == (1, b"long")

    def test_a_message_that_returns_goes_to_who_waits(self, lab: Lab, me: Process, root: Process, queue: int) -> None:
        root.send(queue, 1, b"x")
        me.receive(queue)
        assert root.receive(queue) is None
        lab.pass_time(61_000)
        assert root.result() == (1, b"x")

    def test_a_message_whose_answer_arrived_does_not_return(
        self, lab: Lab, me: Process, root: Process, queue: int
    ) -> None:
        root.send(queue, 1, b"x")
        root.send(queue, 1, b"y")
        me.receive(queue)
        me.receive(queue)  # the next call of the slot acknowledges the first
        me.renew((0, me.seq))
        lab.pass_time(61_000)
        assert root.msgstat(queue).qnum == 0

    def test_goodbye_acknowledges_everything(self, lab: Lab, me: Process, root: Process, queue: int) -> None:
        root.send(queue, 1, b"x")
        me.receive(queue)
        assert me.goodbye() is RIPC_OK
        assert root.msgstat(queue).qnum == 0
        assert lab.machine.accounts.message_memory == 0
        assert me.goodbye() is RIPC_ENOSESSION

    def test_a_message_of_a_removed_queue_is_gone(self, lab: Lab, me: Process, root: Process, queue: int) -> None:
        root.send(queue, 1, b"x")
        me.receive(queue)
        root.msgrmid(queue)
        lab.pass_time(61_000)
        assert lab.machine.accounts.message_memory == 0

    def test_adjustments_are_applied_once(self, lab: Lab, me: Process, root: Process) -> None:
        set_ = root.semget(5)
        root.setval(set_, 0, 3)
        me.semop(set_, (0, -2, RIPC_UNDO))
        lab.restart()
        assert root.getval(set_, 0)[0] == 1
        lab.pass_time(61_000)
        assert root.getval(set_, 0)[:2] == (3, me.pid)
        lab.pass_time(61_000)
        assert root.getval(set_, 0)[0] == 3

    def test_an_unbound_session_outlives_its_connections(self, lab: Lab, me: Process, root: Process) -> None:
        set_ = root.semget(5)
        me.semop(set_, (0, 1, RIPC_UNDO))
        lab.close(me.connection)
        assert root.getval(set_, 0)[0] == 1


class TestBound:
    """RIPC_BOUND: the session ends with its last connection, as a process does."""

    def test_its_last_connection_ends_it_at_once(self, lab: Lab, root: Process) -> None:
        set_ = root.semget(5)
        me = lab.process()
        me.hello(flags=RIPC_BOUND)
        second = Process(lab, me.caller, connection=99, session=me.session, slot=1)
        me.semop(set_, (0, 2, RIPC_UNDO))
        second.semop(set_, (0, 1))
        lab.close(me.connection)
        assert root.getval(set_, 0)[0] == 3
        lab.close(99)
        assert root.getval(set_, 0)[0] == 1
        assert me.send(0) is RIPC_ENOSESSION

    def test_it_needs_no_lease_while_it_has_a_connection(self, lab: Lab) -> None:
        me = lab.process()
        me.hello(flags=RIPC_BOUND)
        lab.pass_time(10_000_000)
        assert me.renew() is RIPC_OK

    def test_it_has_its_lease_to_come_back_after_a_restart(self, lab: Lab) -> None:
        me, other = lab.process(), lab.process()
        me.hello(1, flags=RIPC_BOUND)
        other.hello(2, flags=RIPC_BOUND)
        lab.restart()
        lab.pass_time(59_000)
        assert me.renew() is RIPC_OK
        lab.pass_time(2_000)
        assert me.renew() is RIPC_OK
        assert other.renew() is RIPC_ENOSESSION


class TestImplicitSessions:
    """A connection stands in for a session."""

    def test_its_end_undoes_and_detaches(self, lab: Lab, root: Process) -> None:
        set_, segment = root.semget(5), root.shmget(5)
        me = lab.process()
        me.semop(set_, (0, 2, RIPC_UNDO))
        me.attach(segment)
        assert lab.machine.holds_connection(me.connection)
        lab.close(me.connection)
        assert not lab.machine.holds_connection(me.connection)
        assert root.getval(set_, 0)[0] == 0
        assert root.shmstat(segment).nattch == 0

    def test_a_restart_ends_it(self, lab: Lab, root: Process) -> None:
        set_ = root.semget(5)
        lab.process().semop(set_, (0, 2, RIPC_UNDO))
        lab.restart()
        assert root.getval(set_, 0)[0] == 0

    def test_plain_calls_leave_nothing_to_close(self, lab: Lab, root: Process, queue: int) -> None:
        root.send(queue, 1, b"x")
        root.receive(queue)
        assert not lab.machine.holds_connection(root.connection)

    def test_datagrams_own_nothing(self, lab: Lab, root: Process) -> None:
        set_, segment = root.semget(5), root.shmget(5)
        nobody = lab.process()
        nobody.connection = 0
        assert nobody.semop(set_, (0, 1)) is RIPC_OK
        assert nobody.semop(set_, (0, 1, RIPC_UNDO)) is RIPC_ENOSESSION
        assert nobody.attach(segment) is RIPC_ENOSESSION


def test_the_downtime_of_the_server_is_not_held_against_a_session(lab: Lab, me: Process) -> None:
    lab.pass_time(59_000)
    lab.restart()
    lab.pass_time(59_000)
    assert me.renew() is RIPC_OK


def test_a_body_given_twice_is_compared_by_value(me: Process, queue: int) -> None:
    ctx = wire.ripc_ctx(to_hyper(me.session), 0, 1, 5)
    for _ in range(2):
        args = wire.ripc_msgsnd_args(ctx, queue, 0, 0, to_hyper(1), b"x")
        me.last = body(OP_MSGSND, args)
        assert me.again() is RIPC_OK
    assert me.msgstat(queue).qnum == 1


def test_a_lease_that_ran_out_while_the_server_was_away_begins_anew(lab: Lab, me: Process) -> None:
    lab.clock_ns += 3600 * 10**9
    lab.restart()
    assert me.renew() is RIPC_OK
