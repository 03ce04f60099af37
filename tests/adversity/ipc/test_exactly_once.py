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
import signal
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Literal

import pytest

from ipcserver._gen import ipc as gen
from ipcserver.client import connect
from ipcserver.journal import inspect
from tests.adversity import summary
from tests.adversity.ipc.checker import faults
from tests.adversity.ipc.clients import INITIAL, Crowd
from tests.adversity.ipc.nursery import ForkedServing
from tests.adversity.ipc.proxy import Faults, FaultyProxy
from tests.ipcserver.serving import IPCSERVER
from tests.peers import require

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.adversity.ipc.clients import Program
    from tests.adversity.ipc.nursery import Nursery

ROUND = 50
"""Kills between two looks at the histories."""
KINDS = ("lost", "twice", "out of order", "over-counted", "counted wrong")
"""What the checker finds."""
LONGEST_STOP_S = 20
"""The goal is five, on a machine that does nothing else."""
LIMITS = ("--limit", "lease_ms=5000", "--limit", "msgmnb=50000000")
"""What a killed client had must be back after its lease; no sender waits for room."""


def end_at_a_system_call(server: ForkedServing, chance: random.Random) -> None:
    """Have a life end by SIGKILL on its way into a call that writes or syncs."""
    assert server.child is not None
    calls = "pwrite64,fdatasync,fsync,ftruncate"
    inject = f"inject={calls}:signal=KILL:when={chance.randrange(1, 200)}"
    tracer = subprocess.Popen(
        ["strace", "-f", "-o", "/dev/null", "-p", str(server.child.pid), "-e", f"trace={calls}", "-e", inject],
        stderr=subprocess.DEVNULL,
    )
    assert server.child.wait() == -signal.SIGKILL
    tracer.wait(20)


