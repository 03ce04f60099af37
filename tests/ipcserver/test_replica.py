from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

import xdr
from ipcserver._gen import ipc
from ipcserver._gen import machine as gen
from ipcserver.journal import JournalClosed, JournalFull, JournalUnwritable, MemoryJournal, SQLiteJournal, StoreDamaged
from ipcserver.machine import Command, argument
from ipcserver.replica import Replica, Settings, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipcserver.journal import JournalError

reactor: Any = _reactor
CALLER = gen.machine_caller(1000, 1000, [])
SECOND = 10**9


class Wheel:
    """A machine that notes what it is given: a MSGSND is answered at once, a MSGRCV by the next MSGSND."""

    def __init__(self) -> None:
        self.log: list[Command] = []
        self.waiting: list[int] = []
        self.deadlines: list[int] = []
        self.connections: set[int] = set()

    def apply(self, command: Command) -> list[tuple[int, Any]]:
        if self.log:
            assert command.ticket > self.log[-1].ticket
            assert command.clock_ns >= self.log[-1].clock_ns
        self.log.append(command)
        self.connections.add(command.connection)
        match command.op:
            case gen.machine_op.OP_MSGRCV:
                self.waiting.append(command.ticket)
                return []
            case gen.machine_op.OP_MSGSND:
                waiting, self.waiting = self.waiting, []
                return [*((ticket, "message") for ticket in waiting), (command.ticket, ipc.RIPC_OK)]
            case gen.machine_op.OP_TICK:
                self.deadlines = [deadline for deadline in self.deadlines if deadline > command.clock_ns]
            case gen.machine_op.OP_CONNECTION_CLOSED:
                self.connections.discard(command.connection)
            case _:
                pass
        return []

    def next_deadline(self) -> int | None:
        return min(self.deadlines, default=None)

    def holds_connection(self, connection: int) -> bool:
        return connection in self.connections

    def owes_others(self, connection: int) -> bool:
        return bool(self.connections - {0, connection})

    def snapshot(self) -> bytes:
        return b"".join(command.encode() for command in self.log)

    @classmethod
    def restore(cls, data: bytes) -> Wheel:
        wheel = cls()
        offset = 0
        while offset < len(data):
            command, offset = xdr.codec(gen.machine_command).decode_from(data, offset)
            wheel.log.append(Command.from_xdr(command))
        return wheel

    @property
    def ops(self) -> list[str]:
        return [gen.machine_op(command.op).name.removeprefix("OP_") for command in self.log]


class Held(MemoryJournal):
    """A journal that settles nothing by itself."""

    def __init__(self) -> None:
        super().__init__(keep=True)
        self.appended: list[tuple[list[bytes], Callable[[JournalError | None], None]]] = []
        self.holding = False
        self.space = False

    def append(self, commands: Any, done: Callable[[JournalError | None], None]) -> None:
        if self.holding:
            self.appended.append((list(commands), done))
        else:
            super().append(commands, done)

    def settle(self, error: JournalError | None = None) -> None:
        """Commit the oldest append, or fail it."""
        commands, done = self.appended.pop(0)
        if error is None:
            super().append(commands, done)
        else:
            done(error)

    def reclaim(self, done: Callable[[JournalError | None], None]) -> None:
        done(None if self.space else JournalFull("store", "the disk is full"))


class ClockReactor(Clock):
    """A clock whose other threads are this one."""

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:
        call(*args)


def body(op: str) -> Any:
    """Make a body whose contents do not matter."""
    zero = ipc.ripc_hyper(0, 0)
    ctx = ipc.ripc_ctx(zero, 0, 0, 0)
    match op:
        case "MSGSND":
            return gen.machine_body_OP_MSGSND(ipc.ripc_msgsnd_args(ctx, 1, 0, 0, ipc.ripc_hyper(0, 1), b"text"))
        case "MSGRCV":
            return gen.machine_body_OP_MSGRCV(ipc.ripc_msgrcv_args(ctx, 1, 0, 0, zero, zero))
        case "STARTED":
            sysv = ipc.ripc_limits(0, 0, 0, 0, 0, 0, 0, 0, 0, zero, 0, 0, zero)
            return gen.machine_body_OP_SERVER_STARTED(gen.machine_start(7, gen.machine_limits(sysv, *[0] * 13)))
    raise AssertionError(op)


