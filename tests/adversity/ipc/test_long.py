"""A whole server under mutated calls and under a mixed load, with others looking on: the short forms and the long ones.

``make torture`` runs the long ones: a million mutated calls (``FUZZ_INPUTS``), ten minutes of load (``SOAK_SECONDS``).
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self

import pytest

import xdr
from ipcserver._gen import ipc as gen
from ipcserver._gen import machine
from ipcserver.client import connect
from ipcserver.errors import IPCError
from ipcserver.machine import Limits
from oncrpc.auth import AuthSys, encode_opaque_auth
from oncrpc.message import encode_call
from oncrpc.records import frame_record
from oncrpc.testing import call_message
from tests import peers
from tests.adversity import summary
from tests.adversity.test_availability import FUZZ_INPUTS, SOAK_SECONDS, mark, mutated
from tests.adversity.victim import HOST, Others, Victim, closed, push, receive
from tests.ipcserver.machine.scenario import LIMITS, program
from tests.ipcserver.serving import IPCSERVER, Serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MEBIBYTE = 1 << 20
PROGRAM = gen.IPCPROG_1_Server.program
NULL = call_message(PROGRAM, 1, 0)
NULL_REPLY = b"\0\0\0\x01\0\0\0\x01" + bytes(16)


class Attacked(Victim):
    """An ipcserver as the attacks see it."""

    def __init__(self, server: Serving) -> None:
        self.pid = server.process.process.pid
        self.tcp = self.udp = server.port

    def null(self) -> float:
        began = time.monotonic()
        with socket.create_connection((HOST, self.tcp), 20) as client:
            client.sendall(frame_record(NULL))
            assert receive(client) == NULL_REPLY
        return time.monotonic() - began


def tight() -> list[str]:
    """Give the flags for limits that every program meets soon."""
    usual = Limits()
    changed = {field.name: getattr(LIMITS, field.name) for field in fields(Limits)}
    return [
        word
        for name, value in changed.items()
        if value != getattr(usual, name)
        for word in ("--limit", f"{name}={value}")
    ]


def calls() -> list[bytes]:
    """Give calls of every procedure, as clients would make them."""
    user = AuthSys.current()
    credential = encode_opaque_auth(user.flavor, user.encode())
    found = [encode_call(1, PROGRAM, 1, number, credential=credential) for number in (0, 5, 20, 27)]
    for command in program(1, 2000):
        if command.op not in {machine.OP_TICK, machine.OP_CONNECTION_CLOSED, machine.OP_SERVER_STARTED}:
            head = encode_call(command.xid, PROGRAM, 1, command.op, credential=credential)
            found.append(head + xdr.encode(type(command.args), command.args))
    return found


@pytest.fixture(autouse=True)
def _threads_take_turns() -> Iterator[None]:
    """The looker-on is a thread of the attacker's process: what he waits for shall be the server."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    yield
    sys.setswitchinterval(usual)


