"""One replica of the IPC machine: journal, then apply, then answer.

The only place where commands get their number and their time, and the only one that changes the machine. Everything
here runs in the reactor's thread::

    submit(op, args) -> command with ticket and clock -> journal.append() ... done -> machine.apply() -> done(outcome)

All commands of one turn of the reactor are one append; the journal joins appends into batches. Nothing is applied
that is not committed, so a read never sees what a crash could take back, and a failed commit leaves the machine as
it is: its callers are answered RIPC_ENOSPC or RIPC_EIO.

**Time.** ``clock_ns`` goes on from its last value over restarts and stands still while the server is down; the wall
clock (``time_s``) is only noted. So no clock that is set back or forth makes a timeout fire or a lease end.

**A full disk.** The batch that met it is answered RIPC_ENOSPC, except for what frees or merely waits, which is tried
again on the journal's reserve. From then on calls that bring bytes (FILLING) are refused at once, the others are
served, and four times a second the journal is asked whether there is space again.

**What a read sees.** Everything acknowledged, since nothing is answered before it is applied; and the end of every
connection that was noticed in the same turn of the reactor or before, since who saw a process die may expect its
SEM_UNDO. So a read runs at the end of its turn, behind the commits of such ends, and waits for no other command; at
once, if no other connection's end could change anything.
"""

from __future__ import annotations

import gc
import queue
import struct
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipcserver._gen import ipc
from ipcserver._gen.machine import OP_CONNECTION_CLOSED, OP_SERVER_STARTED, OP_TICK, machine_caller, machine_op
from ipcserver.journal import CommitFailed, JournalClosed, JournalError, JournalFull, JournalUnwritable, StoreDamaged
from ipcserver.machine import Command, SnapshotUnreadable, argument, outcomes
from ipcserver.machine.commands import decode
from ipcserver.snapshots import HEAD, fork_encoder, read_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall

    from ipcserver._gen.machine import machine_body
    from ipcserver.journal import Journal, Recovered
    from ipcserver.machine.outcomes import Outcome

__all__ = ["Done", "Progress", "Read", "Replica", "Settings", "refusal"]

Done: TypeAlias = "Callable[[Any], object]"
"""Called once with the outcome, in the type that ipc.x gives the procedure."""

Read: TypeAlias = "Callable[[], object]"
"""Reads the machine and answers."""

Progress: TypeAlias = "Callable[[int, int], object]"
"""Called with the commands replayed so far and their total, about once a second."""

SNAPSHOT_COMMANDS: Final = 500_000
"""Commands in the log after which a snapshot is taken: a restart replays at most about twice as many."""

SNAPSHOT_BYTES: Final = 64 << 20
"""Bytes in the log after which a snapshot is taken."""

MEND_SECONDS: Final = 0.25
"""How often a journal that could not be written is tried again: sends work within a second of new space."""

TURN_SLICE: Final = 500
"""Commands of one append: applying what one append brought must not hold up the reactor."""

FILLING: Final = frozenset({machine_op.OP_MSGSND, machine_op.OP_SHMWRITE, machine_op.OP_SEMSETALL})
"""Operations that bring bytes of their own: the ones refused while the disk is full."""

_SNAPSHOT: Final = "snapshot"
_NOBODY: Final = machine_caller(uid=0, gid=0, gids=[])


_REFUSED: Final[dict[int, Callable[[ipc.ripc_status], Outcome]]] = {
    machine_op.OP_HELLO: outcomes.hello_refusal,
    machine_op.OP_MSGGET: outcomes.id_refusal,
    machine_op.OP_MSGRCV: outcomes.msgrcv_refusal,
    machine_op.OP_SEMGET: outcomes.id_refusal,
    machine_op.OP_SHMGET: outcomes.id_refusal,
    machine_op.OP_SHMAT: outcomes.int_refusal,
    machine_op.OP_SHMWRITE: outcomes.stamp_refusal,
    machine_op.OP_SHMCAS: outcomes.word_refusal,
    machine_op.OP_SHMADD: outcomes.word_refusal,
    machine_op.OP_SHMWAIT: outcomes.stamp_refusal,
}
"""What makes an outcome of a status, where the status alone is none."""


