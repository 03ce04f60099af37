"""oncrpc.tx.client: Deferreds, timers and transports; in memory first, then against a real libtirpc server."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from oncrpc.auth import AuthSys
from oncrpc.client import Retransmission
from oncrpc.errors import (
    ArgumentsNotEncodable,
    CallTimedOut,
    MalformedMessage,
    NotConnected,
    ProgramUnavailable,
    RecordTooLarge,
    RPCError,
)
from oncrpc.limits import Limits
from oncrpc.tx.client import DatagramCaller, StreamCaller, connect
from tests.oncrpc.libtirpc import CServer, c_server
from tests.oncrpc.sample import Pair, SampleClient

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from oncrpc.program import ClientStub


class NowhereClient(SampleClient):
    """A program that is not served."""

    program = 0x20000602


def marked(data: bytes) -> bytes:
    return struct.pack(">I", 0x80000000 | len(data)) + data


def success(xid: int, results: bytes = b"") -> bytes:
    return struct.pack(">6I", xid, 1, 0, 0, 0, 0) + results


def outcome(answer: Deferred[Any]) -> Any:
    """What a Deferred has fired with; None if it has not."""
    results: list[Any] = []

    def keep(result: Any) -> Any:
        results.append(result)
        return None if isinstance(result, Failure) else result

    answer.addBoth(keep)
    return results[0] if results else None


def error(answer: Deferred[Any]) -> BaseException:
    found = outcome(answer)
    assert isinstance(found, Failure)
    assert found.value is not None
    return found.value


class Line:
    """A StreamCaller on a transport of memory."""

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.caller = StreamCaller(self.clock, **changes)
        self.transport = StringTransport()
        self.transport.abortConnection = self.transport.loseConnection  # type: ignore[method-assign]
        self.caller.makeConnection(self.transport)
        self.stub = SampleClient(self.caller)

    def xids(self) -> list[int]:
        """Of the records written so far."""
        data, found = self.transport.value(), []
        while data:
            (mark, xid) = struct.unpack_from(">2I", data)
            found.append(xid)
            data = data[4 + (mark & 0x7FFFFFFF) :]
        return found


class TestStreamCaller:
    """Over one connection."""

    def test_a_result_fires_the_deferred(self) -> None:
        line = Line()
        answer = line.stub.sample_add(Pair(1, 2))
        assert outcome(answer) is None
        line.caller.dataReceived(marked(success(line.xids()[0], struct.pack(">i", 3))))
        assert outcome(answer) == 3

    def test_calls_are_pipelined(self) -> None:
        line = Line()
        answers = [line.stub.sample_null() for _ in range(10)]
        assert len(set(line.xids())) == 10
        line.caller.dataReceived(b"".join(marked(success(xid)) for xid in reversed(line.xids())))
        assert all(answer.called for answer in answers)

    def test_the_timeout_of_the_call_goes_before_that_of_the_caller(self) -> None:
        line = Line(timeout=10)
        short, usual, never = (
            line.stub.sample_null(timeout=1),
            line.stub.sample_null(),
            line.stub.sample_null(timeout=float("inf")),
        )
        line.clock.advance(1)
        assert isinstance(error(short), CallTimedOut)
        assert not usual.called
        line.clock.advance(9)
        assert isinstance(error(usual), CallTimedOut)
        line.clock.advance(10**6)
        assert not never.called

    def test_a_shorter_timeout_behind_a_longer_one_is_kept(self) -> None:
        line = Line()
        line.stub.sample_null(timeout=100).addErrback(lambda _: None)
        short = line.stub.sample_null(timeout=1)
        line.clock.advance(1)
        assert isinstance(error(short), CallTimedOut)

    def test_a_late_reply_is_dropped(self) -> None:
        line = Line()
        answer = line.stub.sample_null(timeout=1)
        line.clock.advance(1)
        assert isinstance(error(answer), CallTimedOut)
        line.caller.dataReceived(marked(success(line.xids()[0])))

    def test_cancelling_removes_bytes_and_xid_while_the_transport_is_full(self) -> None:
        line = Line()
        line.caller.pauseProducing()
        gone, kept = line.stub.sample_null(), line.stub.sample_null()
        gone.cancel()
        assert isinstance(error(gone), CancelledError)
        line.caller.resumeProducing()
        assert len(line.xids()) == 1
        line.caller.dataReceived(marked(success(line.xids()[0])))
        assert kept.called

    def test_a_call_that_times_out_while_the_transport_is_full_is_never_sent(self) -> None:
        line = Line()
        line.caller.pauseProducing()
        late = line.stub.sample_echo(bytes(100_000), timeout=1)
        line.clock.advance(1)
        assert isinstance(error(late), CallTimedOut)
        line.caller.resumeProducing()
        assert line.transport.value() == b""

    def test_cancelling_after_sending_forgets_the_call(self) -> None:
        line = Line()
        answer = line.stub.sample_null()
        answer.cancel()
        assert isinstance(error(answer), CancelledError)
        line.caller.dataReceived(marked(success(line.xids()[0])))

    def test_a_lost_connection_fails_what_is_under_way_and_what_comes_later(self) -> None:
        line = Line()
        answer = line.stub.sample_null()
        line.caller.connectionLost(Failure(ConnectionDone()))
        assert isinstance(error(answer), NotConnected)
        assert isinstance(error(line.stub.sample_null()), NotConnected)
        assert line.clock.getDelayedCalls() == []
        assert not line.caller.connected_now

    def test_close_fails_what_is_under_way_and_fires_when_closed(self) -> None:
        line = Line()
        answer = line.stub.sample_null()
        closed = line.stub.close()
        assert isinstance(error(answer), NotConnected)
        assert not closed.called
        line.caller.connectionLost(Failure(ConnectionDone()))
        assert closed.called
        assert line.stub.close().called

    def test_a_record_too_large_drops_the_connection(self) -> None:
        line = Line(limits=Limits(max_record=1000))
        answer = line.stub.sample_null()
        line.caller.dataReceived(b"\xff\xff\xff\xff")
        assert isinstance(error(answer), RecordTooLarge)
        assert line.transport.disconnecting

    def test_a_result_that_does_not_fit_fails_its_call(self) -> None:
        line = Line()
        answer = line.stub.sample_echo(b"")
        line.caller.dataReceived(marked(success(line.xids()[0], b"\xff\xff\xff\xff")))
        found = error(answer)
        assert isinstance(found, MalformedMessage)
        assert "SAMPLE_ECHO" in str(found)

    def test_arguments_that_do_not_fit_fail_the_deferred(self) -> None:
        line = Line()
        assert isinstance(error(line.stub.sample_add(Pair(2**31, 0))), ArgumentsNotEncodable)
        assert line.transport.value() == b""

    def test_a_callback_may_call_again(self) -> None:
        line = Line()
        second: list[Deferred[None]] = []
        line.stub.sample_null().addCallback(lambda _: second.append(line.stub.sample_null()))
        line.caller.dataReceived(marked(success(line.xids()[0])))
        line.caller.dataReceived(marked(success(line.xids()[1])))
        assert second[0].called

    def test_calls_of_the_server_are_handed_over(self) -> None:
        line = Line()
        message = struct.pack(">10I", 5, 0, 2, 100, 1, 0, 0, 0, 0, 0)
        line.caller.dataReceived(marked(message))
        seen: list[bytes] = []
        line.caller.serve = seen.append
        line.caller.dataReceived(marked(message))
        assert seen == [message]
        line.caller.send_message(b"the reply!!!")
        assert line.transport.value() == marked(b"the reply!!!")


class FakeDatagrams:
    """A UDP transport of memory."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.refuse: Exception | None = None

    def connect(self, host: str, port: int) -> None:
        self.peer = (host, port)

    def write(self, datagram: bytes) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.sent.append(datagram)

    def stopListening(self) -> None:
        return None


