from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from twisted.logger import globalLogPublisher

from oncrpc.observe import Notice
from oncrpc.program import Peer
from oncrpc.tx.logs import NoticeLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.logger import ILogObserver, LogEvent

PEER = Peer("192.0.2.1", 700)


@pytest.fixture
def lines() -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []
    keep = cast("ILogObserver", events.append)
    globalLogPublisher.addObserver(keep)
    yield events
    globalLogPublisher.removeObserver(keep)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_written_and_then_one_line_for_many(lines: list[LogEvent]) -> None:
    clock = Clock()
    log = NoticeLog(5, 10, clock)
    for _ in range(1000):
        log.noticed(Notice("garbage", PEER, "bad"))
    assert len(lines) == 5
    clock.now = 10
    for _ in range(1000):
        log.noticed(Notice("garbage", PEER, "bad"))
    assert len(lines) == 6
    assert "995 more" in lines[-1]["more"]


def test_what_is_routine_is_no_warning(lines: list[LogEvent]) -> None:
    log = NoticeLog(5, 10, Clock())
    for routine in (False, True):
        log.noticed(Notice("unknown version", PEER, "7", routine=routine))
    assert [event["log_level"].name for event in lines] == ["warn", "info"]
    assert lines[0]["log_format"] == lines[1]["log_format"]


def test_kinds_are_limited_apart(lines: list[LogEvent]) -> None:
    log = NoticeLog(2, 10, Clock())
    for kind in ("a", "b", "a", "b", "a", "b"):
        log.noticed(Notice(kind, None, "bad"))
    assert [event["kind"] for event in lines] == ["a", "b", "a", "b"]


def test_the_burst_comes_back_with_time(lines: list[LogEvent]) -> None:
    clock = Clock()
    log = NoticeLog(3, 10, clock)
    for round_ in range(3):
        clock.now = round_ * 1000
        for _ in range(10):
            log.noticed(Notice("a", None, "bad"))
    assert len(lines) == 9


def test_our_own_faults_are_logged_with_their_traceback(lines: list[LogEvent]) -> None:
    NoticeLog(3, 10, Clock()).noticed(Notice("handler failed", PEER, "ADD failed", ValueError("broken")))
    assert lines[0]["log_failure"].value.args == ("broken",)
    assert lines[0]["peer"] == "192.0.2.1:700: "
