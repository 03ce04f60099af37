"""Sessions: leases, slots with sequence numbers, and the outcomes that are kept for calls sent again.

A session is known by a number that only its client can know: it is made from the client's random nonce. Whoever has the
number may speak in the session, under any uid (programs change theirs), but an outcome that was kept is given only to
the uid that called.
"""

from __future__ import annotations

from hashlib import blake2b
from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Any, Final

import xdr
from ipcserver._gen.ipc import (
    RIPC_BOUND,
    RIPC_EBUSY,
    RIPC_EFALSERETRY,
    RIPC_EINTR,
    RIPC_EINVAL,
    RIPC_EMISORDERED,
    RIPC_ENOSESSION,
    RIPC_ENOSPC,
    RIPC_OK,
    ripc_hello_ok,
    ripc_hello_res_RIPC_OK,
)
from ipcserver._gen.machine import OWNER_SESSION, machine_body
from ipcserver.hypers import from_hyper, to_hyper
from ipcserver.machine.commands import body
from ipcserver.machine.errors import Refused
from ipcserver.machine.limits import MESSAGE_OVERHEAD
from ipcserver.machine.owners import Owner
from ipcserver.machine.waiting import MILLISECOND

if TYPE_CHECKING:
    from ipcserver._gen.ipc import ripc_cancel_args, ripc_hello_args, ripc_renew_args, ripc_status
    from ipcserver._gen.machine import machine_caller
    from ipcserver.machine.accounts import Accounts
    from ipcserver.machine.backlog import Message
    from ipcserver.machine.commands import Command
    from ipcserver.machine.outcomes import Outcome
    from ipcserver.machine.owners import Connection, Owners
    from ipcserver.machine.queues import Queues
    from ipcserver.machine.segments import Segments
    from ipcserver.machine.semaphores import Semaphores
    from ipcserver.machine.waiting import Waiter, Waits

__all__ = ["Session", "Sessions", "Slot"]

DIGEST_BYTES: Final = 16
SEQUENCE_MASK: Final = 0xFFFFFFFF
LARGE: Final = 512
"""Bytes of data from which on the digest of a call is made at once, so that the data is not kept for it."""
MOST_TICKETS: Final = 8
"""Copies of a waiting call that are answered; a client that sends it again drops the older ones."""


class Slot:
    """A slot: the last call that took it, and what came of it.

    Attributes:
        seq: The sequence number of the last call; 0: there was none.
        waiter: That call, while it waits.
        outcome: What it came to; None while it waits, and once it was acknowledged.
        held: The queue and the message that it received, until the client has acknowledged it.
    """

    __slots__ = ("_args", "_digest", "_op", "_uid", "accounts", "held", "outcome", "seq", "session", "waiter")

    def __init__(self, session: Session, accounts: Accounts) -> None:
        self.session = session
        self.accounts = accounts
        self.seq = 0
        self.waiter: Waiter | None = None
        self.outcome: Outcome | None = None
        self.held: tuple[int, Message] | None = None
        self._op = 0
        self._args: Any = None
        self._digest = b""
        self._uid = 0

    def take(self, seq: int, op: int, args: Any, uid: int, data: int) -> None:
        """Begin the slot's next call, which acknowledges the last one; ``data`` is how many bytes the call carries."""
        if self.held is not None:
            self.release()
        self.seq = seq
        self.outcome = None
        # Hardly any call is ever sent again: its digest is made when it is asked for, from the call itself.
        self._op, self._args, self._uid = op, args, uid
        if data > LARGE:
            self.digest()

    def digest(self) -> bytes:
        """Give the digest of the last call's arguments and caller."""
        if self._args is not None:
            self._digest = _digest(self._op, self._args, self._uid)
            self._args = None
        return self._digest

    def restore(self, seq: int, digest: bytes, outcome: Outcome | None, held: tuple[int, Message] | None) -> None:
        """Fill a slot from a snapshot; a waiter enters itself."""
        self.seq, self._digest, self.outcome = seq, digest, outcome
        if held is not None:
            self.hold(*held)

    def matches(self, command: Command) -> bool:
        """Tell whether a call with the same number is the same call, from the same uid."""
        return _digest(command.op, command.args, command.caller.uid) == self.digest()

    def finish(self, outcome: Outcome) -> None:
        """Keep what a waiting call came to."""
        self.waiter = None
        self.outcome = outcome

    def hold(self, queue: int, message: Message) -> None:
        """Keep a received message, reckoned to the session, until it is acknowledged."""
        self.held = (queue, message)
        self.accounts.charge_message(self.session.uid, len(message[2]) + MESSAGE_OVERHEAD)

    def release(self) -> tuple[int, Message] | None:
        """Keep the received message no longer, and give it."""
        held, self.held = self.held, None
        if held is not None:
            self.accounts.charge_message(self.session.uid, -len(held[1][2]) - MESSAGE_OVERHEAD)
        return held

    def acknowledge(self, seq: int) -> None:
        """The answer to the call with this number has arrived."""
        if seq == self.seq and self.waiter is None:
            self.release()
            self.outcome = None