def refusal(op: int, status: ipc.ripc_status) -> Outcome:
    """Make the outcome of an operation that was not done.

    Args:
        op: The operation, which is the number of its procedure.
        status: Why.

    Returns:
        A value of the procedure's result type.
    """
    return _REFUSED.get(op, outcomes.status_refusal)(status)


class Applies(Protocol):
    """What the replica asks of a machine; ipcserver.machine.Machine is the one."""

    def apply(self, command: Command) -> list[tuple[int, Outcome]]:
        """Execute a command; give (ticket, outcome) for each call that it ends."""

    def next_deadline(self) -> int | None:
        """Give the clock_ns at which a TICK is due."""

    def holds_connection(self, connection: int) -> bool:
        """Tell whether anything is kept for a connection."""

    def owes_others(self, connection: int) -> bool:
        """Tell whether the end of any other connection could change what a read sees."""

    def snapshot(self) -> bytes:
        """Encode the state."""


class MakesMachines(Protocol):
    """The class of such a machine."""

    def __call__(self) -> Any:
        """Make an empty one."""

    def restore(self, data: bytes) -> Any:
        """Make one from a snapshot."""


@dataclass(slots=True, frozen=True)
class Settings:
    """When the replica does what; the defaults are for a server, tests take smaller ones."""

    snapshot_commands: int = SNAPSHOT_COMMANDS
    """Commands in the log after which a snapshot is taken."""
    snapshot_bytes: int = SNAPSHOT_BYTES
    """Bytes in the log after which a snapshot is taken."""
    mend_seconds: float = MEND_SECONDS
    """How often a journal that could not be written is tried again."""
    turn_slice: int = TURN_SLICE
    """Commands of one append."""


class _Entry(Command):
    """A command on its way to the journal; made by Replica._entry()."""

    __slots__ = ("done", "retried")

    done: Done | None
    retried: bool


def _bring_forward(entries: list[_Entry], ended: list[int]) -> None:
    """Put the ends of connections before what others asked for in the same turn.

    In which order a turn finds the sockets that have something is chance, and whoever saw a process die may have asked
    since. Nobody has an answer to the commands of this turn yet, so any order of theirs is right that keeps each
    connection's own.

    Args:
        entries: The commands of a turn; changed in place, tickets and times ascend as before.
        ended: The connections whose CONNECTION_CLOSED is among them.
    """
    numbers = [(entry.ticket, entry.clock_ns) for entry in entries]
    first = set(ended)
    entries.sort(key=lambda entry: entry.connection not in first)
    for entry, (ticket, clock) in zip(entries, numbers, strict=True):
        entry.ticket, entry.clock_ns = ticket, clock


