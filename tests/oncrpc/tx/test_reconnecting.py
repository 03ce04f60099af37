"""oncrpc.tx.reconnecting: a connection that comes back; in memory first, then a real server that is killed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from oncrpc.errors import CallTimedOut, NotConnected
from oncrpc.tx.reconnecting import ReconnectingClient
from tests.oncrpc.libtirpc import c_server
from tests.oncrpc.sample import Pair, SampleClient
from tests.oncrpc.tx.test_client import error, marked, outcome, success

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@implementer(IStreamClientEndpoint)
class Switchboard:
    """An endpoint that connects when told to."""

    def __init__(self) -> None:
        self.attempts: list[tuple[Any, Deferred[Any]]] = []

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        attempt: Deferred[Any] = Deferred()
        self.attempts.append((protocolFactory, attempt))
        return attempt

    def succeed(self) -> Any:
        factory, attempt = self.attempts[-1]
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        attempt.callback(protocol)
        return protocol

    def fail(self) -> None:
        self.attempts[-1][1].errback(NotConnected("refused"))


class TestReconnectingClient:
    """A connection that comes back."""

    def make(self, **changes: Any) -> tuple[ReconnectingClient[SampleClient], Switchboard, Clock]:
        endpoint, clock = Switchboard(), Clock()
        client = ReconnectingClient(SampleClient, endpoint, reactor=clock, **changes)
        client.startService()
        return client, endpoint, clock

    def test_calls_wait_for_the_connection(self) -> None:
        client, endpoint, _ = self.make()
        answer = client.stub.sample_null()
        line = endpoint.succeed()
        xid = struct.unpack_from(">I", line.transport.value(), 4)[0]
        line.dataReceived(marked(success(xid)))
        assert answer.called
        assert outcome(answer) is None
        assert client.connected

    def test_it_tries_again_with_growing_waits(self) -> None:
        _, endpoint, clock = self.make(first_delay=1.0)
        waits = []
        for _ in range(4):
            begun = clock.seconds()
            count = len(endpoint.attempts)
            endpoint.fail()
            while len(endpoint.attempts) == count:
                clock.advance(0.05)
            waits.append(clock.seconds() - begun)
        assert waits[0] < waits[-1]

    def test_a_lost_connection_fails_what_is_under_way_and_later_calls_wait(self) -> None:
        client, endpoint, clock = self.make()
        first = endpoint.succeed()
        under_way = client.stub.sample_null()
        first.connectionLost(Failure(ConnectionDone()))
        assert isinstance(error(under_way), NotConnected)
        later = client.stub.sample_null()
        assert not later.called
        for _ in range(100):
            clock.advance(0.1)
        endpoint.succeed()
        later.cancel()
        assert isinstance(error(later), CancelledError)
        assert len(endpoint.attempts) == 2

    def test_the_wait_for_a_connection_counts_for_the_timeout(self) -> None:
        client, endpoint, clock = self.make()
        answer = client.stub.sample_null(timeout=3)
        endpoint.fail()
        clock.advance(3)
        found = error(answer)
        assert isinstance(found, CallTimedOut)
        assert "refused" in str(found)
        assert client._waiting == {}

    def test_a_cancelled_wait_leaves_nothing(self) -> None:
        client, endpoint, _ = self.make()
        answer = client.stub.sample_null()
        answer.cancel()
        assert isinstance(error(answer), CancelledError)
        assert client._waiting == {}
        line = endpoint.succeed()
        assert line.transport.value() == b""

    def test_stopping_fails_what_waits(self) -> None:
        client, _, _ = self.make()
        answer = client.stub.sample_null()
        client.stopService()
        assert isinstance(error(answer), NotConnected)
        assert isinstance(error(client.stub.sample_null()), NotConnected)

    def test_udp_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no connection to keep"):
            ReconnectingClient(SampleClient, "udp:127.0.0.1:600", reactor=Clock())


@pytest_twisted.inlineCallbacks
def test_a_killed_server_is_told_and_a_new_one_is_found_again(
    tmp_path: Path,
) -> Generator[Deferred[Any], Any, None]:
    path = tmp_path / "socket"
    client = ReconnectingClient(SampleClient, f"unix:{path}", first_delay=0.02, timeout=20)
    client.startService()
    waiting = client.stub.sample_add(Pair(1, 1))
    with c_server(tmp_path):
        assert (yield waiting) == 2
    while client.connected:
        yield deferLater(reactor, 0.01)
    path.unlink()
    waiting = client.stub.sample_add(Pair(2, 2))
    with c_server(tmp_path):
        assert (yield waiting) == 4
        yield client.stopService()
