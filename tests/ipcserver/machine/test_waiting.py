"""Waits beside what the kinds of objects show."""

from __future__ import annotations

from ipcserver._gen.ipc import RIPC_ETIMEDOUT
from tests.ipcserver.machine.lab import Lab


def test_waits_end_in_the_order_of_their_deadlines() -> None:
    lab = Lab()
    queue = lab.process().msgget()
    waits = {}
    for ms in (30, 10, 20, 10):
        process = lab.process()
        process.receive(queue, wait_ms=ms)
        waits[process.ticket] = ms
    lab.pass_time(100)
    assert [waits[ticket] for ticket in lab.outcomes if ticket in waits] == [10, 10, 20, 30]
    assert {lab.outcomes[ticket].status for ticket in waits} == {RIPC_ETIMEDOUT}


def test_a_deadline_outlives_a_restart() -> None:
    lab = Lab()
    me = lab.process()
    me.hello(lease_ms=60_000)
    me.receive(me.msgget(), wait_ms=50)
    lab.pass_time(30)
    lab.restart()
    me.connection += 10
    assert me.again() is None
    lab.pass_time(25)
    assert me.result() is RIPC_ETIMEDOUT


def test_thousands_of_waits_come_and_go_and_leave_nothing() -> None:
    lab = Lab()
    empty = lab.machine.snapshot()
    me = lab.process()
    queue, set_, segment = me.msgget(), me.semget(), me.shmget()
    for number in range(1500):
        process = lab.process(uid=number % 7)
        process.caller.uid = 0
        process.receive(queue, number % 5 - 2, flags=0x2000 * (number % 2))
        lab.process().semop(set_, (0, -1 - number % 3))
        lab.process().wait_change(segment, number % 4000, 1 + number % 96, 0)
    assert lab.machine.read.info().waiters == 4500
    me.msgrmid(queue)
    me.semrmid(set_)
    me.shmrmid(segment)
    assert lab.machine.read.info().waiters == 0
    assert not lab.machine.accounts._owners
    assert len(lab.machine.snapshot()) == len(empty) + 3 * 4
