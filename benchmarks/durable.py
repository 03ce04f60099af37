"""Durable send and receive beside Redis with ``appendfsync always``, in the same run and on the same disk.

    python benchmarks/durable.py [--clients 50] [--seconds 5] [--directory .]

Both servers do the same work: each client, over a TCP connection of its own, puts a message of 128 bytes into one
shared queue and takes one out again, over and over. One driver drives both, with the same code around the sockets; a
warm-up is not counted. Then the same with nothing kept; the same against a loop in Python that answers whatever it
reads and does nothing else, which is what any server in Python can at best come to here; a hand-over between two
clients beside a NULL call; and the replay of what the first part left on the disk.

Rates depend on the disk and on what else the machine does; the ratios are what to look at. Without redis-server
(Debian: apt-get install redis-server) only our own side is measured.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import select
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import xdr
from ipcserver._gen import ipc as gen
from ipcserver.journal import SQLiteJournal
from ipcserver.machine import LINUX, Machine, start
from ipcserver.replica import Replica

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT: Final = b"m" * 128
PROGRAM: Final = 0x20000258
_WORD: Final = struct.Struct(">I")
_CALL: Final = struct.Struct(">IIIIIIIIIII")  # mark, xid, CALL, rpcvers, program, version, procedure, two AUTH_NONE
_NOBODY: Final = gen.ripc_ctx(gen.ripc_hyper(0, 0), 0, 0, 1)


class Speaks(Protocol):
    """How to speak to one of the two servers."""

    def request(self, step: int) -> bytes:
        """Return the request of a step: even steps send, odd ones receive."""

    def complete(self, data: bytearray) -> bool:
        """Tell whether the data is a whole reply; raise if it is not the right one."""


class RPC:
    """Our own protocol, as a legacy client without a session speaks it."""

    def __init__(self, queue: int) -> None:
        self._xid = 0
        send = gen.ripc_msgsnd_args(_NOBODY, queue, 0, 0, gen.ripc_hyper(0, 1), TEXT)
        receive = gen.ripc_msgrcv_args(_NOBODY, queue, 0, 0, gen.ripc_hyper(0, 0), gen.ripc_hyper(0, 8192))
        self._bodies = (
            (11, xdr.encode(gen.ripc_msgsnd_args, send)),
            (12, xdr.encode(gen.ripc_msgrcv_args, receive)),
        )

    def call(self, procedure: int, body: bytes) -> bytes:
        """Return the record of a call."""
        self._xid = (self._xid + 1) & 0xFFFFFFFF
        mark = 0x80000000 | (len(body) + _CALL.size - 4)
        return _CALL.pack(mark, self._xid, 0, 2, PROGRAM, 1, procedure, 0, 0, 0, 0) + body

    def request(self, step: int) -> bytes:
        """Return a MSGSND or a MSGRCV."""
        return self.call(*self._bodies[step % 2])

    def complete(self, data: bytearray) -> bool:
        """Look for a whole record with accept_stat SUCCESS and status RIPC_OK."""
        if not whole(data):
            return False
        if data[24:32] != bytes(8):
            message = f"a call failed: {bytes(data[4:40]).hex(' ', 4)}"
            raise RuntimeError(message)
        return True


def whole(data: bytearray) -> bool:
    """Tell whether data begins with a whole record."""
    return len(data) >= _WORD.size and len(data) >= _WORD.size + (_WORD.unpack_from(data)[0] & 0x7FFFFFFF)


class RESP:
    """Redis's protocol."""

    _REQUESTS: Final = (
        b"*3\r\n$5\r\nLPUSH\r\n$1\r\nq\r\n$%d\r\n%b\r\n" % (len(TEXT), TEXT),
        b"*2\r\n$4\r\nRPOP\r\n$1\r\nq\r\n",
    )

    def request(self, step: int) -> bytes:
        """Return an LPUSH or an RPOP."""
        return self._REQUESTS[step % 2]

    def complete(self, data: bytearray) -> bool:
        """Look for an integer or a bulk string that is not nil."""
        if not data.endswith(b"\r\n"):
            return False
        if data[0] in b":+":
            return True
        if data[0] not in b"$" or data[1] in b"-":
            message = f"a command failed: {bytes(data)!r}"
            raise RuntimeError(message)
        return len(data) > len(TEXT)


