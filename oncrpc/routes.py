"""What calls come from and where they go: origins, routes, and what is counted on the way."""

from __future__ import annotations

import dis
from abc import ABC, abstractmethod
from contextlib import suppress
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import xdr
from oncrpc.message import encode_success
from oncrpc.program import Peer
from oncrpc.records import LAST_FRAGMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oncrpc.flavors import Accepted
    from oncrpc.program import Connection, PeerCredentials, Procedure, Program
    from oncrpc.replay import ReplayCache
    from oncrpc.served_call import ServedCall
    from oncrpc.server import Server

__all__ = ["NOWHERE", "PROCEDURE_NULL", "Counters", "Entry", "Origin", "Route"]

NOWHERE: Final = Peer("", 0)
"""an address of ours that is not known"""

PROCEDURE_NULL: Final = 0
"""the procedure that every program has, and that does nothing (RFC 5531, section 12.1)"""

Codecs = tuple[
    tuple["Callable[..., tuple[Any, int]]", ...],
    "Callable[[bytes], Any]",
    "Callable[[Any, Callable[[bytes], object]], object]",
    "Callable[[Any], bytes]",
]

# Accepted headers that are remembered for each kind of peer; at about 1 KiB each at worst.
_MEMO_ENTRIES: Final = 1024


class Counters:
    """What a server counts; plain numbers, reset by nobody."""

    __slots__ = (
        "cancelled",
        "dropped",
        "failed",
        "garbage",
        "malformed",
        "refused",
        "rejected",
        "replies_ignored",
        "surplus_bytes",
        "surplus_calls",
    )

    def __init__(self) -> None:
        self.surplus_calls = 0
        """calls with bytes after their arguments"""
        self.surplus_bytes = 0
        """those bytes"""
        self.garbage = 0
        """calls answered GARBAGE_ARGS"""
        self.refused = 0
        """calls answered PROG_UNAVAIL, PROG_MISMATCH or PROC_UNAVAIL"""
        self.rejected = 0
        """calls denied: RPC_MISMATCH or AUTH_ERROR"""
        self.failed = 0
        """calls answered SYSTEM_ERR"""
        self.malformed = 0
        """messages that were none"""
        self.replies_ignored = 0
        """REPLY messages for no call of ours; they are never answered"""
        self.dropped = 0
        """calls without a reply: the flavor dropped them, too many in hand, no room for the answer"""
        self.cancelled = 0
        """calls whose connection was lost before they were answered"""


class Origin(ABC):
    """Where calls come from and their replies go.

    Attributes:
        peer: Who it is.
        local: Our own address.
        netid: How it came.
        known: Whether the peer's address is trusted.
        process: What the kernel says about it.
        connection: The stream connection, or None.
        number: The connection's number, 0 if none.
        memo: Routes by header bytes, shared by all origins of the same kind.
        replay: The replay cache, or None.
        reply_limit: Most bytes of a whole reply.
        in_hand: Calls not answered yet.
        head: Bytes before the arguments in the call accepted last: the next is likely to have as many.
    """

    __slots__ = ()

    peer: Peer
    local: Peer
    netid: str
    known: bool
    process: PeerCredentials | None
    connection: Connection | None
    number: int
    memo: dict[bytes, Route]
    replay: ReplayCache | None
    reply_limit: int
    in_hand: set[ServedCall]
    head: int

    def remember(self, header: bytes, route: Route) -> None:
        """Take calls with these header bytes, the xid left out, the same way from now on."""
        if len(self.memo) >= _MEMO_ENTRIES:
            self.memo.clear()
        self.memo[header] = route
        self.head = 4 + len(header)  # type: ignore[misc]  # subclasses have the slot

    @abstractmethod
    def deliver(self, reply: Sequence[bytes]) -> None:
        """Send a reply that was not ready when its call was read."""


