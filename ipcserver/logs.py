"""Where log events go: lines for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from twisted.logger import FilteringLogObserver, LogLevel, LogLevelFilterPredicate, formatEvent, globalLogBeginner

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.logger import ILogObserver, LogEvent

__all__ = ["begin_logging", "json_line", "text_line"]

_OWN: Final = frozenset({"format", "message", "text", "time", "level", "namespace"})
"""Keys that a JSON line has already, or that say nothing to a machine."""


def _failure_text(event: LogEvent) -> str:
    """Return the traceback that an event carries, or nothing."""
    failure = event.get("log_failure")
    return "" if failure is None else failure.getTraceback()


def text_line(event: LogEvent) -> str:
    """Return an event as ``TIME LEVEL TEXT`` with a traceback below where there is one; TIME is local."""
    when = datetime.fromtimestamp(event.get("log_time", 0), UTC).astimezone()
    level = event.get("log_level", LogLevel.info).name
    text = f"{when:%Y-%m-%d %H:%M:%S} {level:<8} {formatEvent(event) or ''}\n"
    return text + _failure_text(event)


def json_line(event: LogEvent) -> str:
    """Return an event as one JSON object: time (RFC 3339, UTC), level, source, text, and the event's own fields."""
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(event.get("log_time", 0), UTC).isoformat(timespec="milliseconds"),
        "level": event.get("log_level", LogLevel.info).name,
        "source": event.get("log_namespace", ""),
        "text": formatEvent(event) or "",
    }
    for key, value in event.items():
        if key.startswith("log_") or key in _OWN or key in fields:
            continue
        fields[key] = value if isinstance(value, str | int | float | bool | None) else str(value)
    traceback = _failure_text(event)
    if traceback:
        fields["traceback"] = traceback
    return json.dumps(fields, ensure_ascii=False) + "\n"


def begin_logging(stream: TextIO, form: str = "text", *, verbose: bool = False) -> None:
    """Send every log event of this process to a stream.

    Args:
        stream: Where the lines go; flushed after each.
        form: "text" or "json".
        verbose: Whether debug events are written too.
    """
    line: Callable[[LogEvent], str] = json_line if form == "json" else text_line

    def write(event: LogEvent) -> None:
        stream.write(line(event))
        stream.flush()

    lowest = LogLevelFilterPredicate(LogLevel.debug if verbose else LogLevel.info)
    # Twisted's own factories and ports announce every start and stop, the ports in the old way; nobody reads that.
    for namespace in ("twisted.internet", "log_legacy"):
        lowest.setLogLevelForNamespace(namespace, LogLevel.warn)
    observer = FilteringLogObserver(cast("ILogObserver", write), [lowest])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
