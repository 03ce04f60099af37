"""The datagrams of one server socket, without I/O: one in, at most one out, now or later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from oncrpc.errors import MalformedMessage, ReplyTooLarge
from oncrpc.routes import NOWHERE, Origin
from oncrpc.served_call import ServedCall
from oncrpc.server import LATER_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from oncrpc.program import Connection, Peer, PeerCredentials
    from oncrpc.replay import ReplayCache
    from oncrpc.server import Server

__all__ = ["DatagramOrigin", "Datagrams"]

# Senders that are remembered, so that not every datagram makes an origin.
_ORIGINS: Final = 1024
_SMALL_HEADER: Final = 40
_XID_SIZE: Final = 4


class DatagramOrigin(Origin):
    """The sender of datagrams.

    Args:
        datagrams: Where its datagrams come in and their replies go out.
        address: Its address, for the socket.
        peer: The same, for people and programs.
        way: What the socket needs besides to answer from the address that was called.
    """

    __slots__ = (
        "_datagrams",
        "address",
        "connection",
        "head",
        "in_hand",
        "known",
        "local",
        "memo",
        "netid",
        "number",
        "peer",
        "process",
        "replay",
        "reply_limit",
        "way",
    )

    def __init__(self, datagrams: Datagrams, address: Hashable, peer: Peer, way: Any) -> None:
        server = datagrams.server
        self._datagrams = datagrams
        self.address = address
        self.way = way
        self.peer = peer
        self.local = datagrams.local
        self.netid = datagrams.netid
        self.known = server.trust.knows(peer)
        self.process: PeerCredentials | None = None
        self.connection: Connection | None = None
        self.number = 0
        self.memo = server.memo((self.known, None))
        self.replay: ReplayCache | None = datagrams.replay
        self.reply_limit = server.limits.max_datagram_reply
        self.in_hand: set[ServedCall] = set()
        self.head = _SMALL_HEADER

    def deliver(self, reply: Sequence[bytes]) -> None:
        """Send a reply that was not ready when its call was read."""
        self._datagrams.deliver(reply, self)


class Datagrams:
    """Answers the calls that come to one datagram socket.

    Args:
        server: Answers.
        netid: "udp" or "udp6".
        local: Our own address.
        replay: The replay cache, or None.
        peer_of: Makes a Peer of an address as the socket gives it.
        send: Sends a reply to (address, way), for calls that are answered later.
    """

    def __init__(
        self,
        server: Server,
        netid: str,
        *,
        local: Peer = NOWHERE,
        replay: ReplayCache | None,
        peer_of: Callable[[Any], Peer],
        send: Callable[[bytes, Any, Any], object],
    ) -> None:
        self.server = server
        self.netid = netid
        self.local = local
        self.replay = replay
        self._peer_of = peer_of
        self._send = send
        self._origins: dict[Any, DatagramOrigin] = {}
        # Senders that are remembered before those without calls in hand are looked for.
        self._enough = _ORIGINS

    def receive(self, record: bytes, address: Any, way: Any = None) -> bytes | None:
        """Answer one datagram.

        Args:
            record: All of it.
            address: Where it came from; replies go there.
            way: Given to `send` with the address.

        Returns:
            The reply, to be sent to `address`; None if there is none, or not yet.
        """
        server = self.server
        origin = self._origins.get(address)
        if origin is None or origin.way != way:
            origin = self._origin(address, way)
            if origin is None:
                server.counters.dropped += 1
                return None
        size = len(record)
        if server.taps:
            server.received(origin, record)
        route = None
        if origin.head <= size:
            # (While somebody watches, no route is constant, or direct.)
            route = origin.memo.get(record[_XID_SIZE : origin.head])
            if route is not None and route.constant and route.size <= size + _XID_SIZE:
                if size != origin.head:
                    server.counters.surplus_calls += 1
                    server.counters.surplus_bytes += size - origin.head
                return record[:_XID_SIZE] + route.after_xid
        if len(origin.in_hand) >= server.limits.max_calls_in_hand:
            server.counters.dropped += 1
            return None
        # Whoever may have forged the sender's address gets nothing to multiply (there is no
        # handshake): no reply longer than the call, unless the network is trusted.
        most = server.limits.max_datagram_reply
        origin.reply_limit = most if origin.known else min(most, size)
        if route is not None and route.direct and not (self.replay is not None and route.replayed):
            try:
                value = route.decode(record[origin.head :])
            except Exception:  # noqa: BLE001 - surplus bytes, odd padding or garbage: the long way tells which
                reply = server.execute(route, record, origin)
            else:
                call = ServedCall(record[:_XID_SIZE], route, origin)
                try:
                    result = route.method(call, value) if route.takes_argument else route.method(call)
                    if LATER_KINDS.get(result.__class__, True):
                        reply = server.settle(call, result)
                    else:
                        answer = b"".join((call.raw_xid, route.after_xid, route.encode(result)))
                        if len(answer) > origin.reply_limit:
                            raise ReplyTooLarge(len(answer), origin.reply_limit)  # noqa: TRY301 - answered below
                        call.answered = True
                        return answer
                except Exception as error:  # noqa: BLE001 - becomes the reply
                    reply = server.failure(call, error)
            return None if reply is None else b"".join(reply)
        try:
            if route is not None:
                reply = server.execute(route, record, origin, server.clock() if server.watched else 0.0)
            else:
                reply = server.answer(record, origin)
        except MalformedMessage as error:
            server.counters.malformed += 1
            server.notice("malformed message", origin.peer, str(error))
            return None
        if reply is None:
            return None
        if server.taps:
            server.sent(origin, reply)
        return b"".join(reply)

    def deliver(self, reply: Sequence[bytes], origin: DatagramOrigin) -> None:
        """Send a late reply; none, if it is empty: the procedure chose to make none."""
        if not reply:
            return
        if self.server.taps:
            self.server.sent(origin, reply)
        self._send(b"".join(reply), origin.address, origin.way)

    def in_hand(self) -> int:
        """Return how many calls are not answered yet."""
        return sum(len(origin.in_hand) for origin in self._origins.values())

    def hang_up(self) -> None:
        """Tell the calls in hand that nobody will wait for them: the server stops."""
        for origin in list(self._origins.values()):
            for call in list(origin.in_hand):
                call.hung_up()

    def _origin(self, address: Any, way: Any) -> DatagramOrigin | None:
        """Remember a sender; None if there are as many with calls in hand as there may be connections."""
        origins = self._origins
        old = origins.pop(address, None)
        if old is None and len(origins) >= self._enough:
            # Those with calls in hand stay: they are counted.
            for key in [key for key, each in origins.items() if not each.in_hand][: _ORIGINS // 2]:
                del origins[key]
            # Looking through all of them for every new sender would be work for whoever forges senders.
            self._enough = min(max(_ORIGINS, 2 * len(origins)), max(_ORIGINS, self.server.limits.max_connections))
            if len(origins) >= self._enough:
                return None
        origin = origins[address] = DatagramOrigin(self, address, self._peer_of(address), way)
        if old is not None:
            # The same sender, by another of our addresses: what it has in hand is counted together.
            origin.in_hand = old.in_hand
        return origin
