"""Rows A1 to A20 of what a server must stand: one bad client harms only itself.

The short forms, against a server in a process of its own. The long ones are marked torture.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest

from oncrpc.message import encode_call
from oncrpc.records import LAST_FRAGMENT, frame_record
from oncrpc.testing import call_message
from tests import peers
from tests.adversity import summary
from tests.adversity.victim import (
    HOST,
    NULL,
    NULL_REPLY,
    PATIENCE,
    Others,
    Victim,
    closed,
    exactly,
    push,
    receive,
)
from tests.oncrpc.served import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MEBIBYTE = 1 << 20

FUZZ_INPUTS = int(os.environ.get("FUZZ_INPUTS", "1000000"))
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
"""Of the long forms."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Victim]]:
    made: list[Victim] = []

    def begin(**wanted: Any) -> Victim:
        victim = Victim(tmp_path, **wanted)
        made.append(victim)
        for _ in range(20):
            victim.null()
        return victim

    yield begin
    for victim in made:
        assert victim.process.poll() is None, f"the server ended:\n{victim.output}"
        victim.stop()
        # A procedure of the tests' program fails on purpose, and mutated calls may find it.
        assert victim.output.count("Traceback") == victim.output.count("ValueError: broken on purpose")


def mark(size: int, *, last: bool = True) -> bytes:
    return (size | (LAST_FRAGMENT if last else 0)).to_bytes(4, "big")


def test_a1_a_client_that_stops_in_the_middle_of_a_call_holds_up_nobody_and_is_ended(
    start: Callable[..., Victim],
) -> None:
    victim = start(limits={"record_timeout": 1.5})
    with victim.connect() as bad, Others(victim) as others:
        bad.sendall(frame_record(NULL)[:2])
        assert closed(bad, within=10)
    assert others.worst < PATIENCE


def test_a2_a_mark_of_two_gigabytes_is_refused_at_the_mark(start: Callable[..., Victim]) -> None:
    victim = start()
    before = victim.memory()
    bad = [victim.connect() for _ in range(64)]
    for client in bad:
        client.sendall(b"\xff\xff\xff\xff")
    assert all(closed(client, within=10) for client in bad)
    assert victim.memory() - before < MEBIBYTE
    for client in bad:
        client.close()


def test_a2_a_mark_within_the_limit_costs_nothing_before_its_data(start: Callable[..., Victim]) -> None:
    victim = start()
    bad = [victim.connect() for _ in range(64)]
    victim.null()
    before = victim.memory()
    for client in bad:
        client.sendall(mark(4 * MEBIBYTE) + bytes(100))
    victim.null()
    assert victim.memory() - before < 8 * MEBIBYTE
    for client in bad:
        client.close()


