"""oncrpc.tx.faults: scripts on transports of memory, with a clock of memory."""

from __future__ import annotations

import struct
from random import Random

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from oncrpc.client import Answered, StreamClient
from oncrpc.faults.answers import Echo
from oncrpc.faults.rules import parse_rule
from oncrpc.faults.script import Plan, Script
from oncrpc.tx.faults import FaultDatagrams, FaultFactory
from tests.oncrpc.tx.test_client import marked


def call(xid: int, procedure: int = 1, arguments: bytes = b"") -> bytes:
    return struct.pack(">10I", xid, 0, 2, 5, 1, procedure, 0, 0, 0, 0) + arguments


class Line:
    """One connection of a fault server."""

    def __init__(self, *rules: str) -> None:
        self.clock = Clock()
        self.told: list[tuple[Script, str]] = []
        plan = Plan([parse_rule(text) for text in rules], Random(1))
        factory = FaultFactory(self.clock, plan, Echo(), "tcp", lambda script, peer: self.told.append((script, peer)))
        self.protocol = factory.buildProtocol(None)
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", "10.0.0.9", 1234))
        self.aborted = False
        self.protocol.makeConnection(self.transport)
        self.transport.abortConnection = self.abort  # type: ignore[method-assign]

    def abort(self) -> None:
        self.aborted = True

    def call(self, *xids: int) -> None:
        self.protocol.dataReceived(b"".join(marked(call(xid)) for xid in xids))

    def answered(self) -> list[int]:
        """The xids answered so far, in their order, as a client reads them."""
        client = StreamClient(first_xid=1)
        for token in range(1, 10):
            client.start(token, 5, 1, 1, b"", now=0)
        client.receive_data(self.transport.value())
        found = []
        while isinstance(event := client.next_event(), Answered):
            found.append(event.token)
        return found


def test_calls_are_answered_at_once_where_no_rule_applies() -> None:
    line = Line()
    line.call(1, 2, 3)
    assert line.answered() == [1, 2, 3]
    assert line.told[0][1] == "10.0.0.9:1234"


def test_a_delayed_answer_is_overtaken() -> None:
    line = Line("nth=1 delay=5")
    line.call(1, 2)
    assert line.answered() == [2]
    line.clock.advance(5)
    assert line.answered() == [2, 1]


def test_a_held_answer_comes_after_the_next_one() -> None:
    line = Line("nth=1 hold")
    line.call(1)
    assert line.answered() == []
    line.call(2)
    assert line.answered() == [2, 1]


def test_slowly_written_records_do_not_mix() -> None:
    line = Line("dribble=0.1")
    line.call(1, 2)
    for _ in range(200):
        line.clock.advance(0.1)
    assert line.answered() == [1, 2]


def test_a_cut_closes_and_a_reset_aborts() -> None:
    cut, reset = Line("cut=7"), Line("reset")
    cut.call(1)
    assert len(cut.transport.value()) == 7
    assert cut.transport.disconnecting
    reset.call(1)
    assert reset.aborted


def test_nothing_is_played_to_a_peer_that_is_gone() -> None:
    line = Line("delay=5")
    line.call(1)
    line.protocol.connectionLost()
    assert line.clock.getDelayedCalls() == []


def test_a_record_too_large_closes_the_connection() -> None:
    line = Line()
    line.protocol.dataReceived(b"\xff\xff\xff\xff")
    assert line.transport.disconnecting


class FakeSocket:
    def __init__(self) -> None:
        self.sent: list[tuple[bytes, object]] = []

    def write(self, data: bytes, addr: object) -> None:
        self.sent.append((data, addr))


def test_datagrams_are_dropped_doubled_and_delayed() -> None:
    clock = Clock()
    plan = Plan([parse_rule("nth=1 drop"), parse_rule("nth=2 duplicate delay=1")], Random(1))
    protocol = FaultDatagrams(clock, plan, Echo(), lambda script, peer: None)
    socket = FakeSocket()
    protocol.transport = socket  # type: ignore[assignment]
    for xid in (1, 2, 3):
        protocol.datagramReceived(call(xid), ("10.0.0.9", 99))
    protocol.datagramReceived(b"noise", ("10.0.0.9", 99))
    clock.advance(1)
    assert [int.from_bytes(data[:4], "big") for data, _ in socket.sent] == [3, 2, 2]
    assert {peer for _, peer in socket.sent} == {("10.0.0.9", 99)}
