"""Log events as lines for people and as JSON for machines."""

from __future__ import annotations

import json

from twisted.logger import LogLevel
from twisted.python.failure import Failure

from ipcserver.logs import json_line, text_line


def event(**more: object) -> dict[str, object]:
    """Return an event as twisted.logger makes it."""
    return {
        "log_time": 1_700_000_000.25,
        "log_level": LogLevel.warn,
        "log_namespace": "ipcserver",
        "log_format": "{peer} sent {size} bytes",
        "peer": object,
        "size": 5,
        **more,
    }


def failure() -> Failure:
    """Return a failure with a traceback."""
    try:
        (0).to_bytes(1, "disk on fire")  # type: ignore[arg-type]
    except ValueError:
        return Failure()
    raise AssertionError


class TestText:
    """One line, and the traceback below it."""

    def test_a_line_has_level_and_text(self) -> None:
        line = text_line(event(peer="::1"))
        assert line.endswith(" warn     ::1 sent 5 bytes\n")

    def test_a_failure_brings_its_traceback(self) -> None:
        assert "ValueError: byteorder" in text_line(event(log_failure=failure()))


class TestJSON:
    """One object a line."""

    def test_it_has_time_level_source_text_and_the_events_own_fields(self) -> None:
        line = json_line(event(peer="::1"))
        assert line.count("\n") == 1
        assert json.loads(line) == {
            "time": "2023-11-14T22:13:20.250+00:00",
            "level": "warn",
            "source": "ipcserver",
            "text": "::1 sent 5 bytes",
            "peer": "::1",
            "size": 5,
        }

    def test_what_json_cannot_hold_becomes_text(self) -> None:
        assert json.loads(json_line(event()))["peer"] == "<class 'object'>"

    def test_a_failure_is_one_field(self) -> None:
        line = json_line(event(log_failure=failure()))
        assert line.count("\n") == 1
        assert "ValueError: byteorder" in json.loads(line)["traceback"]
