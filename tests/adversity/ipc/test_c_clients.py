"""Clients in C among those who are killed and cut off: libipcclient's, and System V programs on librpcipc.so.

``IPC_TORTURE_KILLS`` and ``IPC_TORTURE_SEED`` are those of test_exactly_once.py.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

import pytest

from ipcserver.client import connect
from tests.adversity.ipc.clients import Program
from tests.adversity.ipc.nursery import ForkedServing
from tests.adversity.ipc.proxy import Faults, FaultyProxy
from tests.adversity.ipc.test_exactly_once import ROUND, torment
from tests.peers import ROOT, Background, environment, require, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.adversity.ipc.nursery import Nursery

SOURCE = ROOT / "tests" / "adversity" / "ipc" / "sysv_client.c"
LIBRARY = ROOT / "clients" / "c"

UNSEEN = 2
"""Messages in a round that a killed client may have received between two of its instructions: it is a rare moment."""

RECEIVER = """
import os, signal, sys, sysv_ipc
signal.signal(signal.SIGTERM, lambda *_: None)
print("received", sysv_ipc.MessageQueue(0x77).receive()[0].decode(), flush=True)
signal.pause()
if sys.argv[1] == "exec":
    os.execl("/bin/sh", "sh", "-c", "exit 0")
"""


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """The client as a program of libipcclient's, whose session has a lease, and as one that is preloaded."""
    require("gcc", "make", "pkg-config", "rpcgen", "libtirpc")
    build = tmp_path_factory.mktemp("c")
    make = ["make", "-j2", "-C", str(LIBRARY), f"BUILD={build}", "CFLAGS=-O2 -g -Werror", "library", "preload"]
    leased, plain = build / "leased", build / "plain"
    compiled = ["gcc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", str(SOURCE), "-pthread"]
    for command in (
        make,
        [*compiled, "-o", str(plain)],
        [*compiled, "-DLIBRARY", f"-I{LIBRARY}", "-o", str(leased), f"-L{build}", "-lipcclient", f"-Wl,-rpath,{build}"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment())
        assert done.returncode == 0, done.stdout + done.stderr
    return {
        "leased": Program(leased, {}),
        "bound": Program(plain, {"LD_PRELOAD": str(build / "librpcipc.so")}),
    }


def test_nothing_is_lost_or_done_twice_by_clients_in_c_while_servers_and_clients_are_killed_and_the_network_fails(
    nursery: Nursery, tmp_path: Path, programs: dict[str, Program]
) -> None:
    figures = torment(
        nursery, tmp_path, 4, secrets.randbits(32), longest_life=0.6, snapshot_commands=150, programs=programs
    )
    for kind in programs:
        assert figures[f"by {kind} clients in C"] > 20
    assert figures["sessions lost"] == 0


@pytest.mark.torture
@pytest.mark.parametrize("number", range((int(os.environ.get("IPC_TORTURE_KILLS", "100")) + ROUND - 1) // ROUND))
def test_nothing_is_lost_or_done_twice_by_clients_in_c_in_a_hundred_kills(
    nursery: Nursery, tmp_path: Path, programs: dict[str, Program], number: int
) -> None:
    seed = int(os.environ.get("IPC_TORTURE_SEED", secrets.randbits(32)))
    figures = torment(nursery, tmp_path, ROUND, seed, longest_life=1.6, snapshot_commands=1000, programs=programs)
    for kind in programs:
        assert figures[f"by {kind} clients in C"] > 500
    assert figures["sessions lost"] == 0
    assert figures["received and never seen"] <= UNSEEN


@pytest.mark.torture
@pytest.mark.parametrize("way", ["kill -9 at a system call", "SIGTERM"])
def test_nothing_is_lost_or_done_twice_by_clients_in_c_however_lives_of_the_server_end(
    nursery: Nursery,
    tmp_path: Path,
    programs: dict[str, Program],
    way: Literal["kill -9 at a system call", "SIGTERM"],
) -> None:
    if way == "kill -9 at a system call":
        require("strace")
    figures = torment(
        nursery,
        tmp_path,
        ROUND,
        secrets.randbits(32),
        longest_life=0.6,
        snapshot_commands=500,
        way=way,
        programs=programs,
    )
    assert figures["sessions lost"] == 0
    assert figures["received and never seen"] <= UNSEEN


@pytest.mark.parametrize("end", ["exit", "exec"])
def test_what_a_program_received_does_not_come_back_if_the_server_crashes_before_it_heard_so_and_the_program_ends(
    nursery: Nursery, tmp_path: Path, programs: dict[str, Program], end: Literal["exit", "exec"]
) -> None:
    """The receipt is lost with the server; the program's end says it again."""
    faults = Faults(cut=0, delay=0, duplicate=0, late=0, stall=0)
    with (
        ForkedServing(nursery, tmp_path, "--limit", "lease_ms=5000") as server,
        FaultyProxy(lambda: server.port, random.Random(1), faults) as proxy,
        connect(server.tcp) as ipc,
    ):
        queue = ipc.msgget(0x77, create=True, mode=0o600)
        queue.send(b"once")
        proxy.loses = lambda call: call[20:24] == b"\0\0\0\2"  # RIPC_RENEW
        env = environment(**programs["bound"].environment, IPCSERVER=proxy.addresses["tcp"])
        with Background([sys.executable, "-c", RECEIVER, end], tmp_path / "receiver.log", env=env) as receiver:
            receiver.wait_for_output("received once")
            server.kill()
            proxy.loses = lambda _: False
            server.start()
            assert receiver.stop() == 0
        wait_until(lambda: ipc.info().sessions == 1, "the end of its session")
        assert queue.stat().qnum == 0
