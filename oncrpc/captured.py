"""The RPC messages of a capture: streams put together, records found, replies matched with their calls.

Pure, and bounded by the file: nothing is kept but pieces of it. TCP segments are sorted by their sequence numbers, so
that retransmissions and reordering do not matter; where bytes are missing, or a stream was under way when the capture
began, records are looked for again at the beginning of each segment. Streams and datagrams that are not RPC are
counted and left alone.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from oncrpc.capture_files import CaptureFile
from oncrpc.explain import Programs, explain_message
from oncrpc.packets import Carried, Fragments, NotCarried, carried, rest_of

if TYPE_CHECKING:
    from oncrpc.capture_files import Packet

__all__ = ["MAX_MESSAGES", "MAX_PACKETS", "MESSAGE_BYTES", "Captured", "Found", "read_messages"]

MAX_MESSAGES: Final = 10_000
"""Messages that are taken out of one capture."""

MAX_PACKETS: Final = 500_000
"""Packets that are read of one capture."""

MESSAGE_BYTES: Final = 2 << 20
"""Bytes of one message that are kept."""

_End: TypeAlias = tuple[str, int]
_ENOUGH: Final = 4 * MAX_MESSAGES
_LAST: Final = 0x80000000
_MAX_RECORD: Final = 64 << 20
_RPC_VERSIONS: Final = 16
_MAX_AUTH_BODY: Final = 400
_WORD: Final = 4
_CALL_HEAD: Final = 24


@dataclass(slots=True)
class Found:
    """One message.

    Attributes:
        number: Ascending from 1, in the order in which the messages were complete.
        at: When, in seconds since 1970.
        packet: Number of the packet that completed it.
        transport: "tcp" or "udp".
        source: Address and port of who sent it.
        target: Of who was to get it.
        form: "stream" if the bytes have record marks, "message" if not.
        data: The bytes, with marks as they came.
        size: How many there were.
        kind: "CALL", "REPLY", or "" if it is neither.
        xid: Transaction id; None if there is none.
        numbers: Program, version and procedure: of a reply those of its call; None if that was not captured.
        answers: Of a reply: number of its call.
        answered_by: Of a call: number of its first reply.
        repeats: Number of the message that this is a retransmission of.
        note: What is not as it should be; "" if nothing is.
    """

    number: int
    at: float
    packet: int
    transport: str
    source: _End
    target: _End
    form: Literal["message", "stream"]
    data: bytes
    size: int
    kind: str = ""
    xid: int | None = None
    numbers: tuple[int, int, int] | None = None
    answers: int | None = None
    answered_by: int | None = None
    repeats: int | None = None
    note: str = ""

    @property
    def message(self) -> bytes:
        """The message without its record marks."""
        return _unmarked(self.data) if self.form == "stream" else self.data


@dataclass(slots=True)
class Captured:
    """What a capture held.

    Attributes:
        messages: In the order in which they were complete.
        notes: What was left out and why, for people.
    """

    messages: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Segment:
    """A piece of a stream."""

    number: int
    at: float
    sequence: int
    data: bytes


@dataclass(slots=True)
class _Direction:
    """One direction of one connection."""

    source: _End
    target: _End
    begun: bool
    first: int
    segments: list[_Segment] = field(default_factory=list)


def read_messages(data: bytes) -> Captured:
    """Read a capture file.

    Args:
        data: All of it: pcap or pcapng; link types Ethernet, Linux cooked 1 and 2, loopback and raw IP.

    Raises:
        CaptureError: It is no capture, or damaged before its first packet.
    """
    file = CaptureFile(data)
    gathered = _Gathered()
    notes: list[str] = []
    count = 0
    for packet in file.packets():
        count += 1
        if count > MAX_PACKETS:
            notes.append(f"only the first {MAX_PACKETS} packets are read")
            break
        gathered.add(packet)
    found = gathered.finish()
    found.sort(key=lambda each: each.packet)
    if len(found) > MAX_MESSAGES:
        notes.append(f"there are more messages: the first {MAX_MESSAGES} are shown")
    messages = found[:MAX_MESSAGES]
    for number, each in enumerate(messages, 1):
        each.number = number
    _match(messages)
    notes += file.notes
    notes += [f"left out: {many} {kind}" for kind, many in sorted(gathered.left_out.items())]
    if not count:
        notes.append("the capture holds no packets")
    return Captured(messages, notes)


class _Gathered:
    """What the packets brought so far.

    Attributes:
        left_out: What is not RPC, counted by kind.
    """

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self._fragments = Fragments()
        self._directions: dict[tuple[_End, _End], _Direction] = {}
        self._done: list[_Direction] = []
        self._found: list[Found] = []

    def add(self, packet: Packet) -> None:
        """Take a packet."""
        missing = packet.size - len(packet.data)
        try:
            got = carried(packet.link, packet.data, missing, self._fragments, at=packet.at, number=packet.number)
        except NotCarried as error:
            self.left_out[f"packets: {error}"] += 1
            return
        if got is None:
            return
        if got.transport == "udp":
            self._datagram(got, packet.number, packet.at)
        else:
            self._segment(got, packet.number, packet.at)

    def finish(self) -> list[Found]:
        """Return the messages, in any order; numbers are not given yet."""
        for key, pieces, data in self._fragments.rest():
            self._fragments.given_up += 1
            with suppress(NotCarried):
                got = rest_of(key, data)
                if got.transport == "udp" and _is_message(got.data):
                    self._datagram(got, pieces.number, pieces.at, "IP fragments of it are not in the capture")
        if self._fragments.given_up:
            self.left_out["IP datagrams whose fragments are not all there"] += self._fragments.given_up
        found = self._found
        for direction in (*self._done, *self._directions.values()):
            records = _records(direction)
            if records is None:
                self.left_out["directions of TCP connections that are not RPC"] += 1
            else:
                found += records
            if len(found) > _ENOUGH:
                break
        return found

    def _datagram(self, got: Carried, number: int, at: float, note: str = "") -> None:
        """Keep a datagram that is RPC."""
        if not _is_message(got.data):
            self.left_out["datagrams that are not RPC"] += 1
            return
        if len(self._found) > _ENOUGH:
            return
        if got.missing and not note:
            note = f"{got.missing} of its bytes are not in the capture"
        size = len(got.data) + got.missing
        kept = got.data[:MESSAGE_BYTES]
        self._found.append(Found(0, at, number, "udp", got.source, got.target, "message", kept, size, note=note))

    def _segment(self, got: Carried, number: int, at: float) -> None:
        """Keep a segment of a stream."""
        key = got.source, got.target
        direction = self._directions.get(key)
        if direction is not None and got.syn and direction.first != got.sequence:
            # The same ends, another connection.
            self._done.append(self._directions.pop(key))
            direction = None
        if direction is None:
            direction = self._directions[key] = _Direction(got.source, got.target, got.syn, got.sequence)
        if got.data:
            direction.segments.append(_Segment(number, at, got.sequence, got.data))


# -- streams ---------------------------------------------------------------------------------------------------


def _records(direction: _Direction) -> list[Found] | None:
    """Return the records of one direction; None if it is not RPC."""
    base = direction.first
    placed = sorted(
        ((((each.sequence - base + _LAST) & 0xFFFFFFFF) - _LAST, each.number, each) for each in direction.segments),
        key=lambda row: row[:2],
    )
    if not placed:
        return []
    records: list[Found] = []
    run: list[tuple[int, float, bytes]] = []  # bytes without a hole: packet, time, data
    # What lies before the beginning is none of it: a byte that probes whether the other end is still there.
    start, position = True, 0 if direction.begun else placed[0][0]
    hole = 0
    for place, number, segment in placed:
        if place > position:
            hole = place - position
            known = _run(direction, run, records, in_step=start and direction.begun, hole=hole)
            if not known and start and direction.begun:
                return None
            run, start, position = [], False, place
        skip = position - place
        if skip < len(segment.data):
            run.append((number, segment.at, segment.data[skip:]))
            position = place + len(segment.data)
    known = _run(direction, run, records, in_step=start and direction.begun, hole=0)
    return records if records or known else None


def _run(
    direction: _Direction, run: list[tuple[int, float, bytes]], records: list[Found], *, in_step: bool, hole: int
) -> bool:
    """Find the records of a piece of a stream without holes; return whether any were found.

    Args:
        direction: Whose.
        run: Packet, time and bytes of each segment.
        records: Where to put them.
        in_step: Whether a record begins with the first byte.
        hole: How many bytes are missing behind it, for what is told of the record that it cuts.
    """
    data = b"".join(piece for _, _, piece in run)
    starts = []
    place = 0
    for _, _, piece in run:
        starts.append(place)
        place += len(piece)
    at = 0 if in_step or not starts else next((start for start in starts if _is_record(data, start)), len(data))
    if at >= len(data) or (in_step and not _is_record(data, 0)):
        return not data
    segment = 0
    while at < len(data) and len(records) <= _ENOUGH:
        end, size, note = _record_end(data, at, hole)
        while segment + 1 < len(starts) and starts[segment + 1] < end:
            segment += 1
        number, when, _ = run[segment]
        kept = data[at : min(end, at + MESSAGE_BYTES)]
        records.append(
            Found(0, when, number, "tcp", direction.source, direction.target, "stream", kept, size, note=note)
        )
        at = end
    return True


def _record_end(data: bytes, at: int, hole: int) -> tuple[int, int, str]:
    """Return where a record ends, how many bytes it has with its marks, and what is wrong with it."""
    begin = at
    while True:
        if len(data) - at < _WORD:
            why = f"{hole} bytes are not in the capture" if hole else "the capture ends"
            return len(data), len(data) - begin, f"cut within a record mark: {why}"
        mark = int.from_bytes(data[at : at + _WORD], "big")
        size = mark & ~_LAST
        at += _WORD + size
        if at > len(data):
            short = at - len(data)
            why = f"{hole} bytes are not in the capture" if hole else "the capture ends"
            if size > _MAX_RECORD:
                why = "its mark is no length that anybody sends"
            return len(data), at - begin, f"{short} bytes of its last fragment are missing: {why}"
        if mark & _LAST:
            return at, at - begin, ""


def _is_record(data: bytes, at: int) -> bool:
    """Return whether a record of RPC seems to begin here."""
    mark = int.from_bytes(data[at : at + _WORD], "big")
    size = mark & ~_LAST
    if size > _MAX_RECORD or len(data) - at < 2 * _WORD:
        return False
    if size < 3 * _WORD:
        # The message's own head is in several fragments.
        return _is_message(_unmarked(data[at : at + 256]))
    return _is_message(data[at + _WORD : at + _WORD + min(size, 64)])


def _unmarked(data: bytes) -> bytes:
    """Return a record without its marks."""
    pieces = []
    at = 0
    while len(data) - at >= _WORD:
        mark = int.from_bytes(data[at : at + _WORD], "big")
        size = mark & ~_LAST
        pieces.append(data[at + _WORD : at + _WORD + size])
        at += _WORD + size
        if mark & _LAST:
            break
    return b"".join(pieces)


def _is_message(data: bytes) -> bool:
    """Return whether bytes look like a call or a reply, right or wrong."""
    if len(data) < 3 * _WORD:
        return False
    kind, third = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big")
    if kind == 0:
        return third < _RPC_VERSIONS
    if kind != 1 or third > 1:
        return False
    return third == 1 or len(data) < 5 * _WORD or int.from_bytes(data[16:20], "big") <= _MAX_AUTH_BODY


# -- calls and replies -------------------------------------------------------------------------------------------


def _match(messages: list[Found]) -> None:
    """Find each message's kind, and for each reply its call."""
    calls: dict[tuple[str, _End, _End, int], Found] = {}
    anywhere: dict[tuple[_End, int], Found] = {}
    replies: dict[tuple[str, _End, _End, int], Found] = {}
    nothing = Programs()
    for each in messages:
        message = each.message
        told = explain_message(message[: _CALL_HEAD + 2 * _WORD], nothing)
        each.kind, each.xid = told.kind, told.xid
        if each.xid is None:
            continue
        if each.kind == "CALL":
            if len(message) >= _CALL_HEAD:
                each.numbers = told.program, told.version, told.procedure
            key = each.transport, each.source, each.target, each.xid
            before = calls.get(key)
            if before is not None and before.message == message:
                each.repeats = before.number
            else:
                calls[key] = each
                replies.pop(key, None)
            anywhere[each.source, each.xid] = calls[key]
        elif each.kind == "REPLY":
            key = each.transport, each.target, each.source, each.xid
            # A datagram's answer may come from another address of the same machine, or to a broadcast.
            call = calls.get(key) or (anywhere.get((each.target, each.xid)) if each.transport == "udp" else None)
            if call is None:
                continue
            each.answers, each.numbers = call.number, call.numbers
            if call.answered_by is None:
                call.answered_by = each.number
            before = replies.setdefault(key, each)
            if before is not each and before.message == message:
                each.repeats = before.number