@pytest.mark.parametrize("fragment", [0, 100_000])
@pytest.mark.parametrize("last", [True, False])
def test_a3_more_data_than_the_limit_is_not_kept(start: Callable[..., Victim], fragment: int, last: bool) -> None:
    limit = 2 * MEBIBYTE
    victim = start(limits={"max_record": limit})
    if fragment:
        stream = (mark(fragment, last=False) + bytes(fragment)) * (8 * MEBIBYTE // fragment)
    else:
        stream = mark(8 * MEBIBYTE, last=last) + bytes(8 * MEBIBYTE)
    # The C library keeps up to 4 MiB of what was freed, once.
    for bound in (limit + 5 * MEBIBYTE, MEBIBYTE):
        before = victim.memory()
        with victim.connect() as bad:
            push(bad, stream)
            assert closed(bad, within=10)
        assert victim.memory() - before < bound


def test_a4_a_million_empty_fragments_end_their_connection(start: Callable[..., Victim]) -> None:
    victim = start()
    with victim.connect() as bad, Others(victim) as others:
        push(bad, mark(0, last=False) * 1_000_000)
        assert closed(bad, within=10)
    assert others.worst < PATIENCE


@pytest.mark.parametrize("form", ["one-byte fragments", "empty fragments", "empty last", "single bytes"])
def test_a5_legal_fragmentation_is_answered(start: Callable[..., Victim], form: str) -> None:
    victim = start()
    with victim.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        match form:
            case "one-byte fragments":
                client.sendall(frame_record(NULL, 1))
            case "empty fragments":
                client.sendall(
                    b"".join(mark(0, last=False) + mark(4, last=False) + NULL[i : i + 4] for i in range(0, 40, 4))
                    + mark(0)
                )
            case "empty last":
                client.sendall(mark(40, last=False) + NULL + mark(0))
            case _:
                for byte in frame_record(NULL):
                    client.send(bytes([byte]))
        assert receive(client) == NULL_REPLY


def idle(victim: Victim, count: int) -> list[socket.socket]:
    clients = [victim.connect() for _ in range(count)]
    victim.null()
    return clients


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.torture)])
def test_a6_idle_connections_cost_little_and_slow_nobody(start: Callable[..., Victim], count: int) -> None:
    victim = start()
    idle_before = idle(victim, 50)
    before = victim.memory()
    clients = idle(victim, count)
    assert (victim.memory() - before) / count < 4096
    with Others(victim) as others:
        peers.wait_until(lambda: len(others.waited) > 20, "twenty NULL calls")
    assert others.worst < PATIENCE
    for client in clients + idle_before:
        client.close()


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.torture)])
def test_a7_trickling_connections_all_end_with_their_records_deadline(start: Callable[..., Victim], count: int) -> None:
    victim = start(limits={"record_timeout": 2})
    with Others(victim) as others:
        clients = idle(victim, count)
        began = time.monotonic()
        left = set(clients)
        at = 0
        while left and time.monotonic() - began < 20:
            for client in list(left):
                try:
                    client.send(frame_record(NULL)[at % 30 : at % 30 + 1])
                except OSError:
                    left.discard(client)
            at += 1
            others._done.wait(0.2)
        assert not left
    assert others.worst < PATIENCE
    for client in clients:
        client.close()


def test_a8_a_client_that_never_reads_bounds_our_memory_and_is_cut(start: Callable[..., Victim]) -> None:
    victim = start(limits={"drain_timeout": 2})
    before = victim.memory()
    big = frame_record(call_message(PROGRAM, 1, 7, MEBIBYTE.to_bytes(4, "big")))
    with victim.connect() as bad, Others(victim) as others:
        push(bad, big * 20_000)
        assert victim.memory() - before < 8 * MEBIBYTE

        # It is not read, so it can only find out by sending.
        def cut() -> bool:
            try:
                bad.send(b"x")
            except BlockingIOError:
                return False
            except OSError:
                return True
            return False

        peers.wait_until(cut, "the connection to be cut")
    assert others.worst < PATIENCE


def test_a9_used_up_descriptors_cost_no_cpu_and_the_store_can_still_open_its_files(
    start: Callable[..., Victim], tmp_path: Path
) -> None:
    victim = start(descriptors=200, data=str(tmp_path / "data"), limits={"idle_grace": 3600})
    inside = victim.connect()
    count = frame_record(call_message(PROGRAM, 1, 8))
    clients = []
    for _ in range(400):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((HOST, victim.tcp))
        clients.append(client)
    for number in range(5):
        inside.sendall(count)
        assert receive(inside)[-4:] == (number + 1).to_bytes(4, "big")
    used, began = victim.cpu(), time.monotonic()
    peers.wait_until(lambda: time.monotonic() - began > 1.5, "a second and a half to pass")
    assert (victim.cpu() - used) / (time.monotonic() - began) < 0.25
    for client in clients:
        client.close()
    began = time.monotonic()

    def recovered() -> bool:
        try:
            return victim.null() > 0
        except (OSError, AssertionError):
            return False

    peers.wait_until(recovered, "a new connection to be served", timeout=5)
    inside.close()


