"""Stream connections on a reactor: moves bytes between sockets and sessions, and nothing else.

Own transports instead of Twisted's, for what these cannot do: read large records straight into
their place, write at once and without copying, bound what waits to be sent, keep on sending after
the peer has closed its side, survive a full table of descriptors. They need a reactor that watches
file descriptors (IReactorFDSet: select, poll, epoll, kqueue, asyncio).
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from contextlib import suppress
from struct import calcsize, unpack
from typing import TYPE_CHECKING, Final, Protocol, cast

from twisted.internet.interfaces import IReadDescriptor, IReadWriteDescriptor
from twisted.internet.main import CONNECTION_LOST
from zope.interface import implementer

from oncrpc.program import Peer, PeerCredentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorFDSet
    from twisted.python.failure import Failure

    from oncrpc.limits import Limits
    from oncrpc.session import StreamSession

__all__ = ["StreamListener", "StreamTransport", "Streams", "peer_credentials", "peer_of"]

# Joining parts costs a copy; sendmsg() costs more than copying little.
_JOIN: Final = 32 * 1024
_IOV_MAX: Final = 512
# Most bytes of a read that does without the large buffer: most reads bring one small call.
_LITTLE: Final = 4 * 1024
# From so many bytes on it is worth to look for records that need not be copied.
_LARGE: Final = 16 * 1024
_FULL: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE: Final = 0.25
# What is still read, and thrown away, from a peer that we have said our last word to. Closing at
# once would reset the connection, and take away from it what it has not read yet.
_LINGER: Final = 256 * 1024
_LINGER_TIME: Final = 2.0
# The interface says Failure; reactors take, and want, the bare exception.
_LOST: Final = cast("Failure", CONNECTION_LOST)
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))

# One buffer for all: its bytes are taken out before another connection can put any in.
_shared = memoryview(b"")


class Streams(Protocol):
    """What connections ask of the service that they belong to."""

    limits: Limits
    now: float
    """seconds of the reactor's clock, as of the last tick"""

    @property
    def reactor(self) -> IReactorFDSet:
        """Watches sockets."""

    def accepted(self, listener: StreamListener, connection: socket.socket, peer: Peer) -> bool:
        """A connection was accepted; answer whether it may stay."""

    def make_room(self) -> bool:
        """Close the connection that is idle longest, if one may be; answer whether one was."""

    def closed(self, transport: StreamTransport) -> None:
        """A connection is gone."""

    def soon(self, transport: StreamTransport) -> None:
        """Have transport.late() called at the end of this turn of the reactor."""

    def later(self, seconds: float, function: Callable[[], object]) -> object:
        """Have `function` called later."""

    def notice(self, kind: str, peer: Peer | None, text: str) -> None:
        """Something for the log."""


