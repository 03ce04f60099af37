"""Rows S1 to S5, S9, S10 and R6: no one in who does not belong, and no clock that anybody sets."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oncrpc.auth import AuthSys, encode_opaque_auth
from oncrpc.message import encode_call
from oncrpc.records import frame_record
from oncrpc.testing import call_message
from tests import peers
from tests.adversity.victim import HOST, NULL, NULL_REPLY, Victim, closed, exactly, receive
from tests.oncrpc.served import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALICE = AuthSys(0, "here", 1000, 100, (4,))
UNTRUSTED = "127.0.0.2"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Victim]]:
    made: list[Victim] = []

    def begin(**wanted: Any) -> Victim:
        made.append(Victim(tmp_path, **wanted))
        return made[-1]

    yield begin
    for victim in made:
        assert victim.process.poll() is None, f"the server ended:\n{victim.output}"
        victim.stop()


def denied(auth_stat: int) -> bytes:
    return b"\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x01" + auth_stat.to_bytes(4, "big")


def call_from(victim: Victim, source: str, message: bytes, port: int = 0) -> bytes:
    """Call over TCP from an address of ours."""
    with socket.create_connection((HOST, victim.tcp), 20, source_address=(source, port)) as client:
        client.sendall(frame_record(message))
        return receive(client)


def refused_everywhere(victim: Victim, source: str, port: int = 0) -> None:
    for procedure in (0, 1, 2, 8, 99):
        message = call_message(PROGRAM, 1, procedure, bytes(8), credential=ALICE)
        assert call_from(victim, source, message, port) == denied(5)
        with victim.datagrams(source) as client:
            client.send(message)
            assert client.recv(1000) == denied(5)


def test_s1_auth_sys_from_an_untrusted_address_is_too_weak_for_every_procedure(start: Callable[..., Victim]) -> None:
    victim = start(trust=["127.0.0.1/32"])
    refused_everywhere(victim, UNTRUSTED)
    assert call_from(victim, UNTRUSTED, NULL) == NULL_REPLY
    assert call_from(victim, HOST, call_message(PROGRAM, 1, 0, credential=ALICE)) == NULL_REPLY


def test_s1_over_a_local_socket_nobody_can_claim_to_be_somebody_else(start: Callable[..., Victim]) -> None:
    peers.require_root()
    # Not tmp_path: another user must be able to enter it.
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        path = f"{directory}/socket"
        start(local=path)
        message = frame_record(call_message(PROGRAM, 1, 0, credential=AuthSys(0, "", 0, 0)))
        # A process of another user, which claims to be root.
        code = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
            f"s.connect({path!r}); s.sendall({message!r}); sys.stdout.buffer.write(s.recv(1000))"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
        assert answer == frame_record(denied(1))


@pytest.mark.parametrize("port", [700, 7000])
def test_s2_a_privileged_port_is_no_identity(start: Callable[..., Victim], port: int) -> None:
    peers.require_root()
    victim = start(trust=["127.0.0.1/32"])
    message = call_message(PROGRAM, 1, 0, credential=ALICE)
    try:
        assert call_from(victim, UNTRUSTED, message, port) == denied(5)
    except OSError as error:
        pytest.skip(f"port {port} is taken: {error}")


REFLECTED = [
    pytest.param(NULL[:size] if size <= 40 else NULL + bytes(size - 40), id=f"{size} bytes")
    for size in (*range(0, 44, 4), 3, 41)
] + [
    pytest.param(call_message(99, 1, 0), id="program"),
    pytest.param(call_message(PROGRAM, 9, 0), id="version"),
    pytest.param(call_message(PROGRAM, 1, 99), id="procedure"),
    pytest.param(call_message(PROGRAM, 1, 7, (8000).to_bytes(4, "big")), id="large result"),
    pytest.param(NULL[:8] + b"\0\0\0\x03" + NULL[12:], id="RPC version"),
    pytest.param(NULL[:8] + b"\0\0\0\x03", id="RPC version, cut"),
    pytest.param(NULL[:8] + b"\0\0\0\x03" + bytes(4), id="RPC version, cut later"),
    pytest.param(encode_call(1, PROGRAM, 1, 0, credential=encode_opaque_auth(99, b"")), id="flavor"),
]


@pytest.mark.parametrize("message", REFLECTED)
def test_s3_no_answer_to_an_unknown_address_is_longer_than_its_call(
    start: Callable[..., Victim], message: bytes
) -> None:
    victim = start(trust=["127.0.0.1/32"])
    with victim.datagrams(UNTRUSTED) as client:
        client.send(message)
        client.send(NULL)
        sizes: list[bytes] = []
        while not sizes or sizes[-1] != NULL_REPLY:
            sizes.append(client.recv(100_000))
        assert sum(map(len, sizes)) <= len(message) + len(NULL)
        assert all(len(size) <= max(len(message), len(NULL)) for size in sizes)


def test_s4_two_servers_pointed_at_each_other_fall_silent(start: Callable[..., Victim], tmp_path: Path) -> None:
    first = start()
    (tmp_path / "second").mkdir()
    with Victim(tmp_path / "second") as second:
        reply = b"\0\0\0\x01\0\0\0\x01" + bytes(16)
        # Forged by way of one socket that stands for the second server.
        with second.datagrams() as client:
            client.send(reply)
            client.send(NULL)
            assert client.recv(100) == NULL_REPLY
        with first.datagrams() as client:
            client.send(reply)
            client.send(NULL)
            assert client.recv(100) == NULL_REPLY
        with first.connect() as client:
            client.sendall(frame_record(reply) + frame_record(NULL))
            assert receive(client) == NULL_REPLY


class TestTLSProbe:
    """S5, for a server without RPC-with-TLS (RFC 9289, section 4.1)."""

    def test_the_probe_is_refused_and_what_follows_is_not_taken_for_calls(self, start: Callable[..., Victim]) -> None:
        victim = start()
        probe = encode_call(1, PROGRAM, 1, 0, credential=encode_opaque_auth(7, b""))
        with victim.connect() as client:
            client.sendall(frame_record(probe) + b"\x16\x03\x01\x02\x00" + bytes(100))
            assert receive(client) == denied(2)
            assert closed(client, within=20)

    def test_auth_tls_on_another_procedure_is_denied(self, start: Callable[..., Victim]) -> None:
        victim = start()
        message = encode_call(1, PROGRAM, 1, 1, credential=encode_opaque_auth(7, b""))
        assert call_from(victim, HOST, message)[12:16] == b"\0\0\0\x01"


@pytest.mark.parametrize(
    ("credential", "verifier", "auth_stat"),
    [
        (struct.pack(">2I", 1, 404) + bytes(404), bytes(8), 1),
        (struct.pack(">2I", 0, 0xFFFFFFFF), bytes(8), 1),
        (bytes(8), struct.pack(">2I", 0, 404) + bytes(404), 3),
        (bytes(8), struct.pack(">2I", 0, 0x80000000), 3),
        (encode_opaque_auth(1, struct.pack(">2I", 0, 256) + bytes(272)), bytes(8), 1),
        (encode_opaque_auth(1, struct.pack(">5I", 0, 0, 0, 0, 17) + bytes(68)), bytes(8), 1),
        (encode_opaque_auth(1, struct.pack(">5I", 0, 0, 0, 0, 0xFFFFFFFF)), bytes(8), 1),
        (encode_opaque_auth(1, b""), bytes(8), 1),
    ],
)
def test_s9_big_and_malformed_credentials_are_answered_not_cut(
    start: Callable[..., Victim], credential: bytes, verifier: bytes, auth_stat: int
) -> None:
    victim = start()
    message = encode_call(1, PROGRAM, 1, 0, credential=credential, verifier=verifier) + bytes(100)
    with victim.connect() as client:
        client.sendall(frame_record(message) + frame_record(NULL))
        assert receive(client) == denied(auth_stat)
        assert receive(client) == NULL_REPLY
    with victim.datagrams() as datagrams:
        datagrams.send(message)
        assert datagrams.recv(100) == denied(auth_stat)


def test_s10_no_byte_of_another_clients_call_comes_back(start: Callable[..., Victim]) -> None:
    victim = start()
    secret = b"SECRET" * 200
    long = call_message(PROGRAM, 1, 1, len(secret).to_bytes(4, "big") + secret)
    short = call_message(PROGRAM, 1, 1, len(secret).to_bytes(4, "big"))
    with victim.connect() as one, victim.connect() as other, victim.datagrams() as third, victim.datagrams() as fourth:
        for size in range(0, len(short) + 1, 4):
            one.sendall(frame_record(long))
            assert secret in receive(one)
            third.send(long)
            assert secret in third.recv(10_000)
            if size >= 44:
                other.sendall(frame_record(short[:size]))
                assert receive(other)[-4:] == b"\0\0\0\x04"
            fourth.send(short[:size])
        fourth.send(NULL)
        while (answer := fourth.recv(10_000)) != NULL_REPLY:
            assert b"SECRET"[:4] not in answer
        # The rest of a record that was announced and never sent is nobody's bytes either.
        other.sendall(b"\x80\0\x10\0" + short)
        other.shutdown(socket.SHUT_WR)
        assert exactly(other, 10_000) == b""


@pytest.mark.parametrize("jump", ["+1d", "-1d"])
def test_r6_no_deadline_follows_the_wall_clock(tmp_path: Path, jump: str) -> None:
    """Row R6, in a process whose wall clock jumps by a day while a record and a call are under way."""
    code = f"""
