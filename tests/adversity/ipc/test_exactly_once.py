"""Reliability goals D1, D3, D4, D5, D12, D13: histories of clients of a server that is killed again and again.

The short form runs with all tests; ``make torture`` runs the long one. ``IPC_TORTURE_SECONDS`` and ``IPC_TORTURE_SEED``
set its length and repeat its choices.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from ipcserver.client import connect
from ipcserver.journal import inspect
from tests.adversity.ipc.checker import faults
from tests.adversity.ipc.clients import INITIAL, Crowd
from tests.adversity.ipc.history import History
from tests.adversity.ipc.proxy import Faults, FaultyProxy
from tests.ipcserver.serving import IPCSERVER, Serving

if TYPE_CHECKING:
    from pathlib import Path


def torment(directory: Path, seconds: float, seed: int, *, all_leases: bool) -> dict[str, int]:
    """Kill, cut, delay and duplicate for a while; then prove that nobody was wronged. Return the figures."""
    chance = random.Random(seed)
    history = History()
    figures = {"kills": 0}
    server = Serving(directory)
    with server, FaultyProxy(lambda: server.port, random.Random(seed + 1), Faults()) as proxy:
        with connect(server.tcp) as ipc:
            queue = ipc.msgget()
            semaphores = ipc.semget(nsems=3)
            semaphores.set_values(list(INITIAL.values()))
        crowd = Crowd(f"tcp:127.0.0.1:{proxy.port}", queue.id, semaphores.id, history, seed)
        crowd.start(senders=4, receivers=3, holders=3, adders=1, mayflies=1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # On a busy machine a fixed time would kill the server before it did anything.
            enough, latest = len(history.events) + chance.randrange(1, 150), time.monotonic() + 10
            while len(history.events) < enough and time.monotonic() < latest:
                time.sleep(chance.uniform(0.001, 0.02))
            server.kill()
            figures["kills"] += 1
            server.start()
        crowd.stop()
        crowd.settle(all_leases=all_leases)
        assert crowd.failures == [], "\n".join(crowd.failures)
        figures |= {
            "cuts": proxy.cuts,
            "duplicates": proxy.duplicates,
            "delays": proxy.delays,
            "cancels": crowd.cancelled,
        }
        assert server.stop() == 0
    for kind in ("send", "receive", "borrow", "acquire", "release", "add"):
        figures[kind] = sum(1 for event in history.events if event.kind == kind and event.fate == "done")
    figures["unknown"] = sum(1 for event in history.events if event.fate == "unknown")
    print(f"seed {seed}: {figures}")
    assert faults(history.events, capacity=INITIAL) == [], f"seed {seed}"
    journal = server.state / "journal.sqlite"
    check = subprocess.run([*IPCSERVER, "journal", "check", str(journal)], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    figures["snapshot after batch"] = inspect.figures(journal).snapshot_number
    return figures


@pytest.fixture(autouse=True)
def _many_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that kills come while snapshots are being taken, too."""
    monkeypatch.setenv("IPCSERVER_SNAPSHOT_COMMANDS", "150")


def test_nothing_is_lost_or_done_twice_while_the_server_is_killed_and_the_network_fails(tmp_path: Path) -> None:
    figures = torment(tmp_path, 12, secrets.randbits(32), all_leases=False)
    assert figures["kills"] >= 2
    assert figures["send"] > 20
    assert figures["snapshot after batch"] > 0


@pytest.mark.torture
def test_nothing_is_lost_or_done_twice_in_hundreds_of_kills(tmp_path: Path) -> None:
    seconds = float(os.environ.get("IPC_TORTURE_SECONDS", "900"))
    seed = int(os.environ.get("IPC_TORTURE_SEED", secrets.randbits(32)))
    figures = torment(tmp_path, seconds, seed, all_leases=True)
    assert figures["kills"] > seconds / 10
