"""Datagrams on a reactor: a bounded number for each turn, each answered at once or later.

Twisted's own UDP port counts bytes to end its turn, so empty datagrams hold everything up for ever,
and cuts datagrams at 8,192 bytes; this one counts datagrams, and takes whole ones.
"""

from __future__ import annotations

import socket
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

from oncrpc.errors import MalformedMessage
from oncrpc.routes import Origin, Route
from oncrpc.tx.stream import peer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IReactorFDSet
    from twisted.python.failure import Failure

    from oncrpc.program import Connection, PeerCredentials
    from oncrpc.replay import ReplayCache
    from oncrpc.served_call import ServedCall
    from oncrpc.server import Server

__all__ = ["DatagramListener", "DatagramOrigin"]

# Senders that are remembered, so that not every datagram makes an origin.
_ORIGINS: Final = 1024
_SMALL_HEADER: Final = 40
_XID_SIZE: Final = 4
_PKTINFO4: Final = Struct("=I4s4s")
_PKTINFO6: Final = Struct("=16sI")
# Python's socket module has no name for these before 3.14.
_IP_PKTINFO: Final[int | None] = getattr(socket, "IP_PKTINFO", 8 if hasattr(socket, "SO_PEERCRED") else None)
_IPV6_RECVPKTINFO: Final[int | None] = getattr(socket, "IPV6_RECVPKTINFO", None)
_IPV6_PKTINFO: Final[int | None] = getattr(socket, "IPV6_PKTINFO", None)


class DatagramOrigin(Origin):
    """The sender of datagrams.

    Args:
        listener: Where its datagrams come in and their replies go out.
        address: Its address, as the socket gave it.
        source: Ancillary data that makes replies leave from the address the call was sent to.
    """

    __slots__ = (
        "_address",
        "_listener",
        "_source",
        "connection",
        "head",
        "in_hand",
        "known",
        "memo",
        "netid",
        "number",
        "peer",
        "process",
        "replay",
        "reply_limit",
    )

    def __init__(self, listener: DatagramListener, address: Any, source: list[tuple[int, int, bytes]]) -> None:
        server = listener.server
        self._listener = listener
        self._address = address
        self._source = source
        self.peer = peer_of(address)
        self.netid = listener.netid
        self.known = server.trust.knows(self.peer)
        self.process: PeerCredentials | None = None
        self.connection: Connection | None = None
        self.number = 0
        self.memo = server.memo((self.known, None))
        self.replay: ReplayCache | None = listener.replay
        self.reply_limit = server.limits.max_datagram_reply
        self.in_hand: set[ServedCall] = set()
        self.head = _SMALL_HEADER

    def deliver(self, reply: Sequence[bytes]) -> None:
        """Send a reply that was not ready when its call was read."""
        if reply:
            self._listener.send(reply, self._address, self._source, self)


