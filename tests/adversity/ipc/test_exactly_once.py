"""Nothing lost, nothing twice, nothing miscounted: histories of clients of a server that is killed again and again.

The clients speak TCP and UDP, in sessions, through proxies that cut, delay, duplicate, drop and reorder; they too are
killed. Every life of the server is a process of its own that ends by SIGKILL, at any moment: while it starts and
replays, commits, or has a snapshot taken.

The short form runs with all tests; ``make torture`` runs the long one: ``IPC_TORTURE_KILLS`` in rounds of fifty.
``IPC_TORTURE_SEED`` repeats the choices of one round.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from ipcserver._gen import ipc as gen
from ipcserver.client import connect
from ipcserver.journal import inspect
from tests.adversity import summary
from tests.adversity.ipc.checker import faults
from tests.adversity.ipc.clients import INITIAL, Crowd
from tests.adversity.ipc.nursery import ForkedServing, Nursery
from tests.adversity.ipc.proxy import Faults, FaultyProxy
from tests.ipcserver.serving import IPCSERVER

if TYPE_CHECKING:
    from pathlib import Path

ROUND = 50
"""Kills between two looks at the histories."""
KINDS = ("lost", "twice", "out of order", "over-counted", "counted wrong")
"""What the checker finds."""
LIMITS = ("--limit", "lease_ms=5000", "--limit", "msgmnb=50000000")
"""What a killed client had must be back after its lease; no sender waits for room."""


def torment(directory: Path, kills: int, seed: int, *, longest_life: float) -> Counter[str]:
    """Kill, cut, delay, duplicate and reorder; then prove that nobody was wronged. Return the figures."""
    chance = random.Random(seed)
    figures: Counter[str] = Counter()
    with (
        Nursery() as nursery,
        ForkedServing(nursery, directory, *LIMITS) as server,
        FaultyProxy(lambda: server.port, random.Random(seed + 1), Faults()) as proxy,
    ):
        with connect(server.tcp) as ipc:
            queue = ipc.msgget()
            semaphores = ipc.semget(nsems=3)
            semaphores.set_values(list(INITIAL.values()))
        addresses = {**proxy.addresses, "direct": server.tcp}
        crowd = Crowd(nursery, directory, addresses, queue=queue.id, semaphores=semaphores.id, seed=seed)
        crowd.start(sender=3, receiver=3, holder=3, adder=3, mayfly=1, pump=2, drain=2)
        while figures["kills"] < kills:
            if chance.random() < 0.1:
                server.kill()
                server.begin()
                time.sleep(chance.uniform(0, 0.08))
                figures["killed in their start"] += 1
            else:
                life = chance.uniform(0.02, 0.25) if chance.random() < 0.5 else chance.uniform(0.1, longest_life)
                if chance.random() < 0.4:
                    time.sleep(life / 2)
                    crowd.kill_one(chance)
                    life /= 2
                time.sleep(life)
            server.kill()
            figures["kills"] += 1
            server.start()
        time.sleep(0.5)
        crowd.stop()
        assert crowd.failures == [], "\n".join(crowd.failures)
        crowd.settle(server.tcp)
        assert crowd.failures == [], "\n".join(crowd.failures)
        assert server.stop() == 0
    events = crowd.events()
    figures.update(proxy.did)
    figures["clients killed"] = crowd.deaths
    for event in events:
        if event.fate == "done" and event.client != "drain":
            figures[event.kind] += 1
            figures["over UDP"] += "-udp-" in event.client
    figures["cancelled"] = sum(1 for event in events if event.kind == "receive" and event.value == gen.RIPC_EINTR)
    figures["unknown"] = sum(1 for event in events if event.fate == "unknown")
    starts = sorted(server.start_seconds)
    print(f"seed {seed}: {dict(figures)}; a start took {starts[len(starts) // 2]:.3f} s, {starts[-1]:.3f} s at most")
    found = faults(events, capacity=INITIAL)
    kinds = Counter(fault.partition(":")[0] for fault in found)
    summary.add("kill -9", {**figures, **{kind: kinds[kind] for kind in KINDS}})
    assert found == [], f"seed {seed}"
    journal = server.state / "journal.sqlite"
    check = subprocess.run([*IPCSERVER, "journal", "check", str(journal)], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    figures["snapshot after batch"] = inspect.figures(journal).snapshot_number
    return figures


def test_nothing_is_lost_or_done_twice_while_servers_and_clients_are_killed_and_the_network_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that kills come while snapshots are being taken, too.
    monkeypatch.setenv("IPCSERVER_SNAPSHOT_COMMANDS", "150")
    figures = torment(tmp_path, 6, secrets.randbits(32), longest_life=0.6)
    assert figures["send"] > 20
    assert figures["snapshot after batch"] > 0


@pytest.mark.torture
@pytest.mark.parametrize("number", range((int(os.environ.get("IPC_TORTURE_KILLS", "300")) + ROUND - 1) // ROUND))
def test_nothing_is_lost_or_done_twice_in_hundreds_of_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("IPCSERVER_SNAPSHOT_COMMANDS", "1000")
    seed = int(os.environ.get("IPC_TORTURE_SEED", secrets.randbits(32)))
    figures = torment(tmp_path, ROUND, seed, longest_life=1.6)
    assert figures["send"] > 1000
    assert figures["snapshot after batch"] > 0