def submit(replica: Replica, op: str, done: Callable[[Any], object], *, connection: int = 0) -> None:
    """Submit a command, and hand its outcome over wherever it comes from."""
    what = body(op)
    outcome = replica.submit(what.op, argument(what), caller=CALLER, connection=connection, done=done)
    if outcome is not None:
        done(outcome)


class World:
    """A replica over a journal, with a clock in hand."""

    def __init__(
        self, journal: Any, *, monotonic: int = 0, wall: float = 1e9, settings: Settings | None = None
    ) -> None:
        self.clock = ClockReactor()
        self.wall = wall
        self.journal = journal
        self.start_ns = monotonic
        self.outcomes: list[Any] = []
        self.replica = Replica(
            Wheel,
            journal,
            reactor=self.clock,
            monotonic_ns=lambda: self.start_ns + round(self.clock.seconds() * SECOND),
            wall=lambda: self.wall,
            settings=settings,
        )
        self.replica.start(body("STARTED"))

    @property
    def wheel(self) -> Wheel:
        machine: Wheel = self.replica.machine
        return machine

    def submit(self, op: str, *, connection: int = 0) -> None:
        submit(self.replica, op, self.outcomes.append, connection=connection)

    def turn(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)


@pytest.fixture
def held() -> World:
    world = World(Held())
    world.journal.holding = True
    return world


# ---- log, then apply, then answer ----


def test_the_first_command_of_a_life_says_that_the_server_started() -> None:
    assert World(MemoryJournal()).wheel.ops == ["SERVER_STARTED"]


def test_nothing_is_applied_or_answered_before_it_is_committed(held: World) -> None:
    held.submit("MSGSND")
    held.turn()
    assert held.wheel.ops == ["SERVER_STARTED"]
    assert held.outcomes == []
    held.journal.settle()
    assert held.wheel.ops == ["SERVER_STARTED", "MSGSND"]
    assert held.outcomes == [ipc.RIPC_OK]


def test_all_commands_of_one_turn_are_one_append(held: World) -> None:
    for _ in range(5):
        held.submit("MSGSND")
    held.turn()
    assert [len(commands) for commands, _ in held.journal.appended] == [5]


def test_a_turn_with_very_many_commands_is_cut_into_slices() -> None:
    world = World(Held(), settings=Settings(turn_slice=3))
    world.journal.holding = True
    for _ in range(8):
        world.submit("MSGSND")
    world.turn()
    assert [len(commands) for commands, _ in world.journal.appended] == [3, 3, 2]


def test_a_call_that_waits_is_answered_by_a_later_command(held: World) -> None:
    held.journal.holding = False
    held.submit("MSGRCV")
    held.turn()
    assert held.outcomes == []
    held.submit("MSGSND")
    held.turn()
    assert held.outcomes == ["message", ipc.RIPC_OK]
    assert held.replica._waiting == {}


def test_a_caller_who_fails_does_not_cost_the_others_their_answers(held: World) -> None:
    held.journal.holding = False

    def fail(outcome: object) -> None:
        raise ZeroDivisionError

    submit(held.replica, "MSGSND", fail)
    held.submit("MSGSND")
    held.turn()
    assert held.outcomes == [ipc.RIPC_OK]


def test_a_journal_that_keeps_nothing_answers_within_submit() -> None:
    world = World(MemoryJournal())
    world.submit("MSGSND")
    assert world.outcomes == [ipc.RIPC_OK]


# ---- what a read sees ----


def test_a_read_runs_at_once_if_no_end_of_a_connection_could_change_what_it_sees(held: World) -> None:
    held.journal.holding = False
    held.submit("MSGSND", connection=5)
    held.turn()
    seen: list[int] = []
    held.replica.when_seen(partial(seen.append, 1), connection=5)
    assert seen == [1]
    held.replica.when_seen(partial(seen.append, 2), connection=6)
    assert seen == [1]
    held.turn()
    assert seen == [1, 2]


