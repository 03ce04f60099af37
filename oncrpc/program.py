"""What a program is made of: the vocabulary of generated modules and of those who implement them.

A module that ``xdr compile`` wrote declares for each version of a program one abstract
:class:`Program` (named ``<PROGRAM>_<version>_Server``), whose methods are the procedures, and one
:class:`ClientStub`. Nothing here does I/O or knows Twisted: a method may return its result, an
awaitable of it (a Deferred is one), or :data:`LATER`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, TypeAlias, TypeVar, Union

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from oncrpc.auth import Credential

__all__ = [
    "LATER",
    "NO_REPLY",
    "Call",
    "Caller",
    "ClientStub",
    "Connection",
    "LaterType",
    "Peer",
    "PeerCredentials",
    "Procedure",
    "Program",
    "Result",
]

T = TypeVar("T")


class LaterType(Enum):
    """What a procedure returns when it does not return its result."""

    LATER = "later"
    NO_REPLY = "no reply"


LATER: Final[Literal[LaterType.LATER]] = LaterType.LATER
"""The procedure answers later, by exactly one :meth:`Call.reply` or :meth:`Call.fail`.

The cheap way: no Deferred, no task. The call counts as in hand until it is answered."""

NO_REPLY: Final[Literal[LaterType.NO_REPLY]] = LaterType.NO_REPLY
"""The caller gets no reply at all, as in one-way calls and batching (RFC 5531, section 8.4.1)."""

Result: TypeAlias = Union[T, "Awaitable[T]", LaterType]
"""What a procedure's method returns: its result, an awaitable of it, LATER or NO_REPLY."""


@dataclass(frozen=True, slots=True)
class Procedure:
    """One procedure of one version of a program.

    Args:
        number: Its number on the wire.
        name: Its name in the ``.x`` file, for people: logs, metrics, errors.
        method: The name of its method on the generated classes.
        arguments: A type for each argument, as :func:`xdr.codec` takes it. Mostly one or none.
        result: The type of the result; None is void.
    """

    number: int
    name: str
    method: str
    arguments: tuple[Any, ...]
    result: Any


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end.

    Args:
        host: IP address as text, or "" for a local (Unix-domain) socket.
        port: UDP or TCP port, or 0 for a local socket.
        path: Path of the peer's own local socket; mostly "", since clients bind none.
    """

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if not self.host:
            return self.path or "local"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """What the kernel says about the process at the other end of a local socket.

    Args:
        pid: Its process number when it connected.
        uid: Its effective user.
        gid: Its effective group.
    """

    pid: int
    uid: int
    gid: int


class Connection(ABC):
    """One stream connection, as a program sees it. Datagrams have none.

    Attributes:
        id: Never used twice in the life of one server; starts at 1.
        netid: "tcp", "tcp6" or "local".
        peer: Who is at the other end.
        closed: True as soon as no reply can be sent any more.
        half_closed: True as soon as the peer sends nothing more; it may still wait for replies.
        peer_credentials: For local sockets where the kernel tells; else None.
    """

    __slots__ = ()

    id: int
    netid: str
    peer: Peer
    closed: bool
    half_closed: bool
    peer_credentials: PeerCredentials | None

    @abstractmethod
    def on_close(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once when the connection is lost; at once if it is already."""

    @abstractmethod
    def caller(self) -> Caller:
        """Return what calls the procedures that the peer serves on this same connection.

        Give it to a :class:`ClientStub`: calls in the reverse direction (RFC 5531, section 8 allows
        any message on any transport; NFSv4.1 and VXI-11 style callbacks use it).

        Raises:
            NotConnected: The connection is lost.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection: replies already made are still sent, further calls are not read."""