class Datagrams:
    """A DatagramCaller on a transport of memory."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.caller = DatagramCaller(self.clock, "10.0.0.1", 600, retransmission=Retransmission(jitter=0))
        self.transport = FakeDatagrams()
        self.caller.transport = self.transport  # type: ignore[assignment]
        self.caller.startProtocol()
        self.stub = SampleClient(self.caller)


class TestDatagramCaller:
    """By datagram."""

    def test_a_call_is_sent_until_it_is_answered(self) -> None:
        line = Datagrams()
        answer = line.stub.sample_null()
        for seconds in (1, 2, 4):
            line.clock.advance(seconds)
        assert len(line.transport.sent) == 4
        assert len(set(line.transport.sent)) == 1
        xid = int.from_bytes(line.transport.sent[0][:4], "big")
        line.caller.datagramReceived(success(xid), ("10.0.0.2", 600))
        assert not answer.called
        line.caller.datagramReceived(success(xid), ("10.0.0.1", 600))
        assert answer.called

    def test_the_deadline_counts_for_all_transmissions(self) -> None:
        line = Datagrams()
        answer = line.stub.sample_null(timeout=5)
        for _ in range(5):
            line.clock.advance(1)
        assert isinstance(error(answer), CallTimedOut)
        assert len(line.transport.sent) == 3
        assert line.clock.getDelayedCalls() == []

    def test_a_refused_port_fails_the_call_at_once(self) -> None:
        line = Datagrams()
        answer = line.stub.sample_null()
        line.caller.connectionRefused()
        assert isinstance(error(answer), NotConnected)

    def test_a_datagram_that_cannot_leave_now_is_tried_again(self) -> None:
        line = Datagrams()
        line.transport.refuse = OSError(101, "Network is unreachable")
        answer = line.stub.sample_null()
        line.transport.refuse = None
        line.clock.advance(1)
        assert len(line.transport.sent) == 1
        answer.cancel()
        assert isinstance(error(answer), CancelledError)

    def test_a_closed_socket_fails_what_is_under_way_and_what_comes_later(self) -> None:
        line = Datagrams()
        answer = line.stub.sample_null()
        line.caller.stopProtocol()
        assert isinstance(error(answer), NotConnected)
        assert isinstance(error(line.stub.sample_null()), NotConnected)
        with pytest.raises(NotConnected):
            line.stub.shout()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CServer]:
    with c_server(tmp_path_factory.mktemp("c")) as running:
        yield running


@pytest.fixture(params=["tcp", "udp", "unix"])
def address(request: pytest.FixtureRequest, server: CServer) -> str:
    places = {"tcp": f"tcp:127.0.0.1:{server.tcp}", "udp": f"udp:localhost:{server.udp}", "unix": f"unix:{server.path}"}
    return places[request.param]


class TestAgainstLibtirpc:
    """Real sockets, a real C server."""

    @pytest_twisted.inlineCallbacks
    def test_calls_are_answered(self, address: str) -> Generator[Deferred[Any], Any, None]:
        stub = yield connect(SampleClient, address, credential=AuthSys.current())
        assert (yield stub.sample_null()) is None
        assert (yield stub.sample_add(Pair(2, 40))) == 42
        yield stub.close()

    @pytest_twisted.inlineCallbacks
    def test_a_thousand_calls_at_once_are_all_answered(self, server: CServer) -> Generator[Deferred[Any], Any, None]:
        stub = yield connect(SampleClient, f"tcp:localhost:{server.tcp}")
        answers = [stub.sample_add(Pair(number, 1)) for number in range(1000)]
        for number, answer in enumerate(answers):
            assert (yield answer) == number + 1
        yield stub.close()

    @pytest_twisted.inlineCallbacks
    def test_batched_calls_are_executed_before_the_one_that_ends_them(
        self, server: CServer
    ) -> Generator[Deferred[Any], Any, None]:
        stub = yield connect(SampleClient, f"tcp:127.0.0.1:{server.tcp}")
        before = yield stub.sample_count()
        for _ in range(100):
            stub.shout()
        assert (yield stub.sample_count()) == before + 101
        yield stub.close()

    @pytest_twisted.inlineCallbacks
    def test_an_unknown_program_is_told(self, address: str) -> Generator[Deferred[Any], Any, None]:
        stub: ClientStub = yield connect(NowhereClient, address)
        with pytest.raises(ProgramUnavailable):
            yield stub._call(0)
        yield stub.close()

    @pytest_twisted.inlineCallbacks
    def test_a_large_echo_comes_back_whole(self, server: CServer) -> Generator[Deferred[Any], Any, None]:
        data = bytes(range(256)) * 8000
        stub = yield connect(SampleClient, f"unix:{server.path}")
        assert (yield stub.sample_echo(data)) == data
        yield stub.close()


@pytest_twisted.inlineCallbacks
def test_nobody_there_is_not_connected(tmp_path: Path) -> Generator[Deferred[Any], Any, None]:
    with pytest.raises(NotConnected, match="unix:"):
        yield connect(SampleClient, f"unix:{tmp_path}/nobody")


@pytest_twisted.inlineCallbacks
def test_a_name_without_an_address_is_not_connected() -> Generator[Deferred[Any], Any, None]:
    for transport in ("udp", "tcp"):
        with pytest.raises(RPCError, match=r"host\.invalid"):
            yield connect(SampleClient, f"{transport}:host.invalid:600", timeout=10)