def torment(
    nursery: Nursery,
    directory: Path,
    kills: int,
    seed: int,
    *,
    longest_life: float,
    snapshot_commands: int,
    way: Literal["kill -9", "kill -9 at a system call", "SIGTERM"] = "kill -9",
    programs: Mapping[str, Program] | None = None,
) -> Counter[str]:
    """Kill, cut, delay, duplicate and reorder; then prove that nobody was wronged.

    Args:
        nursery: Forks everybody.
        directory: For everything.
        kills: How many lives of the server end.
        seed: What all choices come from.
        longest_life: In seconds; most are much shorter.
        snapshot_commands: After how many commands a snapshot is taken: so that ends come then, too.
        way: How lives end.
        programs: Clients in C, instead of most of those in Python. Those called ``bound`` meet no cuts, and no copies
            over other connections, whose ends are cuts too: to the server the end of its connections is their death.

    Returns:
        How often what happened.
    """
    chance = random.Random(seed)
    figures: Counter[str] = Counter()
    with (
        ForkedServing(
            nursery, directory, *LIMITS, changes={"IPCSERVER_SNAPSHOT_COMMANDS": str(snapshot_commands)}
        ) as server,
        FaultyProxy(lambda: server.port, random.Random(seed + 1), Faults()) as proxy,
        FaultyProxy(lambda: server.port, random.Random(seed + 2), Faults(cut=0, late=0)) as uncut,
    ):
        with connect(server.tcp) as ipc:
            queue = ipc.msgget()
            semaphores = ipc.semget(nsems=3)
            semaphores.set_values(list(INITIAL.values())[:3])
            segment = ipc.shmget(size=4096)
        addresses = {**proxy.addresses, "direct": server.tcp}
        for kind in programs or {}:
            addresses[kind] = (uncut if kind == "bound" else proxy).addresses["tcp"]
        objects = queue.id, semaphores.id, segment.id
        crowd = Crowd(nursery, directory, addresses, objects, seed=seed, programs=programs)
        if programs:
            crowd.start_programs(sender=2, receiver=2, holder=2, adder=1)
            crowd.start(sender=1, receiver=1, holder=1, mayfly=1)
        else:
            crowd.start(sender=3, receiver=3, holder=3, adder=3, mayfly=1, plain=2, pump=2, drain=2)
        while figures["kills"] < kills:
            if way == "kill -9 at a system call":
                end_at_a_system_call(server, chance)
                figures["kills"] += 1
                server.start()
                continue
            if chance.random() < 0.1 and way == "kill -9":
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
            if way == "SIGTERM":
                asked = time.monotonic()
                assert server.stop() == 0
                took = time.monotonic() - asked
                assert took < LONGEST_STOP_S
                figures["longest stop in ms"] = max(figures["longest stop in ms"], int(took * 1000))
            else:
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
    figures.update(proxy.did + uncut.did)
    figures["clients killed"] = crowd.deaths
    for event in events:
        if event.fate == "done" and event.client != "drain":
            figures[event.kind] += 1
            figures["over UDP"] += "-udp-" in event.client
            for kind in programs or {}:
                figures[f"by {kind} clients in C"] += f"-{kind}-" in event.client
    figures["cancelled"] = sum(1 for event in events if event.kind == "receive" and event.value == gen.RIPC_EINTR)
    figures["unknown"] = sum(1 for event in events if event.fate == "unknown")
    figures["sessions lost"] = crowd.lost_sessions()
    seen = {event.what for event in events if event.kind == "receive"}
    figures["received and never seen"] = sum(
        1 for event in events if event.kind == "send" and event.fate == "done" and event.what not in seen
    )
    starts = sorted(server.start_seconds)
    print(f"seed {seed}: {dict(figures)}; a start took {starts[len(starts) // 2]:.3f} s, {starts[-1]:.3f} s at most")
    found = faults(events, capacity=INITIAL)
    kinds = Counter(fault.partition(":")[0] for fault in found)
    summary.add(f"{way}, C" if programs else way, {**figures, **{kind: kinds[kind] for kind in KINDS}})
    assert found == [], f"seed {seed}"
    journal = server.state / "journal.sqlite"
    check = subprocess.run([*IPCSERVER, "journal", "check", str(journal)], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    figures["snapshot after batch"] = inspect.figures(journal).snapshot_number
    return figures


def test_nothing_is_lost_or_done_twice_while_servers_and_clients_are_killed_and_the_network_fails(
    nursery: Nursery, tmp_path: Path
) -> None:
    figures = torment(nursery, tmp_path, 6, secrets.randbits(32), longest_life=0.6, snapshot_commands=150)
    assert figures["send"] > 20
    assert figures["snapshot after batch"] > 0


@pytest.mark.torture
@pytest.mark.parametrize("number", range((int(os.environ.get("IPC_TORTURE_KILLS", "300")) + ROUND - 1) // ROUND))
def test_nothing_is_lost_or_done_twice_in_hundreds_of_kills(nursery: Nursery, tmp_path: Path, number: int) -> None:
    seed = int(os.environ.get("IPC_TORTURE_SEED", secrets.randbits(32)))
    figures = torment(nursery, tmp_path, ROUND, seed, longest_life=1.6, snapshot_commands=1000)
    assert figures["send"] > 1000
    assert figures["snapshot after batch"] > 0


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.torture)])
def test_nothing_is_lost_or_done_twice_when_lives_end_on_their_way_into_a_system_call(
    nursery: Nursery, tmp_path: Path, kills: int
) -> None:
    """Between any two steps of a commit, a checkpoint or the saving of a snapshot."""
    require("strace")
    figures = torment(
        nursery,
        tmp_path,
        kills,
        secrets.randbits(32),
        longest_life=0,
        snapshot_commands=500,
        way="kill -9 at a system call",
    )
    assert figures["send"] > kills


@pytest.mark.parametrize("stops", [2, pytest.param(100, marks=pytest.mark.torture)])
def test_nothing_is_lost_or_done_twice_when_the_server_is_told_to_stop_under_load(
    nursery: Nursery, tmp_path: Path, stops: int
) -> None:
    """Each stop ends with status 0, and soon."""
    figures = torment(
        nursery, tmp_path, stops, secrets.randbits(32), longest_life=0.6, snapshot_commands=1000, way="SIGTERM"
    )
    assert figures["send"] > stops
