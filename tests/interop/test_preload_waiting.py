"""Processes that wait in librpcipc.so cost the server little memory, and nobody a processor."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.interop.leases import wait_for_a_lease_to_end
from tests.ipcserver.serving import Serving
from tests.peers import Background, environment

WARM = 30


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _switches(pid: int) -> int:
    """How often the thread that waits went to sleep, or was taken the processor from."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)


def _processor(pid: int) -> int:
    """Nanoseconds of the processor that all threads of a process have used."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))


@pytest.mark.parametrize(
    ("count", "lease_ms"), [(50, 1000), pytest.param(1000, 15_000, marks=pytest.mark.torture)], ids=["50", "1000"]
)
def test_a_process_that_waits_costs_the_server_under_20_kib_and_wakes_up_for_nothing(
    library: Path, sysv: Path, tmp_path: Path, count: int, lease_ms: int
) -> None:
    with Serving(tmp_path, "--journal", "memory", "--limit", f"lease_ms={lease_ms}") as server:
        env = environment(LD_PRELOAD=str(library), IPCSERVER=server.local)

        def start(name: str, processes: int) -> Background:
            return Background([sysv, "wait", str(processes), "-"], tmp_path / name, env=env)

        def pids(background: Background) -> list[int]:
            return [int(word) for word in background.wait_for_output("\n", timeout=120).split()]

        with start("warm", WARM) as warm:
            pids(warm)
            before = _memory(server.process.process.pid)
            with start("waiting", count) as waiting:
                waiters = pids(waiting)
                assert len(waiters) == count
                wait_for_a_lease_to_end(server)  # those that live have renewed theirs
                used = _memory(server.process.process.pid) - before
                switches = {pid: _switches(pid) for pid in waiters}
                spent = {pid: _processor(pid) for pid in waiters}
                wait_for_a_lease_to_end(server)
                woken = [_switches(pid) - switches[pid] for pid in waiters]
                renewing = sum(_processor(pid) - spent[pid] for pid in waiters) / count / 1e6
    print(f"{used / count / 1024:.1f} KiB each; {renewing:.2f} ms of the processor each in a lease; woken {max(woken)}")
    assert used / count < 20 * 1024
    # A wait is of 20 s at most, and then begun again: whoever polls is woken a hundred times.
    assert max(woken) <= 8
    assert renewing < 50