def _digest(op: int, args: Any, uid: int) -> bytes:
    data = xdr.encode(machine_body, body(op, args))
    return blake2b(data, digest_size=DIGEST_BYTES, salt=uid.to_bytes(4, "big")).digest()


class Session(Owner):
    """A session.

    Attributes:
        uid: Of the caller who said HELLO; the session is reckoned to it.
        heard_ns: When its client was last heard of.
        connections: Those it was heard through.
    """

    __slots__ = (
        "connections",
        "flags",
        "heard_ns",
        "host",
        "lease_ms",
        "nonce",
        "pid",
        "slots",
        "slots_allowed",
        "uid",
    )

    kind = OWNER_SESSION

    def __init__(
        self, id: int, uid: int, nonce: int, *, host: str, pid: int, flags: int, slots: int, lease_ms: int
    ) -> None:
        super().__init__(id)
        self.uid = uid
        self.nonce = nonce
        self.host = host
        self.pid = pid
        self.flags = flags
        self.lease_ms = lease_ms
        self.heard_ns = 0
        self.connections: dict[int, Connection] = {}
        self.slots: list[Slot] = []
        self.slots_allowed = slots

    @property
    def ends_ns(self) -> int | None:
        """When it ends if it stays silent; None: while a bound session's connection lasts."""
        if self.flags & RIPC_BOUND and self.connections:
            return None
        return self.heard_ns + self.lease_ms * MILLISECOND


