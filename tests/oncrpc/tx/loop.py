"""A reactor of the test's own, turned by hand, whose clock stands still until it is moved."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.selectreactor import SelectReactor

from oncrpc.records import frame_record
from oncrpc.tx.service import RPCService

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oncrpc.program import Program

TURNS = 4000


class Loop(SelectReactor):  # type: ignore[misc, unused-ignore]
    """Real sockets, a clock of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0
        self.seconds = lambda: self.time
        self.timeout: Callable[[], float] = lambda: 0.0

    def turn(self, wait: float = 0.0) -> None:
        """Run what is due, and what sockets are ready for."""
        self.runUntilCurrent()
        self.doIteration(wait)

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until something is true; fail if that does not come."""
        for number in range(TURNS):
            if condition():
                return
            self.turn(0.0 if number < 20 else 0.005)
        message = "it does not come true"
        raise AssertionError(message)

    def advance(self, seconds: float) -> bool:
        """Let time pass, a second at a time; answer False, for conditions."""
        while seconds > 0:
            step = min(1.0, seconds)
            self.time += step
            seconds -= step
            self.turn()
            self.turn()
        return False

    def close(self) -> None:
        """Close everything that is watched."""
        for each in [*self.getReaders(), *self.getWriters(), *self._internalReaders]:
            self.removeReader(each)
            self.removeWriter(each)
            each.connectionLost(None)


class Bench:
    """A service on such a reactor, and sockets of clients."""

    def __init__(
        self, programs: Sequence[Program], endpoints: Sequence[str | socket.socket] = ("tcp:0",), **more: Any
    ) -> None:
        self.loop = Loop()
        self.service = RPCService(programs, endpoints, reactor=cast("Any", self.loop), **more)
        self.service.startService()
        self.clients: list[socket.socket] = []

    def connect(self, index: int = 0) -> socket.socket:
        """Return a new connection to the service, accepted."""
        address = self.service.addresses[index]
        before = len(self.service.connections)
        if address.netid == "local":
            client = socket.socket(socket.AF_UNIX)
            client.connect(address.path)
        else:
            client = socket.create_connection((address.host, address.port), timeout=10)
        client.setblocking(False)
        self.clients.append(client)
        self.loop.until(lambda: len(self.service.connections) != before)
        return client

    def datagram_client(self, index: int = 0) -> socket.socket:
        """Return a UDP socket that is connected to the service."""
        address = self.service.addresses[index]
        family = socket.AF_INET6 if address.netid == "udp6" else socket.AF_INET
        client = socket.socket(family, socket.SOCK_DGRAM)
        client.connect((address.host, address.port))
        client.setblocking(False)
        self.clients.append(client)
        return client

    def send(self, client: socket.socket, data: bytes) -> None:
        """Send all of it, turning the reactor meanwhile."""
        view = memoryview(data)
        while view:
            try:
                view = view[client.send(view) :]
            except BlockingIOError:
                self.loop.turn(0.001)

    def receive(self, client: socket.socket, size: int) -> bytes:
        """Receive so many bytes, or those before the end."""
        got = b""

        def more() -> bool:
            nonlocal got
            try:
                data = client.recv(size - len(got))
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True
            got += data
            return not data or len(got) >= size

        self.loop.until(more)
        return got

    def call(self, client: socket.socket, message: bytes) -> bytes:
        """Call over a stream; return the reply."""
        self.send(client, frame_record(message))
        size = int.from_bytes(self.receive(client, 4), "big") & 0x7FFFFFFF
        return self.receive(client, size)

    def ask(self, client: socket.socket, message: bytes) -> bytes:
        """Call over datagrams; return the reply."""
        client.send(message)
        got: list[bytes] = []

        def came() -> bool:
            try:
                got.append(client.recv(1 << 16))
            except BlockingIOError:
                return False
            return True

        self.loop.until(came)
        return got[0]

    def closed(self, client: socket.socket) -> bool:
        """Turn once; answer whether the server has closed the connection."""
        self.loop.turn(0.001)
        try:
            return client.recv(1 << 20) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Stop everything."""
        for client in self.clients:
            client.close()
        stopped = self.service.stopService()
        self.loop.until(lambda: stopped.called or self.loop.advance(1))
        self.loop.close()
