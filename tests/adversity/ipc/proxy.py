"""A TCP proxy that misbehaves as networks do: it cuts, delays and duplicates.

Towards the server it knows where records end (RFC 5531, section 11), so that it can send a whole call twice, as a
client's retransmission would be. Cuts come after any byte, in both directions.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Faults", "FaultyProxy"]


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely each fault is, for each record or piece of data that passes."""

    cut: float = 0.01
    delay: float = 0.05
    duplicate: float = 0.05
    longest_delay: float = 0.05
    """Seconds."""


class FaultyProxy:
    """Stands between clients and a server, in a thread of its own.

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
        self.port = 0
        self.cuts = self.duplicates = self.delays = 0

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

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, to_server = await asyncio.open_connection("127.0.0.1", self._server_port())
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
            writer.transport.abort()
            to_server.transport.abort()

    async def _calls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                mark = await reader.readexactly(4)
                record = mark + await reader.readexactly(int.from_bytes(mark, "big") & 0x7FFFFFFF)
                copies = 1
                if self._chance.random() < self._faults.duplicate:
                    self.duplicates += 1
                    copies = 2
                for _ in range(copies):
                    await self._pass_on(record, writer)

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._pass_on(data, writer)

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self._chance.random() < self._faults.delay:
            self.delays += 1
            await asyncio.sleep(self._chance.random() * self._faults.longest_delay)
        if self._chance.random() < self._faults.cut:
            self.cuts += 1
            writer.write(data[: self._chance.randrange(len(data) + 1)])
            with suppress(OSError):
                await writer.drain()
            raise ConnectionAbortedError
        writer.write(data)
        await writer.drain()