class Call(ABC):
    """One call, as the procedure that answers it sees it.

    Made by the server. For tests of a program, :func:`oncrpc.testing.make_call` makes one.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def xid(self) -> int:
        """Transaction id, chosen by the caller."""

    @property
    @abstractmethod
    def program(self) -> int:
        """Program number."""

    @property
    @abstractmethod
    def version(self) -> int:
        """Version of the program."""

    @property
    @abstractmethod
    def procedure(self) -> Procedure:
        """The procedure called."""

    @property
    @abstractmethod
    def credential(self) -> Credential:
        """Who calls, as accepted: AuthNone, AuthSys, or what another flavor gives."""

    @property
    @abstractmethod
    def peer(self) -> Peer:
        """Where the call came from. An address is no identity, nor is a port below 1024."""

    @property
    @abstractmethod
    def netid(self) -> str:
        """How it came: "tcp", "udp", "tcp6", "udp6" or "local"."""

    @property
    @abstractmethod
    def connection(self) -> Connection | None:
        """The connection it came on; None for a datagram."""

    @property
    @abstractmethod
    def reply_limit(self) -> int:
        """Most bytes that the encoded result may have here: what the transport or the peer allows."""

    @abstractmethod
    def reply(self, value: Any) -> None:
        """Answer with the result, after LATER was returned.

        Does nothing if the caller is gone. A value that does not fit the declaration, or the
        reply limit, is answered with SYSTEM_ERR and logged.

        Args:
            value: What the method would have returned; None for void; NO_REPLY for no reply at all.

        Raises:
            RuntimeError: The call was answered before.
        """

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """Answer with an error, after LATER was returned.

        Args:
            error: An outcome of :mod:`oncrpc.errors` becomes just that answer; anything else
                becomes SYSTEM_ERR and one log entry with the traceback.

        Raises:
            RuntimeError: The call was answered before.
        """

    @abstractmethod
    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once if the connection is lost before this call is answered."""

    @abstractmethod
    def on_hangup(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once when the caller stops sending before this call is answered.

        It may be gone, or may only have closed its sending side and still wait for the answer:
        nobody can tell before something is sent. A procedure that waits for another client's doing
        should give up then and answer that it did; one that will answer soon by itself need not
        care. Called as well if the connection is lost, before on_cancel().
        """


class Program(ABC):
    """One version of one program; subclasses have one method for each procedure.

    Names of procedures never collide with the attributes below: the compiler knows them, and
    those that are not in every generated class start with an underscore.
    """

    program: ClassVar[int]
    """program number"""
    version: ClassVar[int]
    """version number"""
    program_name: ClassVar[str] = ""
    """name of the program in the ``.x`` file"""
    version_name: ClassVar[str] = ""
    """name of the version in the ``.x`` file"""
    procedures: ClassVar[tuple[Procedure, ...]] = ()
    """the procedures, ascending by number"""

    _repeatable: ClassVar[frozenset[str]] = frozenset()
    """names of methods that may safely run again for a retransmitted call; these calls pass the
    replay cache by. The NULL procedure always does. Everything else goes through it where the
    service has one (UDP by default)"""
    _strict: ClassVar[bool] = False
    """True to refuse bytes after the arguments with GARBAGE_ARGS; by default they are ignored and
    counted, as every C server does"""
    _any_flavor: ClassVar[bool] = False
    """True if the program never looks at who calls, and so accepts AUTH_SYS from networks that are
    not trusted"""


class Caller(Protocol):
    """What sends the calls of a :class:`ClientStub`: a connection, a UDP socket, a test."""

    def call(
        self,
        stub: ClientStub,
        procedure: Procedure,
        arguments: Sequence[Any],
        *,
        timeout: float | None,
    ) -> Any:
        """Send one call.

        Args:
            stub: Knows the program and the version.
            procedure: Which to call.
            arguments: One value for each of its arguments.
            timeout: Seconds until CallTimedOut; None takes the caller's own default.

        Returns:
            A Deferred of the result, or the result itself from a blocking caller.
        """

    def send(self, stub: ClientStub, procedure: Procedure, arguments: Sequence[Any]) -> None:
        """Send one call and expect no reply: one-way calls, and batching (RFC 5531, section 8.4.1)."""

    def close(self) -> Any:
        """Close what is under it; a Deferred, or None from a blocking caller."""


class ClientStub:
    """Calls one version of one program; generated subclasses have one method for each procedure.

    A generated method reads::

        def msgget(self, arg: msgget_args, *, timeout: float | None = None) -> Deferred[id_res]:
            answer: Deferred[id_res] = self._call(1, arg, timeout=timeout)
            return answer

    Args:
        caller: Sends the calls.
    """

    program: ClassVar[int]
    """program number"""
    version: ClassVar[int]
    """version number"""
    program_name: ClassVar[str] = ""
    """name of the program in the ``.x`` file"""
    version_name: ClassVar[str] = ""
    """name of the version in the ``.x`` file"""
    procedures: ClassVar[tuple[Procedure, ...]] = ()
    """the procedures, ascending by number"""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def _call(self, index: int, *arguments: Any, timeout: float | None = None) -> Any:
        """Call the procedure at `index` of `procedures`."""
        return self._caller.call(self, self.procedures[index], arguments, timeout=timeout)

    def _send(self, index: int, *arguments: Any) -> None:
        """Send a one-way call to the procedure at `index` of `procedures`: no reply is expected."""
        self._caller.send(self, self.procedures[index], arguments)

    def close(self) -> Any:
        """Close what the stub calls through.

        Returns:
            A Deferred that fires when it is closed; None from a blocking stub.
        """
        return self._caller.close()
