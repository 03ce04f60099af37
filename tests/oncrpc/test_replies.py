"""oncrpc.replies: headers of replies, right and wrong."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncrpc.errors import (
    AuthenticationFailed,
    CallNotExecuted,
    CallRejected,
    GarbageArguments,
    MalformedMessage,
    ProcedureUnavailable,
    ProgramMismatch,
    ProgramUnavailable,
    RPCError,
    RPCVersionMismatch,
    SystemFailure,
)
from oncrpc.message import encode_error, encode_success
from oncrpc.replies import parse_reply


def test_success_gives_the_offset_of_the_results() -> None:
    assert parse_reply(encode_success(7) + b"rest").results == 24


@pytest.mark.parametrize(
    "error",
    [
        ProgramUnavailable(),
        ProgramMismatch(1, 3),
        ProcedureUnavailable(),
        GarbageArguments(),
        SystemFailure(),
        RPCVersionMismatch(2, 2),
        AuthenticationFailed(1),
        AuthenticationFailed(99),
    ],
)
def test_each_error_that_a_server_sends_is_raised_again(error: CallNotExecuted | CallRejected) -> None:
    message = encode_error(7, error)
    with pytest.raises(type(error)) as caught:
        parse_reply(message)
    assert str(caught.value) == str(error)


@given(st.binary(max_size=60))
def test_nothing_but_rpc_errors_comes_out_of_any_bytes(data: bytes) -> None:
    try:
        header = parse_reply(struct.pack(">2I", 1, 1) + data)
    except RPCError:
        return
    assert header.results <= 8 + len(data)


@pytest.mark.parametrize("length", range(8, 24))
def test_a_header_cut_short_is_malformed(length: int) -> None:
    with pytest.raises(MalformedMessage):
        parse_reply(encode_success(7)[:length])
