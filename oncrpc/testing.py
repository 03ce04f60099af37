"""For tests of programs, clients and servers: calls without a server, and servers without a network.

Public, as twisted.internet.testing is: whoever writes a program tests it with these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oncrpc.auth import AUTH_NONE, Credential, encode_opaque_auth
from oncrpc.datagrams import Datagrams
from oncrpc.message import encode_call
from oncrpc.program import Call, Connection, Peer, Procedure
from oncrpc.session import StreamSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oncrpc.client import DatagramClient, Event, StreamClient
    from oncrpc.program import PeerCredentials
    from oncrpc.replay import ReplayCache
    from oncrpc.server import Server

__all__ = ["DatagramPipe", "MadeCall", "Pipe", "call_message", "make_call"]

LOOPBACK = Peer("127.0.0.1", 1023)
"""the client of these tests; a port below 1024, which must not matter"""


class MadeCall(Call):
    """A call to hand to a procedure in a test; keeps what it was answered.

    Attributes:
        replies: Values given to reply().
        failures: Errors given to fail().
    """

    __slots__ = (
        "_connection",
        "_credential",
        "_limit",
        "_netid",
        "_peer",
        "_procedure",
        "callbacks",
        "failures",
        "replies",
    )

    def __init__(
        self,
        procedure: Procedure,
        *,
        credential: Credential,
        peer: Peer,
        netid: str,
        limit: int,
        connection: Connection | None,
    ) -> None:
        self._procedure = procedure
        self._credential = credential
        self._peer = peer
        self._netid = netid
        self._limit = limit
        self._connection = connection
        self.replies: list[Any] = []
        self.failures: list[BaseException] = []
        self.callbacks: list[Callable[[], object]] = []

    @property
    def xid(self) -> int:
        """Always 1."""
        return 1

    @property
    def program(self) -> int:
        """Always 0: nothing here knows it."""
        return 0

    @property
    def version(self) -> int:
        """Always 0."""
        return 0

    @property
    def procedure(self) -> Procedure:
        """As given."""
        return self._procedure

    @property
    def credential(self) -> Credential:
        """As given."""
        return self._credential

    @property
    def peer(self) -> Peer:
        """As given."""
        return self._peer

    @property
    def netid(self) -> str:
        """As given."""
        return self._netid

    @property
    def connection(self) -> Connection | None:
        """As given."""
        return self._connection

    @property
    def reply_limit(self) -> int:
        """As given."""
        return self._limit

    def reply(self, value: Any) -> None:
        """Keep the answer.

        Raises:
            RuntimeError: There is one already.
        """
        self._once()
        self.replies.append(value)

    def fail(self, error: BaseException) -> None:
        """Keep the error.

        Raises:
            RuntimeError: There is an answer already.
        """
        self._once()
        self.failures.append(error)

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Keep the callback for cancel()."""
        self.callbacks.append(callback)

    def on_hangup(self, callback: Callable[[], object]) -> None:
        """Keep the callback for cancel()."""
        self.callbacks.append(callback)

    def cancel(self) -> None:
        """Do as if the caller had gone."""
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()

    def _once(self) -> None:
        if self.replies or self.failures:
            msg = "this call was answered before"
            raise RuntimeError(msg)


def make_call(
    procedure: Procedure | None = None,
    *,
    credential: Credential = AUTH_NONE,
    peer: Peer = LOOPBACK,
    netid: str = "tcp",
    reply_limit: int = 4 * 1024 * 1024,
    connection: Connection | None = None,
) -> MadeCall:
    """Return a call to hand to a procedure."""
    procedure = procedure or Procedure(0, "NULL", "null", (), None)
    return MadeCall(procedure, credential=credential, peer=peer, netid=netid, limit=reply_limit, connection=connection)


def call_message(
    program: int,
    version: int,
    procedure: int,
    arguments: bytes = b"",
    *,
    xid: int = 1,
    credential: Credential = AUTH_NONE,
) -> bytes:
    """Return a whole CALL message, without record mark."""
    proof = encode_opaque_auth(credential.flavor, credential.encode())
    return encode_call(xid, program, version, procedure, credential=proof) + arguments


class Pipe:
    """A client core and a server joined by a stream that never loses anything.

    Args:
        client: Its calls go to the server.
        server: Answers.
        peer: Who the server sees.
        netid: How it sees it come.
        process: What it sees of it, for "local".
        replay: The replay cache, if any.
        split: Most bytes that arrive at once, either way; 0 lets everything through.
    """

    def __init__(
        self,
        client: StreamClient,
        server: Server,
        *,
        peer: Peer = LOOPBACK,
        netid: str = "tcp",
        process: PeerCredentials | None = None,
        replay: ReplayCache | None = None,
        split: int = 0,
    ) -> None:
        self.client = client
        self._split = split
        self.session = StreamSession(server, 1, peer, netid, wake=lambda: None, process=process, replay=replay)

    def transfer(self) -> list[Event]:
        """Move bytes both ways until nothing moves; return what the client then knows."""
        moved = True
        while moved:
            moved = False
            for piece in self._pieces(self.client.data_to_send()):
                moved = True
                self.session.receive_data(piece)
                while self.session.run():
                    pass
            parts = self.session.data_to_send()
            for piece in self._pieces(b"".join(parts)):
                moved = True
                self.client.receive_data(piece)
            self.session.bytes_sent(self.session.unsent)
        return _events(self.client)

    def _pieces(self, data: bytes) -> Sequence[bytes]:
        size = self._split or len(data) or 1
        return [data[at : at + size] for at in range(0, len(data), size)]


class DatagramPipe:
    """A client core and a server joined by a network that does with datagrams what it is told.

    Args:
        client: Its calls go to the server, as peer "server".
        server: Answers.
        replay: The replay cache, if any.
        fate: Asked for each datagram, with its number from 0 on, both directions together: how
            often it arrives. 0 loses it, 2 doubles it.
        peer: Who the server sees.
    """

    def __init__(
        self,
        client: DatagramClient,
        server: Server,
        *,
        replay: ReplayCache | None = None,
        fate: Callable[[int], int] = lambda number: 1,  # noqa: ARG005 - asked by number
        peer: Peer = LOOPBACK,
    ) -> None:
        self.client = client
        self._fate = fate
        self._number = 0
        self._late: list[bytes] = []
        self.datagrams = Datagrams(
            server,
            "udp",
            replay=replay,
            peer_of=lambda address: peer,  # noqa: ARG005 - there is one
            send=lambda reply, address, way: self._late.append(reply),  # noqa: ARG005
        )

    def transfer(self) -> list[Event]:
        """Move datagrams both ways until none is left; return what the client then knows."""
        while outgoing := self.client.datagrams_to_send():
            for datagram, _ in outgoing:
                for copy in self._arriving(datagram):
                    reply = self.datagrams.receive(copy, "client")
                    if reply is not None:
                        self._answer(reply)
        late, self._late = self._late, []
        for reply in late:
            self._answer(reply)
        return _events(self.client)

    def _answer(self, reply: bytes) -> None:
        for copy in self._arriving(reply):
            self.client.receive_datagram(copy, "server")

    def _arriving(self, datagram: bytes) -> list[bytes]:
        times = self._fate(self._number)
        self._number += 1
        return [datagram] * times


def _events(client: StreamClient | DatagramClient) -> list[Event]:
    events: list[Event] = []
    while (event := client.next_event()) is not None:
        events.append(event)
    return events
