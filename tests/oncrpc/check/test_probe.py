"""oncrpc.check.probe: every wait has an end, whatever the server does."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from oncrpc.check import wire
from oncrpc.check.probe import Closed, Conversation, Probe, Silence, Target, Undecodable
from oncrpc.message import encode_success
from tests.oncrpc.check.wrong_servers import PROGRAM, VERSION, RightServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[Target]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                talk(connection)
        except OSError:
            return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Target("tcp", "127.0.0.1", listener.getsockname()[1], PROGRAM, VERSION, wait=0.3)
    finally:
        listener.close()
        thread.join()


def sends(data: bytes, *, stay: bool = True) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        if stay:
            connection.recv(1)

    return talk


@pytest.mark.parametrize(
    ("data", "stay", "kind"),
    [
        (wire.record(encode_success(1)), True, wire.Reply),
        (wire.record(encode_success(1), 3, 0, 5), True, wire.Reply),
        (b"", True, Silence),
        (b"", False, Closed),
        (b"\x80\x00", False, Closed),
        (b"\x80\x00\x00\x20abc", False, Closed),
        (b"\x80\x00\x00\x20abc", True, Silence),
        (b"\xff\xff\xff\xff", True, Undecodable),
        (bytes(4 * 5000), True, Undecodable),
        (wire.record(b"abc"), True, Undecodable),
    ],
)
def test_whatever_comes_has_a_name(data: bytes, stay: bool, kind: type) -> None:
    with server(sends(data, stay=stay)) as target, Conversation(target) as talk:
        outcome = talk.receive()
    assert isinstance(outcome, kind)
    assert str(outcome)


def test_a_trickled_reply_does_not_stretch_the_wait() -> None:
    def trickle(connection: socket.socket) -> None:
        for byte in wire.record(encode_success(1) + bytes(1000)):
            connection.sendall(bytes((byte,)))
            time.sleep(0.02)

    with server(trickle) as target, Conversation(target) as talk:
        begun = time.monotonic()
        assert isinstance(talk.receive(), Silence)
        assert time.monotonic() - begun < 2


def test_silence_is_told_early_when_a_later_call_was_answered() -> None:
    with RightServer() as right:
        probe = Probe(Target("udp", "127.0.0.1", right.udp_port, PROGRAM, VERSION, wait=30))
        begun = time.monotonic()
        assert isinstance(probe.ask("a REPLY", probe.null(mtype=1)), Silence)
        assert time.monotonic() - begun < 10


def test_xids_are_not_used_twice() -> None:
    probe = Probe(Target("tcp", "h", 1, 1, 1))
    assert len({probe.next_xid() for _ in range(1000)}) == 1000


def test_a_closed_udp_port_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outcome = Probe(Target("udp", "127.0.0.1", port, 1, 1, wait=1)).alive()
    assert isinstance(outcome, Closed)
    assert "ICMP" in str(outcome)


def test_a_pump_ends_when_the_server_closes() -> None:
    with server(lambda connection: None) as target, Conversation(target) as talk:
        outcomes = talk.pump(struct.pack(">I", 0x80000000) * 1_000_000, 10, 5)
    assert isinstance(outcomes[-1], Closed | Silence)
