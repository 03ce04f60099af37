"""The door for further flavors: what RPCSEC_GSS and RPC-with-TLS will need of it."""

from __future__ import annotations

import pytest

from oncrpc.auth import AUTH_NONE, Credential, encode_opaque_auth
from oncrpc.errors import GarbageArguments
from oncrpc.flavors import Accepted, Attempt, Dropped, Flavor, default_flavors
from oncrpc.message import encode_call
from oncrpc.program import Peer
from oncrpc.records import frame_record
from oncrpc.server import Server
from oncrpc.session import StreamSession
from tests.oncrpc.served import PROGRAM, Served

VERIFIER = encode_opaque_auth(6, b"proof")


class Sealing(Flavor):
    """A flavor with a sequence number, a verifier, and arguments and results turned around."""

    flavor = 6

    def __init__(self) -> None:
        self.seen: list[Attempt] = []

    def accept(self, attempt: Attempt) -> Accepted:
        self.seen.append(attempt)
        match attempt.header.credential:
            case b"drop":
                raise Dropped
            case b"init":
                return Accepted(AUTH_NONE, VERIFIER, reusable=False, answer=b"tokn")
        return Accepted(Credential(), VERIFIER, reusable=False, unwrap=self.unwrap, wrap=lambda data: data[::-1])

    @staticmethod
    def unwrap(data: bytes) -> bytes:
        if data == b"bad!":
            raise GarbageArguments
        return data[::-1]


@pytest.fixture
def sealing() -> Sealing:
    return Sealing()


def call(sealing: Sealing, procedure: int, arguments: bytes, body: bytes = b"data", times: int = 1) -> bytes:
    server = Server([Served()], flavors=default_flavors() | {6: sealing})
    session = StreamSession(server, 1, Peer("127.0.0.1", 1), "tcp", wake=lambda: None)
    message = encode_call(1, PROGRAM, 1, procedure, credential=encode_opaque_auth(6, body), verifier=VERIFIER)
    session.receive_data(frame_record(message + arguments) * times)
    session.run()
    return b"".join(session.data_to_send())


def test_it_sees_the_whole_call_and_where_its_credential_ends(sealing: Sealing) -> None:
    call(sealing, 2, (b"\0\0\0\x01" + b"\0\0\0\x02")[::-1])
    (attempt,) = sealing.seen
    assert attempt.header.verifier == b"proof"
    assert bytes(attempt.record[attempt.header.credential_end :]).startswith(VERIFIER)


def test_it_may_wrap_arguments_and_results_and_prove_the_reply(sealing: Sealing) -> None:
    reply = call(sealing, 2, (b"\0\0\0\x01" + b"\0\0\0\x02")[::-1])
    assert reply[12 + 4 :] == VERIFIER + bytes(4) + b"\x03\0\0\0"


def test_it_is_asked_each_time_if_it_says_so(sealing: Sealing) -> None:
    call(sealing, 2, bytes(8), times=5)
    assert len(sealing.seen) == 5


def test_arguments_that_do_not_check_are_garbage_with_its_verifier(sealing: Sealing) -> None:
    assert call(sealing, 2, b"bad!")[16:] == VERIFIER + b"\0\0\0\x04"


def test_it_may_drop_a_call(sealing: Sealing) -> None:
    assert call(sealing, 2, bytes(8), b"drop") == b""


def test_it_may_answer_itself(sealing: Sealing) -> None:
    assert call(sealing, 0, b"", b"init")[16:] == VERIFIER + bytes(4) + b"tokn"
