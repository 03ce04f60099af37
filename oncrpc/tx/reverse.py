"""Calls from a server to its client, on the connection that the client made."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from oncrpc.records import frame_record
from oncrpc.tx.client import StreamCaller

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.interfaces import IReactorTime, ITransport

    from oncrpc.limits import Limits
    from oncrpc.program import Caller
    from oncrpc.session import StreamSession

__all__ = ["call_back"]


class _SessionTransport:
    """A server's connection, as the transport of a client."""

    disconnecting = False

    def __init__(self, session: StreamSession) -> None:
        self._session = session

    def write(self, data: bytes) -> None:
        self._session.send_framed(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def registerProducer(self, producer: object, streaming: bool) -> None:  # noqa: FBT001 - Twisted's interface
        """Nothing to ask to stop: what waits on the connection is bounded by who reads from it."""

    def unregisterProducer(self) -> None:
        """As registerProducer()."""

    def loseConnection(self) -> None:
        self._session.close()

    abortConnection = loseConnection

    def getPeer(self) -> object:
        return self._session.peer

    def getHost(self) -> object:
        return self._session.local


def call_back(session: StreamSession, clock: IReactorTime, limits: Limits) -> Caller:
    """Return what calls the procedures that the peer of a connection serves on it.

    Args:
        session: The connection. All callers of one connection are the same one.
        clock: For timeouts.
        limits: Bounds what the peer may answer.
    """
    known = session.reverse
    if known is not None:
        return cast("Caller", known.__self__)  # type: ignore[attr-defined]
    caller = _ReverseCaller(clock, limits=limits)
    caller.makeConnection(cast("ITransport", _SessionTransport(session)))  # type: ignore[no-untyped-call]
    session.reverse = caller.message_received
    session.on_close(lambda: caller.connectionLost(Failure(ConnectionDone())))
    return caller


class _ReverseCaller(StreamCaller):
    def message_received(self, record: bytes | bytearray) -> None:
        """Take one reply."""
        self.dataReceived(frame_record(bytes(record)))
