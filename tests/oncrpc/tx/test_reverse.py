"""Reverse-direction calls: the server calls the client on the connection that the client made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from oncrpc.errors import CallTimedOut, NotConnected
from oncrpc.message import encode_success, parse_call
from oncrpc.records import frame_record
from oncrpc.testing import call_message
from tests.oncrpc.sample import Pair, SampleClient
from tests.oncrpc.served import PROGRAM, Served
from tests.oncrpc.tx.loop import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

LATER = frame_record(call_message(PROGRAM, 1, 4, bytes(4), xid=5))


class Reversed(Bench):
    """A client that has called, and the stub that calls it."""

    def __init__(self) -> None:
        self.program = Served()
        super().__init__([self.program])
        self.client = self.connect()
        self.client.send(LATER)
        self.loop.until(lambda: self.program.calls)
        self.call_in_hand = self.program.calls[0]
        assert self.call_in_hand.connection is not None
        self.connection = self.call_in_hand.connection
        self.stub = SampleClient(self.connection.caller())

    def received(self) -> bytes:
        size = int.from_bytes(self.receive(self.client, 4), "big") & 0x7FFFFFFF
        return self.receive(self.client, size)


@pytest.fixture
def served() -> Iterator[Reversed]:
    made = Reversed()
    yield made
    made.close()


def outcome(answer: Any) -> list[Any]:
    got: list[Any] = []
    answer.addBoth(got.append)
    return got


def test_a_call_to_the_client_is_answered_while_its_own_is_in_hand(served: Reversed) -> None:
    got = outcome(served.stub.sample_add(Pair(2, 3)))
    call = served.received()
    header = parse_call(call)
    assert (header.program, header.procedure) == (SampleClient.program, 2)
    # Both directions share the connection: the same xid may be under way in each.
    served.client.send(frame_record(encode_success(header.xid) + (5).to_bytes(4, "big")) + LATER)
    served.loop.until(lambda: got)
    assert got == [5]
    assert len(served.program.calls) == 2
    for each in served.program.calls:
        each.reply(b"")
    assert served.received()[:4] == b"\0\0\0\x05"


def test_calls_to_the_client_fail_with_the_connection(served: Reversed) -> None:
    got = outcome(served.stub.sample_add(Pair(2, 3)))
    served.client.close()
    served.call_in_hand.reply(b"")
    served.loop.until(lambda: got)
    assert isinstance(got[0].value, NotConnected)
    with pytest.raises(NotConnected):
        served.connection.caller()


def test_calls_to_the_client_time_out(served: Reversed) -> None:
    got = outcome(served.stub.sample_add(Pair(2, 3), timeout=5))
    served.loop.advance(6)
    assert isinstance(got[0].value, CallTimedOut)


def test_a_connection_has_one_caller(served: Reversed) -> None:
    assert served.connection.caller() is served.connection.caller()