def drive(address: tuple[str, int], protocol: Speaks, clients: int, seconds: float) -> tuple[float, float, float]:
    """Keep clients busy for a while, each with one request under way.

    Returns:
        Operations a second, and the median and 99th percentile of their latency in milliseconds.
    """
    selector = selectors.DefaultSelector()
    state: dict[socket.socket, list[float | int | bytearray]] = {}
    for _ in range(clients):
        connection = socket.create_connection(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
        state[connection] = [0, time.perf_counter(), bytearray()]
    latencies: list[float] = []
    begin = time.perf_counter()
    counted_from = begin + seconds * 0.2
    end = begin + seconds * 1.2
    for connection in state:
        connection.sendall(protocol.request(0))
    busy = clients
    while busy:
        for key, _ in selector.select():
            connection = key.fileobj  # type: ignore[assignment]
            of = state[connection]
            step, asked, buffer = of
            assert isinstance(buffer, bytearray)
            data = connection.recv(1 << 16)
            if not data:
                message = "the server closed a connection"
                raise RuntimeError(message)
            buffer += data
            if not protocol.complete(buffer):
                continue
            buffer.clear()
            now = time.perf_counter()
            assert isinstance(asked, float)
            assert isinstance(step, int)
            if now > counted_from:
                latencies.append(now - asked)
            if now > end and step % 2:
                selector.unregister(connection)
                connection.close()
                busy -= 1
                continue
            of[0], of[1] = step + 1, now
            connection.sendall(protocol.request(step + 1))
    rate = len(latencies) / (time.perf_counter() - counted_from)
    latencies.sort()
    return rate, latencies[len(latencies) // 2] * 1000, latencies[len(latencies) * 99 // 100] * 1000


@contextmanager
def ipcserver(directory: Path, journal: str) -> Iterator[tuple[str, int]]:
    """Run our server."""
    log = (directory / f"{journal}.log").open("w+")
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from ipcserver.cli import main; main()", "serve", "-p", "0", "-l", "127.0.0.1"),
            *("--state", str(directory / journal), "--journal", journal, "--portmapper", "none"),
        ],
        stderr=log,
    )
    try:
        yield "127.0.0.1", wait_for_port(process, Path(log.name))
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def wait_for_port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Wait until the server says where it serves."""
    for _ in range(600):
        found = re.search(r"tcp 127\.0\.0\.1:(\d+)", log.read_text())
        if found is not None:
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    message = f"the server did not start: {log.read_text()}"
    raise RuntimeError(message)


@contextmanager
def redis(directory: Path, *, durable: bool) -> Iterator[tuple[str, int]]:
    """Run Redis, with each write synced or with none kept."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keep = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "", *keep],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.05)
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def bare() -> Iterator[tuple[str, int]]:
    """Run what does nothing but read and answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        process = multiprocessing.get_context("fork").Process(target=answer_at_once, args=(listening,), daemon=True)
        process.start()
        try:
            yield listening.getsockname()
        finally:
            process.terminate()
            process.join(30)


def answer_at_once(listening: socket.socket) -> None:
    """Answer each read with the reply to a MSGSND."""
    poller = select.epoll()
    poller.register(listening, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == listening.fileno():
                connection, _ = listening.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                poller.register(connection, select.EPOLLIN)
                continue
            connection = connections[descriptor]
            data = connection.recv(4096)
            if data:
                connection.send(b"\x80\0\0\x1c" + data[4:8] + b"\0\0\0\1" + bytes(20))
            else:
                poller.unregister(descriptor)
                connections.pop(descriptor).close()


def ask(connection: socket.socket, record: bytes) -> bytes:
    """Make one call and return the reply."""
    connection.sendall(record)
    return reply_of(connection)


def reply_of(connection: socket.socket) -> bytes:
    """Read one record."""
    data = bytearray()
    while not whole(data):
        data += connection.recv(1 << 16)
    return bytes(data)


def make_queue(address: tuple[str, int]) -> int:
    """Make a queue, and return its id."""
    body = xdr.encode(gen.ripc_msgget_args, gen.ripc_msgget_args(_NOBODY, 0, gen.RIPC_CREAT, 0o600))
    with socket.create_connection(address) as connection:
        reply = ask(connection, RPC(0).call(10, body))
    status, made = struct.unpack_from(">Ii", reply, 28)
    if status != 0:
        message = f"no queue: status {status}"
        raise RuntimeError(message)
    return int(made)


def hand_over(address: tuple[str, int], rounds: int) -> tuple[float, float]:
    """Measure a NULL round trip and a hand-over from a sender to a receiver who waits, medians in microseconds."""
    with socket.create_connection(address) as one, socket.create_connection(address) as two:
        for connection in (one, two):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        rpc = RPC(make_queue(address))
        nulls = []
        for _ in range(rounds):
            time.sleep(0.001)  # as below: who wakes up from a pause is slower than who never sleeps
            begin = time.perf_counter()
            ask(one, rpc.call(0, b""))
            nulls.append(time.perf_counter() - begin)
        overs = []
        for _ in range(rounds):
            two.sendall(rpc.request(1))
            time.sleep(0.001)  # the receive is waiting by now
            begin = time.perf_counter()
            one.sendall(rpc.request(0))
            reply_of(two)
            overs.append(time.perf_counter() - begin)
            reply_of(one)
    return sorted(nulls)[rounds // 2] * 1e6, sorted(overs)[rounds // 2] * 1e6


class _NoReactor:
    """For a replica that only replays."""

    def callLater(self, *_: object) -> None:  # noqa: N802
        """Never."""

    def callFromThread(self, call: Callable[[], None]) -> None:  # noqa: N802
        """At once."""
        call()


def replay(path: Path) -> tuple[int, float]:
    """Replay a journal as a restart does. Return its commands and the seconds."""
    journal = SQLiteJournal(path)
    commands = journal.open().commands
    journal.close()
    replica = Replica(Machine, SQLiteJournal(path), reactor=_NoReactor())
    begin = time.perf_counter()
    replica.start(start(1, LINUX))
    seconds = time.perf_counter() - begin
    replica.stop()
    return commands, seconds


def show(name: str, figures: tuple[float, float, float]) -> float:
    """Print a line, and return the rate."""
    rate, median, worst = figures
    print(f"{name:34} {rate:10,.0f} {median:10.2f} {worst:10.2f}")
    return rate


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--directory", type=Path, default=Path(), help="on the disk to measure")
    arguments = parser.parse_args()
    with_redis = shutil.which("redis-server") is not None
    with tempfile.TemporaryDirectory(dir=arguments.directory, prefix="durable-") as name:
        directory = Path(name).absolute()
        print(f"{arguments.clients} clients, {len(TEXT)} bytes  operations/s     p50 ms     p99 ms")
        for durable, journal in ((True, "sqlite"), (False, "memory")):
            kept = "each synced" if durable else "nothing kept"
            with ipcserver(directory, journal) as address:
                rpc = RPC(make_queue(address))
                ours = show(f"ipcserver, {kept}", drive(address, rpc, arguments.clients, arguments.seconds))
                if not durable:
                    null, over = hand_over(address, 2000)
            if with_redis:
                with redis(directory, durable=durable) as address:
                    theirs = show(f"Redis, {kept}", drive(address, RESP(), arguments.clients, arguments.seconds))
                print(f"{'':34} {ours / theirs:10.2f} of Redis")
        with bare() as address:
            show("Python, answering and nothing else", drive(address, RPC(0), arguments.clients, arguments.seconds))
        print(f"hand-over to a waiting receiver {over:.0f} us, NULL {null:.0f} us: {over / null:.2f}")
        commands, seconds = replay(directory / "sqlite" / "journal.sqlite")
        print(f"replay {commands:,} commands in {seconds:.2f} s: {commands / seconds:,.0f}/s")


if __name__ == "__main__":
    main()
