"""Commands in, outcomes out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ipcserver._gen.ipc import RIPC_BOUND, RIPC_EINTR, RIPC_ETIMEDOUT, RIPC_OK, RIPC_UNDO
from ipcserver._gen.machine import OP_SERVER_STARTED, OP_TICK, machine_caller, machine_op
from ipcserver.machine import Command, Limits, Machine, argument, body, start
from tests.ipcserver.machine.lab import MS, Lab
from tests.ipcserver.machine.scenario import program
from tests.peers import ROOT


def test_every_ticket_is_answered_at_most_once_and_in_the_end_exactly_once() -> None:
    for seed in range(5):
        machine, waiting = Machine(), set[int]()
        for command in program(seed, 500):
            kind = machine_op(command.op).name
            if kind == "OP_SERVER_STARTED":
                waiting.clear()
            elif kind not in {"OP_TICK", "OP_CONNECTION_CLOSED"}:
                waiting.add(command.ticket)
            for ticket, _ in machine.apply(command):
                waiting.remove(ticket)
        tickets = {ticket for waiter in machine.waits.by_arrival.values() for ticket, _ in waiter.tickets}
        assert waiting == tickets


def test_a_command_first_ends_what_its_time_ends() -> None:
    lab = Lab()
    me, other = lab.process(), lab.process()
    queue = me.msgget()
    me.receive(queue, wait_ms=10)
    lab.clock_ns += 10 * MS
    other.send(queue, 1, b"late")
    assert me.result() is RIPC_ETIMEDOUT
    assert other.receive(queue) == (1, b"late")


def test_the_clock_never_goes_back() -> None:
    machine = Machine()
    nobody = machine_caller(0, 0, [])
    machine.apply(Command(1, 500, 9, nobody, 0, 0, OP_SERVER_STARTED, argument(start(1, Limits()))))
    machine.apply(Command(2, 400, 3, nobody, 0, 0, OP_TICK, None))
    assert machine.clock_ns == 500


def test_the_wall_clock_may_jump_and_ends_nothing() -> None:
    lab = Lab()
    me = lab.process()
    me.hello()
    queue = me.msgget()
    me.receive(queue, wait_ms=50)
    for time_s in (10**12, -(10**12)):
        lab.time_s = time_s
        lab.submit(body(OP_TICK))
    assert me.result() is None
    assert me.renew() is RIPC_OK


def test_the_next_deadline_is_that_of_the_first_wait_or_lease() -> None:
    lab = Lab()
    me, other = lab.process(), lab.process()
    assert lab.machine.next_deadline() is None
    opened = me.hello(lease_ms=5000)
    assert lab.machine.next_deadline() == lab.clock_ns + opened.lease_ms * MS
    other.receive(other.msgget(), wait_ms=7)
    assert lab.machine.next_deadline() == lab.clock_ns + 7 * MS
    other.cancel()
    me.renew()
    assert lab.machine.next_deadline() == lab.clock_ns + 5000 * MS
    me.goodbye()
    assert lab.machine.next_deadline() is None


def test_a_tick_at_the_deadline_is_enough() -> None:
    lab = Lab()
    me = lab.process()
    me.receive(me.msgget(), wait_ms=7)
    deadline = lab.machine.next_deadline()
    assert deadline is not None
    lab.clock_ns = deadline - 1000
    lab.submit(body(OP_TICK))
    assert me.result() is RIPC_ETIMEDOUT


def test_connections_are_held_for_waits_undo_attachments_and_sessions() -> None:
    lab = Lab()
    holds = lab.machine.holds_connection
    me = lab.process()
    queue, set_, segment = me.msgget(), me.semget(), me.shmget()
    assert not holds(me.connection)
    me.receive(queue)
    assert holds(me.connection)
    me.cancel()
    assert not holds(me.connection)
    me.semop(set_, (0, 1, RIPC_UNDO))
    assert holds(me.connection)
    me.setval(set_, 0, 0)
    assert not holds(me.connection)
    me.attach(segment)
    assert holds(me.connection)
    me.detach(segment)
    me.hello()
    assert holds(me.connection)
    me.goodbye()
    assert not holds(me.connection)
    lab.close(me.connection)
    lab.close(12345)


def test_what_the_end_of_another_connection_would_undo_is_told() -> None:
    lab = Lab()
    owes = lab.machine.owes_others
    me, other = lab.process(), lab.process()
    queue, set_, segment = me.msgget(), me.semget(), me.shmget()
    other.hello()
    assert not owes(me.connection)
    other.receive(queue)
    assert owes(me.connection)
    assert not owes(other.connection)
    other.cancel()
    assert not owes(me.connection)
    other.goodbye()
    other.session = 0
    other.semop(set_, (0, 1, RIPC_UNDO))
    assert owes(me.connection)
    me.setval(set_, 0, 0)
    other.attach(segment)
    assert owes(me.connection)
    other.detach(segment)
    assert not owes(me.connection)
    other.hello(flags=RIPC_BOUND)
    assert owes(me.connection)
    lab.close(other.connection)
    assert not owes(me.connection)
    for number in range(20):
        lab.process().hello(number)
    assert owes(me.connection)


def test_one_xid_used_twice_on_a_connection_cancels_both_waits() -> None:
    lab = Lab()
    me = lab.process()
    queue = me.msgget()
    tickets = []
    for _ in range(2):
        me.receive(queue)
        tickets.append(lab.submit(me.last, me.caller, me.connection, xid=77))
    me.cancel(xid=77)
    assert [lab.outcomes[ticket].status for ticket in tickets] == [RIPC_EINTR, RIPC_EINTR]
    assert me.result() is None


@pytest.mark.parametrize("module", ["ipcserver.machine", "ipcserver.machine.snapshot"])
def test_the_machine_imports_neither_twisted_nor_databases_nor_chance(module: str) -> None:
    unwanted = {"twisted", "sqlite3", "asyncio", "random", "secrets"}
    code = f"import sys, {module}; sys.exit(' '.join(set(sys.modules) & {unwanted!r}) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