def waited(others: Others) -> dict[str, int]:
    """Tell how long others waited."""
    assert others.failed == []
    found = sorted(others.waited)
    p99, worst = (int(each * 1e6) for each in (found[len(found) * 99 // 100], found[-1]))
    return {"NULL calls of others": len(found), "p99 in us": p99, "worst in us": worst}


@pytest.mark.parametrize("count", [1_000, pytest.param(FUZZ_INPUTS, marks=pytest.mark.torture)])
def test_mutated_calls_of_every_procedure_do_no_harm_and_the_journal_of_them_replays(
    tmp_path: Path, count: int
) -> None:
    """A16."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)
    samples = calls()
    with Serving(tmp_path, *tight()) as server:
        victim = Attacked(server)
        memory: list[int] = []
        with Others(victim) as others, victim.datagrams() as datagrams:
            datagrams.setblocking(False)
            client = victim.connect()
            client.setblocking(False)
            sent = tried = 0
            while sent < count:
                tried += 1
                message = mutated(chance, chance.choice(samples)) if tried % 8 else chance.choice(samples)
                try:
                    if tried % 4 == 0:
                        sent += datagrams.send(message[:60_000]) > 0
                    else:
                        framed = frame_record(message, chance.choice([0, 0, 0, 7])) if tried % 50 else message
                        # All of it, or the next record would begin in the middle of this one.
                        client.settimeout(20)
                        client.sendall(framed)
                        client.setblocking(False)
                        sent += 1
                    with contextlib.suppress(BlockingIOError):
                        datagrams.recv(1 << 16)
                    with contextlib.suppress(BlockingIOError):
                        client.recv(1 << 18)
                except BlockingIOError:
                    pass
                except OSError:
                    client.close()
                    client = victim.connect()
                    client.setblocking(False)
                if tried % 500 == 0:
                    # Its calls that wait end with it.
                    client.close()
                    client = victim.connect()
                    client.setblocking(False)
                if sent * 8 // count > len(memory):
                    memory.append(victim.memory())
            client.close()
        assert others.worst < 5
        assert memory[-1] - memory[2] < 16 * MEBIBYTE
        server.kill()
        server.start()
        assert "Traceback" not in (tmp_path / "serve-1.log").read_text()
        growth = (memory[-1] - memory[2]) >> 10
        figures = {"inputs": sent, "crashes": 0, "growth in KiB after a quarter": growth, **waited(others)}
        summary.add("mutated calls, ipcserver", figures)
        print(figures)
        assert server.stop() == 0
    journal = str(server.state / "journal.sqlite")
    check = subprocess.run(
        [*IPCSERVER, "journal", "check", journal],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr


# ---- a mixed load, with one attack at a time ----


def _stop_in_the_middle(victim: Attacked) -> None:
    with victim.connect() as bad:
        bad.sendall(frame_record(NULL)[:2])
        time.sleep(0.2)


def _announce_much(victim: Attacked) -> None:
    bad = [victim.connect() for _ in range(20)]
    for client in bad:
        client.sendall(b"\xff\xff\xff\xff")
    assert all(closed(client, within=10) for client in bad)
    for client in bad:
        client.close()


def _empty_fragments(victim: Attacked) -> None:
    with victim.connect() as bad:
        push(bad, mark(0, last=False) * 100_000)


def _never_read(victim: Attacked) -> None:
    with victim.connect() as bad:
        push(bad, frame_record(NULL) * 20_000)


def _flood(victim: Attacked) -> None:
    with victim.datagrams() as flood:
        flood.setblocking(False)
        for number in range(3000):
            with contextlib.suppress(OSError):
                flood.send(NULL[: number % 41])


def _nonsense(victim: Attacked) -> None:
    with victim.connect() as bad, contextlib.suppress(OSError):
        bad.sendall(frame_record(call_message(PROGRAM, 1, 11, b"\xff" * 40)) * 200)


def _come_and_go(victim: Attacked) -> None:
    for _ in range(100):
        victim.connect().close()


ATTACKS: list[Callable[[Attacked], None]] = [
    *(_stop_in_the_middle, _announce_much, _empty_fragments, _never_read, _flood, _nonsense, _come_and_go)
]


class Load:
    """Clients that go on as clients do, in threads, and check what they get back."""

    def __init__(self, server: Serving) -> None:
        self._server = server
        self._done = threading.Event()
        self.acknowledged = self.received = self.rounds = 0
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._guarded, args=(what,)) for what in (self._talk, self._work)]

    def _guarded(self, what: Callable[[], Any]) -> None:
        try:
            what()
        except Exception as error:  # noqa: BLE001 - told at the end
            self.failed.append(repr(error))

    def _talk(self) -> None:
        """Messages: all must come back, in order."""
        with connect(self._server.tcp) as sender, connect(self._server.local) as receiver:
            queue = sender.msgget()
            mine = receiver.queue(queue.id)
            number = 0
            while not self._done.is_set():
                for _ in range(10):
                    queue.send(b"%d" % (number + self.acknowledged % 10) + bytes(100))
                    self.acknowledged += 1
                for expected in range(number, number + 10):
                    text = mine.receive().text
                    assert text == b"%d" % expected + bytes(100), text[:20]
                    self.received += 1
                number += 10

    def _work(self) -> None:
        """Sessions that come and go, semaphores, segments, objects made and removed."""
        while not self._done.is_set():
            with connect(self._server.udp) as ipc:
                semaphores, segment = ipc.semget(nsems=2), ipc.shmget(size=10_000)
                semaphores.set_values([1, 0])
                segment.attach()
                for number in range(20):
                    semaphores.acquire(0)
                    segment.write(b"%d" % number, 4000)
                    assert segment.read(4000, 2).rstrip(b"\0") == b"%d" % number
                    semaphores.release(0)
                segment.remove()
                assert semaphores.values() == [1, 0]
                semaphores.remove()
                with contextlib.suppress(IPCError):
                    ipc.msgget(0x51, create=False)
            self.rounds += 1

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(60)


@pytest.mark.parametrize("seconds", [4.0, pytest.param(SOAK_SECONDS, marks=pytest.mark.torture)])
def test_memory_and_descriptors_stay_flat_and_nothing_is_lost_under_a_mixed_load_and_one_attack_after_the_other(
    tmp_path: Path, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A20."""
    # So that snapshots are taken too, again and again.
    monkeypatch.setenv("IPCSERVER_SNAPSHOT_COMMANDS", "20000")
    with Serving(tmp_path) as server:
        victim = Attacked(server)
        with Others(victim) as others, Load(server) as load:
            began = time.monotonic()
            memory = descriptors = 0
            attacks = 0
            while (passed := time.monotonic() - began) < seconds or attacks < len(ATTACKS):
                ATTACKS[attacks % len(ATTACKS)](victim)
                attacks += 1
                if not memory and passed > seconds / 3:
                    memory, descriptors = victim.memory(), victim.descriptors()
            # The last attack's connections end in their own time.
            peers.wait_until(lambda: victim.descriptors() - descriptors < 30, "the descriptors to come back")
            grown, more = victim.memory() - memory, victim.descriptors() - descriptors
        assert load.failed == []
        assert load.acknowledged == load.received > 0
        assert load.rounds > 0
        figures = {
            "seconds": int(seconds),
            "attacks": attacks,
            "acknowledged": load.acknowledged,
            "lost": load.acknowledged - load.received,
            "sessions": load.rounds,
            "growth in KiB after a third": grown >> 10,
            "more descriptors": more,
            **waited(others),
        }
        summary.add("mixed load, ipcserver", figures)
        print(figures)
        assert grown < 8 * MEBIBYTE
        assert others.worst < 5
        assert server.stop() == 0
        assert "Traceback" not in (tmp_path / "serve-1.log").read_text()
