"""Calls passed on from one program to another, over UDP on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from oncrpc.errors import CallTimedOut, NotConnected, ProgramUnavailable, SystemFailure
from rpcbind_reg.access import CallitPolicy
from rpcbind_reg.mappings import Mapping
from rpcbind_reg.registry import RegistryPolicy
from rpcbind_reg.tx import client
from rpcbind_reg.tx.embedded import PortmapperService
from rpcbind_reg.tx.forward import PENDING_MAX, WAIT, UDPForwarder

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.protocol import DatagramProtocol

    from rpcbind_reg.client import PassedOn

NOWHERE = Mapping(300000, 1, "udp", "127.0.0.1.0.1")


class Wire:
    """Stands for a UDP socket."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.closed = False

    def write(self, datagram: bytes, peer: tuple[str, int]) -> None:
        self.sent.append((datagram, peer))

    def stopListening(self) -> None:
        self.closed = True


class UDPClock(Clock):
    """A clock that also makes UDP sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.wires: list[Wire] = []

    def listenUDP(self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192) -> None:
        wire = Wire()
        self.wires.append(wire)
        protocol.transport = wire  # type: ignore[assignment]


@pytest_twisted.ensureDeferred
async def test_a_call_is_passed_on_and_its_result_comes_back() -> None:
    """The program called is the registry itself, under another entry's address."""
    policy = RegistryPolicy(callit=CallitPolicy(enabled=True))
    service = PortmapperService(["udp:0", "udp:0:interface=::1"], policy=policy)
    service.privilegedStartService()
    service.startService()
    try:
        for host, netid in (("127.0.0.1", "udp"), ("::1", "udp6")):
            port = next(address.port for address in service.addresses if address.netid == netid)
            uaddr = next(row.uaddr for row in service.registry.mappings if row.netid == netid)
            service.registry.mappings.set(Mapping(300000, 1, netid, uaddr))
            found: Deferred[PassedOn] = client.call_indirectly(300000, 1, 0, host=host, port=port)
            with pytest.raises(ProgramUnavailable):  # it was asked: it does not serve that program
                await found
            answered = await client.call_indirectly(100000, 4, 0, host=host, port=port)
            assert (answered.uaddr, answered.results) == (uaddr, b"")
    finally:
        await service.stopService()


class TestBounds:
    """Calls passed on cannot pile up."""

    def setup_method(self) -> None:
        self.clock = UDPClock()
        self.forwarder = UDPForwarder(self.clock)
        self.told: list[Any] = []

    def forward(self, mapping: Mapping = NOWHERE) -> None:
        self.forwarder.forward(mapping, 0, b"", self.told.append)

    def test_so_many_wait_and_no_more(self) -> None:
        for _ in range(PENDING_MAX + 1):
            self.forward()
        assert [type(each) for each in self.told] == [SystemFailure]
        (wire,) = self.clock.wires
        assert len(wire.sent) == PENDING_MAX
        assert wire.sent[0][1] == ("127.0.0.1", 1)
        # The credential is AUTH_NONE, whoever asked: a stranger's word is not passed on from loopback.
        assert wire.sent[0][0][24:40] == bytes(16)

    def test_what_is_not_answered_is_given_up_and_makes_room(self) -> None:
        for _ in range(PENDING_MAX):
            self.forward()
        self.clock.advance(WAIT)
        assert [type(each) for each in self.told] == [CallTimedOut] * PENDING_MAX
        self.forward()
        assert len(self.told) == PENDING_MAX

    def test_closing_gives_up_what_waits(self) -> None:
        self.forward()
        self.forwarder.close()
        assert [type(each) for each in self.told] == [NotConnected]
        assert self.clock.wires[0].closed
        assert not self.clock.getDelayedCalls()

    def test_an_answer_of_somebody_else_is_none(self) -> None:
        self.forward()
        (wire,) = self.clock.wires
        xid = wire.sent[0][0][:4]
        reply = xid + bytes(3) + b"\1" + bytes(16) + b"done"
        opened = self.forwarder._sockets["127.0.0.1"]
        opened.datagramReceived(reply, ("127.0.0.1", 2))
        assert self.told == []
        opened.datagramReceived(reply, ("127.0.0.1", 1))
        assert self.told == [b"done"]

    def test_an_address_that_is_none_is_an_error(self) -> None:
        self.forward(Mapping(300000, 1, "udp", "junk"))
        assert [type(each) for each in self.told] == [SystemFailure]
