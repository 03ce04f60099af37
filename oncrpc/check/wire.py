"""RPC messages built and read by hand, so that they can be wrong on purpose (RFC 5531, sections 9 to 11).

The suite shares no codec with the library: a fault of ours must not hide the same fault in the server under test.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

__all__ = [
    "ACCEPT_STATS",
    "AUTH_STATS",
    "Auth",
    "Reply",
    "Unreadable",
    "auth_sys",
    "call",
    "fragment",
    "padded",
    "read_reply",
    "record",
]

ACCEPT_STATS: Final = ("SUCCESS", "PROG_UNAVAIL", "PROG_MISMATCH", "PROC_UNAVAIL", "GARBAGE_ARGS", "SYSTEM_ERR")
AUTH_STATS: Final = (
    "AUTH_OK",
    "AUTH_BADCRED",
    "AUTH_REJECTEDCRED",
    "AUTH_BADVERF",
    "AUTH_REJECTEDVERF",
    "AUTH_TOOWEAK",
    "AUTH_INVALIDRESP",
    "AUTH_FAILED",
    "AUTH_KERB_GENERIC",
    "AUTH_TIMEEXPIRE",
    "AUTH_TKT_FILE",
    "AUTH_DECODE",
    "AUTH_NET_ADDR",
    "RPCSEC_GSS_CREDPROBLEM",
    "RPCSEC_GSS_CTXPROBLEM",
)
SUCCESS: Final = 0
PROG_UNAVAIL: Final = 1
PROG_MISMATCH: Final = 2
PROC_UNAVAIL: Final = 3
GARBAGE_ARGS: Final = 4
SYSTEM_ERR: Final = 5

AUTH_NONE: Final = 0
AUTH_SYS: Final = 1
AUTH_SHORT: Final = 2
RPCSEC_GSS: Final = 6
AUTH_TLS: Final = 7

MAX_AUTH_BODY: Final = 400
"""Most bytes of an opaque_auth body (RFC 5531, section 8.2)."""

LAST: Final = 0x80000000


def padded(data: bytes, fill: bytes = b"\0") -> bytes:
    """The bytes followed by 0 to 3 residual bytes, up to a multiple of four."""
    return data + fill * (-len(data) % 4)


@dataclass(frozen=True, slots=True)
class Auth:
    """One opaque_auth, right or wrong.

    Args:
        flavor: The authentication flavor.
        body: Its bytes, without padding.
        length: The length announced; that of the body if None.
        fill: One byte, what the padding consists of.
    """

    flavor: int = AUTH_NONE
    body: bytes = b""
    length: int | None = None
    fill: bytes = b"\0"

    def __bytes__(self) -> bytes:
        """The opaque_auth as it goes on the wire."""
        length = len(self.body) if self.length is None else self.length
        return struct.pack(">II", self.flavor, length) + padded(self.body, self.fill)


NO_AUTH: Final = Auth()


def auth_sys(
    machine: bytes = b"check",
    gids: tuple[int, ...] = (0,),
    *,
    name_length: int | None = None,
    gid_count: int | None = None,
    fill: bytes = b"\0",
) -> Auth:
    """An AUTH_SYS credential of uid 65534 (nobody), right unless told otherwise (RFC 5531, appendix A)."""
    body = struct.pack(">II", 0, len(machine) if name_length is None else name_length) + padded(machine, fill)
    body += struct.pack(">III", 65534, 65534, len(gids) if gid_count is None else gid_count)
    return Auth(AUTH_SYS, body + struct.pack(f">{len(gids)}I", *gids))


def call(
    xid: int,
    program: int,
    version: int,
    procedure: int,
    *,
    rpcvers: int = 2,
    mtype: int = 0,
    cred: Auth = NO_AUTH,
    verf: Auth = NO_AUTH,
    args: bytes = b"",
) -> bytes:
    """A CALL message; every field as told, right or wrong."""
    return struct.pack(">6I", xid, mtype, rpcvers, program, version, procedure) + bytes(cred) + bytes(verf) + args


def fragment(data: bytes, *, last: bool) -> bytes:
    """One record fragment with its header (RFC 5531, section 11)."""
    return struct.pack(">I", len(data) | (LAST if last else 0)) + data


def record(message: bytes, *sizes: int) -> bytes:
    """A whole record; cut into fragments of the given sizes, the rest in a last one."""
    parts, offset = [], 0
    for size in sizes:
        parts.append(fragment(message[offset : offset + size], last=False))
        offset += size
    return b"".join(parts) + fragment(message[offset:], last=True)


@dataclass(frozen=True, slots=True)
class Reply:
    """A REPLY message, taken apart.

    Args:
        raw: The whole message.
        xid: Its transaction identifier.
        accepted: MSG_ACCEPTED, not MSG_DENIED.
        stat: accept_stat if accepted, else reject_stat.
        verifier: The reply's verifier if accepted, else an empty one.
        low: Lowest version served, of PROG_MISMATCH and RPC_MISMATCH; else -1.
        high: Highest version served, likewise.
        auth_stat: Of AUTH_ERROR; else -1.
        body: What follows the fields above: the results of SUCCESS; empty in a right reply of any other status.
    """

    raw: bytes
    xid: int
    accepted: bool
    stat: int
    verifier: Auth = NO_AUTH
    low: int = -1
    high: int = -1
    auth_stat: int = -1
    body: bytes = b""

    @property
    def denied_auth(self) -> bool:
        """True if the reply is MSG_DENIED with AUTH_ERROR."""
        return not self.accepted and self.stat == 1

    @property
    def succeeded(self) -> bool:
        """True if the reply is MSG_ACCEPTED with SUCCESS."""
        return self.accepted and self.stat == SUCCESS

    def __str__(self) -> str:
        """The reply in the RFC's words."""
        if self.accepted:
            text = ACCEPT_STATS[self.stat] if self.stat < len(ACCEPT_STATS) else f"accept_stat {self.stat}"
            text += f" {self.low}..{self.high}" if self.stat == PROG_MISMATCH else ""
        elif self.stat == 0:
            text = f"RPC_MISMATCH {self.low}..{self.high}"
        else:
            known = 0 <= self.auth_stat < len(AUTH_STATS)
            text = f"AUTH_ERROR {AUTH_STATS[self.auth_stat] if known else self.auth_stat}"
        return text + (f" and {len(self.body)} bytes" if self.body else "")


