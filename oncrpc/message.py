"""RPC messages as a server meets them: headers of calls from bytes, of replies to bytes (RFC 5531, section 9).

Decoded by hand with precompiled struct: this is what every call passes through. The same layout
is declared in oncrpc/spec/rpc_msg.x, and a test compares the two. The reading of replies is in
:mod:`oncrpc.replies`.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from oncrpc.auth import MAX_AUTH_BODY
from oncrpc.errors import (
    AcceptStat,
    AuthenticationFailed,
    AuthStat,
    CallNotExecuted,
    CallRejected,
    MalformedMessage,
    ProgramMismatch,
    RejectStat,
    RPCVersionMismatch,
)

__all__ = [
    "CALL",
    "NULL_VERIFIER",
    "REPLY",
    "RPC_VERSION",
    "CallHeader",
    "encode_call",
    "encode_error",
    "encode_success",
    "message_type",
    "parse_call",
]

CALL: Final = 0
REPLY: Final = 1
RPC_VERSION: Final = 2
NULL_VERIFIER: Final = bytes(8)
"""AUTH_NONE as it stands in a message: flavor 0, no bytes"""

Buffer = bytes | bytearray

_CALL = Struct(">8I")  # xid, CALL, rpcvers, prog, vers, proc, credential's flavor and length
_TWO = Struct(">2I")
_THREE = Struct(">3I")
_FOUR = Struct(">4I")
_SIX = Struct(">6I")
_DENIED = 1


class CallHeader(NamedTuple):
    """What stands before the arguments of a call.

    Attributes:
        xid: Transaction id.
        program: Program number.
        version: Version number.
        procedure: Procedure number.
        flavor: Flavor of the credential.
        credential: Its body.
        verifier_flavor: Flavor of the verifier.
        verifier: Its body.
        credential_end: Offset of the first byte after the credential (RPCSEC_GSS signs up to here).
        arguments: Offset of the first byte of the arguments.
    """

    xid: int
    program: int
    version: int
    procedure: int
    flavor: int
    credential: bytes
    verifier_flavor: int
    verifier: bytes
    credential_end: int
    arguments: int


def message_type(record: Buffer) -> tuple[int, int]:
    """Return xid and message type (CALL, REPLY, or nonsense).

    Raises:
        MalformedMessage: There are not even these eight bytes.
    """
    if len(record) < _TWO.size:
        msg = f"{len(record)} bytes are no message"
        raise MalformedMessage(msg)
    xid, kind = _TWO.unpack_from(record)
    return xid, kind


def parse_call(record: Buffer) -> CallHeader:
    """Read the header of a call.

    Args:
        record: The whole message; its first eight bytes say that it is a CALL.

    Raises:
        RPCVersionMismatch: It is not RPC version 2; low and high are what we speak (2, 2).
        AuthenticationFailed: AUTH_BADCRED or AUTH_BADVERF: more than 400 bytes are announced.
        MalformedMessage: It ends within the header.
    """
    try:
        xid, _, rpcvers, program, version, procedure, flavor, size = _CALL.unpack_from(record)
    except struct_error:
        if len(record) >= _THREE.size and _THREE.unpack_from(record)[2] != RPC_VERSION:
            raise RPCVersionMismatch(RPC_VERSION, RPC_VERSION) from None
        msg = f"a call of {len(record)} bytes ends within its header"
        raise MalformedMessage(msg) from None
    if rpcvers != RPC_VERSION:
        raise RPCVersionMismatch(RPC_VERSION, RPC_VERSION)
    if size > MAX_AUTH_BODY:
        raise AuthenticationFailed(AuthStat.AUTH_BADCRED, f"a credential of {size} bytes, {MAX_AUTH_BODY} allowed")
    credential_end = 32 + (size + 3 & ~3)
    try:
        verifier_flavor, verifier_size = _TWO.unpack_from(record, credential_end)
    except struct_error:
        msg = f"a call of {len(record)} bytes ends within its credential"
        raise MalformedMessage(msg) from None
    if verifier_size > MAX_AUTH_BODY:
        raise AuthenticationFailed(
            AuthStat.AUTH_BADVERF, f"a verifier of {verifier_size} bytes, {MAX_AUTH_BODY} allowed"
        )
    at = credential_end + 8
    arguments = at + (verifier_size + 3 & ~3)
    if arguments > len(record):
        msg = f"a call of {len(record)} bytes ends within its verifier"
        raise MalformedMessage(msg)
    return CallHeader(
        xid,
        program,
        version,
        procedure,
        flavor,
        bytes(record[32 : 32 + size]),
        verifier_flavor,
        bytes(record[at : at + verifier_size]),
        credential_end,
        arguments,
    )


def encode_call(
    xid: int, program: int, version: int, procedure: int, *, credential: bytes, verifier: bytes = NULL_VERIFIER
) -> bytes:
    """Return the header of a call; the arguments follow it.

    Args:
        credential: Flavor, length and body, as oncrpc.auth.encode_opaque_auth() makes them.
        verifier: The same of the verifier.
    """
    return _SIX.pack(xid, CALL, RPC_VERSION, program, version, procedure) + credential + verifier


def encode_success(xid: int, verifier: bytes = NULL_VERIFIER) -> bytes:
    """Return the header of a successful reply; the results follow it."""
    return _THREE.pack(xid, REPLY, 0) + verifier + b"\0\0\0\0"


def encode_error(xid: int, error: CallNotExecuted | CallRejected, verifier: bytes = NULL_VERIFIER) -> bytes:
    """Return the whole reply that says `error`.

    Args:
        verifier: Flavor, length and body of our verifier; a denied call has none.
    """
    match error:
        case ProgramMismatch():
            tail = _THREE.pack(AcceptStat.PROG_MISMATCH, error.low, error.high)
        case CallNotExecuted():
            tail = error.accept_stat.to_bytes(4, "big")
        case RPCVersionMismatch():
            return _SIX.pack(xid, REPLY, _DENIED, RejectStat.RPC_MISMATCH, error.low, error.high)
        case AuthenticationFailed():
            return _FOUR.pack(xid, REPLY, _DENIED, RejectStat.AUTH_ERROR) + int(error.auth_stat).to_bytes(4, "big")
        case _:
            msg = f"no reply says {type(error).__name__}"
            raise TypeError(msg)
    return _THREE.pack(xid, REPLY, 0) + verifier + tail