class Replica:
    """The machine, its journal and its clock.

    Args:
        machines: The machine's class: called for an empty machine, ``restore(bytes)`` for one from a snapshot.
        journal: Where commands go before they are applied. This object opens and closes it.
        reactor: Gives callLater, which must follow a monotonic clock, and callFromThread.
        monotonic_ns: A clock that never goes back, in nanoseconds.
        wall: Seconds since 1970.
        settings: When to take snapshots and so on.
    """

    _log = Logger()

    def __init__(
        self,
        machines: MakesMachines,
        journal: Journal,
        *,
        reactor: Any,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], float] = time.time,
        settings: Settings | None = None,
    ) -> None:
        self._machines = machines
        self._journal = journal
        self._reactor = reactor
        self._monotonic_ns = monotonic_ns
        self._wall = wall
        self._settings = settings if settings is not None else Settings()
        self._machine: Any = machines()
        # The clock and the numbers.
        self._ticket = 0
        self._clock = 0
        self._offset = 0  # what to add to monotonic_ns() for the journal's clock
        # Commands: gathered in this turn, appended and not settled, applied and not answered.
        self._gathered: list[_Entry] = []
        self._in_hand = 0
        self._waiting: dict[int, Done] = {}
        self._flush_call: IDelayedCall | None = None
        # TICK.
        self._tick_call: IDelayedCall | None = None
        self._tick_at = 0
        self._ticking = False
        # A journal that cannot be written.
        self._full = False
        self._broken = False
        self._owed: list[int] = []  # connections whose CONNECTION_CLOSED was not committed yet
        # Reads: of this turn; behind an end of a connection, with how many ends must have been settled.
        self._ended: list[int] = []  # connections that ended in this turn
        self._ends_entered = self._ends_settled = 0
        self._reads: list[Read] = []
        self._reads_call: IDelayedCall | None = None
        self._reads_behind: deque[tuple[int, list[Read]]] = deque()
        self._mend_call: IDelayedCall | None = None
        # Snapshots.
        self._logged_commands = 0
        self._logged_bytes = 0
        self._snapshot_under_way = False
        self.snapshots_taken = 0
        """Snapshots completed in this life."""
        self._drained: Deferred[None] | None = None

    @property
    def machine(self) -> Any:
        """The machine. Nobody but the replica may call its apply()."""
        return self._machine

    @property
    def read(self) -> Any:
        """The machine's pure reads, which see what is committed and nothing else: ``read.msgstat(caller, args)``."""
        return self._machine.read

    @property
    def full(self) -> bool:
        """Whether the disk is full: calls that bring bytes are refused with RIPC_ENOSPC."""
        return self._full

    @property
    def broken(self) -> bool:
        """Whether the last commit failed for another reason than a full disk."""
        return self._broken

    def figures(self) -> dict[str, int | bool]:
        """Tell how the journal does: for a console.

        Returns:
            keeps: whether anything is kept over a restart; commands: of all lives; logged_commands and logged_bytes:
            since the last snapshot; in_hand: not committed yet; snapshots: of this life; full and broken: see there.
        """
        return {
            "keeps": self._journal.keeps,
            "commands": self._ticket,
            "logged_commands": self._logged_commands,
            "logged_bytes": self._logged_bytes,
            "in_hand": self._in_hand + len(self._gathered),
            "snapshots": self.snapshots_taken,
            "full": self._full,
            "broken": self._broken,
        }

    # ---- the beginning and the end -----------------------------------------------------------------------------

    def start(self, started: machine_body, *, progress: Progress | None = None) -> None:
        """Replay the journal, then commit and apply the first command of this life. Blocks until that is done.

        Args:
            started: The SERVER_STARTED body: ``ipcserver.machine.start(boot, limits)``.
            progress: Called about once a second while a replay takes longer than that.

        Raises:
            StoreRefused: The store is damaged, foreign, newer or in use; nothing of it was changed.
            CommitFailed: The store cannot be written.
        """
        try:
            self._replay(self._journal.open(), progress)
            self._offset = self._clock - self._monotonic_ns()
            self._commit_first(self._entry(OP_SERVER_STARTED, argument(started)))
        except BaseException:
            self._journal.close()
            raise
        self._schedule_tick()

    def _replay(self, recovered: Recovered, progress: Progress | None) -> None:
        if recovered.snapshot is not None:
            try:
                self._ticket, self._clock = HEAD.unpack_from(recovered.snapshot)
                self._machine = self._machines.restore(recovered.snapshot[HEAD.size :])
            except (SnapshotUnreadable, ValueError, struct.error) as error:
                raise StoreDamaged(
                    recovered.source, f"its snapshot after batch {recovered.snapshot_number} cannot be read: {error}"
                ) from error
        apply = self._machine.apply
        count = size = 0
        shown = time.monotonic()
        # Everything that a replay makes stays, so looking for garbage among it is time lost.
        collecting = gc.isenabled()
        gc.disable()
        try:
            for batch in recovered.batches:
                for data in batch.commands:
                    try:
                        command = decode(data)
                    except ValueError as error:
                        reason = f"a command of batch {batch.number} cannot be read: {error}"
                        raise StoreDamaged(recovered.source, reason) from error
                    apply(command)
                    size += len(data)
                count += len(batch.commands)
                self._ticket = max(self._ticket, command.ticket)
                self._clock = max(self._clock, command.clock_ns)
                if progress is not None and time.monotonic() - shown >= 1:
                    shown = time.monotonic()
                    progress(count, recovered.commands)
        finally:
            if collecting:
                gc.enable()
        self._logged_commands, self._logged_bytes = count, size

    def _commit_first(self, entry: _Entry) -> None:
        """Commit and apply one command without the reactor, which does not run yet."""
        inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        deliver: Callable[[Callable[[], None]], object] = inbox.put
        self._journal.start(lambda call: deliver(call))  # noqa: PLW0108 - deliver changes below
        results: list[JournalError | None] = []
        self._journal.append([entry.encode()], results.append)
        while not results:
            inbox.get()()
        # Nothing else was appended, so nothing that anybody waits for can still come to the inbox.
        deliver = self._reactor.callFromThread
        if results[0] is not None:
            raise results[0]
        self._apply(entry)

    def stop(self) -> Deferred[None]:
        """Settle and answer everything submitted, then close the journal.

        Returns:
            Fires when the journal is closed. Calls that wait in the machine are not answered: they end with their
            connections, and are over when the next life begins.
        """
        if self._drained is None:
            self._drained = Deferred()
            self._flush()
            self._finish_turn()
            for call in (self._tick_call, self._mend_call):
                if call is not None and call.active():
                    call.cancel()
            self._close_if_drained()
        return self._drained

    def _close_if_drained(self) -> None:
        if self._drained is not None and not self._in_hand and not self._drained.called:
            self._journal.close()
            self._drained.callback(None)

    # ---- commands ----------------------------------------------------------------------------------------------

    def submit(
        self,
        op: int,
        args: Any,
        *,
        caller: machine_caller,
        connection: int = 0,
        xid: int = 0,
        done: Done | None = None,
    ) -> Outcome | None:
        """Have a command committed, applied and answered.

        Args:
            op: What to do: a machine_op, which is the number of its procedure.
            args: The procedure's argument.
            caller: On whose behalf.
            connection: The number of the connection it came by; 0 for datagrams.
            xid: The call's transaction id.
            done: Called once with the outcome, when it is there; not if it is returned. A call that waits is answered
                when its wait ends. After stop() nothing is accepted, and not answered: the connection is about to
                close.

        Returns:
            The outcome, if it is known at once: the journal keeps nothing, or the disk is full. Else None.
        """
        if self._drained is not None:
            return None
        if self._full and op in FILLING:
            return refusal(op, ipc.RIPC_ENOSPC)
        entry = self._entry(op, args, caller, connection, xid, done)
        if self._journal.keeps:
            self._gather(entry)
            return None
        outcome = self._apply(entry)
        self._schedule_tick()
        return outcome

    def connection_closed(self, connection: int) -> None:
        """Tell the machine that a connection is gone, if it may know of it.

        A full or broken disk does not lose the command: it is submitted until it is committed.

        Args:
            connection: The number that its commands carried.
        """
        if self._drained is not None:
            return
        if self._in_hand or self._gathered or self._machine.holds_connection(connection):
            self._enter_end(connection)

    def _enter_end(self, connection: int) -> None:
        self._ends_entered += 1
        if self._journal.keeps:
            self._ended.append(connection)
        self._enter(self._entry(OP_CONNECTION_CLOSED, None, connection=connection))

    def when_seen(self, read: Read, *, connection: int = 0) -> None:
        """Run a read when it sees what its caller may know of.

        Args:
            read: Called once: now, at the end of this turn of the reactor, or when the ends of connections that were
                noticed up to then are committed and applied, or refused by a broken disk.
            connection: The caller's own.
        """
        pending = self._in_hand or self._gathered or self._ends_settled < self._ends_entered
        if self._drained is not None or not (pending or self._machine.owes_others(connection)):
            read()
            return
        self._reads.append(read)
        if self._reads_call is None:
            self._reads_call = self._reactor.callLater(0, self._finish_turn)

    def _finish_turn(self) -> None:
        """Run the reads of a turn, or put them behind the ends of connections that are being committed."""
        if self._reads_call is not None and self._reads_call.active():
            self._reads_call.cancel()
        self._reads_call = None
        reads, self._reads = self._reads, []
        if self._ends_settled < self._ends_entered:
            self._reads_behind.append((self._ends_entered, reads))
        else:
            self._run(reads)

    def _run(self, reads: list[Read]) -> None:
        for read in reads:
            try:
                read()
            except Exception:  # noqa: BLE001 - one caller's fault must not cost the others their answers
                self._log.failure("An answer could not be delivered")

    def _entry(  # noqa: PLR0917 - as submit(), for every call
        self,
        op: int,
        args: Any,
        caller: machine_caller = _NOBODY,
        connection: int = 0,
        xid: int = 0,
        done: Done | None = None,
    ) -> _Entry:
        """Give a command its number and its time."""
        self._ticket += 1
        entry = _Entry(self._ticket, self._now(), int(self._wall()), caller, connection, xid, op, args)
        entry.done = done
        entry.retried = False
        return entry

    def _now(self) -> int:
        """Read the journal's clock, in nanoseconds: never less than before."""
        now = self._monotonic_ns() + self._offset
        self._clock = max(self._clock, now)
        return self._clock

    def _enter(self, entry: _Entry) -> None:
        """Bring a command that nobody waits for on its way."""
        if self._journal.keeps:
            self._gather(entry)
        else:
            self._apply(entry)
            self._schedule_tick()

    def _gather(self, entry: _Entry) -> None:
        self._gathered.append(entry)
        if self._flush_call is None:
            self._flush_call = self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        """Append what this turn of the reactor has gathered."""
        if self._flush_call is not None and self._flush_call.active():
            self._flush_call.cancel()
        self._flush_call = None
        gathered, self._gathered = self._gathered, []
        if self._ended:
            _bring_forward(gathered, self._ended)
            self._ended = []
        self._in_hand += len(gathered)
        step = self._settings.turn_slice
        for start in range(0, len(gathered), step):
            entries = gathered[start : start + step]
            encoded = [entry.encode() for entry in entries]
            self._logged_commands += len(entries)
            self._logged_bytes += sum(map(len, encoded))
            self._journal.append(encoded, partial(self._settled, entries))

    def _settled(self, entries: list[_Entry], error: JournalError | None) -> None:
        self._in_hand -= len(entries)
        if error is None:
            if self._broken:
                self._broken = False
                self._log.info("The journal can be written again")
            for entry in entries:
                outcome = self._apply(entry)
                if outcome is not None and entry.done is not None:
                    self._answer(entry.done, outcome)
            self._schedule_tick()
            self._snapshot_if_due()
        elif isinstance(error, JournalFull):
            self._became_full(error)
            self._refuse(entries, ipc.RIPC_ENOSPC)
        elif isinstance(error, CommitFailed):
            if not self._broken:
                self._broken = True
                self._log.error("{error}; calls are answered RIPC_EIO until it can be", error=error)
            self._refuse(entries, ipc.RIPC_EIO)
        while self._reads_behind and self._reads_behind[0][0] <= self._ends_settled:
            self._run(self._reads_behind.popleft()[1])
        self._close_if_drained()

    def _apply(self, entry: _Entry) -> Outcome | None:
        """Apply a command, and answer the calls of others that it ends.

        Returns:
            The command's own outcome; None if it has none, or waits.
        """
        op, ticket = entry.op, entry.ticket
        if op == OP_TICK:
            self._ticking = False
        elif op == OP_CONNECTION_CLOSED:
            self._ends_settled += 1
        answers = self._machine.apply(entry)
        if len(answers) == 1 and answers[0][0] == ticket:
            own: Outcome = answers[0][1]
            return own
        outcomes = dict(answers)
        outcome: Outcome | None = outcomes.pop(ticket, None)
        if outcome is None and entry.done is not None:
            self._waiting[ticket] = entry.done
        for other, ended in outcomes.items():
            done = self._waiting.pop(other, None)
            if done is not None:
                self._answer(done, ended)
        return outcome

    def _answer(self, done: Done, outcome: object) -> None:
        try:
            done(outcome)
        except Exception:  # noqa: BLE001 - one caller's fault must not cost the others their answers
            self._log.failure("An answer could not be delivered")

    # ---- time ----------------------------------------------------------------------------------------------------

    def _schedule_tick(self) -> None:
        """See that a TICK comes when the machine's next deadline does."""
        deadline = self._machine.next_deadline()
        if deadline is None or self._ticking or self._drained is not None:
            return
        if self._tick_call is not None:
            # Leases move their ends with every call: a timer that is too early is cheaper than a new one each time.
            if self._tick_at <= deadline:
                return
            self._tick_call.cancel()
        self._tick_at = deadline
        self._tick_call = self._reactor.callLater(max(0, deadline - self._now()) / 1e9, self._tick)

    def _tick(self) -> None:
        self._tick_call = None
        deadline = self._machine.next_deadline()
        if deadline is not None and deadline <= self._now() and not self._ticking:
            self._ticking = True
            self._enter(self._entry(OP_TICK, None))
        else:
            self._schedule_tick()

    # ---- a journal that cannot be written --------------------------------------------------------------------------

    def _became_full(self, error: JournalFull) -> None:
        if not self._full:
            self._full = True
            self._log.error(
                "{error}; calls that bring bytes are answered RIPC_ENOSPC until there is space", error=error
            )
            # A snapshot may make room: of a queue that is emptied as it fills, the log is nearly all of the store.
            self._take_snapshot_later()

    def _refuse(self, entries: list[_Entry], status: ipc.ripc_status) -> None:
        """Answer what was not committed, and keep what must be committed all the same."""
        for entry in entries:
            op = entry.op
            if op == OP_TICK:
                self._ticking = False
            elif op == OP_CONNECTION_CLOSED:
                self._ends_settled += 1
                self._owed.append(entry.connection)
            elif status == ipc.RIPC_ENOSPC and op not in FILLING and not entry.retried:
                again = self._entry(op, entry.args, entry.caller, entry.connection, entry.xid, entry.done)
                again.retried = True
                self._enter(again)
            elif entry.done is not None:
                self._answer(entry.done, refusal(op, status))
        if self._mend_call is None and self._drained is None:
            self._mend_call = self._reactor.callLater(self._settings.mend_seconds, self._mend)

    def _mend(self) -> None:
        """Try what failed again."""
        self._mend_call = None
        if self._full:
            self._journal.reclaim(self._reclaimed)
        self._submit_owed()
        self._schedule_tick()

    def _submit_owed(self) -> None:
        owed, self._owed = self._owed, []
        for connection in owed:
            self._enter_end(connection)

    def _reclaimed(self, error: JournalError | None) -> None:
        if self._drained is not None:
            return
        if error is None:
            self._full = False
            self._log.info("The journal has space again")
        elif self._mend_call is None:
            self._mend_call = self._reactor.callLater(self._settings.mend_seconds, self._mend)

    # ---- snapshots ---------------------------------------------------------------------------------------------------

    def _snapshot_if_due(self) -> None:
        settings = self._settings
        if self._logged_commands >= settings.snapshot_commands or self._logged_bytes >= settings.snapshot_bytes:
            self._take_snapshot_later()

    def _take_snapshot_later(self) -> None:
        # In a turn of its own, when the machine stands exactly where journal.settled says.
        if not self._snapshot_under_way and self._drained is None:
            self._snapshot_under_way = True
            self._reactor.callLater(0, self._take_snapshot)

    def _take_snapshot(self) -> None:
        self._logged_commands = self._logged_bytes = 0
        number = self._journal.settled
        head = HEAD.pack(self._ticket, self._clock)
        encode = self._machine.snapshot
        try:
            file = self._journal.scratch()
            fork_encoder(
                lambda: head + encode(),
                file,
                lambda whole: self._reactor.callFromThread(self._save_snapshot, number, file, whole),
            )
        except OSError as error:
            self._snapshot_saved(JournalUnwritable(_SNAPSHOT, str(error)))

    def _save_snapshot(self, number: int, file: IO[bytes], whole: bool) -> None:  # noqa: FBT001 - a callback
        if whole:
            self._journal.save_snapshot(number, read_parts(file), self._snapshot_saved)
        else:
            file.close()
            self._snapshot_saved(JournalUnwritable(_SNAPSHOT, "the child that encodes it failed"))

    def _snapshot_saved(self, error: JournalError | None) -> None:
        self._snapshot_under_way = False
        if error is None:
            self.snapshots_taken += 1
        elif not isinstance(error, JournalClosed):
            # The log only grows longer; the next one is due when it has grown as much again.
            self._log.warn("No snapshot could be taken: {error}", error=error)
