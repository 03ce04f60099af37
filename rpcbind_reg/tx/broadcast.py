"""Discovery by broadcast over Twisted; what is sent and understood is in rpcbind_reg/broadcast.py."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol

from oncrpc.errors import NotConnected
from rpcbind_reg.broadcast import WAITS, Discovered, Discovery, broadcast_addresses
from rpcbind_reg.client import REGISTRY_PORT
from rpcbind_reg.interfaces import list_interfaces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _Broadcaster(DatagramProtocol):
    """One socket of one family."""

    noisy = False

    def __init__(
        self, search: Discovery, targets: Sequence[str], port: int, tell: Callable[[Discovered], None]
    ) -> None:
        self._search, self._targets, self._port, self._tell = search, targets, port, tell
        self._ipv6 = ":" in targets[0]
        self.error: OSError | None = None
        self.sent = 0

    def startProtocol(self) -> None:
        """Allow broadcasts."""
        assert self.transport is not None
        if not self._ipv6:
            self.transport.setBroadcastAllowed(True)

    def send(self) -> None:
        """Send to every target."""
        assert self.transport is not None
        for target in self._targets:
            try:
                self.transport.write(self._search.datagram(ipv6=self._ipv6), (target, self._port))
                self.sent += 1
            except OSError as error:
                self.error = error

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take an answer."""
        found = self._search.receive(datagram, addr[0], ipv6=self._ipv6)
        if found is not None:
            self._tell(found)


def discover(
    program: int,
    version: int,
    *,
    addresses: Sequence[str] = (),
    port: int = REGISTRY_PORT,
    wait: float = 4.0,
    on_found: Callable[[Discovered], None] | None = None,
    reactor: Any = None,
) -> Deferred[list[Discovered]]:
    """Find the machines of the networks here that serve a program; see rpcbind_reg.sync.discover().

    Args:
        program: Program number; 100000 finds the registries themselves.
        version: Version number.
        addresses: Broadcast and multicast addresses; those of all interfaces if empty.
        port: The registries' port.
        wait: Seconds to listen.
        on_found: Called with each machine as its answer comes.
        reactor: The global one if None.

    Returns:
        Fires after `wait` seconds with all of them; fails with NotConnected if nothing could be sent.
    """
    if reactor is None:
        from twisted.internet import reactor
    targets = list(addresses) or broadcast_addresses(list_interfaces())
    search = Discovery(program, version, xid=int.from_bytes(os.urandom(4), "big"))
    casters: list[_Broadcaster] = []
    for ipv6 in (False, True):
        own = [target for target in targets if (":" in target) == ipv6]
        if own:
            caster = _Broadcaster(search, own, port, on_found or (lambda _: None))
            reactor.listenUDP(0, caster, interface="::" if ipv6 else "0.0.0.0", maxPacketSize=65536)
            casters.append(caster)
    timers = [reactor.callLater(delay, caster.send) for delay in WAITS if delay < wait for caster in casters]
    done: Deferred[list[Discovered]] = Deferred(lambda _: close())

    def over() -> None:
        close()
        if not any(caster.sent for caster in casters):
            errors = [caster.error for caster in casters if caster.error is not None]
            reason = errors[0].strerror if errors else "no interface is up that can broadcast"
            done.errback(NotConnected(f"nothing could be broadcast: {reason}"))
        else:
            done.callback(search.found)

    def close() -> None:
        for timer in timers:
            if timer.active():
                timer.cancel()
        for caster in casters:
            if caster.transport is not None:
                caster.transport.stopListening()

    timers.append(reactor.callLater(wait, over))
    return done
