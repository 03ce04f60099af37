"""The last calls with their bytes, and figures of the last two minutes, gathered by observers; bounded in every way.

Pure: clocks are passed in. Nothing of this exists while the console is off.
"""

from __future__ import annotations

import io
from collections import Counter, OrderedDict, deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from oncrpc.errors import AcceptStat
from oncrpc.explain import Programs, explain_message, explain_stream
from oncrpc.observe import CallSeen, MessageSeen, Observer
from oncrpc.pcapng import PcapngWriter
from oncrpc.records import frame_fragments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oncrpc.explain import Explanation
    from oncrpc.program import Peer

__all__ = ["CALLS", "MESSAGE_BYTES", "TOTAL_BYTES", "Exchange", "Message", "Recorder"]

CALLS: Final = 500
"""Calls that are kept."""

MESSAGE_BYTES: Final = 64 << 10
"""Bytes of one message that are kept."""

TOTAL_BYTES: Final = 16 << 20
"""Bytes of all messages that are kept: the oldest calls go first."""

RPCBIND: Final = "rpcbind"
"""What the system's rpcbind is called: there this server is the client."""

SECONDS: Final = 120
"""How far back the plots go."""

_KINDS: Final = 64
"""Different outcomes and procedures that are counted; peers choose some of them."""
_BUCKETS: Final = 26
_FRAGMENT: Final = 8
"""Bytes that it costs to know a fragment's size."""
_CALL_HEAD: Final = 24
_IS_CALL: Final = bytes(4)
_NOT_KNOWN: Final = "other"
_GOOD: Final = frozenset({"SUCCESS", "REPLAYED"})
_LANES: Final = ("server", "portmapper", RPCBIND)


@dataclass(slots=True)
class Message:
    """One message.

    Attributes:
        data: Its first bytes, without record marks.
        size: All its bytes.
        at: When it came or went, in seconds since 1970.
        local: The server's own address.
        fragments: Sizes of the fragments that it came in; empty where that is not known, or not all was kept.
    """

    data: bytes
    size: int
    at: float
    local: Peer
    fragments: tuple[int, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all of it was kept."""
        return self.size == len(self.data)

    @property
    def bytes_kept(self) -> int:
        """Bytes that it holds: a peer may send more fragments than bytes."""
        return len(self.data) + _FRAGMENT * len(self.fragments)


@dataclass(slots=True)
class Exchange:
    """A call and what was answered.

    Attributes:
        number: Ascending from 1.
        lane: Who was called: "server", "portmapper", or "rpcbind", which the server itself called.
        peer: Who called.
        netid: How.
        connection: Number of the connection; 0 for datagrams.
        key: What its reply is found by; the transaction id is the last of it.
        call: The call's message.
        reply: The answer; None if there is none yet.
        outcome: What became of it; "" while that is not known.
    """

    number: int
    lane: str
    peer: Peer
    netid: str
    connection: int
    key: tuple[Any, ...]
    call: Message
    reply: Message | None = None
    outcome: str = ""

    @property
    def xid(self) -> int:
        """Transaction id."""
        number: int = self.key[-1]
        return number

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Program, version and procedure; zeros if the message is too short to say."""
        head = self.call.data
        if len(head) < _CALL_HEAD:
            return 0, 0, 0
        program, version, procedure = (int.from_bytes(head[at : at + 4], "big") for at in (12, 16, 20))
        return program, version, procedure

    @property
    def bytes_kept(self) -> int:
        """Bytes that it holds."""
        return self.call.bytes_kept + (0 if self.reply is None else self.reply.bytes_kept)


@dataclass(slots=True)
class _Second:
    """What happened in one second; latencies by powers of two of microseconds."""

    at: int
    calls: int = 0
    errors: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * _BUCKETS)


