"""Calls that the registry passes on to other programs of the machine, over UDP (CALLIT, BCAST, INDIRECT)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from oncrpc.client import Answered, DatagramClient, Failed, Retransmission
from oncrpc.errors import NotConnected, RPCError, SystemFailure
from rpcbind_reg.registration import probe_address
from rpcbind_reg.uaddr import UniversalAddressError, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall

    from rpcbind_reg.mappings import Mapping

PENDING_MAX: Final = 64
"""Most calls passed on that wait for their answers, for each address family; rpcbind has 64 slots too."""

WAIT: Final = 10.0
"""Seconds until a call passed on is given up. rpcbind takes 120 s, in which 64 calls without an answer block it."""

_ONCE: Final = Retransmission(first=2 * WAIT, longest=2 * WAIT)
"""Never sent again: the caller behind us does that, and reaches the replay cache."""

log = Logger()


class UDPForwarder:
    """Passes calls on from a socket of its own for each address family, without any credential.

    rpcbind passes the caller's AUTH_SYS credential on, so that a stranger's call reaches the program from the loopback
    address under any uid. The port mapper's RFC passes none (RFC 1833, section 3.2), and neither does this.

    Args:
        reactor: Makes the sockets.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._sockets: dict[str, _Socket] = {}

    def forward(
        self, mapping: Mapping, procedure: int, arguments: bytes, done: Callable[[bytes | Exception], None]
    ) -> None:
        """Pass a call on; see rpcbind_reg.program.Forwarder."""
        near = probe_address(mapping)
        try:
            address = parse(near.netid, near.uaddr)
        except UniversalAddressError as error:
            done(SystemFailure(str(error)))
            return
        assert address.port is not None
        family = "::1" if ":" in address.host else "127.0.0.1"
        try:
            opened = self._sockets.get(family) or self._open(family)
            opened.forward(mapping, procedure, arguments, (address.host, address.port), done)
        except RPCError as error:
            done(error)

    def _open(self, family: str) -> _Socket:
        opened = self._sockets[family] = _Socket(self._reactor)
        self._reactor.listenUDP(0, opened, interface=family, maxPacketSize=65536)
        return opened

    def close(self) -> None:
        """Close the sockets; calls under way are given up."""
        sockets, self._sockets = self._sockets, {}
        for opened in sockets.values():
            opened.close()


class _Socket(DatagramProtocol):
    """One socket and the calls passed on through it."""

    noisy = False

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._core = DatagramClient(first_xid=int.from_bytes(os.urandom(4), "big"), retransmission=_ONCE)
        self._timer: IDelayedCall | None = None

    def forward(
        self,
        mapping: Mapping,
        procedure: int,
        arguments: bytes,
        peer: tuple[str, int],
        done: Callable[[bytes | Exception], None],
    ) -> None:
        """Send one call.

        Raises:
            SystemFailure: Too many are under way.
            ArgumentsNotEncodable: It does not fit a datagram.
        """
        if self._core.pending >= PENDING_MAX:
            message = f"{PENDING_MAX} calls passed on wait for their answers already"
            raise SystemFailure(message)
        self._core.start(
            done,
            mapping.program,
            mapping.version,
            procedure,
            arguments,
            now=self._clock.seconds(),
            peer=peer,
            timeout=WAIT,
        )
        self._flush()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take an answer."""
        self._core.receive_datagram(datagram, tuple(addr)[:2])
        self._tell()

    def close(self) -> None:
        """Give up, and close."""
        self._core.close(NotConnected("the registry stops"))
        self._tell()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.transport is not None:
            self.transport.stopListening()

    def _flush(self) -> None:
        assert self.transport is not None
        for datagram, peer in self._core.datagrams_to_send():
            assert isinstance(peer, tuple)
            try:
                self.transport.write(datagram, peer)
            except OSError as error:
                log.debug("a call could not be passed on to {peer}: {error}", peer=peer, error=error)
        due = self._core.get_timer()
        if due is not None and self._timer is None:
            self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._core.handle_timer(self._clock.seconds())
        self._tell()
        self._flush()

    def _tell(self) -> None:
        while (event := self._core.next_event()) is not None:
            if isinstance(event, Answered):
                event.token(bytes(event.results))
            elif isinstance(event, Failed):
                event.token(event.error)
