"""What a client wrote down is read as the checker must understand it, however the client ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipcserver._gen import ipc as gen
from ipcserver.errors import IPCError, SessionLost
from tests.adversity.ipc.history import History, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.adversity.ipc.history import Event, Kind

DIED = 1e12


class Killed(BaseException):
    """Nothing is written down after it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "client.history"


def calls(path: Path, *made: tuple[Kind, str], during: tuple[Kind, str] | None = None) -> None:
    """Make calls that end, and perhaps one that never does."""
    history = History(path)
    for kind, what in made:
        with history.call("c", kind) as event:
            event.what = what
    if during is not None:
        with pytest.raises(Killed), history.call("c", *during):
            raise Killed


def seen(events: list[Event]) -> list[tuple[str, str, str]]:
    return [(event.kind, event.what, event.fate) for event in events]


def test_what_a_client_saw_is_read_as_it_was_written(path: Path) -> None:
    history = History(path)
    with history.call("c", "send", "1:1"):
        pass
    with pytest.raises(IPCError), history.call("c", "receive"):
        raise IPCError(gen.RIPC_EINTR, "msgrcv")
    with history.call("c", "final", "s") as event:
        event.value = 3
    assert read(path) == history.events
    assert history.events[1].value == gen.RIPC_EINTR


def test_a_client_that_never_wrote_saw_nothing(path: Path) -> None:
    assert read(path, DIED) == []


def test_a_call_that_a_kill_cut_short_has_an_unknown_fate(path: Path) -> None:
    calls(path, ("send", "1:1"), during=("send", "1:2"))
    assert seen(read(path, DIED)) == [("send", "1:1", "done"), ("send", "1:2", "unknown")]


def test_what_a_killed_client_received_last_may_come_again_and_what_it_asked_for_surely_does(path: Path) -> None:
    calls(path, ("receive", "1:1"), ("receive", "1:2"), during=("receive", ""))
    assert seen(read(path, DIED)) == [
        ("receive", "1:1", "done"),
        ("receive", "1:2", "unknown"),
        ("borrow", "", "unknown"),
    ]


def test_what_a_killed_client_that_acknowledges_before_it_sees_asked_for_is_gone_perhaps(path: Path) -> None:
    calls(path, ("receive", "1:1"), ("receive", "1:2"), during=("receive", ""))
    assert seen(read(path, DIED, acknowledges=True)) == [
        ("receive", "1:1", "done"),
        ("receive", "1:2", "unknown"),
        ("receive", "", "unknown"),
    ]


def test_a_client_that_ended_in_order_acknowledged_everything(path: Path) -> None:
    calls(path, ("receive", "1:1"))
    assert seen(read(path)) == [("receive", "1:1", "done")]


def test_what_a_killed_client_held_it_held_until_it_died(path: Path) -> None:
    calls(path, ("acquire", "s"))
    acquired, released = read(path, DIED)
    assert (acquired.fate, released.kind, released.begin) == ("done", "release", DIED)


def test_a_release_that_a_kill_cut_short_may_have_begun_then(path: Path) -> None:
    calls(path, ("acquire", "s"), during=("release", "s"))
    assert seen(read(path, DIED)) == [("acquire", "s", "done"), ("release", "s", "unknown")]


def test_a_lost_session_makes_what_was_held_and_received_in_it_doubtful(path: Path) -> None:
    calls(path, ("acquire", "s"), ("receive", "1:1"))
    history = History(path)
    history.events += read(path)  # numbers go on
    with pytest.raises(SessionLost), history.call("c", "receive"):
        raise SessionLost
    with history.call("c", "receive", "1:2"):
        pass
    assert seen(read(path)) == [
        ("acquire", "s", "unknown"),
        ("receive", "1:1", "unknown"),
        ("borrow", "", "unknown"),
        ("receive", "1:2", "done"),
    ]
