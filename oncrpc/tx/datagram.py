"""Datagrams on a reactor: a bounded number for each turn.

Twisted's own UDP port counts bytes to end its turn, so empty datagrams hold everything up for ever,
and cuts datagrams at 8,192 bytes; this one counts datagrams, and takes whole ones.
"""

from __future__ import annotations

import socket
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

from oncrpc.datagrams import Datagrams
from oncrpc.tx.stream import peer_of

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorFDSet
    from twisted.python.failure import Failure

    from oncrpc.replay import ReplayCache
    from oncrpc.server import Server

__all__ = ["DatagramListener"]

Ancillary = list[tuple[int, int, bytes]]

_PKTINFO4: Final = Struct("=I4s4s")
# First octet of an IPv6 multicast address.
_MULTICAST: Final = 0xFF
# Python's socket module has no name for the first before 3.14; 8 is Linux's.
_IP_PKTINFO: Final[int | None] = getattr(socket, "IP_PKTINFO", 8 if hasattr(socket, "SO_PEERCRED") else None)
_IPV6_RECVPKTINFO: Final[int | None] = getattr(socket, "IPV6_RECVPKTINFO", None)
_IPV6_PKTINFO: Final[int | None] = getattr(socket, "IPV6_PKTINFO", None)
_ANCILLARY: Final = 128
# Events in a row that had all the datagrams that were looked for, before more are.
_PATIENCE: Final = 8
# Datagrams that are received before their replies are sent.
_TOGETHER: Final = 8


@implementer(IReadDescriptor)
class DatagramListener:
    """A UDP socket that is served.

    Args:
        reactor: Watches the socket.
        server: Answers.
        bound: A bound UDP socket; made non-blocking here.
        netid: "udp" or "udp6".
        replay: The replay cache, or None.

    Attributes:
        datagrams: The core: calls in hand, for one.
        unsent: Replies that the socket had no room for, or the network no way; clients ask again.
    """

    def __init__(
        self, reactor: IReactorFDSet, server: Server, bound: socket.socket, netid: str, *, replay: ReplayCache | None
    ) -> None:
        local = peer_of(bound.getsockname())
        self.datagrams = Datagrams(server, netid, local=local, replay=replay, peer_of=peer_of, send=self.send)
        self.unsent = 0
        self._reactor = reactor
        self._socket = bound
        self._share = server.limits.datagrams_per_turn
        # How many datagrams are taken for one event before the reactor is asked again. Finding out
        # that there are no more costs more than being told when there are.
        self._ahead = 1
        self._enough = 0
        self._stopped = False
        bound.setblocking(False)
        self._most = server.limits.max_datagram
        # A wildcard socket answers from whatever address the route takes, and careful clients
        # ignore replies from an address they did not call.
        self._many_addresses = _ask_for_destination(bound)

    def start(self) -> None:
        """Begin to receive."""
        self._reactor.addReader(self)

    def pause(self) -> None:
        """Receive nothing more, but go on answering."""
        self._reactor.removeReader(self)

    def stop(self) -> None:
        """Receive nothing more, and close the socket."""
        if not self._stopped:
            self._stopped = True
            self._reactor.removeReader(self)
            self._socket.close()

    def fileno(self) -> int:
        """The socket's descriptor; -1 when it is closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Name in Twisted's own messages."""
        return "oncrpc datagrams"

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - Twisted's interface
        """The reactor found the socket broken, or stops."""
        self.stop()

    def doRead(self) -> None:
        """Receive and answer, up to this turn's share.

        The replies to some datagrams are sent together: the first may wake its client, which then has
        work until the last is sent, and need not be woken for each.
        """
        receive = self.datagrams.receive
        bound = self._socket
        most = self._most
        left = self._ahead
        way: Ancillary | None = None
        while left > 0:
            replies: list[tuple[bytes, Any, Ancillary | None]] = []
            emptied = False
            for _ in range(min(left, _TOGETHER)):
                left -= 1
                try:
                    if self._many_addresses:
                        datagram, ancillary, _flags, address = bound.recvmsg(most, _ANCILLARY)
                        way = _way_back(ancillary)
                    else:
                        datagram, address = bound.recvfrom(most)
                except (BlockingIOError, InterruptedError):
                    emptied = True
                    break
                except OSError:
                    # A reply met a closed port before (ECONNREFUSED); the next datagram is another matter.
                    if self._stopped:
                        return
                    continue
                reply = receive(datagram, address, way)
                if reply is not None:
                    replies.append((reply, address, way))
            for each in replies:
                self.send(*each)
            if emptied:
                self._ahead = max(1, self._ahead - left - 1)
                self._enough = 0
                return
            if self._stopped:
                return
        self._enough += 1
        if self._enough >= _PATIENCE:
            self._enough = 0
            self._ahead = min(2 * self._ahead, self._share)

    def send(self, reply: bytes, address: Any, way: Ancillary | None) -> None:
        """Send one reply; it is lost if the socket has no room, as any datagram may be."""
        if self._stopped:
            return
        try:
            if way:
                self._socket.sendmsg([reply], way, 0, address)
            else:
                self._socket.sendto(reply, address)
        except OSError:
            self.unsent += 1


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


def _way_back(ancillary: Ancillary) -> Ancillary | None:
    """Turn "it was sent to this address" into "send from this address"."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            # No interface: the route chooses it. The second field is an address of ours even if
            # the datagram was sent to a broadcast address, which is the third.
            _, local, _ = _PKTINFO4.unpack(data[: _PKTINFO4.size])
            return [(level, kind, _PKTINFO4.pack(0, local, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO:
            # No reply can come from a group: the interface stays, its address is the kernel's choice.
            source = bytes(16) + data[16:] if data[0] == _MULTICAST else data
            return [(level, kind, source)]
    return None
