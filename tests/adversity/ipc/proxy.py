"""Proxies that misbehave as networks do.

The one for streams cuts connections after any byte, in the middle of a record too, delays data and whole connections
(so that a later one overtakes an earlier one), and sends calls twice: at once on the same connection, or later, when
others have been made, on another one, as a client's retransmission would come. Towards the server it knows where
records end (RFC 5531, section 11). The one for datagrams drops, duplicates, delays and so reorders them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Faults", "FaultyProxy"]

_HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely each fault is, for each record or piece of data, for each connection, or for each datagram."""

    cut: float = 0.01
    delay: float = 0.05
    duplicate: float = 0.03
    late: float = 0.03
    """A copy that comes later, over a connection of its own."""
    stall: float = 0.1
    """A connection whose data stays behind that of later ones."""
    cut_reply: float = 0.0
    """A connection that ends after any byte of what the server has just written."""
    drop: float = 0.03
    """A datagram that never comes."""
    longest_delay: float = 0.05
    """Seconds; late copies and stalls take up to ten times as long."""


class FaultyProxy:
    """Stands between clients and a server, over TCP and UDP, in a thread of its own.

    Args:
        port: Gives the server's port; asked at each connection, so that a server may come back elsewhere.
        chance: What decides; seeded by the test.
        faults: How likely they are.
    """

    def __init__(self, port: Callable[[], int], chance: random.Random, faults: Faults) -> None:
        self._server_port = port
        self._chance = chance
        self._faults = faults
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread: Final = threading.Thread(target=self._run, name="faulty-proxy", daemon=True)
        self._stop: asyncio.Event | None = None
        self._later: set[asyncio.Future[None]] = set()
        self._upstreams: dict[Any, asyncio.DatagramTransport] = {}
        self.port = 0
        """Its TCP port."""
        self.udp_port = 0
        self.on_cut_reply: Callable[[], object] = lambda: None
        """Called before a reply is cut; nothing passes meanwhile."""
        self.loses: Callable[[bytes], bool] = lambda _: False
        """Whether a call never arrives, though its connection lasts."""
        self.did: Counter[str] = Counter()
        """How often it did what."""

    @property
    def addresses(self) -> dict[str, str]:
        """Where clients reach it."""
        return {"tcp": f"tcp:{_HOST}:{self.port}", "udp": f"udp:{_HOST}:{self.udp_port}"}

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stop = self._stop
        assert stop is not None
        self._loop.call_soon_threadsafe(stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _happens(self, name: str) -> bool:
        """Decide whether a fault happens now, and count it."""
        if self._chance.random() < getattr(self._faults, name):
            self.did[name] += 1
            return True
        return False

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, _HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        transport, _ = await self._loop.create_datagram_endpoint(lambda: _Front(self), local_addr=(_HOST, 0))
        self.udp_port = transport.get_extra_info("sockname")[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for each in (transport, *self._upstreams.values()):
            each.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- streams -----------------------------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._happens("stall"):
            await self._wait(10)
        try:
            there, to_server = await asyncio.open_connection(_HOST, self._server_port())
        except OSError:
            writer.transport.abort()
            return
        try:
            pumps = [
                asyncio.ensure_future(self._calls(reader, to_server)),
                asyncio.ensure_future(self._replies(there, writer)),
            ]
            _, pending = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            # Half of the ends are resets, half of them orderly ones, in the middle of a record or not.
            for each in (writer, to_server):
                if self._chance.random() < 0.5:
                    each.transport.abort()
                else:
                    each.close()

    async def _calls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                mark = await reader.readexactly(4)
                record = mark + await reader.readexactly(int.from_bytes(mark, "big") & 0x7FFFFFFF)
                if self.loses(record[4:]):
                    continue
                for _ in range(2 if self._happens("duplicate") else 1):
                    await self._pass_on(record, writer)
                if self._happens("late"):
                    task = asyncio.ensure_future(self._send_late(record))
                    self._later.add(task)
                    task.add_done_callback(self._later.discard)

    async def _send_late(self, record: bytes) -> None:
        await self._wait(10)
        with suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(_HOST, self._server_port())
            try:
                writer.write(record)
                await asyncio.wait_for(reader.read(1), 1)
            finally:
                writer.transport.abort()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if self._happens("cut_reply"):
                    # First the hook: whoever was cut off can reach nobody while it runs.
                    self.on_cut_reply()
                    writer.write(data[: self._chance.randrange(len(data))])
                    await writer.drain()
                    return
                await self._pass_on(data, writer)

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self._happens("delay"):
            await self._wait(1)
        if self._happens("cut"):
            writer.write(data[: self._chance.randrange(len(data) + 1)])
            with suppress(OSError):
                await writer.drain()
            raise ConnectionAbortedError
        writer.write(data)
        await writer.drain()

    async def _wait(self, times: int) -> None:
        await asyncio.sleep(self._chance.random() * self._faults.longest_delay * times)

    # ---- datagrams ---------------------------------------------------------------------------------------------------

    def datagram(self, data: bytes, send: Callable[[bytes], None]) -> None:
        """Pass a datagram on, as it pleases the network."""
        self.did["datagrams"] += 1
        if self._happens("drop"):
            return
        for _ in range(2 if self._happens("duplicate") else 1):
            if self._happens("delay"):
                # What comes after it overtakes it.
                self._loop.call_later(self._chance.random() * self._faults.longest_delay * 2, send, data)
            else:
                send(data)

    async def upstream(self, front: asyncio.DatagramTransport, client: Any) -> asyncio.DatagramTransport:
        """Return the socket that stands for a client towards the server."""
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Back(self, front, client), remote_addr=(_HOST, self._server_port())
        )
        return transport


class _Front(asyncio.DatagramProtocol):
    """Towards the clients."""

    def __init__(self, proxy: FaultyProxy) -> None:
        self._proxy = proxy
        self._transport: Any = None
        self._asked: set[asyncio.Future[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        known = self._proxy._upstreams.get(addr)
        if known is not None:
            self._proxy.datagram(data, known.sendto)
            return
        task = asyncio.ensure_future(self._first(data, addr))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _first(self, data: bytes, client: Any) -> None:
        made = await self._proxy.upstream(self._transport, client)
        made = self._proxy._upstreams.setdefault(client, made)
        self._proxy.datagram(data, made.sendto)


class _Back(asyncio.DatagramProtocol):
    """Towards the server, in the name of one client."""

    def __init__(self, proxy: FaultyProxy, front: asyncio.DatagramTransport, client: Any) -> None:
        self._proxy = proxy
        self._front = front
        self._client = client

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._proxy.datagram(data, lambda reply: self._front.sendto(reply, self._client))
