"""An attacked server, and what others see of it meanwhile."""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from oncrpc.records import frame_record
from oncrpc.testing import call_message
from tests import peers
from tests.oncrpc.served import PROGRAM

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).parents[2]
NULL = call_message(PROGRAM, 1, 0)
NULL_REPLY = b"\0\0\0\x01\0\0\0\x01" + bytes(16)
HOST = "127.0.0.1"
# What others may have to wait, at the worst, on a machine that does other things besides.
PATIENCE = 1.0


class Victim(peers.Background):
    """A server under attack.

    Args:
        directory: For its log.
        wanted: As tests/adversity/server.py takes it.
    """

    def __init__(self, directory: Path, **wanted: Any) -> None:
        super().__init__(
            [sys.executable, "-m", "tests.adversity.server", json.dumps(wanted)], directory / "server.log", cwd=ROOT
        )
        line = next(
            line
            for line in self.wait_for_output('"udp": ', timeout=60).splitlines()
            if line.startswith("{") and line.endswith("}")
        )
        told = json.loads(line)
        self.pid: int = told["pid"]
        self.tcp: int = told["tcp"]
        self.udp: int = told["udp"]

    def connect(self, *, timeout: float = 20) -> socket.socket:
        """Return a new connection."""
        return socket.create_connection((HOST, self.tcp), timeout)

    def datagrams(self, source: str = HOST) -> socket.socket:
        """Return a UDP socket connected to it."""
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((source, 0))
        made.connect((HOST, self.udp))
        made.settimeout(20)
        return made

    def null(self) -> float:
        """Make a fresh connection and a NULL call; return the seconds it took."""
        began = time.monotonic()
        with self.connect() as client:
            client.sendall(frame_record(NULL))
            assert receive(client) == NULL_REPLY
        return time.monotonic() - began

    def memory(self) -> int:
        """Bytes of memory it has (RSS)."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Descriptors it has."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def cpu(self) -> float:
        """Seconds of a core that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Others:
    """A second client that makes a fresh connection and a NULL call every 20 ms, in a thread."""

    def __init__(self, victim: Victim) -> None:
        self._victim = victim
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.waited: list[float] = []
        self.failed: list[str] = []

    def _run(self) -> None:
        while not self._done.wait(0.02):
            try:
                self.waited.append(self._victim.null())
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))

    def __enter__(self) -> Self:
        self._thread.start()
        peers.wait_until(lambda: self.waited, "the first NULL call")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            seen = len(self.waited)
            peers.wait_until(lambda: len(self.waited) > seen or self.failed, "one more NULL call")
        self._done.set()
        self._thread.join(20)

    @property
    def worst(self) -> float:
        """Longest wait, in seconds."""
        assert self.failed == []
        return max(self.waited)


def receive(client: socket.socket) -> bytes:
    """Receive one record; b"" at the end."""
    mark = exactly(client, 4)
    if len(mark) < 4:
        return b""
    return exactly(client, int.from_bytes(mark, "big") & 0x7FFFFFFF)


def exactly(client: socket.socket, size: int) -> bytes:
    """Receive so many bytes, or those before the end."""
    data = b""
    while len(data) < size:
        try:
            more = client.recv(size - len(data))
        except ConnectionResetError:
            break
        if not more:
            break
        data += more
    return data


def closed(client: socket.socket, *, within: float) -> bool:
    """Whether the server closes the connection within a time; what it sends is thrown away."""
    end = time.monotonic() + within
    while (left := end - time.monotonic()) > 0:
        if select.select([client], [], [], left)[0]:
            try:
                if not client.recv(1 << 20):
                    return True
            except ConnectionResetError:
                return True
    return False


def push(client: socket.socket, data: bytes) -> int:
    """Send until the server takes no more or closes; return how many bytes went."""
    client.setblocking(False)
    sent = 0
    view = memoryview(data)
    while sent < len(data):
        if not select.select([], [client], [], 0.3)[1]:
            break
        try:
            sent += client.send(view[sent : sent + 65536])
        except BlockingIOError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            break
    return sent
