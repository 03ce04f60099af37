"""The machine: a command in, outcomes out."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from ipcserver._gen import machine as gen
from ipcserver._gen.ipc import RIPC_EBUSY, RIPC_EINTR, RIPC_OK
from ipcserver.hypers import from_hyper
from ipcserver.machine import outcomes, snapshot
from ipcserver.machine.accounts import Accounts
from ipcserver.machine.errors import Refused
from ipcserver.machine.limits import Limits
from ipcserver.machine.owners import Call, Owners
from ipcserver.machine.queues import Queues
from ipcserver.machine.reads import Reads
from ipcserver.machine.segments import Segments
from ipcserver.machine.semaphores import Semaphores
from ipcserver.machine.sessions import SEQUENCE_MASK, Sessions
from ipcserver.machine.waiting import Waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipcserver.machine.commands import Command
    from ipcserver.machine.outcomes import Outcome, Refusal

__all__ = ["Machine"]

Operation = tuple["Callable[[Call, Any], Outcome | None]", "Refusal", "Callable[[Any], Any]", "Callable[[Any], int]"]

_SERVER_STARTED: Final = int(gen.OP_SERVER_STARTED)
_CONTEXT: Final = attrgetter("ctx")
_CONTEXT_OF_SET: Final = attrgetter("set.ctx")


_FEW: Final = 8
"""More connections than these are not looked through for each read."""


def _small(_args: object) -> int:
    return 0


class Machine:
    """All queues, semaphore sets, segments and sessions, as the commands so far have left them.

    Args:
        limits: Those in force until the first SERVER_STARTED says otherwise. A replay must begin with the same ones:
            leave the default.

    Attributes:
        read: The procedures that change nothing.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.accounts = Accounts(limits or Limits())
        self.waits = Waits(self.accounts)
        self.owners = Owners()
        self.queues = Queues(self.accounts, self.waits)
        self.semaphores = Semaphores(self.accounts, self.waits)
        self.segments = Segments(self.accounts, self.waits)
        self.sessions = Sessions(self.accounts, self.waits, self.owners, self.queues, self.semaphores, self.segments)
        self.read = Reads(self)
        self._operations = self._table()
        self._others: dict[int, Callable[[Command], None]] = {
            gen.OP_HELLO: self._hello,
            gen.OP_RENEW: self._renew,
            gen.OP_GOODBYE: self._goodbye,
            gen.OP_CANCEL: self._cancel,
            gen.OP_TICK: self._tick,
            gen.OP_CONNECTION_CLOSED: self._connection_closed,
            gen.OP_SERVER_STARTED: self._server_started,
        }

    def _table(self) -> dict[int, Operation]:
        queues, sets, segments = self.queues, self.semaphores, self.segments
        rows: tuple[tuple[int, Callable[[Call, Any], Outcome | None], Refusal], ...] = (
            (gen.OP_MSGGET, queues.get, outcomes.id_refusal),
            (gen.OP_MSGSND, queues.send, outcomes.status_refusal),
            (gen.OP_MSGRCV, queues.receive, outcomes.msgrcv_refusal),
            (gen.OP_MSGSET, queues.set, outcomes.status_refusal),
            (gen.OP_MSGRMID, queues.remove, outcomes.status_refusal),
            (gen.OP_SEMGET, sets.get, outcomes.id_refusal),
            (gen.OP_SEMOP, sets.operate, outcomes.status_refusal),
            (gen.OP_SEMSET, sets.set, outcomes.status_refusal),
            (gen.OP_SEMRMID, sets.remove, outcomes.status_refusal),
            (gen.OP_SEMSETVAL, sets.set_value, outcomes.status_refusal),
            (gen.OP_SEMSETALL, sets.set_all, outcomes.status_refusal),
            (gen.OP_SHMGET, segments.get, outcomes.id_refusal),
            (gen.OP_SHMAT, segments.attach, outcomes.int_refusal),
            (gen.OP_SHMDT, segments.detach, outcomes.status_refusal),
            (gen.OP_SHMWRITE, segments.write, outcomes.stamp_refusal),
            (gen.OP_SHMCAS, segments.swap, outcomes.word_refusal),
            (gen.OP_SHMADD, segments.add, outcomes.word_refusal),
            (gen.OP_SHMWAIT, segments.wait, outcomes.stamp_refusal),
            (gen.OP_SHMSET, segments.set, outcomes.status_refusal),
            (gen.OP_SHMRMID, segments.remove, outcomes.status_refusal),
        )
        # How many bytes a call carries beside its few numbers.
        data: dict[int, Callable[[Any], int]] = {
            gen.OP_MSGSND: lambda args: len(args.mtext),
            gen.OP_SHMWRITE: lambda args: len(args.data),
            gen.OP_SEMSETALL: lambda args: 4 * len(args.vals),
            gen.OP_SEMOP: lambda args: 12 * len(args.sops),
        }
        return {
            op: (operation, refusal, _CONTEXT_OF_SET if op == gen.OP_MSGSET else _CONTEXT, data.get(op, _small))
            for op, operation, refusal in rows
        }

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self.accounts.limits

    @property
    def boot(self) -> int:
        """What the last SERVER_STARTED said."""
        return self.sessions.boot

    @property
    def clock_ns(self) -> int:
        """The time of the last command; the next life of the server goes on from it."""
        return self.accounts.clock_ns

    def apply(self, command: Command) -> list[tuple[int, Outcome]]:
        """Carry out a command.

        What was due by its time comes first: waits end, leases end.

        Args:
            command: The next one; the order of commands is what all copies of the machine agree on.

        Returns:
            The outcomes that came about, as (ticket, result): of the command itself unless it waits, and of calls that
            waited and do no longer.
        """
        accounts, waits, sessions, op = self.accounts, self.waits, self.sessions, command.op
        answers = waits.answers = []
        now = accounts.clock_ns = max(accounts.clock_ns, command.clock_ns)
        accounts.time_s = command.time_s
        # Nothing ends by its time while the server was away: SERVER_STARTED renews the leases first.
        if op != _SERVER_STARTED:
            if waits.deadlines and waits.deadlines[0][0] <= now:
                waits.expire(now)
            if sessions.ends and sessions.ends[0][0] <= now:
                sessions.expire(now)
        operation = self._operations.get(op)
        if operation is None:
            self._others[op](command)
            return answers
        outcome = self._call(command, operation)
        if outcome is not None:
            answers.append((command.ticket, outcome))
        return answers

    def _call(self, command: Command, operation: Operation) -> Outcome | None:
        """Carry out a call of a client, once."""
        perform, refusal, context, data = operation
        args, caller, connection = command.args, command.caller, command.connection
        ctx = context(args)
        number = ctx.session.hi << 32 | ctx.session.lo
        if not number:
            call = Call(caller, ctx.pid, command.ticket, connection, command.xid, self.owners, None, None)
            try:
                return perform(call, args)
            except Refused as refused:
                return refusal(refused.status)
        sessions = self.sessions
        try:
            session = sessions.find(number)
            sessions.hear(session, connection)
            slot = sessions.slot(session, ctx.slot)
            if ctx.seq != (slot.seq + 1) & SEQUENCE_MASK:
                return sessions.again(slot, ctx.seq, command)
        except Refused as refused:
            return refusal(refused.status)
        if slot.waiter is not None:
            return refusal(RIPC_EBUSY)
        slot.take(ctx.seq, command.op, args, caller.uid, data(args))
        call = Call(caller, ctx.pid, command.ticket, connection, command.xid, self.owners, session, slot)
        try:
            outcome = perform(call, args)
        except Refused as refused:
            outcome = refusal(refused.status)
        if outcome is not None:
            slot.outcome = outcome
        return outcome

    def _hello(self, command: Command) -> None:
        try:
            outcome = self.sessions.hello(command.caller, command.connection, command.args)
        except Refused as refused:
            outcome = outcomes.hello_refusal(refused.status)
        self.waits.answers.append((command.ticket, outcome))

    def _renew(self, command: Command) -> None:
        try:
            outcome = self.sessions.renew(command.connection, command.args)
        except Refused as refused:
            outcome = refused.status
        self.waits.answers.append((command.ticket, outcome))

    def _goodbye(self, command: Command) -> None:
        try:
            outcome = self.sessions.goodbye(from_hyper(command.args))
        except Refused as refused:
            outcome = refused.status
        self.waits.answers.append((command.ticket, outcome))

    def _cancel(self, command: Command) -> None:
        """End a wait; the answer comes after that of the call that waited."""
        args = command.args
        outcome: Outcome = RIPC_OK
        try:
            if from_hyper(args.session):
                self.sessions.cancel(command.connection, args)
            else:
                self._cancel_by_xid(command.connection, args.xid)
        except Refused as refused:
            outcome = refused.status
        self.waits.answers.append((command.ticket, outcome))

    def _cancel_by_xid(self, connection: int, xid: int) -> None:
        # Over UDP (connection 0) an xid alone does not say whose call it is.
        owner = self.owners.connections.get(connection)
        if owner is None:
            return
        for arrival in [arrival for arrival, waiter in owner.waits.items() if waiter.call.xid == xid]:
            waiter = owner.waits[arrival]
            self.waits.finish(waiter, waiter.refusal(RIPC_EINTR))

    def _tick(self, _command: Command) -> None:
        """Time has passed: what was due is done already."""

    def _connection_closed(self, command: Command) -> None:
        self.sessions.connection_closed(command.connection)

    def _server_started(self, command: Command) -> None:
        self.accounts.limits = Limits.from_xdr(command.args.limits)
        self.sessions.server_started(command.args.boot)

    def next_deadline(self) -> int | None:
        """Give the clock_ns at which a TICK is due: a wait or a lease ends then. None: nothing ends by itself."""
        if not (self.waits.deadlines or self.sessions.ends):
            return None
        first, second = self.waits.next_deadline(), self.sessions.next_deadline()
        if first is None or second is None:
            return second if first is None else first
        return min(first, second)

    def holds_connection(self, connection: int) -> bool:
        """Tell whether CONNECTION_CLOSED for it would change anything, as far as commands have been applied."""
        found = self.owners.connections.get(connection)
        return found is not None and not found.idle

    def owes_others(self, connection: int) -> bool:
        """Tell whether the end of any other connection than this would undo something; rather too often than not."""
        connections = self.owners.connections
        if len(connections) > _FEW:
            return True
        return any(other.undoes for number, other in connections.items() if number != connection)

    def snapshot(self) -> bytes:
        """Encode everything (machine_snapshot of machine.x); equal machines give equal bytes."""
        return snapshot.encode(self)

    @classmethod
    def restore(cls, data: bytes) -> Machine:
        """Make the machine that a snapshot was taken of.

        Raises:
            SnapshotUnreadable: The snapshot is damaged, or of another format.
        """
        machine = cls()
        snapshot.decode_into(machine, data)
        return machine
