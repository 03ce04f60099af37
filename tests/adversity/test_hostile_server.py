"""Row S13: a hostile server against our clients and tools: all bounded, one deadline for the whole call."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from oncrpc import sync
from oncrpc.client import DatagramClient, Failed, StreamClient
from oncrpc.errors import RPCError
from oncrpc.tx.client import connect
from tests.oncrpc.libtirpc import SPEC
from tests.oncrpc.sample import SampleClient, SampleSyncClient
from tests.peers import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from twisted.internet.defer import Deferred

    Behaviour = Callable[[socket.socket, bytes], None]

ONCRPC: Final = Path(sys.executable).parent / "oncrpc"
MEBIBYTE: Final = 1 << 20
LAST: Final = 0x80000000


def marked(data: bytes) -> bytes:
    return struct.pack(">I", LAST | len(data)) + data


def success(call: bytes, results: bytes = b"") -> bytes:
    return call[:4] + struct.pack(">5I", 1, 0, 0, 0, 0) + results


def wait_for_the_end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


def endlessly(data: bytes) -> Behaviour:
    def attack(connection: socket.socket, call: bytes) -> None:
        while True:
            connection.sendall(data)

    return attack


def once(data: Callable[[bytes], bytes]) -> Behaviour:
    def attack(connection: socket.socket, call: bytes) -> None:
        connection.sendall(data(call))
        wait_for_the_end(connection)

    return attack


def trickle(connection: socket.socket, call: bytes) -> None:
    for byte in marked(success(call, bytes(MEBIBYTE))):
        connection.sendall(bytes((byte,)))
        time.sleep(0.01)


def reset(connection: socket.socket, call: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


NOISE: Final = random.Random(13).randbytes(MEBIBYTE)

ATTACKS: Final[dict[str, Behaviour]] = {
    "silence": once(lambda call: b""),
    "close": lambda connection, call: None,
    "reset": reset,
    "last fragment of 2 GiB": once(lambda call: b"\xff\xff\xff\xff"),
    "fragment of 2 GiB": once(lambda call: b"\x7f\xff\xff\xff" + bytes(1000)),
    "data without end": endlessly(struct.pack(">I", MEBIBYTE) + bytes(MEBIBYTE)),
    "empty fragments without end": endlessly(bytes(65536)),
    "byte after byte": trickle,
    "replies to nobody without end": endlessly(marked(struct.pack(">6I", 0, 1, 0, 0, 0, 0)) * 1000),
    "calls without end": endlessly(marked(struct.pack(">10I", 0, 0, 2, 5, 1, 1, 0, 0, 0, 0)) * 1000),
    "noise": once(lambda call: NOISE),
    "noise in a record": once(lambda call: marked(call[:4] + NOISE[:1000])),
    "a count beyond the reply": once(lambda call: marked(success(call, b"\xff\xff\xff\xff"))),
    "a reply cut short": once(lambda call: marked(success(call)[:20])),
    "a verifier beyond the reply": once(lambda call: marked(call[:4] + struct.pack(">4I", 1, 0, 0, 0xFFFFFFFF))),
}


@contextlib.contextmanager
def hostile(attack: Behaviour) -> Iterator[str]:
    """A server that reads a call on each connection and then attacks."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            attack(connection, connection.recv(65536)[4:])

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"tcp:127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("name", ATTACKS)
def test_the_blocking_client_gives_up_in_time(name: str) -> None:
    with hostile(ATTACKS[name]) as place, sync.connect(SampleSyncClient, place) as stub:
        begun = time.monotonic()
        with pytest.raises(RPCError):
            stub.sample_echo(b"", timeout=0.5)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("name", ATTACKS)
@pytest_twisted.inlineCallbacks
def test_the_deferred_client_gives_up_in_time(name: str) -> Generator[Deferred[Any], Any, None]:
    with hostile(ATTACKS[name]) as place:
        stub = yield connect(SampleClient, place)
        begun = time.monotonic()
        with pytest.raises(RPCError):
            yield stub.sample_echo(b"", timeout=0.5)
        assert time.monotonic() - begun < 5
        yield stub.close()


COMMANDS: Final = {
    "call": ("call", "{place}", "--spec", str(SPEC), "SAMPLE_PROG.echo", '""', "--timeout", "0.5"),
    "ping": ("ping", "{place}", "0x20000601", "1", "-c", "2", "-i", "0", "-W", "0.5"),
    "ping without a version": ("ping", "{place}", "0x20000601", "-c", "1", "-W", "0.5"),
    "check": ("check", "{place}", "0x20000601", "1", "--wait", "0.2", "--only", "ER"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "name",
    [
        "last fragment of 2 GiB",
        "data without end",
        "empty fragments without end",
        "byte after byte",
        "replies to nobody without end",
        "noise",
        "noise in a record",
        "a verifier beyond the reply",
    ],
)
def test_the_commands_end_in_time_and_memory_without_a_traceback(name: str, command: str) -> None:
    with hostile(ATTACKS[name]) as place:
        arguments = [word.format(place=place) for word in COMMANDS[command]]
        begun = time.monotonic()
        process = subprocess.Popen(
            [ONCRPC, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
        )
        assert process.stdout is not None
        output = process.stdout.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
    assert process.returncode in (1, 3), output
    assert "Traceback" not in output
    assert time.monotonic() - begun < 30
    # The interpreter, click, rich and the compiler take about 45 MiB of it. Linux counts what this process had when it
    # started the command for the command's own, so that a large test run sets the bound.
    assert usage.ru_maxrss <= max(100 * 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


class TestAnyBytes:
    """The cores take anything; a call that is under way ends at most once, and only ever in an event."""

    @given(st.lists(st.binary(max_size=40), max_size=10), st.booleans())
    def test_a_stream(self, pieces: list[bytes], in_records: bool) -> None:
        core = StreamClient(first_xid=1, max_record=1000)
        core.start("token", 5, 1, 1, b"", now=0)
        for piece in pieces:
            core.receive_data(marked(b"\0\0\0\1" + piece) if in_records else piece)
        ended = 0
        while (event := core.next_event()) is not None:
            ended += getattr(event, "token", None) == "token"
        assert ended <= 1
        assert core.pending + ended == 1

    @given(st.binary(max_size=60))
    def test_a_datagram(self, data: bytes) -> None:
        core = DatagramClient(first_xid=1)
        core.start("token", 5, 1, 1, b"", now=0, peer="server")
        core.receive_datagram(b"\0\0\0\1\0\0\0\1" + data, "server")
        event = core.next_event()
        assert event is not None
        assert core.pending == 0
        if isinstance(event, Failed):
            assert isinstance(event.error, RPCError)
