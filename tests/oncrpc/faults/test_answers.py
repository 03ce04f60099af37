"""oncrpc.faults.answers: what the fault server says when it is right."""

from __future__ import annotations

import struct

from oncrpc.faults.answers import Echo, Table, right_reply
from oncrpc.message import encode_success


def call(program: int = 5, version: int = 1, procedure: int = 0, arguments: bytes = b"", rpcvers: int = 2) -> bytes:
    return struct.pack(">10I", 7, 0, rpcvers, program, version, procedure, 0, 0, 0, 0) + arguments


def stat(reply: bytes | None) -> int:
    assert reply is not None
    return int.from_bytes(reply[20:24], "big")


def test_an_echo_answers_any_program() -> None:
    assert right_reply(call(77, 3, 9, b"abcd"), Echo()) == encode_success(7) + b"abcd"
    assert right_reply(call(77, 3, 0, b"abcd"), Echo()) == encode_success(7)


def test_an_echo_of_one_program_knows_no_other() -> None:
    echo = Echo(5, 1, 2)
    assert [stat(right_reply(call(6), echo)), stat(right_reply(call(5, 3), echo)), stat(right_reply(call(), echo))] == [
        1,
        2,
        0,
    ]


def test_a_table_knows_its_versions_procedures_and_arguments() -> None:
    def answer(arguments: bytes) -> bytes:
        if not arguments:
            msg = "too short"
            raise ValueError(msg)
        return arguments[:1] * 4

    table = Table(5, {2: {1: answer}, 4: {}})
    assert right_reply(call(5, 2, 1, b"xyz!"), table) == encode_success(7) + b"xxxx"
    assert [
        stat(right_reply(message, table))
        for message in (call(6, 2), call(5, 3), call(5, 2, 9), call(5, 2, 1), call(5, 4, 0))
    ] == [1, 2, 3, 4, 0]


def test_what_is_no_call_is_not_answered() -> None:
    assert right_reply(b"", Echo()) is None
    assert right_reply(encode_success(7), Echo()) is None
    assert right_reply(call()[:30], Echo()) is None


def test_another_rpc_version_is_denied() -> None:
    assert right_reply(call(rpcvers=3), Echo()) == struct.pack(">6I", 7, 1, 1, 0, 2, 2)
