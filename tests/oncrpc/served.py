"""A program for the server's tests, as the compiler would write its base class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import xdr
from oncrpc.errors import GarbageArguments, ProcedureUnavailable
from oncrpc.observe import CallSeen, MessageSeen, Notice, Observer
from oncrpc.program import LATER, NO_REPLY, Call, LaterType, Procedure, Program

if TYPE_CHECKING:
    from oncrpc.program import Connection

PROGRAM = 0x20000601

Blob = Annotated[bytes, xdr.Opaque()]
Integer = Annotated[int, xdr.Int]


@xdr.struct
class Pair:
    """Two numbers."""

    a: Annotated[int, xdr.Int]
    b: Annotated[int, xdr.Int]


@xdr.struct
class Node:
    """A list that nests."""

    value: Annotated[int, xdr.Int]
    inner: Annotated[list[Node], xdr.Array(max=1)]


class Served(Program):
    """Procedures that do one odd thing each; remembers the calls it was given."""

    program = PROGRAM
    version = 1
    program_name = "SERVED_PROG"
    version_name = "SERVED_VERS"
    procedures = (
        Procedure(0, "SERVED_NULL", "served_null", (), None),
        Procedure(1, "SERVED_ECHO", "served_echo", (Blob,), Blob),
        Procedure(2, "SERVED_ADD", "served_add", (Pair,), Integer),
        Procedure(3, "SERVED_TWO", "served_two", (Integer, Integer), Integer),
        Procedure(4, "SERVED_LATER", "served_later", (Blob,), Blob),
        Procedure(5, "SERVED_BREAK", "served_break", (Integer,), Integer),
        Procedure(6, "SERVED_QUIET", "served_quiet", (), None),
        Procedure(7, "SERVED_BIG", "served_big", (Integer,), Blob),
        Procedure(8, "SERVED_COUNT", "served_count", (), Integer),
        Procedure(9, "SERVED_NEST", "served_nest", (Node,), Integer),
        Procedure(10, "SERVED_WAIT", "served_wait", (), Integer),
    )

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.count = 0
        self.result: Any = 0

    def served_null(self, call: Call) -> None:
        """Do nothing (procedure 0)."""
        return None  # noqa: RET501 - as the compiler writes it

    def served_echo(self, call: Call, arg: bytes) -> bytes:
        self.calls.append(call)
        return arg

    def served_add(self, call: Call, arg: Pair) -> int:
        self.calls.append(call)
        return arg.a + arg.b

    def served_two(self, call: Call, a: int, b: int) -> int:
        return a - b

    def served_later(self, call: Call, arg: bytes) -> LaterType:
        self.calls.append(call)
        return LATER

    def served_break(self, call: Call, arg: int) -> int:
        if arg == 1:
            raise ProcedureUnavailable
        if arg == 2:
            raise GarbageArguments
        msg = "broken on purpose"
        raise ValueError(msg)

    def served_quiet(self, call: Call) -> LaterType:
        self.count += 1
        return NO_REPLY

    def served_big(self, call: Call, arg: int) -> bytes:
        return bytes(arg)

    def served_count(self, call: Call) -> int:
        self.count += 1
        return self.count

    def served_nest(self, call: Call, arg: Node) -> int:
        return arg.value

    def served_wait(self, call: Call) -> Any:
        """Return whatever the test has put there."""
        self.calls.append(call)
        return self.result


class Version3(Program):
    """Another version, without a declared NULL."""

    program = PROGRAM
    version = 3
    procedures = (Procedure(1, "V3_ONE", "v3_one", (), Integer),)

    def v3_one(self, call: Call) -> int:
        return 3


class Watcher(Observer):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.started: list[CallSeen] = []
        self.ended: list[CallSeen] = []
        self.opened: list[Connection] = []
        self.closed: list[str] = []
        self.messages: list[tuple[str, bytes]] = []

    def noticed(self, notice: Notice) -> None:
        self.notices.append(notice)

    def call_started(self, call: CallSeen) -> None:
        self.started.append(call)

    def call_ended(self, call: CallSeen) -> None:
        self.ended.append(call)

    def connection_opened(self, connection: Connection) -> None:
        self.opened.append(connection)

    def connection_closed(self, connection: Connection, reason: str) -> None:
        self.closed.append(reason)

    def message_seen(self, message: MessageSeen) -> None:
        self.messages.append(("out" if message.outgoing else "in", b"".join(message.parts)))


class Notices(Observer):
    """Remembers what was noticed, and watches nothing: the fast ways stay open."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def noticed(self, notice: Notice) -> None:
        self.notices.append(notice)