def test_a10_ten_thousand_pipelined_calls_get_ten_thousand_replies(start: Callable[..., Victim]) -> None:
    victim = start()
    stream = b"".join(frame_record(call_message(PROGRAM, 1, 0, xid=xid)) for xid in range(10_000))
    with victim.connect() as client, Others(victim) as others:
        client.setblocking(False)
        got = bytearray()
        view = memoryview(stream)
        while len(got) < 280_000:
            if view:
                with contextlib.suppress(BlockingIOError):
                    view = view[client.send(view) :]
            with contextlib.suppress(BlockingIOError):
                got += client.recv(1 << 20)
    assert [xid for (xid,) in struct.iter_unpack(">4xI20x", got)] == list(range(10_000))
    assert others.worst < PATIENCE


def test_a11_replies_arrive_after_the_client_has_closed_its_side(start: Callable[..., Victim]) -> None:
    victim = start()
    for _ in range(20):
        with victim.connect() as client:
            client.sendall(frame_record(NULL) * 100)
            client.shutdown(socket.SHUT_WR)
            assert exactly(client, 1 << 20) == frame_record(NULL_REPLY) * 100


@pytest.mark.parametrize("count", [300, pytest.param(3000, marks=pytest.mark.torture)])
def test_a12_connections_that_come_and_go_leave_nothing(start: Callable[..., Victim], count: int) -> None:
    victim = start()
    before = victim.descriptors()
    for number in range(count):
        client = victim.connect()
        if number % 3 == 0:
            client.sendall(frame_record(NULL)[: number % 44])
        if number % 2:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    peers.wait_until(lambda: victim.descriptors() - before < 5, "the descriptors to come back")


@pytest.mark.parametrize("size", [0, 24, 40])
def test_a13_a_flood_of_datagrams_does_not_hold_up_streams(start: Callable[..., Victim], size: int) -> None:
    victim = start()
    with victim.datagrams() as flood, Others(victim) as others:
        flood.setblocking(False)
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    flood.send(NULL[:size])
    assert others.worst < PATIENCE
    with victim.datagrams() as client:
        client.send(NULL)
        assert client.recv(100) == NULL_REPLY


def test_a14_a_depth_bomb_is_garbage(start: Callable[..., Victim]) -> None:
    victim = start(limits={"max_record": 16 * MEBIBYTE})
    deep = (b"\0\0\0\x01" * 2) * 1_000_000 + bytes(8)
    with victim.connect() as client:
        client.sendall(frame_record(call_message(PROGRAM, 1, 9, deep)))
        assert receive(client)[-4:] == b"\0\0\0\x04"
    victim.null()


@pytest.mark.parametrize("arguments", [b"\xff\xff\xff\xff", b"\0\0\0\x05", b"\0\0\0\x05abcde", b"\0\0\0\x05abcde\0\0"])
def test_a15_counts_that_nothing_follows_are_garbage_and_cost_nothing(
    start: Callable[..., Victim], arguments: bytes
) -> None:
    victim = start()
    before = victim.memory()
    with victim.connect() as client:
        for _ in range(50):
            client.sendall(frame_record(call_message(PROGRAM, 1, 1, arguments)))
            assert receive(client)[-4:] == b"\0\0\0\x04"
    assert victim.memory() - before < MEBIBYTE


def mutated(random_: random.Random, message: bytes) -> bytes:
    data = bytearray(message)
    for _ in range(random_.randrange(1, 5)):
        match random_.randrange(5):
            case 0 if data:
                data[random_.randrange(len(data))] = random_.randrange(256)
            case 1:
                at = random_.randrange(0, len(data) + 1) & ~3
                data[at : at + 4] = random_.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", bytes(4)])
            case 2:
                del data[random_.randrange(len(data) + 1) :]
            case 3:
                data += random_.randbytes(random_.randrange(100))
            case _:
                at = random_.randrange(len(data) + 1)
                data[at:at] = random_.randbytes(random_.randrange(20))
    return bytes(data)


