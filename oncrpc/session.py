"""One stream connection of a server, without I/O: bytes in, bytes to send, and when to read or close.

Its one loop is fused with the reassembly of records and with the memory of accepted headers:
everything that arrived in one read is answered in it, and comes out as one list of bytes to write.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from oncrpc.errors import MalformedMessage, NotConnected, RecordTooLarge, ReplyTooLarge
from oncrpc.program import Connection, Peer, PeerCredentials
from oncrpc.records import LAST_FRAGMENT, RecordReader, frame_record_parts
from oncrpc.routes import NOWHERE, Origin, Route
from oncrpc.served_call import ServedCall
from oncrpc.server import LATER_KINDS, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oncrpc.program import Caller
    from oncrpc.replay import ReplayCache

__all__ = ["StreamSession"]

_MARK = Struct(">I")
_MARK_AT: Final = _MARK.unpack_from
_PACK: Final = _MARK.pack
# The smallest call: its mark, six words, two empty credentials.
_LEAST: Final = 44
_SMALL_HEADER: Final = 40
# A reply from which it is better encoded in parts than copied into one.
_LARGE: Final = 16 * 1024
# Missing bytes of a record from which it is worth a buffer and a read of its own.
_DIRECT: Final = 4096
# Calls of one read whose replies are sent together. A client that has some of them works while we go on.
_TOGETHER: Final = 32


class StreamSession(Origin, Connection):
    """Answers the calls of one stream connection.

    What drives it: answer() while `quick`. Else receive_data() or, for large records, buffer_to_fill()
    and filled(); then run(), which answers. After each, send what data_to_send() gives and say so with bytes_sent().
    Call run() again, in another turn, while `runnable`. Read only while `reading` is true. Close
    when `finished` is true and nothing is unsent. `records` changes whenever one was completed.

    Args:
        server: Answers.
        number: Of this connection; never used twice.
        peer: Who is at the other end.
        netid: "tcp", "tcp6" or "local".
        local: Our own address.
        process: What the kernel says about it.
        wake: Called when there is something to send, or to read again, outside of run().
        replay: The replay cache, if the service wants one for streams.
        reserve: See :class:`oncrpc.records.RecordReader`.
    """

    __slots__ = (
        "_closers",
        "_reader",
        "_running",
        "_server",
        "_wake",
        "closed",
        "connection",
        "finished",
        "half_closed",
        "head",
        "id",
        "in_hand",
        "known",
        "local",
        "memo",
        "more",
        "netid",
        "number",
        "out",
        "peer",
        "peer_credentials",
        "plain",
        "process",
        "queued",
        "quick",
        "reason",
        "records",
        "replay",
        "reply_limit",
        "reverse",
        "stopped",
        "unsent",
    )

    def __init__(
        self,
        server: Server,
        number: int,
        peer: Peer,
        netid: str,
        *,
        wake: Callable[[], object],
        local: Peer = NOWHERE,
        process: PeerCredentials | None = None,
        replay: ReplayCache | None = None,
        reserve: Callable[[int], bool] | None = None,
    ) -> None:
        limits = server.limits
        self._server = server
        self._wake = wake
        self._reader = RecordReader(limits.max_record, limits.max_empty_fragments, reserve)
        self.peer = peer
        self.local = local
        self.netid = netid
        self.known = server.trust.knows(peer)
        self.process = self.peer_credentials = process
        self.connection = self
        self.number = self.id = number
        self.memo = server.memo((self.known, process and process.uid))
        self.replay = replay
        self.reply_limit = limits.max_record
        # Whether replies are one fragment, and nobody looks on or remembers: the short way is open.
        self.plain = not (limits.fragment_size or server.watched or replay is not None)
        # Whether the next bytes may go to answer(): it is open, and nothing is under way.
        self.quick = self.plain
        # Whether answer() left bytes to go_on() with.
        self.more = False
        self.in_hand: set[ServedCall] = set()
        self.head = _SMALL_HEADER
        # Replies of this turn, framed, and their bytes; and bytes taken from here and not sent yet.
        self.out: list[bytes] = []
        self.queued = 0
        self.unsent = 0
        self._running = False
        self.stopped = False
        self.records = 0
        self.closed = False
        self.half_closed = False
        self.finished = False
        self.reason = ""
        self._closers: list[Callable[[], object]] | None = None
        self.reverse: Callable[[bytes | bytearray], object] | None = None

    # What the transport asks.

    @property
    def reading(self) -> bool:
        """Whether more bytes are wanted: not while too much is unsent or in hand, nor at the end."""
        return not (
            self.stopped
            or self.half_closed
            or self.finished
            or self.unsent + self.queued > self._server.limits.unsent_high
            or len(self.in_hand) >= self._server.limits.max_calls_in_hand
        )

    @property
    def runnable(self) -> bool:
        """Whether run() stopped with calls left, and there is room for their replies again."""
        limits = self._server.limits
        return (
            self.stopped
            and self.unsent + self.queued <= limits.unsent_high
            and len(self.in_hand) < limits.max_calls_in_hand
        )

    @property
    def mid_record(self) -> bool:
        """Whether a record has begun to come and is not complete: the record deadline runs.

        Not while it is us who do not read.
        """
        return self._reader.mid_record and not self.stopped

    @property
    def peer_done(self) -> bool:
        """Whether the peer has said that it sends nothing more: closing loses it nothing."""
        return self.half_closed

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: no call in hand, nothing unsent, no record begun."""
        return not (self.in_hand or self.unsent or self.queued or self._reader.mid_record)

    @property
    def filling(self) -> bool:
        """Whether buffer_to_fill() may have a place for the next bytes."""
        return self._reader.assembling

    def buffer_to_fill(self) -> memoryview | None:
        """Where the next bytes belong, if a large record is under way; else None."""
        try:
            return self._reader.buffer_to_fill(_DIRECT)
        except RecordTooLarge as error:
            self._server.notice("record too large", self.peer, f"no memory left for it: {error}")
            self._give_up("record too large")
            return None

    # What the transport tells.

    def receive_data(self, data: bytes) -> None:
        """Bytes came; run() looks at them."""
        self.quick = False
        self._reader.receive_data(data)

    def answer(self, data: bytes) -> bytes | None:
        """Bytes came, and `quick` is true: answer what is whole, by the shortest way.

        Returns:
            Replies, joined: sending them is all there is to do, but for go_on() while `more`. None if there
            is more to it: call run() and look at the other properties.
        """
        route = self.memo.get(data[8 : self.head + 4])
        if (
            route is not None
            and route.constant
            and len(data) == route.head + 4
            and data[:4] == route.call_mark
            and not self.out
        ):
            return b"".join((route.constant, data[4:8], route.after_xid))
        reader = self._reader
        reader.chunk = data
        reader.at = 0
        return self.go_on()

    def go_on(self) -> bytes | None:
        """As answer(), with the bytes that it left."""
        limits = self._server.limits
        most = limits.max_calls_in_hand
        reader = self._reader
        self._running = True
        try:
            left = self._run_plain(reader, self.memo, _TOGETHER, limits.unsent_high - self.queued, most)
        finally:
            self._running = False
        if self.finished or len(self.in_hand) >= most or left == _TOGETHER:
            self.quick = self.more = False
            return None
        if reader.at == len(reader.chunk):
            reader.chunk = b""
            reader.at = 0
            self.more = False
        else:
            self.more = True
        return self.replies()

    def replies(self) -> bytes:
        """Take what is to be sent now, joined, while `quick`: it counts as sent."""
        self.queued = 0
        out, self.out = self.out, []
        return b"".join(out)

    def receive_large(self, view: memoryview) -> int:
        """Answer the large records that some bytes begin with, where they are: nothing is kept of them.

        Args:
            view: What came; it may be overwritten as soon as this returns.

        Returns:
            How many bytes are done with. Send what is answered, then go on with the rest; when 0 are,
            the rest goes to receive_data().
        """
        self.quick = False
        reader = self._reader
        if not self.plain or self.finished or self.stopped or reader.at < len(reader.chunk):
            return 0
        self._running = True
        try:
            if reader.assembling:
                return self._finish_large(reader, view)
            return self._run_large(view)
        except RecordTooLarge as error:
            self._server.notice("record too large", self.peer, f"no memory left for it: {error}")
            self._give_up("record too large")
            return len(view)
        except MalformedMessage as error:
            self._malformed(error)
            return len(view)
        finally:
            self._running = False

    def _finish_large(self, reader: RecordReader, view: memoryview) -> int:
        """Complete the record that was begun before with its last bytes."""
        missing = reader.missing
        if not 0 < missing <= len(view):
            return 0
        # Bytes, since the reader may keep what it is given: if another fragment follows, it does.
        reader.receive_data(bytes(view[:missing]))
        record = reader.next_record()
        if record is not None:
            self.records += 1
            self._message(record)
        return missing

    def _run_large(self, view: memoryview) -> int:
        limits = self._server.limits
        head = self.head
        count = len(view)
        at = 0
        while count - at >= _LARGE and self.queued < _LARGE and self.reading:
            (mark,) = _MARK_AT(view, at)
            size = mark & 0x7FFFFFFF
            start = at + 4
            if mark < LAST_FRAGMENT or not max(_LARGE, head) <= size <= limits.max_record:
                break
            if size > count - start:
                # All that is here goes to its place; that it is not complete is known.
                self._reader.receive_data(view[at:])  # type: ignore[arg-type]
                self._reader.next_record()
                return count
            route = self.memo.get(bytes(view[start + 4 : start + head]))
            if route is None:
                break
            at = start + size
            self.records += 1
            with view[start:at] as record:
                reply = route.server.execute(route, record, self)
            if reply is not None:
                self._put(reply)
        return at

    def filled(self, count: int) -> None:
        """Bytes came into what buffer_to_fill() gave; run() looks at them."""
        self._reader.filled(count)

    def run(self) -> bool:
        """Answer the calls that are here.

        Returns:
            Whether to call it again, in another turn: the share of this turn is used up.
        """
        if self.finished:
            return False
        self._running = True
        self.stopped = self.more = False
        try:
            return self._run()
        except RecordTooLarge as error:
            self._server.notice("record too large", self.peer, str(error))
            self._give_up("record too large")
        except MalformedMessage as error:
            self._malformed(error)
        finally:
            self._running = False
            if self.half_closed:
                self._finish_if_done()
            else:
                self.quick = self.plain and not (self.finished or self.unsent or self._reader.mid_record)
        return False

    def end_of_input(self) -> None:
        """The peer will send nothing more. Replies still go out (RFC 5531 leaves that to TCP)."""
        if self.half_closed:
            return
        self.half_closed = True
        self.quick = False
        for call in list(self.in_hand):
            call.hung_up()
        self._finish_if_done()

    def data_to_send(self) -> list[bytes]:
        """Take what is to be sent now, in order; count it as unsent."""
        out, self.out = self.out, []
        self.unsent += self.queued
        self.queued = 0
        return out

    def bytes_sent(self, count: int) -> None:
        """So many of the bytes taken went to the kernel."""
        self.unsent -= count
        if self.half_closed and not self.unsent:
            self._finish_if_done()

    def connection_lost(self, reason: str) -> None:
        """Nothing can be sent any more: cancel what is in hand, tell who asked to be told."""
        if self.closed:
            return
        self.closed = self.finished = self.half_closed = True
        self.quick = False
        self.reason = self.reason or reason
        self._reader.close()
        self.out = []
        self.queued = self.unsent = 0
        in_hand, self.in_hand = self.in_hand, set()
        for call in in_hand:
            call.connection_lost()
        closers, self._closers = self._closers, None
        for callback in closers or ():
            self._tell(callback)
        self._server.closed(self, self.reason)

    # What a program asks.

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once when the connection is lost; at once if it is already."""
        if self.closed:
            callback()
        elif self._closers is None:
            self._closers = [callback]
        else:
            self._closers.append(callback)

    def caller(self) -> Caller:
        """Return what calls the peer on this connection; made by the service.

        Raises:
            NotConnected: The connection is lost, or nothing here makes callers.
        """
        if self.closed or self._server.make_caller is None:
            msg = f"no calls to {self.peer} on this connection"
            raise NotConnected(msg)
        return self._server.make_caller(self)

    def close(self) -> None:
        """Send what is answered, read no further, close."""
        self._give_up("closed by us")
        if not self._running:
            self._wake()

    # Origin.

    def deliver(self, reply: Sequence[bytes]) -> None:
        """Send a reply that was not ready when its call was read."""
        if self.closed:
            return
        if reply:
            self._put(reply)
        if not self._running:
            if self.half_closed:
                self._finish_if_done()
            self._wake()

    def send_framed(self, stream: bytes) -> None:
        """Send records of our own making, with their marks: calls in the reverse direction."""
        if self.closed:
            return
        self.out.append(stream)
        self.queued += len(stream)
        if not self._running:
            self._wake()

    # The loop.

    def _run(self) -> bool:
        reader = self._reader
        server = self._server
        limits = server.limits
        memo = self.memo
        budget = limits.calls_per_turn
        high = limits.unsent_high
        most = limits.max_calls_in_hand
        plain = self.plain
        while True:
            if self.queued + self.unsent > high or len(self.in_hand) >= most:
                # What is left waits in the reader; no more is read meanwhile.
                self.stopped = reader.at < len(reader.chunk)
                return False
            if budget <= 0:
                self.stopped = more = reader.at < len(reader.chunk)
                return more
            if plain and not reader.assembling:
                left = self._run_plain(reader, memo, budget, high - self.unsent - self.queued, most)
                if left != budget:
                    self.records += 1
                    budget = left
                    if self.finished:
                        return False
                    if budget <= 0 or self.queued + self.unsent > high or len(self.in_hand) >= most:
                        continue
            if self.finished:
                return False
            record = reader.next_record()
            if record is None:
                return False
            budget -= 1
            self.records += 1
            self._message(record)

    def _run_plain(self, reader: RecordReader, memo: dict[bytes, Route], budget: int, room: int, most: int) -> int:
        """Answer records of one fragment that are all here, with headers that were accepted before.

        Everything is spelled out in this one function: a server's speed depends on it.

        Returns:
            What is left of the budget.
        """
        out = self.out
        # Counted apart: a procedure may answer other calls on this connection meanwhile.
        added = 0
        data = reader.chunk
        at = reader.at
        size = len(data)
        head = self.head + 4
        while size - at >= _LEAST:
            (mark,) = _MARK_AT(data, at)
            end = at + 4 + (mark & 0x7FFFFFFF)
            if end > size or mark < LAST_FRAGMENT:
                break
            arguments = at + head
            route = memo.get(data[at + 8 : arguments])
            if route is None or arguments > end:
                break
            budget -= 1
            constant = route.constant
            if constant:
                if end != arguments:
                    self._server.counters.surplus_calls += 1
                    self._server.counters.surplus_bytes += end - arguments
                out += (constant, data[at + 4 : at + 8], route.after_xid)
                added += route.size
                at = end
                if budget <= 0:
                    break
                continue
            start = at + 4
            reader.at = at = end
            if route.direct:
                try:
                    value = route.decode(data[arguments:end])
                except Exception:  # noqa: BLE001 - surplus bytes, odd padding or garbage: the long way tells which
                    reply = route.server.execute(route, data[start:end], self)
                else:
                    call = ServedCall(data[start : start + 4], route, self)
                    try:
                        result = route.method(call, value) if route.takes_argument else route.method(call)
                        if LATER_KINDS.get(result.__class__, True):
                            reply = route.server.settle(call, result)
                        else:
                            body = route.encode(result)
                            length = route.size + len(body)
                            if length - 4 > self.reply_limit:
                                raise ReplyTooLarge(length - 4, self.reply_limit)  # noqa: TRY301 - answered below
                            call.answered = True
                            out += (_PACK(LAST_FRAGMENT | length - 4), call.raw_xid, route.after_xid, body)
                            added += length
                            if length > _LARGE:
                                # Its kind is better encoded in parts, which need not be copied.
                                route.direct = False
                            if budget <= 0 or added > room or self.finished:
                                break
                            continue
                    except Exception as error:  # noqa: BLE001 - becomes the reply
                        reply = route.server.failure(call, error)
            else:
                reply = route.server.execute(route, data[start:end], self)
            if reply is not None:
                length = sum(map(len, reply))
                out.append(_PACK(LAST_FRAGMENT | length))
                out += reply
                added += 4 + length
            if budget <= 0 or added > room or self.finished or len(self.in_hand) >= most:
                break
        reader.at = at
        self.queued += added
        return budget

    def _message(self, record: bytes | bytearray) -> None:
        """Answer a record the long way."""
        if self.reverse is not None and record[4:8] == b"\0\0\0\1":
            self._server.received(self, record)
            self.reverse(record)
            return
        server = self._server
        route = self.memo.get(bytes(record[4 : self.head]))
        if server.taps:
            fragments = self._reader.fragments if record.__class__ is bytearray else ()
            server.received(self, record, fragments if len(fragments) > 1 else ())
        if route is not None:
            reply = server.execute(route, record, self, server.clock() if server.watched else 0.0)
        else:
            reply = server.answer(record, self)
        if reply is not None:
            self._put(reply)
        if record.__class__ is bytearray and not server.watched:
            # Its values were copied out of it: the next large record may have its place.
            self._reader.recycle(record)

    def _put(self, reply: Sequence[bytes]) -> None:
        """Frame a message and queue it."""
        server = self._server
        if server.taps:
            server.sent(self, reply)
        size = server.limits.fragment_size
        framed = frame_record_parts(reply, size) if size else (_PACK(LAST_FRAGMENT | sum(map(len, reply))), *reply)
        self.queued += sum(map(len, framed))
        self.out += framed

    def _malformed(self, error: MalformedMessage) -> None:
        """What came is no message: nothing after it can be trusted."""
        self._server.counters.malformed += 1
        self._server.notice("malformed message", self.peer, str(error))
        self._give_up("malformed message")

    def _give_up(self, reason: str) -> None:
        """Read nothing more; close when what is answered is sent."""
        self.reason = self.reason or reason
        self.finished = True
        self.quick = False

    def _finish_if_done(self) -> None:
        if not (self.in_hand or self.stopped or self._running):
            self.reason = self.reason or "closed by peer"
            self.finished = True

    def _tell(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - one program's fault must not keep the others from being told
            self._server.notice("handler failed", self.peer, "at the end of a connection", error)