class Sessions:
    """All sessions, and what the end of a session or connection undoes."""

    __slots__ = (
        *("_accounts", "_by_nonce", "_owners", "_queues", "_segments", "_semaphores", "_waits"),
        *("boot", "by_id", "ends", "next_session"),
    )

    def __init__(  # noqa: PLR0917 - the parts of the machine, each of its own type
        self,
        accounts: Accounts,
        waits: Waits,
        owners: Owners,
        queues: Queues,
        semaphores: Semaphores,
        segments: Segments,
    ) -> None:
        self._accounts = accounts
        self._waits = waits
        self._owners = owners
        self._queues = queues
        self._semaphores = semaphores
        self._segments = segments
        self.boot = 0
        self.next_session = 1
        self.by_id: dict[int, Session] = {}
        self._by_nonce: dict[tuple[int, int], Session] = {}
        self.ends: list[tuple[int, int]] = []
        """a heap of (time, session); the time is perhaps too early"""

    def hello(self, caller: machine_caller, connection: int, args: ripc_hello_args) -> Outcome:
        """Open a session, or find it again by its nonce.

        Raises:
            Refused: RIPC_ENOSPC or RIPC_EQUOTA if there are too many.
        """
        limits = self._accounts.limits
        nonce = from_hyper(args.nonce)
        session = self._by_nonce.get((caller.uid, nonce))
        if session is None:
            if len(self.by_id) >= limits.sessions:
                raise Refused(RIPC_ENOSPC)
            self._accounts.add_session(caller.uid)
            lease_ms = (
                min(max(args.lease_ms, limits.lease_min_ms), limits.lease_max_ms) if args.lease_ms else limits.lease_ms
            )
            slots = min(max(args.slots, 1), limits.session_slots)
            session = Session(
                self._new_id(caller.uid, nonce),
                caller.uid,
                nonce,
                host=args.host,
                pid=args.pid,
                flags=args.flags,
                slots=slots,
                lease_ms=lease_ms,
            )
            self._enter(session)
        self.hear(session, connection)
        ok = ripc_hello_ok(
            session=to_hyper(session.id),
            boot=to_hyper(self.boot),
            slots=session.slots_allowed,
            lease_ms=session.lease_ms,
        )
        return ripc_hello_res_RIPC_OK(ok)

    def _new_id(self, uid: int, nonce: int) -> int:
        # Nobody but the client knows its nonce, so nobody else can make this number.
        while True:
            text = b"%d %d %d %d" % (self.boot, self.next_session, uid, nonce)
            self.next_session += 1
            number = int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 1
            if number and number not in self.by_id:
                return number

    def _enter(self, session: Session) -> None:
        self.by_id[session.id] = session
        self._by_nonce[session.uid, session.nonce] = session

    def restore(self, session: Session, connections: list[int]) -> None:
        """Enter a session of a snapshot, its slots apart."""
        self._accounts.add_session(session.uid, restored=True)
        self._enter(session)
        for connection in connections:
            self._join(session, connection)
        self._await_end(session)

    def find(self, id: int) -> Session:
        """Give a session.

        Raises:
            Refused: RIPC_ENOSESSION.
        """
        session = self.by_id.get(id)
        if session is None:
            raise Refused(RIPC_ENOSESSION)
        return session

    def hear(self, session: Session, connection: int) -> None:
        """The client has been heard of: its lease begins anew."""
        fresh = not session.heard_ns
        session.heard_ns = self._accounts.clock_ns
        if connection and connection not in session.connections:
            self._join(session, connection)
        if fresh:
            self._await_end(session)

    def _join(self, session: Session, connection: int) -> None:
        through = self._owners.connection(connection)
        session.connections[connection] = through
        through.sessions[session.id] = session

    def _await_end(self, session: Session) -> None:
        ends = session.ends_ns
        if ends is not None:
            heappush(self.ends, (ends, session.id))

    def slot(self, session: Session, number: int) -> Slot:
        """Give a slot; it is made when it is first used.

        Raises:
            Refused: RIPC_EINVAL if the session has no such slot.
        """
        slots = session.slots
        if number >= len(slots):
            if number >= session.slots_allowed:
                raise Refused(RIPC_EINVAL)
            slots.extend(Slot(session, self._accounts) for _ in range(number + 1 - len(slots)))
        return slots[number]

    def again(self, slot: Slot, seq: int, command: Command) -> Outcome | None:
        """Answer a call whose number is not the slot's next: one that was sent again, or a wrong one.

        Returns:
            What the call came to; None if it still waits, and its outcome will go to this ticket too.

        Raises:
            Refused: RIPC_EMISORDERED, RIPC_EFALSERETRY.
        """
        waiter, outcome = slot.waiter, slot.outcome
        if seq != slot.seq or (waiter is None and outcome is None):
            raise Refused(RIPC_EMISORDERED)
        if not slot.matches(command):
            raise Refused(RIPC_EFALSERETRY)
        if waiter is None:
            return outcome
        if len(waiter.tickets) >= MOST_TICKETS:
            oldest, _ = waiter.tickets.pop(0)
            self._waits.answers.append((oldest, waiter.refusal(RIPC_EBUSY)))
        self._waits.attach(waiter, command.ticket, command.connection)
        return None

    def renew(self, connection: int, args: ripc_renew_args) -> Outcome:
        """Renew the lease, and let go of what was acknowledged.

        Raises:
            Refused: RIPC_ENOSESSION.
        """
        session = self.find(from_hyper(args.session))
        self.hear(session, connection)
        for ack in args.acks:
            if ack.slot < len(session.slots):
                session.slots[ack.slot].acknowledge(ack.seq)
        return RIPC_OK

    def goodbye(self, id: int) -> Outcome:
        """End a session: everything it received has arrived.

        Raises:
            Refused: RIPC_ENOSESSION.
        """
        session = self.find(id)
        for slot in session.slots:
            slot.release()
        self._end_session(session, RIPC_EINTR)
        return RIPC_OK

    def cancel(self, connection: int, args: ripc_cancel_args) -> None:
        """End a waiting call with RIPC_EINTR; a call that does not wait is left alone.

        Raises:
            Refused: RIPC_ENOSESSION.
        """
        session = self.find(from_hyper(args.session))
        self.hear(session, connection)
        number, seq = args.slot, args.seq
        if number < len(session.slots) and session.slots[number].seq == seq:
            waiter = session.slots[number].waiter
            if waiter is not None:
                self._waits.finish(waiter, waiter.refusal(RIPC_EINTR))

    def connection_closed(self, id: int) -> None:
        """Undo what an implicit session left, and let the waits of explicit ones sleep."""
        connection = self._owners.connections.get(id)
        if connection is None:
            return
        # First nobody is there any more; only then is undone what may wake others.
        for number in sorted(connection.sessions):
            session = connection.sessions[number]
            del session.connections[id]
            for arrival in sorted(session.waits):
                self._waits.detach(session.waits[arrival], id)
        self._undo(connection, RIPC_EINTR)
        for number in sorted(connection.sessions):
            session = connection.sessions[number]
            if session.flags & RIPC_BOUND and not session.connections:
                self._end_session(session, RIPC_EINTR)
        del self._owners.connections[id]

    def server_started(self, boot: int) -> None:
        """End all connections of the former life, and give every session its lease again.

        A bound session lives on as well: it was not its client who ended the connection.
        """
        self.boot = boot
        waits = self._waits
        for arrival in sorted(waits.by_arrival):
            waits.sleep(waits.by_arrival[arrival])
        for connection in (self._owners.datagrams, *(c for _, c in sorted(self._owners.connections.items()))):
            self._undo(connection, RIPC_EINTR)
        self._owners.connections.clear()
        self.ends.clear()
        for number in sorted(self.by_id):
            session = self.by_id[number]
            session.connections.clear()
            session.heard_ns = self._accounts.clock_ns
            self._await_end(session)

    def expire(self, now: int) -> None:
        """End the sessions whose lease is over."""
        ends = self.ends
        while ends and ends[0][0] <= now:
            _, number = heappop(ends)
            session = self.by_id.get(number)
            if session is None or (really := session.ends_ns) is None:
                continue
            if really > now:
                heappush(ends, (really, number))
            else:
                self._end_session(session, RIPC_ENOSESSION)

    def next_deadline(self) -> int | None:
        """Give the time at which the next lease ends."""
        ends = self.ends
        while ends:
            end, number = ends[0]
            session = self.by_id.get(number)
            if session is None or (really := session.ends_ns) is None:
                heappop(ends)
            elif really != end:
                heapreplace(ends, (really, number))
            else:
                return end
        return None

    def _end_session(self, session: Session, status: ripc_status) -> None:
        """End a session: its waits, then its messages not acknowledged, its adjustments, its attachments."""
        del self.by_id[session.id]
        del self._by_nonce[session.uid, session.nonce]
        self._accounts.remove_session(session.uid)
        for connection in session.connections.values():
            del connection.sessions[session.id]
        session.connections = {}
        self._undo(session, status)

    def _undo(self, owner: Owner, status: ripc_status) -> None:
        for arrival in sorted(owner.waits):
            # An earlier one may have had to do with a later one: the list is a copy.
            waiter = owner.waits.get(arrival)
            if waiter is not None:
                self._waits.finish(waiter, waiter.refusal(status))
        if isinstance(owner, Session):
            held = [found for slot in owner.slots if (found := slot.release()) is not None]
            for queue, message in sorted(held):
                self._queues.give_back(queue, message)
        for number in sorted(owner.adjusted):
            self._semaphores.undo(number, owner)
        for number in sorted(owner.attached):
            self._segments.let_go(number, owner)
