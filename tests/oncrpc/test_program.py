from __future__ import annotations

import pytest

from oncrpc.errors import AuthenticationFailed, AuthStat, ProgramMismatch, RecordTooLarge, ReplyTooLarge
from oncrpc.program import LATER, NO_REPLY, LaterType, Peer
from tests.oncrpc.sample import SampleSyncClient


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        (Peer("192.0.2.1", 700), "192.0.2.1:700"),
        (Peer("::1", 700), "[::1]:700"),
        (Peer("", 0), "local"),
        (Peer("", 0, "/x"), "/x"),
    ],
)
def test_peers_are_written_as_people_write_them(peer: Peer, text: str) -> None:
    assert str(peer) == text


def test_what_is_returned_instead_of_a_result_is_of_one_type() -> None:
    assert {LATER, NO_REPLY} == set(LaterType)


def test_a_stub_hands_its_calls_to_its_caller() -> None:
    class Caller:
        def __init__(self) -> None:
            self.calls: list[object] = []

        def call(self, *what: object, timeout: float | None) -> int:
            self.calls.append((*what[1:], timeout))
            return 5

        def send(self, *what: object) -> None:
            self.calls.append(what[1:])

        def close(self) -> None:
            self.calls.append("closed")

    caller = Caller()
    stub = SampleSyncClient(caller)
    assert stub.sample_count(timeout=3) == 5
    stub.shout()
    stub.close()
    count = SampleSyncClient.procedures[5]
    assert caller.calls == [(count, (), 3), (count, ()), "closed"]


def test_errors_say_what_they_know() -> None:
    assert str(ProgramMismatch(2, 4)) == "versions 2 to 4 are served"
    assert str(AuthenticationFailed(5, "why")) == "AUTH_TOOWEAK: why"
    assert str(AuthenticationFailed(99)) == "auth_stat 99"
    assert AuthenticationFailed(13).auth_stat is AuthStat.RPCSEC_GSS_CREDPROBLEM
    assert "100 accepted" in str(RecordTooLarge(200, 100))
    assert "8800 allowed" in str(ReplyTooLarge(9000, 8800))
