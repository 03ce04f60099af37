"""oncrpc.tx.stream beyond what test_service.py shows: addresses, and writing in pieces."""

from __future__ import annotations

import contextlib
import os
import socket

from oncrpc.program import Peer
from oncrpc.records import frame_record
from oncrpc.testing import call_message
from oncrpc.tx.stream import peer_credentials, peer_of
from tests.oncrpc.served import PROGRAM, Served
from tests.oncrpc.tx.loop import Bench


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
    transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
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