def test_a_read_runs_in_its_turn_and_waits_for_no_command(held: World) -> None:
    held.submit("MSGSND")
    held.turn()
    seen: list[str] = []
    held.replica.when_seen(lambda: seen.extend(held.wheel.ops))
    assert seen == []
    held.turn()
    assert seen == ["SERVER_STARTED"]


@pytest.mark.parametrize("read_first", [False, True])
def test_a_read_sees_the_end_of_each_connection_noticed_in_its_turn_or_before(held: World, read_first: bool) -> None:
    held.submit("MSGSND", connection=5)
    held.turn()
    seen: list[str] = []
    if read_first:
        held.replica.when_seen(lambda: seen.extend(held.wheel.ops))
    held.replica.connection_closed(5)
    if not read_first:
        held.turn()
        held.replica.when_seen(lambda: seen.extend(held.wheel.ops))
    held.turn()
    held.submit("MSGSND")
    held.turn()
    held.journal.settle()
    assert seen == []
    held.journal.settle()
    assert seen == ["SERVER_STARTED", "MSGSND", "CONNECTION_CLOSED"]


def test_a_read_waits_for_no_end_of_a_connection_that_came_after_it(held: World) -> None:
    seen: list[int] = []
    for number in range(3):
        held.submit("MSGSND", connection=5 + number)
        held.turn()
        held.replica.connection_closed(5 + number)
        held.turn()
        held.replica.when_seen(partial(seen.append, number))
        held.turn()
    held.journal.settle()
    held.journal.settle()
    assert seen == [0]


def test_a_read_is_answered_when_the_disk_refuses_the_end_of_a_connection(held: World) -> None:
    held.submit("MSGSND", connection=5)
    held.replica.connection_closed(5)
    seen: list[str] = []
    held.replica.when_seen(lambda: seen.extend(held.wheel.ops))
    held.turn()
    held.journal.settle(JournalUnwritable("store", "broken"))
    assert seen == ["SERVER_STARTED"]
    held.turn(1)
    held.replica.when_seen(lambda: seen.append("again"))
    held.turn()
    assert seen[1:] == []
    held.journal.settle()
    assert seen[1:] == ["again"]