@implementer(IReadWriteDescriptor)
class StreamTransport:
    """One connection: a socket and its session.

    Args:
        streams: The service that it belongs to.
        connection: A connected, non-blocking socket.
    """

    __slots__ = (
        "_drop",
        "_much",
        "_pending",
        "_reading",
        "_replies",
        "_writing",
        "active",
        "gone",
        "lingering",
        "progress",
        "record_since",
        "scheduled",
        "session",
        "socket",
        "streams",
        "unsent_since",
    )

    session: StreamSession

    def __init__(self, streams: Streams, connection: socket.socket) -> None:
        self.streams = streams
        self.socket = connection
        self._pending: deque[memoryview] | None = None
        # Replies that take() made, and give() sends.
        self._replies = b""
        # Whether the last read brought so much that the next may need the large buffer.
        self._much = False
        self._reading = False
        self._writing = False
        self._drop = 0
        self.gone = False
        self.lingering = 0.0
        self.scheduled = False
        # Deadlines, in seconds of the reactor's clock as of its last tick; 0: not running.
        self.active = streams.now
        self.record_since = 0.0
        self.unsent_since = 0.0
        self.progress = 0

    def start(self, session: StreamSession) -> None:
        """Begin to read."""
        self.session = session
        self._watch()

    # What the reactor calls.

    def fileno(self) -> int:
        """The socket's descriptor; -1 when it is closed."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """Name in Twisted's own messages."""
        return "oncrpc stream"

    def doRead(self) -> None:
        """Read once, answer what came."""
        if self.take():
            self.give()

    def take(self) -> bool:
        """Read once; answer True if replies wait for give(), which sends them.

        Between the two, nothing else may be read here. A reactor that has several connections to read
        from does well to take() from all of them first: each give() may wake a client.
        """
        session = self.session
        try:
            if session.quick and not self._much:
                data = self.socket.recv(_LITTLE)
            elif self.lingering:
                self._discard()
                return False
            else:
                return self._take_much(session)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self.abort(error.strerror or str(error))
            return False
        self.active = self.streams.now
        size = len(data)
        if size < _LITTLE and size:
            replies = session.answer(data)
            if replies is not None and not session.more:
                # The way of most calls: everything is answered, and only to be sent.
                self._replies = replies
                return True
            if replies is not None and self._go_on(replies):
                return True
        elif size:
            self._much = True
            session.receive_data(data)
        else:
            session.end_of_input()
        self.turn()
        return False

    def _take_much(self, session: StreamSession) -> bool:
        """As take(), for whatever may come."""
        target = session.buffer_to_fill() if session.filling else None
        if target is not None:
            with target:
                count = self.socket.recv_into(target)
            self.active = self.streams.now
            if count:
                session.filled(count)
            else:
                session.end_of_input()
            self.turn()
            return False
        view = _buffer(self.streams.limits.read_size)
        count = self.socket.recv_into(view)
        self.active = self.streams.now
        self._much = count >= _LITTLE
        if not count:
            session.end_of_input()
        elif count >= _LARGE:
            done = 0
            while done < count and (used := session.receive_large(view[done:count])):
                done += used
                # At once: what is answered is still in the processor's cache, and its memory is wanted next.
                if session.queued and not self._send():
                    self.abort("sending failed")
            if done < count and not self.gone:
                session.receive_data(bytes(view[done:count]))
        elif session.quick:
            replies = session.answer(bytes(view[:count]))
            if replies is not None and self._go_on(replies):
                return True
        else:
            session.receive_data(bytes(view[:count]))
        self.turn()
        return False

    def _go_on(self, replies: bytes | None) -> bool:
        """Send replies while more are made; answer True if the last are left to give()."""
        session = self.session
        while replies is not None:
            self._replies = replies
            if not session.more:
                return True
            self.give()
            if not session.quick:
                return False
            replies = session.go_on()
        return False

    def give(self) -> None:
        """Send the replies that take() made."""
        replies, self._replies = self._replies, b""
        if self.gone or not replies:
            return
        try:
            sent = self.socket.send(replies)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.abort("sending failed")
            return
        if sent < len(replies):
            session = self.session
            session.unsent += len(replies) - sent
            session.quick = False
            self._pending = deque((memoryview(replies)[sent:],))
            self.unsent_since = self.streams.now
            self._watch()

    def doWrite(self) -> Failure | None:
        """Go on sending what waits."""
        if not self._flush():
            return _LOST
        self.turn()
        return None

    def connectionLost(self, reason: Failure) -> None:
        """The reactor found the connection lost."""
        self.abort(reason.getErrorMessage())

    # What the session and the service call.

    def wake(self) -> None:
        """There is something to do that the socket does not say."""
        if not (self.scheduled or self.gone):
            self.scheduled = True
            self.streams.soon(self)

    def late(self) -> None:
        """What wake() asked for: send replies that were not ready when their calls were read."""
        session = self.session
        if session.quick and self._reading and 0 < session.queued <= _JOIN:
            # Nothing else is under way.
            self.scheduled = False
            self._replies = session.replies()
            self.give()
        else:
            self.turn()

    def turn(self) -> None:
        """Answer what is here, send what is answered, decide what to wait for."""
        self.scheduled = False
        if self.gone:
            return
        session = self.session
        session.run()
        if self.gone:
            return
        if session.queued and not self._send():
            self.abort("sending failed")
            return
        if session.stopped and session.runnable:
            # Its share of this turn is used up, or what it could not send before is sent now.
            self.wake()
        if session.mid_record:
            if not self.record_since or self.progress != session.records:
                self.record_since = self.streams.now
            self.progress = session.records
        else:
            self.record_since = 0.0
        if session.finished and not self._pending:
            self._end()
            return
        self._watch()

    def abort(self, reason: str) -> None:
        """Close at once; what waits to be sent is lost."""
        if self.gone:
            return
        self.gone = True
        self.streams.reactor.removeReader(self)
        self.streams.reactor.removeWriter(self)
        self._pending = None
        with suppress(OSError):
            self.socket.close()
        self.streams.closed(self)
        self.session.connection_lost(reason)

    def broken(self) -> bool:
        """Whether the kernel knows that the peer is gone, though nobody reads or writes."""
        try:
            return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        except OSError:
            return True

    # Sending.

    def _send(self) -> bool:
        """Send what the session has, at once as far as possible; answer False if that failed."""
        parts = self.session.data_to_send()
        if self._pending:
            self._pending.extend(memoryview(part) for part in parts)
            return True
        total = self.session.unsent
        connection = self.socket
        try:
            if total <= _JOIN or len(parts) > _IOV_MAX:
                data = b"".join(parts) if len(parts) > 1 else parts[0]
                parts = [data]
                sent = connection.send(data)
            else:
                sent = connection.sendmsg(parts)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            return False
        self.session.bytes_sent(sent)
        if sent < total:
            self.session.quick = False
            self._pending = deque(memoryview(part) for part in parts)
            self._take(sent)
            self.unsent_since = self.streams.now
        return True

    def _flush(self) -> bool:
        """Send what waits; answer False if that failed."""
        pending = self._pending
        while pending:
            try:
                sent = self.socket.sendmsg([pending[index] for index in range(min(len(pending), _IOV_MAX))])
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                return False
            self.session.bytes_sent(sent)
            self.active = self.unsent_since = self.streams.now
            self._take(sent)
        self._pending = None
        self.unsent_since = 0.0
        return True

    def _take(self, sent: int) -> None:
        """Remove bytes that were sent from what waits."""
        pending = self._pending
        assert pending is not None
        while pending:
            size = len(pending[0])
            if size > sent:
                if sent:
                    pending[0] = pending[0][sent:]
                return
            sent -= size
            pending.popleft()

    # Waiting and ending.

    def _watch(self) -> None:
        """Have the reactor watch for what is wanted now."""
        reactor = self.streams.reactor
        reading = self.session.reading
        if reading is not self._reading:
            self._reading = reading
            if reading:
                reactor.addReader(self)
            else:
                reactor.removeReader(self)
        writing = bool(self._pending)
        if writing is not self._writing:
            self._writing = writing
            if writing:
                reactor.addWriter(self)
            else:
                reactor.removeWriter(self)

    def _end(self) -> None:
        """All is said: close, without taking from the peer what it has not read yet."""
        session = self.session
        if session.peer_done:
            self.abort(session.reason)
            return
        self.lingering = self.streams.now or 1.0
        self.record_since = 0.0
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort(session.reason)
            return
        if self._writing:
            self._writing = False
            self.streams.reactor.removeWriter(self)
        if not self._reading:
            self._reading = True
            self.streams.reactor.addReader(self)

    def _discard(self) -> None:
        """Read what nobody wants, until the peer closes or sends too much of it."""
        count = self.socket.recv_into(_buffer(self.streams.limits.read_size))
        self._drop += count
        if not count or self._drop > _LINGER:
            self.abort(self.session.reason)

    # The clock.

    def tick(self, now: float) -> None:
        """Close the connection if one of its deadlines is over.

        Args:
            now: Seconds of the reactor's clock.
        """
        limits = self.streams.limits
        session = self.session
        if self.lingering:
            if now - self.lingering >= _LINGER_TIME:
                self.abort(session.reason)
        elif self.record_since and now - self.record_since >= limits.record_timeout:
            self._cut(f"a record was not complete after {limits.record_timeout:g} s")
        elif self.unsent_since and now - self.unsent_since >= limits.drain_timeout:
            self._cut(f"took nothing of {session.unsent} bytes for {limits.drain_timeout:g} s")
        elif limits.idle_timeout and now - self.active >= limits.idle_timeout and session.idle:
            self.abort(f"idle for {limits.idle_timeout:g} s")
        elif not self._reading and self.broken():
            self.abort("connection reset by peer")

    def _cut(self, reason: str) -> None:
        self.streams.notice("connection cut", self.session.peer, reason)
        self.abort(reason)


