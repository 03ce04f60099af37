"""oncrpc.tx.stream beyond what test_service.py shows: addresses, and writing in pieces."""

from __future__ import annotations

import contextlib
import os
import socket
from itertools import cycle, repeat
from typing import TYPE_CHECKING, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from oncrpc.limits import Limits
from oncrpc.program import Peer
from oncrpc.records import frame_record
from oncrpc.server import Server
from oncrpc.session import StreamSession
from oncrpc.testing import call_message
from oncrpc.tx.stream import StreamTransport, peer_credentials, peer_of
from tests.oncrpc.served import PROGRAM, Served
from tests.oncrpc.tx.loop import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oncrpc.tx.stream import Streams


def test_addresses_become_peers() -> None:
    assert peer_of(("192.0.2.1", 700)) == Peer("192.0.2.1", 700)
    assert peer_of(("::1", 700, 0, 0)) == Peer("::1", 700)
    assert peer_of("/run/client") == Peer("", 0, "/run/client")
    assert peer_of("") == peer_of(b"") == Peer("", 0)
    assert peer_of(b"\0abstract").path == "\0abstract"


def test_the_kernel_is_asked_about_local_sockets_alone() -> None:
    one, other = socket.socketpair()
    with one, other:
        credentials = peer_credentials(one)
        assert credentials is not None
        assert (credentials.pid, credentials.uid) == (os.getpid(), os.geteuid())
    with socket.socket() as internet:
        assert peer_credentials(internet) is None


def test_replies_that_go_out_in_pieces_arrive_whole_and_in_order() -> None:
    bench = Bench([Served()])
    client = bench.connect()
    (transport,) = bench.service.connections
    transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    bodies = [bytes([number]) * 30_001 for number in range(20)]
    calls = [call_message(PROGRAM, 1, 1, len(body).to_bytes(4, "big") + body + bytes(3)) for body in bodies]
    got = b""
    view = memoryview(b"".join(map(frame_record, calls)))
    while len(got) < 20 * (28 + 4 + 30_004):
        with contextlib.suppress(BlockingIOError):
            view = view[client.send(view[:50_000]) :] if view else view
        bench.loop.turn(0.001)
        with contextlib.suppress(BlockingIOError):
            got += client.recv(7777)
    size = 28 + 4 + 30_004
    assert [got[at + 32 : at + 32 + 30_001] for at in range(0, len(got), size)] == bodies
    bench.close()


class ScriptedSocket:
    """A socket whose reads and writes are as long as it is told, at most."""

    def __init__(self, incoming: bytes, reads: Iterator[int], writes: Iterator[int]) -> None:
        self.incoming = incoming
        self.sent = bytearray()
        self._reads = reads
        self._writes = writes

    def fileno(self) -> int:
        return 3

    def recv(self, most: int) -> bytes:
        count = min(most, next(self._reads))
        if not self.incoming or not count:
            raise BlockingIOError
        data, self.incoming = self.incoming[:count], self.incoming[count:]
        return data

    def recv_into(self, view: memoryview) -> int:
        data = self.recv(len(view))
        view[: len(data)] = data
        return len(data)

    def send(self, data: bytes) -> int:
        count = min(len(data), next(self._writes))
        if not count:
            raise BlockingIOError
        self.sent += data[:count]
        return count

    def sendmsg(self, parts: Sequence[bytes]) -> int:
        return self.send(b"".join(parts))


class ScriptedStreams:
    """What a transport asks of its service; what is watched for is done by the test."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.now = 1.0
        self.reactor = self
        self.readers: set[object] = set()
        self.writers: set[object] = set()
        self.waiting: list[StreamTransport] = []

    def addReader(self, reader: object) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: object) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: object) -> None:
        self.writers.discard(writer)

    def soon(self, transport: StreamTransport) -> None:
        self.waiting.append(transport)

    def closed(self, transport: StreamTransport) -> None:
        raise AssertionError(transport.session.reason)


_LENGTH = st.one_of(st.sampled_from([0, 40, 44, 4095, 4096, 16384, 65536, 1 << 20]), st.integers(20, 300_000))
_SMALL = st.one_of(st.none(), st.integers(0, 64))
_LARGE = st.sampled_from([4000, 16384, 20_000, 70_000, 150_000])


@settings(deadline=None)
@given(
    sizes=st.lists(_SMALL, min_size=1, max_size=60) | st.lists(_SMALL | _LARGE, min_size=1, max_size=8),
    fragment=st.sampled_from([0, 0, 0, 9_000]),
    lengths_read=st.lists(_LENGTH, max_size=6),
    lengths_written=st.lists(_LENGTH, max_size=6),
    turns_written=st.lists(st.booleans(), max_size=6),
)
@example([None] * 30, 0, [44], [30, 0], [False] * 5)
@example([None, *[65_536] * 40], 0, [262_144], [65_000], [False])
def test_however_reads_and_writes_are_cut_every_call_is_answered_once_and_in_order(
    sizes: list[int | None],
    fragment: int,
    lengths_read: list[int],
    lengths_written: list[int],
    turns_written: list[bool],
) -> None:
    reads, writes = (cycle(each if any(each) else [1 << 20]) for each in (lengths_read, lengths_written))
    writable = cycle([*turns_written, True])
    calls, replies = [], []
    for xid, size in enumerate(sizes):
        head = xid.to_bytes(4, "big") + bytes(3) + b"\1" + bytes(16)
        if size is None:
            calls.append(frame_record(call_message(PROGRAM, 1, 0, xid=xid)))
            replies.append(frame_record(head))
        else:
            body = size.to_bytes(4, "big") + bytes([xid]) * size + bytes(-size % 4)
            calls.append(frame_record(call_message(PROGRAM, 1, 1, body, xid=xid), fragment))
            replies.append(frame_record(head + body))
    connection = ScriptedSocket(b"".join(calls), reads, writes)
    limits = Limits()
    streams = ScriptedStreams(limits)
    server = Server([Served()], limits=limits)
    transport = StreamTransport(cast("Streams", streams), cast("socket.socket", connection))
    session = StreamSession(server, 1, Peer("127.0.0.1", 7), "tcp", wake=transport.wake)
    transport.start(session)
    expected = b"".join(replies)
    for _ in range(200_000):
        if len(connection.sent) >= len(expected):
            break
        if transport in streams.readers and transport.take():
            transport.give()
        if transport in streams.writers and next(writable):
            transport.doWrite()
        for each in [streams.waiting.pop() for _ in streams.waiting[:]]:
            each.late()
    assert connection.sent == expected
    assert session.idle
    assert session.unsent == session.queued == 0


def test_replies_wait_for_give_and_one_cut_off_before_it_sends_nothing() -> None:
    connection = ScriptedSocket(frame_record(call_message(PROGRAM, 1, 0)) * 3, repeat(1000), repeat(1000))
    connection.close = lambda: None  # type: ignore[attr-defined]
    streams = ScriptedStreams(Limits())
    streams.closed = lambda transport: None  # type: ignore[method-assign]
    transport = StreamTransport(cast("Streams", streams), cast("socket.socket", connection))
    session = StreamSession(Server([Served()]), 1, Peer("127.0.0.1", 7), "tcp", wake=transport.wake)
    transport.start(session)
    # The first call's header is learnt; from then on the short way is open.
    assert not transport.take()
    learnt = len(connection.sent)
    assert learnt
    connection.incoming = frame_record(call_message(PROGRAM, 1, 0))
    assert transport.take()
    assert len(connection.sent) == learnt
    transport.abort("the test says so")
    transport.give()
    assert len(connection.sent) == learnt
