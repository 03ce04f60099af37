"""The header of a reply, from bytes to a result or an error (RFC 5531, section 9)."""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from oncrpc.auth import MAX_AUTH_BODY
from oncrpc.errors import (
    AcceptStat,
    AuthenticationFailed,
    CallNotExecuted,
    GarbageArguments,
    MalformedMessage,
    ProcedureUnavailable,
    ProgramMismatch,
    ProgramUnavailable,
    RejectStat,
    RPCVersionMismatch,
    SystemFailure,
)

__all__ = ["ReplyHeader", "parse_reply"]

_DENIED: Final = 1
_PREFIX: Final = Struct(">5I")  # xid, REPLY, reply_stat, verifier's flavor and length
_TWO: Final = Struct(">2I")
_WORD: Final = Struct(">I")

_VOID_ERRORS: Final[dict[int, type[CallNotExecuted]]] = {
    AcceptStat.PROG_UNAVAIL: ProgramUnavailable,
    AcceptStat.PROC_UNAVAIL: ProcedureUnavailable,
    AcceptStat.GARBAGE_ARGS: GarbageArguments,
    AcceptStat.SYSTEM_ERR: SystemFailure,
}


class ReplyHeader(NamedTuple):
    """What stands before the results of a successful reply.

    Attributes:
        xid: Transaction id of the call.
        verifier_flavor: Flavor of the server's verifier.
        verifier: Its body.
        results: Offset of the first byte of the results.
    """

    xid: int
    verifier_flavor: int
    verifier: bytes
    results: int


def parse_reply(record: bytes | bytearray) -> ReplyHeader:
    """Read the header of a reply.

    Args:
        record: The whole message; its first eight bytes say that it is a REPLY.

    Raises:
        CallNotExecuted: The subclass for its accept_stat.
        CallRejected: The subclass for its reject_stat.
        MalformedMessage: It ends within the header, or a field has a value that RFC 5531 does not know.
    """
    try:
        xid, _, reply_stat, word, size = _PREFIX.unpack_from(record)
        if reply_stat == _DENIED:
            _raise_denied(record, word, size)
        if reply_stat:
            msg = f"reply_stat {reply_stat}"
            raise MalformedMessage(msg)
        if size > MAX_AUTH_BODY:
            msg = f"a verifier of {size} bytes, {MAX_AUTH_BODY} allowed"
            raise MalformedMessage(msg)
        at = 20 + (size + 3 & ~3)
        (accept_stat,) = _WORD.unpack_from(record, at)
        if accept_stat == AcceptStat.SUCCESS:
            return ReplyHeader(xid, word, bytes(record[20 : 20 + size]), at + 4)
        if accept_stat == AcceptStat.PROG_MISMATCH:
            raise ProgramMismatch(*_TWO.unpack_from(record, at + 4))
        if accept_stat in _VOID_ERRORS:
            raise _VOID_ERRORS[accept_stat]
        msg = f"accept_stat {accept_stat}"
        raise MalformedMessage(msg)
    except struct_error:
        msg = f"a reply of {len(record)} bytes ends within its header"
        raise MalformedMessage(msg) from None


def _raise_denied(record: bytes | bytearray, reject_stat: int, detail: int) -> None:
    """Raise what a MSG_DENIED reply says: its two words stand where an accepted one has its verifier."""
    if reject_stat == RejectStat.AUTH_ERROR:
        raise AuthenticationFailed(detail)
    if reject_stat == RejectStat.RPC_MISMATCH:
        raise RPCVersionMismatch(*_TWO.unpack_from(record, 16))
    msg = f"reject_stat {reject_stat}"
    raise MalformedMessage(msg)
