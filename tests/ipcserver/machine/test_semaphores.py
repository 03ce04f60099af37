"""Semaphore sets beside what the oracle shows: order, undo, limits (semop(2), semctl(2))."""

from __future__ import annotations

import pytest

from ipcserver._gen.ipc import (
    RIPC_CREAT,
    RIPC_E2BIG,
    RIPC_EAGAIN,
    RIPC_EFBIG,
    RIPC_EIDRM,
    RIPC_EINVAL,
    RIPC_ENOSPC,
    RIPC_EQUOTA,
    RIPC_ERANGE,
    RIPC_ETIMEDOUT,
    RIPC_NOWAIT,
    RIPC_OK,
    RIPC_UNDO,
)
from ipcserver.machine import SOLARIS_2, Limits, semaphores
from tests.ipcserver.machine.lab import Lab, Process


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def me(lab: Lab) -> Process:
    return lab.process()


@pytest.fixture
def two(me: Process) -> int:
    """Give a set of two semaphores."""
    id = me.semget(5, 2, mode=0o666)
    assert isinstance(id, int)
    return id


def values(process: Process, id: int) -> list[int]:
    found: list[int] = process.getall(id)
    return found


class TestAtomicity:
    """All operations or none, against the values as they go."""

    def test_nothing_is_done_unless_everything_can_be(self, me: Process, two: int) -> None:
        assert me.semop(two, (0, 1), (1, -1, RIPC_NOWAIT)) is RIPC_EAGAIN
        assert values(me, two) == [0, 0]

    def test_later_operations_see_what_earlier_ones_did(self, me: Process, two: int) -> None:
        assert me.semop(two, (0, 0), (0, 2), (0, -1), (1, 1)) is RIPC_OK
        assert values(me, two) == [1, 1]
        assert me.semop(two, (0, 1), (0, 0, RIPC_NOWAIT)) is RIPC_EAGAIN

    def test_a_semaphore_that_is_not_in_the_set_is_efbig_before_anything_else(self, me: Process, two: int) -> None:
        assert me.semop(two, (0, 1), (2, 0)) is RIPC_EFBIG
        assert values(me, two) == [0, 0]

    def test_values_stay_in_their_range(self, me: Process, two: int) -> None:
        me.setval(two, 0, 32767)
        assert me.semop(two, (1, 1), (0, 1)) is RIPC_ERANGE
        assert values(me, two) == [32767, 0]

    def test_too_many_operations_are_e2big_and_none_is_einval(self, me: Process, two: int) -> None:
        assert me.semop(two, *[(0, 1)] * 500) is RIPC_OK
        assert me.semop(two) is RIPC_EINVAL
        lab = Lab(SOLARIS_2)
        other = lab.process()
        assert other.semop(other.semget(), *[(0, 1)] * 11) is RIPC_E2BIG


