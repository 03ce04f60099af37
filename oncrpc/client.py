"""The client's side of RPC without I/O: xids, calls under way, retransmission, replies (RFC 5531, sections 5 and 9).

Two cores, one for byte streams and one for datagrams, are driven alike: start calls, send what they give to send,
feed them what was received, take events until there are none, and call handle_timer() when get_timer() is due.
They keep no clock: every time is handed in, in seconds on any monotonic scale. They raise nothing for what a peer
sends: a bad reply fails its call, a bad stream fails all of them, and the rest is counted and dropped.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oncrpc.errors import (
    ArgumentsNotEncodable,
    CallTimedOut,
    MalformedMessage,
    NotConnected,
    RemoteRPCError,
    RPCError,
)
from oncrpc.identity import NOBODY, Identity
from oncrpc.message import CALL, REPLY, RPC_VERSION, message_type
from oncrpc.records import RecordReader, frame_record
from oncrpc.replies import parse_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = [
    "MAX_DATAGRAM",
    "Answered",
    "Called",
    "DatagramClient",
    "Event",
    "Failed",
    "Retransmission",
    "StreamClient",
]

MAX_DATAGRAM: Final = 65507
"""Most bytes of one UDP payload over IPv4 (65,535 less the two headers)."""

MANY_TIMERS: Final = 1000
"""Dead timers that are kept before they are swept out together."""

_HEADER: Final = Struct(">6I")
_AFTER_KIND: Final = Struct(">4I")
_PLAIN_SUCCESS: Final = (0, 0, 0, 0)
_PLAIN_SIZE: Final = 24


@dataclass(frozen=True, slots=True)
class Retransmission:
    """When a call by datagram is sent again.

    Args:
        first: Seconds before the first retransmission. NFS clients take 1.1, libtirpc 15 for all.
        factor: Each wait is this many times the one before it.
        longest: Seconds; no wait is longer.
        jitter: Share of each wait that is left to chance, so that clients that lost the same server do not
            come back in step: 0.25 makes a wait of 1 s one of 0.75 to 1.25 s.
    """

    first: float = 1.0
    factor: float = 2.0
    longest: float = 15.0
    jitter: float = 0.25

    def wait(self, sent: int, chance: float) -> float:
        """Seconds until the next transmission.

        Args:
            sent: How often the call was sent so far, 1 or more.
            chance: From 0 to 1; 0.5 is the plain wait.
        """
        # The exponent is bounded: a float overflows long before a patient client gives up.
        plain = min(self.longest, self.first * self.factor ** min(sent - 1, 64))
        return plain * (1 + self.jitter * (2 * chance - 1))


class Answered(NamedTuple):
    """A call succeeded."""

    token: Any
    """what start() was given"""
    results: memoryview | bytes
    """the encoded results"""


class Failed(NamedTuple):
    """A call will give no result."""

    token: Any
    """what start() was given"""
    error: RPCError
    """why"""


class Called(NamedTuple):
    """The peer calls us on the same connection (reverse direction)."""

    message: bytes
    """the whole CALL message"""


Event = Answered | Failed | Called


class _Pending:
    """A call under way."""

    __slots__ = ("deadline", "identity", "message", "peer", "sent", "token")

    def __init__(self, token: object, identity: Identity, deadline: float | None) -> None:
        self.token = token
        self.identity = identity
        self.deadline = deadline
        self.message = b""
        self.peer: Hashable = None
        self.sent = 0


class _Calls:
    """What both cores share: xids, calls under way, timers, events."""

    def __init__(self, first_xid: int) -> None:
        self.unmatched = 0
        """Messages received that belong to no call under way: late, doubled, forged or unreadable."""
        self._next_xid = first_xid & 0xFFFFFFFF
        self._pending: dict[int, _Pending] = {}
        # (when, xid, call): an entry whose call is no longer the one under way is dead, and dropped when it comes up.
        self._timers: list[tuple[float, int, int, _Pending]] = []
        self._timer_number = 0
        self._events: deque[Event] = deque()

    @property
    def pending(self) -> int:
        """How many calls wait for their replies."""
        return len(self._pending)

    def next_event(self) -> Event | None:
        """The oldest event not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        """When handle_timer() must be called next; None if there is nothing to wait for."""
        while self._timers:
            when, xid, _, call = self._timers[0]
            if self._pending.get(xid) is call:
                return when
            heappop(self._timers)
        return None

    def _take_xid(self) -> int:
        xid = self._next_xid
        while xid in self._pending:
            xid = xid + 1 & 0xFFFFFFFF
        self._next_xid = xid + 1 & 0xFFFFFFFF
        return xid

    def _add_timer(self, when: float, xid: int, call: _Pending) -> None:
        self._timer_number += 1
        if len(self._timers) > 2 * len(self._pending) + MANY_TIMERS:
            # Fast calls leave their timers behind; without this a long timeout would collect them by the million.
            self._timers = [timer for timer in self._timers if self._pending.get(timer[1]) is timer[3]]
            heapify(self._timers)
        heappush(self._timers, (when, xid, self._timer_number, call))

    def _due(self, now: float) -> list[tuple[int, _Pending]]:
        due = []
        while self._timers and self._timers[0][0] <= now:
            _, xid, _, call = heappop(self._timers)
            if self._pending.get(xid) is call:
                due.append((xid, call))
        return due

    def _finish(self, call: _Pending, message: bytes | bytearray) -> None:
        """Make the reply to a call an event."""
        identity = call.identity
        # The header of nearly every reply: MSG_ACCEPTED, a verifier AUTH_NONE of no bytes, SUCCESS.
        if (
            not identity.verifies
            and len(message) >= _PLAIN_SIZE
            and _AFTER_KIND.unpack_from(message, 8) == _PLAIN_SUCCESS
        ):
            self._events.append(Answered(call.token, memoryview(message)[_PLAIN_SIZE:]))
            return
        try:
            header = parse_reply(message)
            results = identity.unseal(header, memoryview(message)[header.results :])
        except RPCError as error:
            self._events.append(Failed(call.token, error))
        else:
            self._events.append(Answered(call.token, results))

    def _fail_all(self, error: RPCError) -> None:
        pending, self._pending = self._pending, {}
        self._timers.clear()
        for call in pending.values():
            self._events.append(Failed(call.token, error))