def test_a_read_that_fails_does_not_cost_the_others_their_answers(held: World) -> None:
    seen: list[str] = []
    held.submit("MSGSND")
    held.replica.when_seen(lambda: 1 // 0)
    held.replica.when_seen(lambda: seen.append("read"))
    held.turn()
    assert seen == ["read"]


def test_reads_that_wait_are_answered_before_a_stop_is_over(held: World) -> None:
    held.submit("MSGSND", connection=5)
    held.replica.connection_closed(5)
    seen: list[str] = []
    held.replica.when_seen(lambda: seen.extend(held.wheel.ops))
    stopped = held.replica.stop()
    held.journal.settle()
    assert seen == ["SERVER_STARTED", "MSGSND", "CONNECTION_CLOSED"]
    assert stopped.called
    held.replica.when_seen(lambda: seen.append("late"))
    assert seen[-1] == "late"


def test_an_end_of_a_connection_comes_before_what_others_ask_for_in_the_same_turn(held: World) -> None:
    held.journal.holding = False
    held.submit("MSGSND", connection=7)
    held.submit("MSGRCV", connection=5)
    held.replica.connection_closed(5)
    held.submit("MSGSND", connection=8)
    held.turn()
    assert [(command.connection, gen.machine_op(command.op).name) for command in held.wheel.log[1:]] == [
        (5, "OP_MSGRCV"),
        (5, "OP_CONNECTION_CLOSED"),
        (7, "OP_MSGSND"),
        (8, "OP_MSGSND"),
    ]


# ---- restarts and time ----


def test_a_restart_replays_everything_and_numbers_go_on() -> None:
    journal = Held()
    first = World(journal)
    for op in ("MSGSND", "MSGRCV", "MSGSND"):
        first.submit(op)
        first.turn(1)
    second = World(journal)
    assert second.wheel.ops == ["SERVER_STARTED", "MSGSND", "MSGRCV", "MSGSND", "SERVER_STARTED"]
    assert [command.ticket for command in second.wheel.log] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("monotonic", [0, 10**18])
@pytest.mark.parametrize("wall", [0.0, 1e9 - 86400, 1e9 + 86400])
def test_the_clock_goes_on_where_it_stood_whatever_other_clocks_say(monotonic: int, wall: float) -> None:
    journal = Held()
    first = World(journal, monotonic=5 * 10**17)
    first.turn(10)
    first.submit("MSGSND")
    first.turn()
    second = World(journal, monotonic=monotonic, wall=wall)
    second.turn(3)
    second.submit("MSGSND")
    second.turn()
    assert [command.clock_ns for command in second.wheel.log] == [0, 10 * SECOND, 10 * SECOND, 13 * SECOND]
    assert second.wheel.log[-1].time_s == int(wall)


def test_a_clock_that_goes_back_stands_still_instead(held: World) -> None:
    held.turn(5)
    held.submit("MSGSND")
    held.start_ns -= 3 * SECOND
    held.submit("MSGSND")
    held.turn()
    held.journal.settle()
    assert [command.clock_ns for command in held.wheel.log] == [0, 5 * SECOND, 5 * SECOND]


def test_a_tick_comes_at_the_deadline_and_not_before(held: World) -> None:
    held.journal.holding = False
    held.wheel.deadlines = [2 * SECOND]
    held.submit("MSGSND")
    held.turn(1)
    held.turn(0.9)
    assert "TICK" not in held.wheel.ops
    held.turn(0.1)
    held.turn(0)
    assert held.wheel.ops.count("TICK") == 1
    held.turn(100)
    assert held.wheel.ops.count("TICK") == 1


def test_a_deadline_that_moves_nearer_is_met_and_one_that_moves_away_is_not_early(held: World) -> None:
    held.journal.holding = False
    held.wheel.deadlines = [10 * SECOND]
    held.submit("MSGSND")
    held.turn(1)
    held.wheel.deadlines = [3 * SECOND]
    held.submit("MSGSND")
    held.turn(1)
    held.wheel.deadlines = [5 * SECOND]
    held.submit("MSGSND")
    held.turn(1.5)
    assert "TICK" not in held.wheel.ops
    held.turn(1.5)
    held.turn()
    assert held.wheel.ops.count("TICK") == 1


def test_no_second_tick_is_sent_while_the_first_is_being_committed(held: World) -> None:
    held.wheel.deadlines = [1 * SECOND]
    held.submit("MSGSND")
    held.turn()
    held.journal.settle()
    held.turn(1)
    held.turn(0)
    held.submit("MSGSND")
    held.turn(1)
    assert len(held.journal.appended) == 2
    held.journal.settle()
    held.journal.settle()
    assert held.wheel.ops == ["SERVER_STARTED", "MSGSND", "TICK", "MSGSND"]


def test_a_long_replay_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Held()
    first = World(journal)
    for _ in range(4):
        first.submit("MSGSND")
        first.turn()
    seconds = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    shown: list[tuple[int, int]] = []
    second = Replica(Wheel, journal, reactor=ClockReactor())
    second.start(body("STARTED"), progress=lambda done, total: shown.append((done, total)))
    assert shown
    assert all(total == 5 for _, total in shown)
    assert shown == sorted(shown)


def test_a_command_that_cannot_be_read_refuses_the_start() -> None:
    journal = Held()
    World(journal)
    journal.batches.append(journal.batches[0]._replace(number=2, commands=[b"\0" * 7]))
    with pytest.raises(StoreDamaged, match="memory: a command of batch 2 cannot be read"):
        World(journal)


def test_a_snapshot_that_cannot_be_read_refuses_the_start() -> None:
    journal = Held()
    journal.snapshot, journal.snapshot_number = b"\0" * 20, 1
    with pytest.raises(StoreDamaged, match="memory: its snapshot after batch 1 cannot be read"):
        World(journal)


# ---- connections ----


def test_a_closed_connection_is_told_only_if_the_machine_may_know_it(held: World) -> None:
    held.replica.connection_closed(5)
    held.turn()
    assert held.journal.appended == []
    held.submit("MSGRCV", connection=5)
    held.replica.connection_closed(5)
    held.turn()
    held.journal.settle()
    assert held.wheel.ops == ["SERVER_STARTED", "MSGRCV", "CONNECTION_CLOSED"]
    assert held.wheel.log[-1].connection == 5


# ---- commits that fail ----

FULL = JournalFull("store", "the disk is full")
EIO = JournalUnwritable("store", "cannot be written")


def test_an_unwritable_journal_answers_eio_and_leaves_the_machine_as_it_is(held: World) -> None:
    held.submit("MSGSND")
    held.submit("MSGRCV")
    held.turn()
    held.journal.settle(EIO)
    assert held.outcomes == [ipc.RIPC_EIO, ipc.ripc_msgrcv_res_default(ipc.RIPC_EIO)]
    assert held.wheel.ops == ["SERVER_STARTED"]
    assert held.replica.broken
    held.submit("MSGSND")
    held.turn()
    held.journal.settle()
    assert held.outcomes[-1] == ipc.RIPC_OK
    assert not held.replica.broken


def test_a_full_disk_refuses_what_brings_bytes_and_serves_what_takes_them(held: World) -> None:
    held.submit("MSGSND")
    held.submit("MSGRCV")
    held.turn()
    held.journal.settle(FULL)
    assert held.outcomes == [ipc.RIPC_ENOSPC]
    assert held.replica.full
    held.turn()
    held.journal.settle()
    assert held.wheel.ops == ["SERVER_STARTED", "MSGRCV"]
    held.submit("MSGSND")
    assert held.outcomes == [ipc.RIPC_ENOSPC] * 2
    assert held.journal.appended == []


def test_when_the_reserve_is_used_up_too_receives_are_answered_enospc(held: World) -> None:
    held.submit("MSGRCV")
    held.turn()
    held.journal.settle(FULL)
    held.turn()
    held.journal.settle(FULL)
    assert held.outcomes == [ipc.ripc_msgrcv_res_default(ipc.RIPC_ENOSPC)]


def test_sends_work_within_a_second_of_new_space(held: World) -> None:
    held.submit("MSGSND")
    held.turn()
    held.journal.settle(FULL)
    held.turn(10)
    assert held.replica.full
    held.journal.space = True
    held.turn(0.99)
    assert not held.replica.full
    held.submit("MSGSND")
    held.turn()
    held.journal.settle()
    assert held.outcomes == [ipc.RIPC_ENOSPC, ipc.RIPC_OK]


@pytest.mark.parametrize("error", [FULL, EIO])
def test_the_end_of_a_connection_is_not_lost_to_a_disk(held: World, error: JournalError) -> None:
    held.submit("MSGRCV", connection=5)
    held.turn()
    held.journal.settle()
    held.replica.connection_closed(5)
    held.turn()
    for _ in range(3):
        held.journal.settle(error)
        held.turn(1)
        held.turn()
    held.journal.settle()
    assert held.wheel.ops == ["SERVER_STARTED", "MSGRCV", "CONNECTION_CLOSED"]
    assert held.wheel.log[-1].connection == 5


def test_a_tick_that_could_not_be_committed_comes_again(held: World) -> None:
    held.wheel.deadlines = [1 * SECOND]
    held.submit("MSGSND")
    held.turn()
    held.journal.settle()
    held.turn(1)
    held.turn()
    held.journal.settle(EIO)
    held.turn(1)
    held.turn()
    held.turn()
    held.journal.settle()
    assert held.wheel.ops == ["SERVER_STARTED", "MSGSND", "TICK"]


def test_every_operation_can_be_refused_in_its_own_type() -> None:
    results = {procedure.number: procedure.result for procedure in ipc.IPCPROG_1_Server.procedures}
    for op in gen.machine_op:
        if op in results:
            refused = refusal(op, ipc.RIPC_EIO)
            assert xdr.codec(results[op]).decode(xdr.codec(results[op]).encode(refused)) == refused


def test_a_journal_that_fails_at_once_refuses_the_start() -> None:
    class Broken(MemoryJournal):
        def append(self, commands: Any, done: Callable[[JournalError | None], None]) -> None:
            done(EIO)

    with pytest.raises(JournalUnwritable):
        World(Broken(keep=True))


# ---- the end ----


def test_stop_settles_and_answers_what_was_submitted_and_takes_nothing_more(held: World) -> None:
    held.submit("MSGSND")
    stopped: list[object] = []
    held.replica.stop().addCallback(stopped.append)
    held.submit("MSGSND")
    held.replica.connection_closed(1)
    assert len(held.journal.appended) == 1
    assert stopped == []
    held.journal.settle()
    assert held.outcomes == [ipc.RIPC_OK]
    assert stopped == [None]
    held.replica.stop().addCallback(stopped.append)
    assert stopped == [None, None]
    assert held.clock.getDelayedCalls() == []


def test_stop_with_nothing_in_hand_is_over_at_once() -> None:
    world = World(MemoryJournal())
    world.wheel.deadlines = [SECOND]
    world.submit("MSGSND")
    stopped: list[object] = []
    world.replica.stop().addCallback(stopped.append)
    assert stopped == [None]
    assert world.clock.getDelayedCalls() == []


def test_a_journal_closed_under_the_replica_answers_nobody(held: World) -> None:
    held.submit("MSGSND")
    held.turn()
    held.journal.settle(JournalClosed("closed"))
    assert held.outcomes == []


# ---- with the real reactor, the real thread and the real disk ----


def later(seconds: float) -> Deferred[None]:
    """Fire after a while."""
    waited: Deferred[None] = Deferred()
    reactor.callLater(seconds, waited.callback, None)
    return waited


def opened(path: Path, settings: Settings | None = None) -> Replica:
    """Start a replica over SQLite."""
    replica = Replica(Wheel, SQLiteJournal(path, reserve=0), reactor=reactor, settings=settings)
    replica.start(body("STARTED"))
    return replica


def send(replica: Replica, count: int) -> Deferred[None]:
    """Submit many, and fire when all are answered."""
    answered: Deferred[None] = Deferred()
    left = [count]

    def done(outcome: object) -> None:
        assert outcome == ipc.RIPC_OK
        left[0] -= 1
        if not left[0]:
            answered.callback(None)

    for _ in range(count):
        submit(replica, "MSGSND", done)
    return answered


@pytest_twisted.ensureDeferred
async def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    replica = opened(tmp_path / "store.db")
    await send(replica, 3000)
    await replica.stop()
    again = opened(tmp_path / "store.db")
    assert again.machine.ops == ["SERVER_STARTED", *["MSGSND"] * 3000, "SERVER_STARTED"]
    await again.stop()


@pytest_twisted.ensureDeferred
async def test_snapshots_bound_the_replay_and_the_service_goes_on_meanwhile(tmp_path: Path) -> None:
    replica = opened(tmp_path / "store.db", Settings(snapshot_commands=500))
    for _ in range(20):
        await send(replica, 100)
    for _ in range(3_000):
        if replica.snapshots_taken >= 2:
            break
        await send(replica, 10)
        await later(0.01)
    assert replica.snapshots_taken >= 2
    sent = replica.machine.ops.count("MSGSND")
    await replica.stop()
    journal = SQLiteJournal(tmp_path / "store.db", reserve=0)
    assert journal.open().commands < sent - 500
    journal.close()
    again = opened(tmp_path / "store.db")
    assert again.machine.ops.count("MSGSND") == sent
    await send(again, 1)
    await again.stop()
