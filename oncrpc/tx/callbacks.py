"""Serving on the connection of a client: what the server calls in the reverse direction is answered there."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from oncrpc.errors import NotConnected
from oncrpc.program import Peer
from oncrpc.records import frame_record
from oncrpc.session import StreamSession
from oncrpc.tx.service import RPCService

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oncrpc.limits import Limits
    from oncrpc.program import Program
    from oncrpc.tx.client import StreamCaller

__all__ = ["serve_callbacks"]

_numbers = itertools.count(1)


def serve_callbacks(caller: StreamCaller, programs: Sequence[Program], *, limits: Limits, reactor: Any) -> None:
    """Answer the calls that the server makes on a client's connection.

    Args:
        caller: The client's connection.
        programs: What is served there: one object for each version of each program.
        limits: The budget.
        reactor: For the programs' awaitables and the log.

    Raises:
        ValueError: Two programs have the same number and version.
    """
    # A service without endpoints: nothing listens, the calls come from here.
    server = RPCService(programs, [], limits=limits, reactor=reactor).server
    peer: Any = caller.transport.getPeer() if caller.transport is not None else None
    host = getattr(peer, "host", "")
    netid = "local" if not host else "tcp6" if ":" in host else "tcp"

    def pump() -> None:
        while True:
            more = session.run()
            data = b"".join(session.data_to_send())
            if data:
                caller.send_framed(data)
                session.bytes_sent(len(data))
            if not more:
                break
        if session.finished and not session.closed:
            caller.close()

    def called(message: bytes) -> None:
        session.receive_data(frame_record(message))
        pump()

    session = StreamSession(server, next(_numbers), Peer(host, getattr(peer, "port", 0)), netid, wake=pump)
    caller.serve = called
    caller.on_lost(lambda error: session.connection_lost(str(error)))
    if not caller.connected_now:
        session.connection_lost(str(NotConnected("closed")))
