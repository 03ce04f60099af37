from __future__ import annotations

import pytest

import xdr
from oncrpc._gen import rpc_msg
from oncrpc.auth import AuthSys, encode_opaque_auth
from oncrpc.errors import (
    AuthenticationFailed,
    AuthStat,
    GarbageArguments,
    MalformedMessage,
    ProcedureUnavailable,
    ProgramMismatch,
    ProgramUnavailable,
    RPCVersionMismatch,
    SystemFailure,
)
from oncrpc.message import encode_call, encode_error, encode_success, message_type, parse_call

SYS = AuthSys(7, "krypton", 1000, 100, (100, 4))
PROOF = encode_opaque_auth(1, SYS.encode())
VERIFIER = encode_opaque_auth(6, b"abcde")
CALL = encode_call(0x01020304, 100003, 3, 7, credential=PROOF, verifier=VERIFIER)


def word(value: int) -> bytes:
    return value.to_bytes(4, "big")


class TestCalls:
    """RFC 5531, section 9: call_body."""

    def test_every_field_is_where_the_rfc_has_it(self) -> None:
        header = parse_call(CALL + b"args")
        assert (header.xid, header.program, header.version, header.procedure) == (0x01020304, 100003, 3, 7)
        assert (header.flavor, header.credential) == (1, SYS.encode())
        assert (header.verifier_flavor, header.verifier) == (6, b"abcde")
        assert (CALL + b"args")[header.arguments :] == b"args"
        assert CALL[header.credential_end :] == VERIFIER

    @pytest.mark.parametrize("size", range(12, len(CALL)))
    def test_a_call_cut_within_its_header_is_malformed(self, size: int) -> None:
        with pytest.raises(MalformedMessage):
            parse_call(CALL[:size])

    @pytest.mark.parametrize("size", range(8))
    def test_less_than_eight_bytes_are_no_message(self, size: int) -> None:
        with pytest.raises(MalformedMessage):
            message_type(CALL[:size])

    @pytest.mark.parametrize("rest", [b"", CALL[12:]])
    def test_another_rpc_version_is_a_mismatch_even_if_the_rest_is_cut_off(self, rest: bytes) -> None:
        with pytest.raises(RPCVersionMismatch) as caught:
            parse_call(CALL[:8] + word(3) + rest)
        assert (caught.value.low, caught.value.high) == (2, 2)

    def test_a_credential_over_400_bytes_is_a_bad_credential(self) -> None:
        with pytest.raises(AuthenticationFailed) as caught:
            parse_call(CALL[:28] + word(401) + bytes(500))
        assert caught.value.auth_stat is AuthStat.AUTH_BADCRED

    def test_a_verifier_over_400_bytes_is_a_bad_verifier(self) -> None:
        with pytest.raises(AuthenticationFailed) as caught:
            parse_call(CALL[:24] + bytes(8) + bytes(4) + word(401) + bytes(500))
        assert caught.value.auth_stat is AuthStat.AUTH_BADVERF

    def test_lengths_of_two_gigabytes_are_not_believed(self) -> None:
        with pytest.raises(AuthenticationFailed):
            parse_call(CALL[:28] + word(2**32 - 1) + bytes(500))

    def test_it_is_what_the_specification_declares(self) -> None:
        declared = xdr.decode(rpc_msg.rpc_msg, CALL)
        assert xdr.encode(rpc_msg.rpc_msg, declared) == CALL


class TestReplies:
    """RFC 5531, section 9: reply_body."""

    @pytest.mark.parametrize(
        ("error", "tail"),
        [
            (ProgramUnavailable(), word(1)),
            (ProgramMismatch(2, 4), word(2) + word(2) + word(4)),
            (ProcedureUnavailable(), word(3)),
            (GarbageArguments(), word(4)),
            (SystemFailure(), word(5)),
        ],
    )
    def test_an_accepted_call_that_fails_says_how(self, error: ProgramUnavailable, tail: bytes) -> None:
        assert encode_error(9, error) == word(9) + word(1) + word(0) + bytes(8) + tail
        assert encode_error(9, error, VERIFIER) == word(9) + word(1) + word(0) + VERIFIER + tail

    def test_a_denied_call_says_why(self) -> None:
        assert encode_error(9, RPCVersionMismatch(2, 2)) == word(9) + word(1) + word(1) + word(0) + word(2) + word(2)
        failed = AuthenticationFailed(AuthStat.AUTH_TOOWEAK, "not sent")
        assert encode_error(9, failed) == word(9) + word(1) + word(1) + word(1) + word(5)

    def test_a_success_has_its_results_behind_24_bytes(self) -> None:
        assert encode_success(9) == word(9) + word(1) + bytes(16)

    @pytest.mark.parametrize(
        "error", [ProgramUnavailable(), ProgramMismatch(2, 4), RPCVersionMismatch(2, 2), AuthenticationFailed(1)]
    )
    def test_they_are_what_the_specification_declares(self, error: ProgramUnavailable) -> None:
        reply = encode_error(9, error)
        assert xdr.encode(rpc_msg.rpc_msg, xdr.decode(rpc_msg.rpc_msg, reply)) == reply
