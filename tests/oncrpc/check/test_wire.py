"""oncrpc.check.wire: messages by hand, compared with the library's own reading of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncrpc.auth import AuthSys
from oncrpc.check import wire
from oncrpc.errors import AuthenticationFailed, ProgramMismatch, RPCVersionMismatch, SystemFailure
from oncrpc.message import encode_error, encode_success, parse_call
from oncrpc.records import RecordReader


def test_a_right_call_is_what_the_library_reads() -> None:
    header = parse_call(wire.call(1, 2, 3, 4, cred=wire.auth_sys(b"host", (5, 6)), args=b"args"))
    assert (header.xid, header.program, header.version, header.procedure) == (1, 2, 3, 4)
    assert AuthSys.decode(header.credential) == AuthSys(0, "host", 65534, 65534, (5, 6))


@given(st.binary(max_size=60), st.lists(st.integers(0, 10), max_size=8))
def test_records_in_fragments_are_what_the_library_reads(message: bytes, sizes: list[int]) -> None:
    while sum(sizes) > len(message):
        sizes.pop()
    reader = RecordReader(1000)
    reader.receive_data(wire.record(message, *sizes))
    assert reader.next_record() == message


def test_replies_are_taken_apart() -> None:
    reply = wire.read_reply(encode_success(7) + b"rest")
    assert (reply.xid, reply.succeeded, reply.body, str(reply)) == (7, True, b"rest", "SUCCESS and 4 bytes")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (encode_error(1, ProgramMismatch(2, 4)), "PROG_MISMATCH 2..4"),
        (encode_error(1, SystemFailure()), "SYSTEM_ERR"),
        (encode_error(1, RPCVersionMismatch(2, 2)), "RPC_MISMATCH 2..2"),
        (encode_error(1, AuthenticationFailed(5)), "AUTH_ERROR AUTH_TOOWEAK"),
        (encode_error(1, AuthenticationFailed(99)), "AUTH_ERROR 99"),
    ],
)
def test_errors_are_told_in_the_words_of_the_rfc(data: bytes, text: str) -> None:
    assert str(wire.read_reply(data)) == text


@given(st.binary(max_size=64))
def test_any_bytes_are_a_reply_or_unreadable(data: bytes) -> None:
    try:
        reply = wire.read_reply(data)
    except wire.Unreadable:
        return
    assert reply.raw == data
    assert str(reply)