class StreamClient(_Calls):
    """Calls over one connection, pipelined: replies may come in any order.

    Args:
        first_xid: Where xids begin; take a random one, so that a reconnecting client is not taken for its former self.
        max_record: Most bytes of one reply. The record mark alone decides (RFC 5531, section 11).
        max_empty_fragments: Most zero-length fragments in one reply.
        fragment_size: Most bytes of one fragment sent; 0 sends each record as one.
    """

    def __init__(
        self,
        *,
        first_xid: int,
        max_record: int = 4 << 20,
        max_empty_fragments: int = 1024,
        fragment_size: int = 0,
    ) -> None:
        super().__init__(first_xid)
        self.closed: RPCError | None = None
        """Why nothing can be called any more; None while the connection is good."""
        self._records = RecordReader(max_record, max_empty_fragments)
        self._fragment_size = fragment_size
        # By xid, in the order of sending: a call that ends before it went out takes its bytes with it.
        self._unsent: dict[int, bytes] = {}
        self._unsent_number = -1

    def start(
        self,
        token: object,
        program: int,
        version: int,
        procedure: int,
        arguments: bytes,
        *,
        now: float,
        timeout: float | None = None,
        identity: Identity = NOBODY,
    ) -> int:
        """Start a call; its outcome is an Answered or Failed event with the token.

        Args:
            token: Comes back in the event.
            program: Program number.
            version: Its version.
            procedure: Procedure number.
            arguments: Encoded.
            now: The time.
            timeout: Seconds from now to the complete reply; None waits for ever.
            identity: Who calls.

        Returns:
            The xid, for cancel().

        Raises:
            NotConnected: The connection is closed.
        """
        self._check_open()
        xid = self._take_xid()
        deadline = None if timeout is None else now + timeout
        call = self._pending[xid] = _Pending(token, identity, deadline)
        if deadline is not None:
            self._add_timer(deadline, xid, call)
        message = identity.seal(_HEADER.pack(xid, CALL, RPC_VERSION, program, version, procedure), arguments)
        self._unsent[xid] = frame_record(message, self._fragment_size)
        return xid

    def send_one_way(
        self, program: int, version: int, procedure: int, arguments: bytes, *, identity: Identity = NOBODY
    ) -> None:
        """Queue a call that has no reply (RFC 5531, section 8.4.1). A reply that comes nevertheless is dropped.

        Args: As for start().

        Raises:
            NotConnected: The connection is closed.
        """
        self._check_open()
        header = _HEADER.pack(self._take_xid(), CALL, RPC_VERSION, program, version, procedure)
        self.send_message(identity.seal(header, arguments))

    def send_message(self, message: bytes) -> None:
        """Queue a message of another kind: the reply to a call in the reverse direction.

        Raises:
            NotConnected: The connection is closed.
        """
        self.send_framed(frame_record(message, self._fragment_size))

    def send_framed(self, data: bytes) -> None:
        """Queue whole records with their marks.

        Raises:
            NotConnected: The connection is closed.
        """
        self._check_open()
        # Negative keys: never an xid, and never cancelled.
        self._unsent[self._unsent_number] = data
        self._unsent_number -= 1

    def data_to_send(self, limit: int | None = None) -> bytes:
        """Take queued bytes, whole records, oldest first.

        Args:
            limit: Stop after the record that reaches so many bytes; None takes all. What is not taken can
                still be cancelled.
        """
        if limit is None or len(self._unsent) == 1:
            data = b"".join(self._unsent.values())
            self._unsent.clear()
            return data
        parts, size = [], 0
        while self._unsent and size < limit:
            part = self._unsent.pop(next(iter(self._unsent)))
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    @property
    def wants_to_send(self) -> bool:
        """True if data_to_send() would give bytes."""
        return bool(self._unsent)

    def cancel(self, xid: int) -> bool:
        """Forget a call: its timer, and its bytes if they were not taken yet. No event follows.

        Returns:
            True if the call was under way.
        """
        self._unsent.pop(xid, None)
        return self._pending.pop(xid, None) is not None

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer in any split; then take events.

        A record mark beyond the limit ends the connection: `closed` tells, and all calls fail.
        """
        if self.closed is not None:
            return
        self._records.receive_data(data)
        try:
            while (record := self._records.next_record()) is not None:
                self._receive_record(record)
        except RemoteRPCError as error:
            self.connection_lost(error)

    def _receive_record(self, record: bytes | bytearray) -> None:
        try:
            xid, kind = message_type(record)
        except MalformedMessage:
            self.unmatched += 1
            return
        if kind == CALL:
            self._events.append(Called(bytes(record)))
        elif (call := self._pending.pop(xid, None)) is None:
            self.unmatched += 1
        elif kind == REPLY:
            self._unsent.pop(xid, None)
            self._finish(call, record)
        else:
            self._events.append(Failed(call.token, MalformedMessage(f"msg_type {kind}")))

    def handle_timer(self, now: float) -> None:
        """Fail the calls whose time is over, and take back their bytes if those were not sent."""
        for xid, call in self._due(now):
            del self._pending[xid]
            where = "it was not even sent" if self._unsent.pop(xid, None) is not None else "no reply came"
            self._events.append(Failed(call.token, CallTimedOut(where)))

    def connection_lost(self, error: RPCError) -> None:
        """The connection is gone: every call under way fails with the error. More than once does no harm."""
        if self.closed is None:
            self.closed = error
            self._unsent.clear()
            self._fail_all(error)

    def _check_open(self) -> None:
        if self.closed is not None:
            msg = f"the connection is closed: {self.closed}"
            raise NotConnected(msg)


class DatagramClient(_Calls):
    """Calls by datagram, sent again until the reply comes or the time is over (RFC 5531, section 5).

    A reply counts only if it comes from the peer that was called and carries the xid of a call under way.

    Args:
        first_xid: Where xids begin; take a random one, which also makes forging a reply harder.
        retransmission: When to send again.
        chance: Gives numbers from 0 to 1 for the jitter; the plain wait if left out.
    """

    def __init__(
        self,
        *,
        first_xid: int,
        retransmission: Retransmission = Retransmission(),
        chance: Callable[[], float] = lambda: 0.5,
    ) -> None:
        super().__init__(first_xid)
        self.retransmitted = 0
        """Datagrams sent beyond the first of their call."""
        self._retransmission = retransmission
        self._chance = chance
        self._outgoing: dict[int, tuple[bytes, Hashable]] = {}
        self._outgoing_number = -1

    def start(
        self,
        token: object,
        program: int,
        version: int,
        procedure: int,
        arguments: bytes,
        *,
        now: float,
        peer: Hashable,
        timeout: float | None = None,
        identity: Identity = NOBODY,
    ) -> int:
        """Start a call; its outcome is an Answered or Failed event with the token.

        Args:
            token: Comes back in the event.
            program: Program number.
            version: Its version.
            procedure: Procedure number.
            arguments: Encoded.
            now: The time.
            peer: Where to send it; a reply must come from an equal one.
            timeout: Seconds from now to the reply, all retransmissions included; None never gives up.
            identity: Who calls.

        Returns:
            The xid, for cancel().

        Raises:
            ArgumentsNotEncodable: The message does not fit a datagram.
        """
        xid = self._take_xid()
        message = self._message(xid, program, version, procedure, arguments, identity)
        call = self._pending[xid] = _Pending(token, identity, None if timeout is None else now + timeout)
        call.message, call.peer = message, peer
        self._transmit(xid, call, now)
        return xid

    def send_one_way(
        self,
        program: int,
        version: int,
        procedure: int,
        arguments: bytes,
        *,
        peer: Hashable,
        identity: Identity = NOBODY,
    ) -> None:
        """Queue a call that has no reply. It is sent once; nobody will know whether it arrived.

        Args: As for start().

        Raises:
            ArgumentsNotEncodable: The message does not fit a datagram.
        """
        message = self._message(self._take_xid(), program, version, procedure, arguments, identity)
        self._outgoing[self._outgoing_number] = message, peer
        self._outgoing_number -= 1

    @staticmethod
    def _message(  # noqa: PLR0917, the fields of a call
        xid: int, program: int, version: int, procedure: int, arguments: bytes, identity: Identity
    ) -> bytes:
        message = identity.seal(_HEADER.pack(xid, CALL, RPC_VERSION, program, version, procedure), arguments)
        if len(message) > MAX_DATAGRAM:
            msg = f"a call of {len(message)} bytes does not fit a datagram ({MAX_DATAGRAM} bytes at most): use TCP"
            raise ArgumentsNotEncodable(msg)
        return message

    def _transmit(self, xid: int, call: _Pending, now: float) -> None:
        self._outgoing[xid] = call.message, call.peer
        call.sent += 1
        again = now + self._retransmission.wait(call.sent, self._chance())
        self._add_timer(again if call.deadline is None else min(again, call.deadline), xid, call)

    def datagrams_to_send(self) -> list[tuple[bytes, Hashable]]:
        """Take the datagrams that are due, each with its peer."""
        outgoing = list(self._outgoing.values())
        self._outgoing.clear()
        return outgoing

    def cancel(self, xid: int) -> bool:
        """Forget a call: its timer, and its datagram if that was not taken yet. No event follows.

        Returns:
            True if the call was under way.
        """
        self._outgoing.pop(xid, None)
        return self._pending.pop(xid, None) is not None

    def receive_datagram(self, data: bytes, peer: Hashable) -> None:
        """Take one datagram; then take events."""
        try:
            xid, kind = message_type(data)
        except MalformedMessage:
            self.unmatched += 1
            return
        call = self._pending.get(xid)
        if call is None or kind != REPLY or call.peer != peer:
            self.unmatched += 1
            return
        del self._pending[xid]
        self._outgoing.pop(xid, None)
        self._finish(call, data)

    def handle_timer(self, now: float) -> None:
        """Send again what is due, and fail the calls whose time is over."""
        for xid, call in self._due(now):
            if call.deadline is not None and call.deadline <= now:
                del self._pending[xid]
                self._outgoing.pop(xid, None)
                times = "once" if call.sent == 1 else f"{call.sent} times"
                self._events.append(Failed(call.token, CallTimedOut(f"sent {times}, no reply came")))
            else:
                self.retransmitted += 1
                self._transmit(xid, call, now)

    def unreachable(self, peer: Hashable, error: RPCError) -> None:
        """The network says that nobody listens at a peer: the calls to it fail."""
        for xid, call in [(xid, call) for xid, call in self._pending.items() if call.peer == peer]:
            del self._pending[xid]
            self._outgoing.pop(xid, None)
            self._events.append(Failed(call.token, error))

    def close(self, error: RPCError) -> None:
        """Every call under way fails with the error."""
        self._outgoing.clear()
        self._fail_all(error)