class Route:
    """What becomes of a call with a certain header: which procedure, as whom.

    Args:
        server: Serves it.
        entry: The procedure.
        accepted: What the flavor said.
        head: Bytes before the arguments.

    Attributes:
        call_mark: The record mark of a call without arguments.
        program: Number, version and names are on its class.
        procedure: The procedure.
        method: The program's method.
        decoders: For each argument: (data, offset, lenient_padding=...) -> (value, offset).
        encode_to: (result, add) -> None.
        decode: Turns all of the argument bytes into the one argument, if `takes_argument`.
        encode: Turns the result into its bytes.
        takes_argument: Whether the method takes an argument.
        direct: Nothing stands between the message and the procedure: its arguments can be decoded
            where they are, and its result follows the header of the reply.
        credential: Who calls.
        verifier: Of the reply.
        after_xid: All of a successful reply's header but the xid.
        constant: The record mark of the answer, if that is always its header alone since the
            procedure does nothing; else empty.
        size: Bytes of that answer with its mark.
        replayed: Whether calls go through the replay cache, where there is one.
    """

    __slots__ = (
        "accepted",
        "after_xid",
        "call_mark",
        "constant",
        "credential",
        "decode",
        "decoders",
        "direct",
        "encode",
        "encode_to",
        "head",
        "method",
        "procedure",
        "program",
        "replayed",
        "server",
        "size",
        "strict",
        "takes_argument",
        "verifier",
    )

    def __init__(self, server: Server, entry: Entry, accepted: Accepted, head: int) -> None:
        program = entry.program
        procedure = entry.procedure
        self.server = server
        self.program = program
        self.procedure = procedure
        self.method = entry.method
        self.decoders, self.decode, self.encode_to, self.encode = entry.codecs()
        self.credential = accepted.credential
        self.verifier = accepted.verifier
        self.head = head
        self.call_mark = (LAST_FRAGMENT | head).to_bytes(4, "big")
        self.after_xid = encode_success(0, accepted.verifier)[4:]
        self.size = 8 + len(self.after_xid)
        plain = accepted.unwrap is None and accepted.wrap is None and accepted.answer is None
        self.strict = program._strict  # noqa: SLF001 - ours to read
        self.replayed = procedure.number != PROCEDURE_NULL and procedure.method not in program._repeatable  # noqa: SLF001
        self.accepted = accepted
        self.constant = b""
        if entry.does_nothing and plain and not self.strict and not server.watched:
            self.constant = (LAST_FRAGMENT | self.size - 4).to_bytes(4, "big")
        self.takes_argument = len(self.decoders) > 0
        self.direct = plain and len(self.decoders) <= 1 and not server.watched


class Entry:
    """A procedure of a program that is served, with its codecs."""

    __slots__ = ("_arguments", "_prepared", "_result", "does_nothing", "method", "procedure", "program")

    def __init__(self, program: Program, procedure: Procedure) -> None:
        module = type(program).__module__
        for owner in type(program).__mro__:
            if "procedures" in vars(owner):
                module = owner.__module__
                break
        self.program = program
        self.procedure = procedure
        void = procedure.result is None
        method = getattr(program, procedure.method, None)
        if method is None:
            msg = f"{type(program).__name__} declares {procedure.name} but has no method {procedure.method}"
            raise TypeError(msg)
        self.method: Callable[..., Any] = method
        self._arguments = tuple(xdr.codec(each, module=module) for each in procedure.arguments)
        self._result = None if void else xdr.codec(procedure.result, module=module)
        self._prepared: Codecs | None = None
        self.does_nothing = (
            procedure.number == PROCEDURE_NULL and void and not procedure.arguments and _does_nothing(method)
        )

    def codecs(self) -> Codecs:
        """Return what decodes and encodes.

        Codecs write their functions when they are first called, and those take their methods'
        places. That is made to happen here, when the first call comes, so that every later one
        has the final functions.

        Returns:
            Decoders of each argument; what decodes all bytes to the only one; what encodes the
            result in parts; what encodes it whole.
        """
        if self._prepared is None:
            arguments, result = self._arguments, self._result
            for codec in arguments:
                with suppress(Exception):
                    codec.decode_from(b"")
                with suppress(Exception):
                    codec.decode(b"")
            if result is not None:
                with suppress(Exception):
                    result.encode_to(object(), bytes.__len__)
                with suppress(Exception):
                    result.encode(object())
            self._prepared = (
                tuple(codec.decode_from for codec in arguments),
                arguments[0].decode if len(arguments) == 1 else _no_arguments,
                _no_body if result is None else result.encode_to,
                _empty if result is None else result.encode,
            )
        return self._prepared


def _does_nothing(method: object) -> bool:
    """Whether a method's whole body is `return None`: it need not be run to know what it does."""
    function = getattr(method, "__func__", None)
    if not isinstance(function, FunctionType):
        return False
    steps = [(step.opname, step.argval) for step in dis.get_instructions(function) if step.opname != "RESUME"]
    return steps in ([("LOAD_CONST", None), ("RETURN_VALUE", None)], [("RETURN_CONST", None)])


def _no_body(value: object, add: Callable[[bytes], object]) -> None:
    """Encode void."""
    del value, add


def _empty(value: object) -> bytes:
    """Encode void, whole."""
    del value
    return b""


def _no_arguments(data: bytes) -> None:
    """Decode void, whole."""
    if data:
        msg = "void"
        raise xdr.XDRDecodeError(msg, 0, f"{len(data)} bytes")