class Recorder:
    """Keeps the last calls.

    Args:
        programs: What can be told by name.
        wall: Seconds since 1970.
        calls: How many are kept.
        total: Bytes of all their messages.

    Attributes:
        exchanges: By number, oldest first.
        watched: Whether anybody wants to know what changed.
        changed: Numbers of those that changed since somebody emptied it.
        outcomes: Calls that ended, by outcome.
        version: Another one whenever something changed.
    """

    def __init__(
        self, programs: Programs, *, wall: Callable[[], float], calls: int = CALLS, total: int = TOTAL_BYTES
    ) -> None:
        self.programs = programs
        self._wall = wall
        self._most, self._total, self._bytes, self._next = calls, total, 0, 1
        self.exchanges: OrderedDict[int, Exchange] = OrderedDict()
        self.watched = True
        self.changed: dict[int, None] = {}
        self.outcomes: Counter[str] = Counter()
        self._procedures: Counter[Any] = Counter()
        self.version = 0
        self._by_key: dict[tuple[Any, ...], Exchange] = {}
        self._seconds: deque[_Second] = deque(maxlen=SECONDS)
        self._second = _Second(-1)

    def tap(self, lane: str) -> Observer:
        """Return an observer for a server.

        Args:
            lane: What the server is called in the ladder.
        """
        return _Tap(self, lane)

    def message(self, lane: str, seen: MessageSeen) -> None:
        """Keep a message."""
        parts = seen.parts
        if len(parts) == 1 and type(parts[0]) is bytes and len(parts[0]) <= MESSAGE_BYTES:
            kept = parts[0]
            size = len(kept)
        else:
            size = sum(map(len, parts))
            kept = b"".join(parts) if size <= MESSAGE_BYTES else _head(parts, MESSAGE_BYTES)
        if size < 2 * 4:
            return
        key = _key(lane, seen.netid, seen.connection, seen.peer, int.from_bytes(kept[:4], "big"))
        is_call = kept[4:8] == _IS_CALL
        if seen.outgoing == is_call:  # calls back to a client, and replies that answer them: not ours to show
            return
        message = Message(kept, size, self._wall(), seen.local, tuple(seen.fragments) if size == len(kept) else ())
        if is_call:
            exchange = Exchange(self._next, lane, seen.peer, seen.netid, seen.connection, key, message)
            self._next += 1
            self.exchanges[exchange.number] = exchange
            self._by_key[key] = exchange
        else:
            found = self._by_key.get(key)
            if found is None:
                return
            exchange = found
            if exchange.reply is not None:
                self._bytes -= exchange.reply.bytes_kept
            exchange.reply = message
            if lane == RPCBIND:
                exchange.outcome = _outcome(kept)
        self._bytes += message.bytes_kept
        self._touch(exchange)
        while self._bytes > self._total or len(self.exchanges) > self._most:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        number, gone = self.exchanges.popitem(last=False)
        self._bytes -= gone.bytes_kept
        self.changed.pop(number, None)
        if self._by_key.get(gone.key) is gone:
            del self._by_key[gone.key]

    def _touch(self, exchange: Exchange) -> None:
        self.version += 1
        if self.watched:
            self.changed[exchange.number] = None

    def ended(self, lane: str, call: CallSeen) -> None:
        """Count a call that ended, and note what became of it."""
        self.version += 1
        _count(self._procedures, (call.program_name, call.version, call.procedure_name))
        _count(self.outcomes, call.outcome)
        at = int(self._wall())
        second = self._second
        if second.at != at:
            second = self._second = _Second(at)
            self._seconds.append(second)
        second.calls += 1
        if call.outcome not in _GOOD:
            second.errors += 1
        second.latencies[min(_BUCKETS - 1, int(call.seconds * 1e6).bit_length())] += 1
        exchange = self._by_key.get(_key(lane, call.netid, call.connection, call.peer, call.xid))
        if exchange is not None:
            exchange.outcome = call.outcome
            self._touch(exchange)

    @property
    def procedures(self) -> Counter[str]:
        """Calls that ended, by name."""
        found: Counter[str] = Counter()
        for each, count in self._procedures.items():
            found[_NOT_KNOWN if each == _NOT_KNOWN or not each[2] else f"{each[0]}.{each[1]} {each[2]}"] += count
        return found

    # -- for the page ----------------------------------------------------------------------------------------

    def plots(self) -> dict[str, list[float | int | None]]:
        """Return calls, errors, and median and 99th percentile latency in ms, second by second, oldest first."""
        now = int(self._wall())
        by_time = {second.at: second for second in self._seconds}
        row = [by_time.get(at) for at in range(now - SECONDS, now)]
        return {
            "calls": [0 if second is None else second.calls for second in row],
            "errors": [0 if second is None else second.errors for second in row],
            "median_ms": [None if second is None else _quantile(second.latencies, 0.5) for second in row],
            "p99_ms": [None if second is None else _quantile(second.latencies, 0.99) for second in row],
        }

    def summary(self, exchange: Exchange) -> dict[str, Any]:
        """Return what a list shows of a call."""
        done = exchange.reply is not None or exchange.outcome != ""
        program, version, procedure = exchange.numbers
        title = "not a call"
        if len(exchange.call.data) >= _CALL_HEAD:
            name = self.programs.procedure_name(program, version, procedure)
            title = f"{self.programs.name(program, version)}.{version} {name}"
        return {
            "number": exchange.number,
            "lane": exchange.lane,
            "client": self._client(exchange),
            "netid": exchange.netid,
            "connection": exchange.connection,
            "xid": exchange.xid,
            "at": exchange.call.at,
            "title": title,
            "program": program,
            "version": version,
            "procedure": procedure,
            "call_bytes": exchange.call.size,
            "reply_bytes": 0 if exchange.reply is None else exchange.reply.size,
            "done": done,
            "outcome": exchange.outcome,
            "ms": None if exchange.reply is None else round((exchange.reply.at - exchange.call.at) * 1e3, 3),
        }

    def _client(self, exchange: Exchange) -> str:
        """Return what the caller is called."""
        if exchange.lane == RPCBIND:
            return "this server"
        return f"{exchange.peer}" if exchange.peer.host else f"local #{exchange.connection}"

    def take_changed(self, most: int) -> tuple[list[dict[str, Any]], int]:
        """Return the newest of the calls that changed since last time, and how many more there were."""
        numbers = [number for number in sorted(self.changed) if number in self.exchanges]
        self.changed.clear()
        left_out = max(0, len(numbers) - most)
        return [self.summary(self.exchanges[number]) for number in numbers[left_out:]], left_out

    def detail(self, number: int) -> dict[str, Any] | None:
        """Return a call byte by byte; None if it is not kept any more."""
        exchange = self.exchanges.get(number)
        if exchange is None:
            return None
        return {
            **self.summary(exchange),
            "messages": [
                self._explained(exchange, message) for message in (exchange.call, exchange.reply) if message is not None
            ],
        }

    def _explained(self, exchange: Exchange, message: Message) -> dict[str, Any]:
        """Return a message with its explanation; over streams with its marks, one if the true ones are not known."""
        found: Explanation
        data = message.data
        fragments = list(message.fragments) if message.whole else []
        if exchange.netid.startswith("udp") or not message.whole:
            found = explain_message(data, self.programs, call=exchange.numbers)
        else:
            data = frame_fragments(data, fragments)
            found = next(iter(explain_stream(data, self.programs, call=exchange.numbers)))
        return {
            "hex": data.hex(),
            "size": message.size,
            "whole": message.whole,
            "fragments": fragments,
            "explanation": asdict(found),
        }

    def capture(self, numbers: Iterable[int] | None) -> bytes:
        """Return calls as a pcapng file; messages that were not kept whole are left out.

        Args:
            numbers: Which, each once; None: all that are kept.
        """
        chosen = self.exchanges.values() if numbers is None else map(self.exchanges.get, dict.fromkeys(numbers))
        rows = [
            (message.at, exchange, message, message is exchange.reply)
            for exchange in chosen
            if exchange is not None
            for message in (exchange.call, exchange.reply)
            if message is not None and message.whole
        ]
        rows.sort(key=lambda row: row[0])
        file = io.BytesIO()
        now = 0.0
        writer = PcapngWriter(file, clock=lambda: now)
        for now, exchange, message, outgoing in rows:  # noqa: B007 - the writer's clock
            writer.message_seen(
                MessageSeen(
                    exchange.peer,
                    message.local,
                    exchange.netid,
                    _of_its_own(exchange),
                    outgoing,
                    (message.data,),
                    message.fragments,
                )
            )
        return file.getvalue()


