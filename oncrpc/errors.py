"""What can go wrong with a call, one class for each outcome of RFC 5531, section 9.

::

    RPCError
    +- LocalRPCError              our side: nothing that the peer said
    |  +- NotConnected
    |  +- CallTimedOut
    |  +- ArgumentsNotEncodable
    |  +- ReplyTooLarge
    +- RemoteRPCError             what the peer said or sent
       +- CallNotExecuted         MSG_ACCEPTED, accept_stat other than SUCCESS
       |  +- ProgramUnavailable
       |  +- ProgramMismatch(low, high)
       |  +- ProcedureUnavailable
       |  +- GarbageArguments
       |  +- SystemFailure
       +- CallRejected            MSG_DENIED
       |  +- RPCVersionMismatch(low, high)
       |  +- AuthenticationFailed(auth_stat)
       +- RecordTooLarge(size, limit)
       +- IncompleteRecord
       +- MalformedMessage

The classes below :class:`CallNotExecuted` and :class:`CallRejected` work in both directions: a
client raises them for what a reply said, and a procedure of a server may raise them to have just
that reply sent.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

__all__ = [
    "AcceptStat",
    "ArgumentsNotEncodable",
    "AuthStat",
    "AuthenticationFailed",
    "CallNotExecuted",
    "CallRejected",
    "CallTimedOut",
    "GarbageArguments",
    "IncompleteRecord",
    "LocalRPCError",
    "MalformedMessage",
    "NotConnected",
    "ProcedureUnavailable",
    "ProgramMismatch",
    "ProgramUnavailable",
    "RPCError",
    "RPCVersionMismatch",
    "RecordTooLarge",
    "RejectStat",
    "RemoteRPCError",
    "ReplyTooLarge",
    "SystemFailure",
]


class AcceptStat(IntEnum):
    """What became of an accepted call (RFC 5531, section 9)."""

    SUCCESS = 0
    PROG_UNAVAIL = 1
    PROG_MISMATCH = 2
    PROC_UNAVAIL = 3
    GARBAGE_ARGS = 4
    SYSTEM_ERR = 5


class RejectStat(IntEnum):
    """Why a call was denied (RFC 5531, section 9)."""

    RPC_MISMATCH = 0
    AUTH_ERROR = 1


class AuthStat(IntEnum):
    """Why authentication failed (RFC 5531, section 9)."""

    AUTH_OK = 0
    AUTH_BADCRED = 1
    """bad credential (seal broken)"""
    AUTH_REJECTEDCRED = 2
    """the client must begin a new session"""
    AUTH_BADVERF = 3
    """bad verifier (seal broken)"""
    AUTH_REJECTEDVERF = 4
    """verifier expired or replayed"""
    AUTH_TOOWEAK = 5
    """rejected for security reasons"""
    AUTH_INVALIDRESP = 6
    """bogus response verifier"""
    AUTH_FAILED = 7
    """reason unknown"""
    AUTH_KERB_GENERIC = 8
    AUTH_TIMEEXPIRE = 9
    AUTH_TKT_FILE = 10
    AUTH_DECODE = 11
    AUTH_NET_ADDR = 12
    RPCSEC_GSS_CREDPROBLEM = 13
    RPCSEC_GSS_CTXPROBLEM = 14


class RPCError(Exception):
    """Anything that kept a remote procedure call from giving its result."""


class LocalRPCError(RPCError):
    """Our side failed; the peer said nothing about it."""


class NotConnected(LocalRPCError):
    """There is no connection: it was never made, was closed, or was lost before the reply came."""


class CallTimedOut(LocalRPCError):
    """No reply came in time. The call may or may not have been executed."""


class ArgumentsNotEncodable(LocalRPCError):
    """The arguments do not fit the procedure's declaration. Nothing was sent."""