import sys, time
real, shift = time.time, [0.0]
time.time = lambda: real() + shift[0]
import twisted.python.runtime
twisted.python.runtime.seconds = time.time
from oncrpc.tx.reactor import install
reactor = install()
reactor.callLater(1.0, shift.__setitem__, 0, {86_400 if jump == "+1d" else -86_400})
import tests.adversity.server as server
sys.argv = ["server", '{{"limits": {{"record_timeout": 3}}}}']
server.main()
"""

    class Jumping(Victim):
        def __init__(self) -> None:
            from tests.adversity.victim import ROOT

            peers.Background.__init__(self, [sys.executable, "-c", code], tmp_path / "log", cwd=ROOT)
            told = self.wait_for_output('"udp": ', timeout=60)
            ports = json.loads(next(line for line in told.splitlines() if line.startswith("{")))
            self.pid, self.tcp, self.udp = ports["pid"], ports["tcp"], ports["udp"]

    with Jumping() as victim, victim.connect() as waiting, victim.connect() as late:
        waiting.sendall(frame_record(call_message(PROGRAM, 1, 4, bytes(4))))
        late.sendall(frame_record(NULL)[:3])
        began = time.monotonic()
        assert closed(late, within=20)
        assert 2 <= time.monotonic() - began < 8
        assert not closed(waiting, within=0.1)
        victim.null()