class _Tap(Observer):
    """Passes on what one server does."""

    def __init__(self, recorder: Recorder, lane: str) -> None:
        self._recorder, self._lane = recorder, lane

    def message_seen(self, message: MessageSeen) -> None:
        """Keep it."""
        self._recorder.message(self._lane, message)

    def call_ended(self, call: CallSeen) -> None:
        """Count it."""
        self._recorder.ended(self._lane, call)


def _of_its_own(exchange: Exchange) -> int:
    """Return a number of the connection that none of another server has."""
    return exchange.connection << 2 | _LANES.index(exchange.lane)


def _outcome(reply: bytes) -> str:
    """Return what a reply says became of the call, by its first words."""
    words = [int.from_bytes(reply[at : at + 4], "big") for at in range(0, len(reply) - 3, 4)]
    match words[2:]:
        case [1, 0, *_]:
            return "RPC_MISMATCH"
        case [1, *_]:
            return "AUTH_ERROR"
        case [0, _, size, *rest] if len(rest) > (size + 3) // 4:
            accept = rest[(size + 3) // 4]
            return AcceptStat(accept).name if accept in set(AcceptStat) else "MALFORMED"
    return "MALFORMED"


def _key(lane: str, netid: str, connection: int, peer: Peer, xid: int) -> tuple[Any, ...]:
    return lane, netid, connection or (peer.host, peer.port, peer.path), xid


def _head(parts: Iterable[bytes | bytearray], most: int) -> bytes:
    """Copy the first bytes: what they lie in is used again."""
    taken: list[bytes] = []
    for part in parts:
        if most <= 0:
            break
        taken.append(bytes(memoryview(part)[:most]))
        most -= len(taken[-1])
    return b"".join(taken)


def _count(counter: Counter[Any], name: Any) -> None:
    counter[name if name in counter or len(counter) < _KINDS else _NOT_KNOWN] += 1


def _quantile(latencies: list[int], share: float) -> float | None:
    """Return the upper bound of the bucket that a quantile lies in, in milliseconds."""
    wanted = share * sum(latencies)
    passed = 0
    for power, count in enumerate(latencies):
        passed += count
        if count and passed >= wanted:
            return (1 << power) / 1e3
    return None