class ReplyTooLarge(LocalRPCError):
    """A result does not fit what may be sent to this caller.

    Args:
        size: Bytes that the reply would have, without its record mark.
        limit: Bytes allowed.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size, self.limit = size, limit

    def __str__(self) -> str:
        return f"a reply of {self.size} bytes, {self.limit} allowed"


class RemoteRPCError(RPCError):
    """The peer answered something other than a result, or sent what is no message."""


class CallNotExecuted(RemoteRPCError):
    """The call was accepted but gave no result; `accept_stat` says why (RFC 5531, section 9)."""

    accept_stat: ClassVar[AcceptStat]


class ProgramUnavailable(CallNotExecuted):
    """The program is not served there (PROG_UNAVAIL)."""

    accept_stat = AcceptStat.PROG_UNAVAIL


class ProgramMismatch(CallNotExecuted):
    """The program is served there, but not in the version called (PROG_MISMATCH).

    Args:
        low: Lowest version served.
        high: Highest version served.
    """

    accept_stat = AcceptStat.PROG_MISMATCH

    def __init__(self, low: int, high: int) -> None:
        super().__init__(low, high)
        self.low, self.high = low, high

    def __str__(self) -> str:
        return f"versions {self.low} to {self.high} are served"


class ProcedureUnavailable(CallNotExecuted):
    """The program has no procedure of that number (PROC_UNAVAIL)."""

    accept_stat = AcceptStat.PROC_UNAVAIL


class GarbageArguments(CallNotExecuted):
    """The arguments could not be decoded (GARBAGE_ARGS)."""

    accept_stat = AcceptStat.GARBAGE_ARGS


class SystemFailure(CallNotExecuted):
    """The server failed while it executed the call (SYSTEM_ERR)."""

    accept_stat = AcceptStat.SYSTEM_ERR


class CallRejected(RemoteRPCError):
    """The call was denied before anything looked at the program; `reject_stat` says why."""

    reject_stat: ClassVar[RejectStat]


class RPCVersionMismatch(CallRejected):
    """The peer speaks other versions of RPC itself (RPC_MISMATCH).

    Args:
        low: Lowest RPC version spoken there; 2 is the only one in use.
        high: Highest RPC version spoken there.
    """

    reject_stat = RejectStat.RPC_MISMATCH

    def __init__(self, low: int, high: int) -> None:
        super().__init__(low, high)
        self.low, self.high = low, high

    def __str__(self) -> str:
        return f"RPC versions {self.low} to {self.high} are spoken there"


class AuthenticationFailed(CallRejected):
    """The credential or the verifier was not accepted (AUTH_ERROR).

    Args:
        auth_stat: An :class:`AuthStat`, or the bare number if RFC 5531 does not know it.
        reason: For our own log; never sent.
    """

    reject_stat = RejectStat.AUTH_ERROR

    def __init__(self, auth_stat: int, reason: str = "") -> None:
        super().__init__(auth_stat, reason)
        self.auth_stat: AuthStat | int
        try:
            self.auth_stat = AuthStat(auth_stat)
        except ValueError:
            self.auth_stat = auth_stat
        self.reason = reason

    def __str__(self) -> str:
        name = self.auth_stat.name if isinstance(self.auth_stat, AuthStat) else f"auth_stat {self.auth_stat}"
        return f"{name}: {self.reason}" if self.reason else name


class RecordTooLarge(RemoteRPCError):
    """A record mark announces more than is accepted; nothing of it was read (RFC 5531, section 11).

    Args:
        size: Bytes that the record would have had at least, all its fragments so far added up.
        limit: Bytes accepted.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size, self.limit = size, limit

    def __str__(self) -> str:
        return f"a record of {self.size} bytes or more, {self.limit} accepted"


class IncompleteRecord(RemoteRPCError):
    """The stream ended, or took too long, in the middle of a record."""


class MalformedMessage(RemoteRPCError):
    """What came is no RPC message: too short, or its fields contradict each other."""