class TestWaiting:
    """Who is woken, and in which order."""

    def test_waiters_go_on_in_order_of_arrival(self, lab: Lab, me: Process, two: int) -> None:
        waiting = [lab.process() for _ in range(4)]
        for process in waiting:
            assert process.semop(two, (0, -1)) is None
        me.semop(two, (0, 2))
        assert [process.result() for process in waiting] == [RIPC_OK, RIPC_OK, None, None]

    def test_who_can_go_on_passes_who_cannot(self, lab: Lab, me: Process, two: int) -> None:
        much, little = lab.process(), lab.process()
        much.semop(two, (0, -5))
        little.semop(two, (0, -1))
        me.semop(two, (0, 1))
        assert (much.result(), little.result()) == (None, RIPC_OK)

    def test_all_who_wait_for_zero_go_on_before_those_who_alter(self, lab: Lab, me: Process, two: int) -> None:
        me.setval(two, 0, 1)
        alters, zero, zero_too = (lab.process() for _ in range(3))
        alters.semop(two, (0, 0), (0, 1))
        zero.semop(two, (0, 0))
        zero_too.semop(two, (0, 0), (1, 0))
        me.semop(two, (0, -1))
        assert [process.result() for process in (alters, zero, zero_too)] == [RIPC_OK] * 3
        assert values(me, two) == [1, 0]

    def test_one_who_goes_on_may_wake_another(self, lab: Lab, me: Process, two: int) -> None:
        chain = [lab.process() for _ in range(3)]
        chain[2].semop(two, (1, -2))
        chain[1].semop(two, (0, -1), (1, 1))
        chain[0].semop(two, (0, -1), (1, 1))
        me.semop(two, (0, 2))
        assert [process.result() for process in chain] == [RIPC_OK] * 3
        assert values(me, two) == [0, 0]

    def test_waiters_are_counted_where_they_are_stuck(self, lab: Lab, me: Process, two: int) -> None:
        me.setall(two, [1, 1])
        lab.process().semop(two, (0, -1), (1, -2))
        lab.process().semop(two, (0, -1), (1, -2))
        lab.process().semop(two, (0, -1), (1, 0))
        assert me.getval(two, 0)[2:] == (0, 0)
        assert me.getval(two, 1)[2:] == (2, 1)
        me.semop(two, (0, -1))
        assert me.getval(two, 0)[2:] == (3, 0)

    def test_a_later_operation_that_may_not_wait_ends_the_call(self, lab: Lab, me: Process, two: int) -> None:
        other = lab.process()
        assert other.semop(two, (0, -1), (1, -1, RIPC_NOWAIT)) is None
        me.semop(two, (0, 1))
        assert other.result() is RIPC_EAGAIN
        assert values(me, two) == [1, 0]

    def test_a_wait_ends_with_its_time_and_with_its_set(self, lab: Lab, me: Process, two: int) -> None:
        first, second = lab.process(), lab.process()
        first.semop(two, (0, -1), wait_ms=10)
        second.semop(two, (0, -1))
        lab.pass_time(11)
        assert (first.result(), second.result()) == (RIPC_ETIMEDOUT, None)
        assert me.getval(two, 0)[2] == 1
        me.semrmid(two)
        assert second.result() is RIPC_EIDRM

    def test_setval_and_setall_wake(self, lab: Lab, me: Process, two: int) -> None:
        first, second = lab.process(), lab.process()
        first.semop(two, (0, -1))
        second.semop(two, (1, -3))
        me.setval(two, 0, 1)
        me.setall(two, [0, 3])
        assert (first.result(), second.result()) == (RIPC_OK, RIPC_OK)
        assert me.getval(two, 1)[:2] == (0, second.pid)