@implementer(IReadDescriptor)
class StreamListener:
    """A listening socket: accepts, as far as limits and descriptors allow.

    Args:
        streams: The service that connections belong to.
        listening: A listening socket; made non-blocking here.
        netid: Of its connections.
    """

    def __init__(self, streams: Streams, listening: socket.socket, netid: str) -> None:
        self.streams = streams
        self.socket = listening
        self.netid = netid
        self.local = peer_of(listening.getsockname())
        listening.setblocking(False)
        # A descriptor in reserve: when there are no more, it is given up for the moment that it
        # takes to accept a connection and close it. (libtirpc spins at 100 % CPU instead.)
        self._reserve: int | None = os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._stopped = False
        self._paused = False

    def start(self) -> None:
        """Begin to accept."""
        self.streams.reactor.addReader(self)

    def stop(self) -> None:
        """Accept nothing more, and close the socket."""
        if self._stopped:
            return
        self._stopped = True
        self.streams.reactor.removeReader(self)
        self.socket.close()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def fileno(self) -> int:
        """The socket's descriptor; -1 when it is closed."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """Name in Twisted's own messages."""
        return "oncrpc listener"

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - Twisted's interface
        """The reactor found the socket broken, or stops."""
        if not self._stopped:
            self.stop()

    def doRead(self) -> None:
        """Accept what waits, up to this turn's share."""
        for _ in range(self.streams.limits.accepts_per_turn):
            if self._stopped:
                return
            try:
                connection, address = self.socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _FULL:
                    if not self._exhausted(error):
                        return
                    continue
                # The peer was gone before we came (ECONNABORTED), or a firewall said no (EPERM).
                continue
            connection.setblocking(False)
            peer = peer_of(address)
            if not self.streams.accepted(self, connection, peer):
                connection.close()

    def _exhausted(self, error: OSError) -> bool:
        """There are no more descriptors; answer whether it is worth to try again at once."""
        self.streams.notice("descriptors used up", None, f"no connection accepted: {error.strerror}")
        if self.streams.make_room():
            return True
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
            with suppress(OSError):
                self.socket.accept()[0].close()
        try:
            self._reserve = os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError:
            pass
        else:
            return True
        # Nothing helps: look again after a while, and spend nothing until then.
        if not self._paused:
            self._paused = True
            self.streams.reactor.removeReader(self)
            self.streams.later(_PAUSE, self._resume)
        return False

    def _resume(self) -> None:
        self._paused = False
        if not self._stopped:
            self.streams.reactor.addReader(self)


def peer_of(address: object) -> Peer:
    """Return who is at the other end, from what accept() or recvfrom() said."""
    if isinstance(address, tuple):
        return Peer(str(address[0]), int(address[1]))
    if isinstance(address, bytes):
        # Abstract or unnamed.
        return Peer("", 0, os.fsdecode(address))
    return Peer("", 0, str(address or ""))


def peer_credentials(connection: socket.socket) -> PeerCredentials | None:
    """Return what the kernel says about the process at the other end of a local socket.

    Returns:
        None if it is no local socket, or the system does not tell.
    """
    if connection.family != getattr(socket, "AF_UNIX", None) or not hasattr(socket, "SO_PEERCRED"):
        return None
    layout = "=iII"
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, calcsize(layout))
    except OSError:
        return None
    return PeerCredentials(*unpack(layout, data))


def prepare(connection: socket.socket) -> None:
    """Set the options of an accepted TCP socket: no delay, and probes that find a peer that vanished."""
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _buffer(size: int) -> memoryview:
    """Return the shared buffer, which is as large as the largest read size in this process."""
    global _shared  # noqa: PLW0603 - one for the process
    if len(_shared) < size:
        _shared = memoryview(bytearray(size))
    return _shared