class Unreadable(Exception):
    """The bytes are no REPLY message; the text says where they stop making sense."""


def _words(data: bytes, offset: int, count: int, what: str) -> tuple[int, ...]:
    if len(data) < offset + 4 * count:
        msg = f"the message ends at byte {len(data)}, inside {what}"
        raise Unreadable(msg)
    return struct.unpack_from(f">{count}I", data, offset)


def read_reply(data: bytes) -> Reply:
    """Take a REPLY message apart (RFC 5531, section 9).

    Raises:
        Unreadable: The bytes are no reply message.
    """
    xid, mtype = _words(data, 0, 2, "xid and msg_type")
    if mtype != 1:
        msg = f"msg_type is {mtype}, not REPLY (1)"
        raise Unreadable(msg)
    (reply_stat,) = _words(data, 8, 1, "reply_stat")
    if reply_stat == 0:
        return _read_accepted(data, xid)
    if reply_stat != 1:
        msg = f"reply_stat is {reply_stat}, neither MSG_ACCEPTED (0) nor MSG_DENIED (1)"
        raise Unreadable(msg)
    (reject_stat,) = _words(data, 12, 1, "reject_stat")
    if reject_stat == 0:
        low, high = _words(data, 16, 2, "mismatch_info")
        return Reply(data, xid, accepted=False, stat=0, low=low, high=high, body=data[24:])
    if reject_stat == 1:
        (auth_stat,) = _words(data, 16, 1, "auth_stat")
        return Reply(data, xid, accepted=False, stat=1, auth_stat=auth_stat, body=data[20:])
    msg = f"reject_stat is {reject_stat}, neither RPC_MISMATCH (0) nor AUTH_ERROR (1)"
    raise Unreadable(msg)


def _read_accepted(data: bytes, xid: int) -> Reply:
    flavor, length = _words(data, 12, 2, "the verifier")
    if length > MAX_AUTH_BODY:
        msg = f"the verifier announces {length} bytes, {MAX_AUTH_BODY} is the most"
        raise Unreadable(msg)
    end = 20 + length + (-length % 4)
    (stat,) = _words(data, end, 1, "accept_stat")
    if stat >= len(ACCEPT_STATS):
        msg = f"accept_stat is {stat}, which does not exist"
        raise Unreadable(msg)
    verifier, end, low, high = Auth(flavor, data[20 : 20 + length]), end + 4, -1, -1
    if stat == PROG_MISMATCH:
        low, high = _words(data, end, 2, "mismatch_info")
        end += 8
    return Reply(data, xid, accepted=True, stat=stat, verifier=verifier, low=low, high=high, body=data[end:])
