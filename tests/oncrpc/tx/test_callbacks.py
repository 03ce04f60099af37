"""oncrpc.tx.callbacks: our server calls our client on the client's connection, through real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from oncrpc import program as _rpc
from oncrpc.errors import NotConnected, ProcedureUnavailable
from oncrpc.tx.client import connect
from oncrpc.tx.reconnecting import ReconnectingClient
from oncrpc.tx.service import RPCService
from tests.oncrpc.sample import PROCEDURES, Pair, SampleClient

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path


class Adder(_rpc.Program):
    """What the client serves: ECHO waits to be told, ADD answers at once."""

    program = 0x20000601
    version = 1
    procedures: ClassVar[tuple[_rpc.Procedure, ...]] = PROCEDURES[1:3]

    def __init__(self) -> None:
        self.waiting: list[Deferred[bytes]] = []
        self.netids: list[str] = []

    def sample_echo(self, call: _rpc.Call, data: bytes) -> Deferred[bytes]:
        self.netids.append(call.netid)
        answer: Deferred[bytes] = Deferred()
        self.waiting.append(answer)
        return answer

    def sample_add(self, call: _rpc.Call, pair: Pair) -> int:
        self.netids.append(call.netid)
        return pair.a + pair.b


class AskBack(_rpc.Program):
    """What the server serves: ADD asks the caller itself for the sum."""

    program = 0x20000601
    version = 1
    procedures: ClassVar[tuple[_rpc.Procedure, ...]] = PROCEDURES[1:3]

    def _stub(self, call: _rpc.Call) -> SampleClient:
        assert call.connection is not None
        return SampleClient(call.connection.caller())

    def sample_add(self, call: _rpc.Call, pair: Pair) -> Deferred[int]:
        return self._stub(call).sample_add(pair)

    def sample_echo(self, call: _rpc.Call, data: bytes) -> Deferred[bytes]:
        return self._stub(call).sample_echo(data)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RPCService]:
    running = RPCService([AskBack()], ["tcp:0:interface=127.0.0.1", f"unix:{tmp_path}/socket"])
    running.privilegedStartService()
    running.startService()
    yield running
    stopping = running.stopService()
    if isinstance(stopping, Deferred):
        pytest_twisted.blockon(stopping)


def place(service: RPCService, netid: str) -> str:
    address = next(one for one in service.addresses if one.netid == netid)
    return f"unix:{address.path}" if netid == "local" else f"tcp:127.0.0.1:{address.port}"


@pytest.mark.parametrize("netid", ["tcp", "local"])
@pytest_twisted.inlineCallbacks
def test_the_server_asks_the_client_on_its_own_connection(
    service: RPCService, netid: str
) -> Generator[Deferred[Any], Any, None]:
    adder = Adder()
    stub = yield connect(SampleClient, place(service, netid), programs=[adder])
    answers = [stub.sample_add(Pair(number, 1)) for number in range(50)]
    for number, answer in enumerate(answers):
        assert (yield answer) == number + 1
    assert adder.netids == [netid] * 50
    yield stub.close()


@pytest_twisted.inlineCallbacks
def test_an_answer_may_come_later(service: RPCService) -> Generator[Deferred[Any], Any, None]:
    adder = Adder()
    stub = yield connect(SampleClient, place(service, "tcp"), programs=[adder])
    waiting, at_once = stub.sample_echo(b"abc"), stub.sample_add(Pair(1, 2))
    assert (yield at_once) == 3
    adder.waiting[0].callback(b"late")
    assert (yield waiting) == b"late"
    yield stub.close()


@pytest_twisted.inlineCallbacks
def test_a_client_that_serves_nothing_answers_nothing(service: RPCService) -> Generator[Deferred[Any], Any, None]:
    stub = yield connect(SampleClient, place(service, "tcp"))
    answer = stub.sample_add(Pair(1, 2), timeout=0.1)
    with pytest.raises(Exception, match="no reply"):
        yield answer
    yield stub.close()


@pytest_twisted.inlineCallbacks
def test_each_connection_of_a_reconnecting_client_serves(service: RPCService) -> Generator[Deferred[Any], Any, None]:
    client = ReconnectingClient(SampleClient, place(service, "tcp"), programs=[Adder()], first_delay=0.01)
    client.startService()
    assert (yield client.stub.sample_add(Pair(1, 2))) == 3
    lost = client.stub.sample_echo(b"in hand when the connection goes")
    for connection in list(service.connections):
        connection.abort("by the test")
    with pytest.raises(NotConnected):
        yield lost
    assert (yield client.stub.sample_add(Pair(3, 4), timeout=20)) == 7
    yield client.stopService()


@pytest_twisted.inlineCallbacks
def test_a_procedure_that_the_client_lacks_is_told_to_the_server(
    service: RPCService,
) -> Generator[Deferred[Any], Any, None]:
    class Less(Adder):
        procedures: ClassVar[tuple[_rpc.Procedure, ...]] = PROCEDURES[2:3]

    stub = yield connect(SampleClient, place(service, "tcp"), programs=[Less()])
    # What the server's procedure fails with becomes its own answer.
    with pytest.raises(ProcedureUnavailable):
        yield stub.sample_echo(b"abc")
    yield stub.close()