class TestUndo:
    """SEM_UNDO."""

    def test_adjustments_add_up_and_are_applied_at_the_end(self, lab: Lab, me: Process, two: int) -> None:
        other = lab.process()
        me.setall(two, [5, 5])
        other.semop(two, (0, -2, RIPC_UNDO), (1, 3, RIPC_UNDO))
        other.semop(two, (0, -1, RIPC_UNDO), (0, -1))
        lab.close(other.connection)
        assert values(me, two) == [4, 5]
        assert me.getval(two, 0)[1] == other.pid

    def test_what_was_undone_by_hand_is_not_undone_again(self, lab: Lab, me: Process, two: int) -> None:
        other = lab.process()
        other.semop(two, (0, 1, RIPC_UNDO))
        other.semop(two, (0, -1, RIPC_UNDO))
        assert not lab.machine.holds_connection(other.connection)

    def test_setval_voids_the_adjustments_of_one_semaphore_and_setall_of_all(
        self, lab: Lab, me: Process, two: int
    ) -> None:
        first, second = lab.process(), lab.process()
        first.semop(two, (0, 1, RIPC_UNDO), (1, 1, RIPC_UNDO))
        me.setval(two, 0, 7)
        lab.close(first.connection)
        assert values(me, two) == [7, 0]
        second.semop(two, (0, 1, RIPC_UNDO), (1, 1, RIPC_UNDO))
        me.setall(two, [7, 7])
        lab.close(second.connection)
        assert values(me, two) == [7, 7]

    def test_values_are_clamped(self, lab: Lab, me: Process, two: int) -> None:
        up, down = lab.process(), lab.process()
        up.semop(two, (0, 2, RIPC_UNDO))
        me.semop(two, (0, -1))
        lab.close(up.connection)
        assert values(me, two)[0] == 0
        me.setval(two, 1, 3)
        down.semop(two, (1, -2, RIPC_UNDO))
        for amount in (32000, 766):
            me.semop(two, (1, amount))
        lab.close(down.connection)
        assert values(me, two)[1] == 32767

    def test_an_adjustment_past_its_limit_is_erange(self) -> None:
        lab = Lab(Limits(semaem=10))
        me = lab.process()
        set_ = me.semget()
        assert me.semop(set_, (0, 11, RIPC_UNDO)) is RIPC_OK
        assert me.semop(set_, (0, 1, RIPC_UNDO)) is RIPC_ERANGE
        assert me.semop(set_, (0, 1, RIPC_UNDO), (0, -1, RIPC_UNDO)) is RIPC_ERANGE
        assert values(me, set_) == [11]
        me.setval(set_, 0, 20)
        assert me.semop(set_, (0, -11, RIPC_UNDO)) is RIPC_ERANGE

    def test_a_blocked_call_that_goes_on_is_undone_too(self, lab: Lab, me: Process, two: int) -> None:
        other = lab.process()
        other.semop(two, (0, -1, RIPC_UNDO))
        me.semop(two, (0, 1))
        assert other.result() is RIPC_OK
        lab.close(other.connection)
        assert values(me, two)[0] == 1

    def test_undoing_wakes_who_waits(self, lab: Lab, me: Process, two: int) -> None:
        holder = lab.process()
        me.setval(two, 0, 1)
        holder.semop(two, (0, -1, RIPC_UNDO))
        me.semop(two, (0, -1, RIPC_UNDO))
        lab.close(holder.connection)
        assert me.result() is RIPC_OK

    def test_removal_voids_adjustments(self, lab: Lab, me: Process, two: int) -> None:
        other = lab.process()
        other.semop(two, (0, 1, RIPC_UNDO))
        me.semrmid(two)
        assert not lab.machine.holds_connection(other.connection)
        lab.close(other.connection)


class TestLimits:
    """semmni, semmns, semmsl, and what a change has to look at."""

    def test_calls_that_are_alike_may_wait_in_any_number_others_not(
        self, lab: Lab, me: Process, two: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(semaphores, "MOST_WATCHED", 4)
        for _ in range(10):
            assert lab.process().semop(two, (0, -1), (0, 0)) is None
        assert lab.process().semop(two, (0, -1), (1, 0)) is None
        assert lab.process().semop(two, (0, -2)) is RIPC_EQUOTA
        assert lab.process().semop(two, (1, -1)) is None
        me.semrmid(two)
        assert lab.machine.read.info().waiters == 0

    def test_thousands_of_different_waits_end_at_once(self, lab: Lab, me: Process) -> None:
        set_ = me.semget(6, 3000)
        waiting = [lab.process() for _ in range(3000)]
        for number, process in enumerate(waiting):
            process.semop(set_, (number, -1 - number % 3), (number, 0))
        me.setall(set_, [1, 2, 3] * 1000)
        assert all(process.result() is RIPC_OK for process in waiting)

    def test_sets_and_semaphores_are_bounded(self) -> None:
        lab = Lab(SOLARIS_2)
        me = lab.process()
        assert me.semget(0, 26) is RIPC_EINVAL
        assert all(isinstance(me.semget(0, 25), int) for _ in range(2))
        assert me.semget(0, 11) is RIPC_ENOSPC
        assert all(isinstance(me.semget(0, 1), int) for _ in range(8))
        assert me.semget(0, 1) is RIPC_ENOSPC

    def test_a_get_for_more_than_there_are_is_einval(self, me: Process, two: int) -> None:
        assert me.semget(5, 3, 0) is RIPC_EINVAL
        assert me.semget(5, 0, 0) == two
        assert me.semget(0, 0, RIPC_CREAT) is RIPC_EINVAL

    def test_setall_must_give_every_value(self, me: Process, two: int) -> None:
        assert me.setall(two, [1]) is RIPC_EINVAL
        assert me.setall(two, [1, 32768]) is RIPC_ERANGE
        assert values(me, two) == [0, 0]
