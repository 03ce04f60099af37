"""The right answers that the fault server spoils: an echo, or values made from an ``.x`` file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from oncrpc.errors import (
    AuthenticationFailed,
    CallNotExecuted,
    CallRejected,
    GarbageArguments,
    MalformedMessage,
    ProcedureUnavailable,
    ProgramMismatch,
    ProgramUnavailable,
    RPCVersionMismatch,
)
from oncrpc.message import CALL, encode_error, encode_success, message_type, parse_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from oncrpc.message import CallHeader

__all__ = ["Answers", "Echo", "Table", "right_reply"]


class Answers(Protocol):
    """Gives the results of calls."""

    def results(self, header: CallHeader, arguments: bytes) -> bytes:
        """Encoded results.

        Raises:
            CallNotExecuted: The call has none.
        """


class Echo:
    """Answers every procedure with its own arguments, and procedure 0 with nothing.

    Args:
        program: The program served; None serves any.
        low: Its lowest version; any if 0.
        high: Its highest version.
    """

    def __init__(self, program: int | None = None, low: int = 0, high: int = 0) -> None:
        self._program, self._low, self._high = program, low, high

    def results(self, header: CallHeader, arguments: bytes) -> bytes:
        """Encoded results: the arguments.

        Raises:
            ProgramUnavailable: Another program is called.
            ProgramMismatch: Another version is called.
        """
        if self._program is not None and header.program != self._program:
            raise ProgramUnavailable
        if self._low and not self._low <= header.version <= self._high:
            raise ProgramMismatch(self._low, self._high)
        return arguments if header.procedure else b""


class Table:
    """Answers the procedures of one program's versions, each in its own way.

    Args:
        program: Program number.
        versions: By version number and procedure number: what makes results of arguments, raising ValueError for
            arguments that do not decode.
    """

    def __init__(self, program: int, versions: dict[int, dict[int, Callable[[bytes], bytes]]]) -> None:
        self._program, self._versions = program, versions

    def results(self, header: CallHeader, arguments: bytes) -> bytes:
        """Encoded results.

        Raises:
            CallNotExecuted: The call has none.
        """
        if header.program != self._program:
            raise ProgramUnavailable
        if (procedures := self._versions.get(header.version)) is None:
            raise ProgramMismatch(min(self._versions), max(self._versions))
        if header.procedure == 0:
            return b""
        if (answer := procedures.get(header.procedure)) is None:
            raise ProcedureUnavailable
        try:
            return answer(arguments)
        except ValueError as error:
            raise GarbageArguments(str(error)) from error


def right_reply(message: bytes | bytearray, answers: Answers) -> bytes | None:
    """The whole reply that a right server gives; None for what is no call."""
    try:
        xid, kind = message_type(message)
        if kind != CALL:
            return None
        try:
            header = parse_call(message)
            return encode_success(xid) + answers.results(header, bytes(message[header.arguments :]))
        except (RPCVersionMismatch, AuthenticationFailed, CallNotExecuted, CallRejected) as error:
            return encode_error(xid, error)
    except MalformedMessage:
        return None