@implementer(IReadDescriptor)
class DatagramListener:
    """A UDP socket that is served.

    Args:
        reactor: Watches the socket.
        server: Answers.
        bound: A bound UDP socket; made non-blocking here.
        netid: "udp" or "udp6".
        replay: The replay cache, or None.
    """

    def __init__(
        self, reactor: IReactorFDSet, server: Server, bound: socket.socket, netid: str, *, replay: ReplayCache | None
    ) -> None:
        self.reactor = reactor
        self.server = server
        self.socket = bound
        self.netid = netid
        self.replay = replay
        self.unsent = 0
        """replies that the socket had no room for, or the network no way; the client asks again"""
        bound.setblocking(False)
        self._buffer = bytearray(server.limits.max_datagram)
        self._origins: dict[Any, DatagramOrigin] = {}
        self._stopped = False
        # A wildcard socket answers from whatever address the route takes, and careful clients
        # ignore replies from an address they did not call.
        self._many_addresses = _ask_for_destination(bound)

    def start(self) -> None:
        """Begin to receive."""
        self.reactor.addReader(self)

    def pause(self) -> None:
        """Receive nothing more, but go on answering."""
        self.reactor.removeReader(self)

    def stop(self) -> None:
        """Receive nothing more, and close the socket."""
        if not self._stopped:
            self._stopped = True
            self.reactor.removeReader(self)
            self.socket.close()

    def in_hand(self) -> int:
        """Return how many calls are not answered yet."""
        return sum(len(origin.in_hand) for origin in self._origins.values())

    def hang_up(self) -> None:
        """Tell the calls in hand that nobody will wait for them."""
        for origin in list(self._origins.values()):
            for call in list(origin.in_hand):
                call.hung_up()

    def fileno(self) -> int:
        """The socket's descriptor; -1 when it is closed."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """Name in Twisted's own messages."""
        return "oncrpc datagrams"

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - Twisted's interface
        """The reactor found the socket broken, or stops."""
        self.stop()

    def doRead(self) -> None:
        """Receive and answer, up to this turn's share."""
        server = self.server
        bound = self.socket
        buffer = self._buffer
        view = memoryview(buffer)
        origins = self._origins
        watched = server.watched
        source: list[tuple[int, int, bytes]] = []
        for _ in range(server.limits.datagrams_per_turn):
            try:
                if self._many_addresses:
                    size, received, _, address = bound.recvmsg_into([buffer], 128)
                    source = _source(received)
                else:
                    size, address = bound.recvfrom_into(buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # A reply met a closed port before (ECONNREFUSED); the next datagram is another matter.
                if self._stopped:
                    return
                continue
            record = bytes(view[:size])
            origin = origins.get(address)
            if origin is None or source != origin._source:  # noqa: SLF001 - one module
                origin = self._origin(address, source)
            route = origin.memo.get(record[_XID_SIZE : origin.head])
            if route is not None and origin.head <= size and not watched:
                if route.constant and len(route.after_xid) + _XID_SIZE <= size:
                    if size != origin.head:
                        server.counters.surplus_calls += 1
                        server.counters.surplus_bytes += size - origin.head
                    try:
                        if source:
                            bound.sendmsg([record[:_XID_SIZE], route.after_xid], source, 0, address)
                        else:
                            bound.sendto(record[:_XID_SIZE] + route.after_xid, address)
                    except OSError:
                        self.unsent += 1
                    continue
            else:
                route = None
            self._answer(record, origin, route, address, source)
            if self._stopped:
                return

    def _answer(
        self,
        record: bytes,
        origin: DatagramOrigin,
        route: Route | None,
        address: Any,
        source: list[tuple[int, int, bytes]],
    ) -> None:
        """Answer a datagram that is not answered from its header alone."""
        server = self.server
        if len(origin.in_hand) >= server.limits.max_calls_in_hand:
            server.counters.dropped += 1
            return
        # Whoever may have forged the sender's address gets nothing to multiply (RFC 5531 has no
        # handshake over UDP): no reply longer than the call, unless the network is trusted.
        most = server.limits.max_datagram_reply
        origin.reply_limit = most if origin.known else min(most, len(record))
        try:
            reply = server.execute(route, record, origin) if route is not None else server.answer(record, origin)
        except MalformedMessage as error:
            server.counters.malformed += 1
            server.notice("malformed message", origin.peer, str(error))
            return
        if reply is not None:
            self.send(reply, address, source, origin)

    def send(
        self, reply: Sequence[bytes], address: Any, source: list[tuple[int, int, bytes]], origin: DatagramOrigin
    ) -> None:
        """Send one reply; it is lost if the socket has no room, as any datagram may be."""
        if self._stopped:
            return
        server = self.server
        if server.taps_out:
            server.sent(origin, reply)
        try:
            if source:
                self.socket.sendmsg(reply, source, 0, address)
            else:
                self.socket.sendto(b"".join(reply), address)
        except OSError:
            self.unsent += 1

    def _origin(self, address: Any, source: list[tuple[int, int, bytes]]) -> DatagramOrigin:
        origins = self._origins
        origin = DatagramOrigin(self, address, source)
        old = origins.pop(address, None)
        if old is not None:
            origin.in_hand = old.in_hand
        elif len(origins) >= _ORIGINS:
            # Those with calls in hand stay: they are counted.
            for key in [key for key, each in origins.items() if not each.in_hand][: _ORIGINS // 2]:
                del origins[key]
        origins[address] = origin
        return origin


def _ask_for_destination(bound: socket.socket) -> bool:
    """Have a wildcard socket tell where each datagram was sent to; answer whether it will."""
    host = bound.getsockname()[0]
    try:
        if host == "0.0.0.0" and _IP_PKTINFO is not None:
            bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            return True
        if host == "::" and _IPV6_RECVPKTINFO is not None:
            bound.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
            return True
    except OSError:
        pass
    return False


def _source(received: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Turn "it was sent to this address" into "send from this address"."""
    for level, kind, data in received:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            # No interface: the route chooses it. The second field is an address of ours even if
            # the datagram was sent to a broadcast address, which is the third.
            _, local, _ = _PKTINFO4.unpack(data[: _PKTINFO4.size])
            return [(level, kind, _PKTINFO4.pack(0, local, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO:
            return [(level, kind, data)]
    return []
