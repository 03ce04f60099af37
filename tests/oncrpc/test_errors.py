"""The outcomes of calls have the numbers that RFC 5531, section 9, gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oncrpc import errors
from oncrpc._gen import rpc_msg

if TYPE_CHECKING:
    from enum import IntEnum

ACCEPT_STAT = {
    "SUCCESS": 0, "PROG_UNAVAIL": 1, "PROG_MISMATCH": 2, "PROC_UNAVAIL": 3, "GARBAGE_ARGS": 4, "SYSTEM_ERR": 5,
}  # fmt: skip
REJECT_STAT = {"RPC_MISMATCH": 0, "AUTH_ERROR": 1}
AUTH_STAT = {
    "AUTH_OK": 0, "AUTH_BADCRED": 1, "AUTH_REJECTEDCRED": 2, "AUTH_BADVERF": 3, "AUTH_REJECTEDVERF": 4,
    "AUTH_TOOWEAK": 5, "AUTH_INVALIDRESP": 6, "AUTH_FAILED": 7, "AUTH_KERB_GENERIC": 8, "AUTH_TIMEEXPIRE": 9,
    "AUTH_TKT_FILE": 10, "AUTH_DECODE": 11, "AUTH_NET_ADDR": 12, "RPCSEC_GSS_CREDPROBLEM": 13,
    "RPCSEC_GSS_CTXPROBLEM": 14,
}  # fmt: skip


def numbers(kind: type[IntEnum]) -> dict[str, int]:
    return {member.name: int(member) for member in kind}


@pytest.mark.parametrize(
    ("written", "declared", "standard"),
    [
        (errors.AcceptStat, rpc_msg.accept_stat, ACCEPT_STAT),
        (errors.RejectStat, rpc_msg.reject_stat, REJECT_STAT),
        (errors.AuthStat, rpc_msg.auth_stat, AUTH_STAT),
    ],
    ids=["accept_stat", "reject_stat", "auth_stat"],
)
def test_the_numbers_are_those_of_the_standard(
    written: type[IntEnum], declared: type[IntEnum], standard: dict[str, int]
) -> None:
    assert numbers(written) == numbers(declared) == standard


def test_message_types_reply_states_and_flavors_have_their_numbers() -> None:
    assert numbers(rpc_msg.msg_type) == {"CALL": 0, "REPLY": 1}
    assert numbers(rpc_msg.reply_stat) == {"MSG_ACCEPTED": 0, "MSG_DENIED": 1}
    flavors = {"AUTH_NONE": 0, "AUTH_SYS": 1, "AUTH_SHORT": 2, "AUTH_DH": 3, "RPCSEC_GSS": 6, "AUTH_TLS": 7}
    assert numbers(rpc_msg.auth_flavor) == flavors


def test_every_way_to_refuse_a_call_has_a_class() -> None:
    accepted = {kind.accept_stat for kind in errors.CallNotExecuted.__subclasses__()}
    assert accepted == set(errors.AcceptStat) - {errors.AcceptStat.SUCCESS}
    assert {kind.reject_stat for kind in errors.CallRejected.__subclasses__()} == set(errors.RejectStat)
