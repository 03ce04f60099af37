"""What can be seen of a server at work: hooks, and the names that OpenTelemetry has for what they tell.

Observers are called by the core, at once and in order; they must be quick and must not raise (what
one raises is reported as a fault of our own, and the call goes on). A server without observers pays
nothing for them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from oncrpc.errors import RecordTooLarge
from oncrpc.records import RecordReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oncrpc.program import Connection, Peer

__all__ = ["CallSeen", "MessageSeen", "Notice", "Observer", "StreamTap", "attributes"]


@dataclass(slots=True)
class CallSeen:
    """One call: at its start with what is known then, at its end with all.

    Attributes:
        xid: Transaction id.
        program: Program number.
        version: Version called.
        procedure: Procedure number.
        program_name: Name in the ``.x`` file; "" if it is not served here.
        procedure_name: The same of the procedure.
        flavor: Flavor of the credential.
        peer: Who called.
        netid: How it came.
        connection: Number of its connection; 0 for datagrams.
        request_bytes: Size of the message, without record marks.
        started: When it was read, in seconds of the server's clock.
        outcome: "SUCCESS", the name of an accept_stat, "RPC_MISMATCH", "AUTH_ERROR", "NO_REPLY",
            "REPLAYED" or "CANCELLED"; "" at its start.
        reply_bytes: Size of the reply, without record marks; 0 if there was none.
        seconds: From `started` to its end.
        error: What made it fail, for outcomes other than SUCCESS, where there is more to say.
    """

    xid: int
    program: int
    version: int
    procedure: int
    program_name: str
    procedure_name: str
    flavor: int
    peer: Peer
    netid: str
    connection: int
    request_bytes: int
    started: float
    outcome: str = ""
    reply_bytes: int = 0
    seconds: float = 0.0
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class MessageSeen:
    """One message as it came in or went out.

    Attributes:
        peer: Who is at the other end.
        local: Our own address; its host and port are empty where that is not known.
        netid: How it came or went.
        connection: Number of the connection; 0 for datagrams.
        outgoing: True if we sent it.
        parts: Its bytes, without record marks.
        fragments: Sizes of the fragments that it came or went in over a stream; empty where that is not known, or
            where it was one.
    """

    peer: Peer
    local: Peer
    netid: str
    connection: int
    outgoing: bool
    parts: Sequence[bytes | bytearray]
    fragments: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """Something an operator may want to read: one line of the log, if the log is not too full.

    Attributes:
        kind: Short and fixed: lines are limited by it. "handler failed", "garbage arguments",
            "unknown version", "authentication", "malformed message", "record too large", "connection cut", ...
        peer: Who caused it; None if nobody did.
        text: What happened.
        error: With its traceback, for our own faults alone.
        routine: Whether clients in good order cause it in their daily work: no reason to warn anybody.
    """

    kind: str
    peer: Peer | None
    text: str
    error: BaseException | None = None
    routine: bool = False


class Observer:
    """Is told what a server does; override what you want to hear."""

    def call_started(self, call: CallSeen) -> None:
        """A call was read and its header understood. The same object comes back at its end."""

    def call_ended(self, call: CallSeen) -> None:
        """It was answered, or will not be."""

    def connection_opened(self, connection: Connection) -> None:
        """A stream connection was accepted."""

    def connection_closed(self, connection: Connection, reason: str) -> None:
        """It is gone."""

    def message_seen(self, message: MessageSeen) -> None:
        """A whole message came in, before anything looked at it, or was handed to the transport."""

    def noticed(self, notice: Notice) -> None:
        """Something worth a line in the log happened."""


class StreamTap:
    """Makes messages for observers of what a client sends and receives, as the server at the other end would see them.

    A stream that is out of step, or a record over LARGEST, is not followed any further.

    Args:
        observers: Who is told.
        client: The client's end.
        server: The server's.
        netid: How they are connected.
        connection: A number for it.
    """

    LARGEST: ClassVar = 1 << 20
    """Most bytes of a record that are kept until it is whole."""

    def __init__(
        self, observers: Sequence[Observer], *, client: Peer, server: Peer, netid: str, connection: int
    ) -> None:
        self._observers = observers
        self._seen = partial(MessageSeen, client, server, netid, connection)
        self._readers = RecordReader(self.LARGEST), RecordReader(self.LARGEST)
        self._lost = False

    def sent(self, data: bytes) -> None:
        """The client sent these bytes."""
        self._take(data, answered=False)

    def received(self, data: bytes) -> None:
        """The client received these bytes."""
        self._take(data, answered=True)

    def _take(self, data: bytes, *, answered: bool) -> None:
        if self._lost:
            return
        reader = self._readers[answered]
        reader.receive_data(data)
        try:
            while (record := reader.next_record()) is not None:
                fragments = reader.fragments if isinstance(record, bytearray) else ()
                message = self._seen(answered, (record,), fragments)
                for observer in self._observers:
                    self._show(observer, message)
        except RecordTooLarge:
            self._lost = True

    def _show(self, observer: Observer, message: MessageSeen) -> None:
        """Show a message to an observer; what it raises harms neither the others nor the connection."""
        try:
            observer.message_seen(message)
        except Exception as error:  # noqa: BLE001 - an observer's fault is no fault of the call's
            notice = Notice("observer failed", None, f"{observer!r}", error)
            for each in self._observers:
                with suppress(Exception):  # there is nowhere left to report what a reporter raises
                    each.noticed(notice)


def attributes(call: CallSeen) -> dict[str, str | int]:
    """Return a call's attributes under OpenTelemetry's names (semantic conventions, "ONC RPC").

    Returns:
        ``rpc.system.name``, ``onc_rpc.program.name``, ``onc_rpc.version``,
        ``onc_rpc.procedure.number``, ``onc_rpc.procedure.name``, ``rpc.response.status_code``,
        ``network.transport``, ``client.address``, ``client.port``; those that are unknown are left out.
    """
    found: dict[str, str | int] = {
        "rpc.system.name": "onc_rpc",
        "onc_rpc.program.name": call.program_name or str(call.program),
        "onc_rpc.version": call.version,
        "onc_rpc.procedure.number": call.procedure,
        "network.transport": {"udp": "udp", "udp6": "udp", "local": "unix"}.get(call.netid, "tcp"),
    }
    if call.procedure_name:
        found["onc_rpc.procedure.name"] = call.procedure_name
    if call.outcome:
        found["rpc.response.status_code"] = call.outcome
    if call.peer.host:
        found["client.address"] = call.peer.host
        found["client.port"] = call.peer.port
    return found
