from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


CALLS = """
import time
from oncrpc.tx.reactor import install
reactor = install({name!r})
assert reactor.seconds is time.monotonic, reactor.seconds
seen = []
reactor.callLater(0.05, seen.append, "timer")
reactor.callInThread(lambda: reactor.callFromThread(seen.append, "thread"))
reactor.callLater(0.2, reactor.stop)
reactor.run()
print(type(reactor).__name__, sorted(seen))
"""


@pytest.mark.parametrize(("name", "made"), [("", "LeanReactor"), ("select", "SelectReactor"), ("poll", "PollReactor")])
def test_the_reactor_that_is_asked_for_runs_timers_and_threads_by_a_monotonic_clock(name: str, made: str) -> None:
    if not name and not sys.platform.startswith("linux"):
        pytest.skip("no epoll here")
    assert run(CALLS.format(name=name)) == f"{made} ['thread', 'timer']"


def test_a_reactor_that_is_installed_already_stays_and_gets_the_clock() -> None:
    code = "from twisted.internet import pollreactor; pollreactor.install()\n" + CALLS.format(name="")
    assert run(code).startswith("PollReactor")