@pytest.mark.parametrize("count", [3_000, pytest.param(FUZZ_INPUTS, marks=pytest.mark.torture)])
def test_a16_mutated_messages_do_no_harm(start: Callable[..., Victim], count: int) -> None:
    victim = start(limits={"record_timeout": 2})
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    random_ = random.Random(seed)
    samples = [
        NULL,
        call_message(PROGRAM, 1, 1, b"\0\0\0\x05abcde\0\0\0"),
        call_message(PROGRAM, 1, 2, bytes(8)),
        call_message(PROGRAM, 1, 9, b"\0\0\0\x01\0\0\0\0"),
    ]
    before = 0
    with Others(victim) as others, victim.datagrams() as datagrams:
        datagrams.setblocking(False)
        client = victim.connect()
        client.setblocking(False)
        for number in range(count):
            message = mutated(random_, random_.choice(samples))
            try:
                if number % 2:
                    datagrams.send(message[:60_000])
                elif number % 10:
                    client.send(frame_record(message, random_.choice([0, 0, 0, 7])))
                else:
                    client.send(message)
                client.recv(1 << 16)
            except BlockingIOError:
                pass
            except OSError:
                client.close()
                client = victim.connect()
                client.setblocking(False)
            if number == count // 4:
                before = victim.memory()
        client.close()
    growth = victim.memory() - before
    figures = {"inputs": count, "growth in KiB after a quarter": growth >> 10, "worst in us": int(others.worst * 1e6)}
    summary.add("mutated calls, any program", figures)
    assert others.worst < PATIENCE
    assert growth < 8 * MEBIBYTE


def test_a18_any_number_of_bad_calls_writes_few_lines(start: Callable[..., Victim]) -> None:
    victim = start()
    bad = frame_record(call_message(PROGRAM, 1, 1, b"\xff\xff\xff\xff")) + frame_record(call_message(99, 1, 0))
    with victim.connect() as client:
        for _ in range(100):
            client.sendall(bad * 50)
            for _ in range(100):
                assert receive(client)
    lines = victim.output.splitlines()
    assert len([line for line in lines if "garbage arguments" in line]) in range(1, 60)
    assert len(lines) < 150


def test_a19_one_address_has_a_bounded_number_of_connections(start: Callable[..., Victim]) -> None:
    victim = start(limits={"max_connections_per_peer": 30})
    clients = [victim.connect() for _ in range(40)]
    for client in clients[30:]:
        assert closed(client, within=10)
    clients[0].sendall(frame_record(NULL))
    assert receive(clients[0]) == NULL_REPLY
    for client in clients:
        client.close()
    peers.wait_until(lambda: victim.null, "the address to be served again")


@pytest.mark.parametrize("seconds", [2, pytest.param(SOAK_SECONDS, marks=pytest.mark.torture)])
def test_a20_memory_and_descriptors_stay_flat_under_a_mixed_load(start: Callable[..., Victim], seconds: float) -> None:
    victim = start()
    echo = frame_record(call_message(PROGRAM, 1, 1, (1000).to_bytes(4, "big") + bytes(1000)))

    def load(until: float) -> None:
        while time.monotonic() < until:
            with victim.connect() as client, victim.datagrams() as datagrams:
                client.sendall((echo + frame_record(NULL)) * 20)
                datagrams.send(NULL)
                for _ in range(40):
                    assert receive(client)
                assert datagrams.recv(100) == NULL_REPLY
                client.sendall(frame_record(b"nonsense"))

    load(time.monotonic() + seconds / 2)
    memory, descriptors = victim.memory(), victim.descriptors()
    load(time.monotonic() + seconds / 2)
    peers.wait_until(lambda: victim.descriptors() - descriptors < 10, "the descriptors to come back")
    grown, more = victim.memory() - memory, victim.descriptors() - descriptors
    figures = {"seconds": int(seconds), "growth in KiB after a half": grown >> 10, "more descriptors": more}
    summary.add("mixed load, any program", figures)
    assert grown < MEBIBYTE


def test_a_call_cut_anywhere_in_its_header_never_brings_a_reply_or_an_end_of_service(
    start: Callable[..., Victim],
) -> None:
    victim = start()
    message = encode_call(1, PROGRAM, 1, 0, credential=b"\0\0\0\x01\0\0\0\x14" + bytes(20))
    for size in range(12, len(message)):
        with victim.connect() as client:
            client.sendall(frame_record(message[:size]))
            assert receive(client) == b""
    victim.null()
