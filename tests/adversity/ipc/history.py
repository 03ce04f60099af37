"""What clients saw: one event for each call, in the words of the checker.

A client writes each event down before and after its call, so that what it saw outlives it when it is killed.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ipcserver.errors import IPCError, SessionLost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Event", "Fate", "History", "Kind", "read"]

Kind: TypeAlias = Literal["send", "receive", "borrow", "acquire", "release", "add", "final"]
"""What was called: ``borrow`` is a receive that is never acknowledged, ``add`` a semop of +1 without undo, ``final``
the reading of a semaphore when everything is over."""

Fate: TypeAlias = Literal["done", "refused", "unknown"]
"""Acknowledged; refused with a status that says that nothing was done; or nobody can say."""


@dataclass(slots=True)
class Event:
    """One call of one client."""

    client: str
    kind: Kind
    what: str
    """The message (``3:17`` is number 17 of type 3), or the semaphore's name."""
    begin: float
    """Seconds on one monotonic clock for all clients."""
    end: float = float("inf")
    fate: Fate = "unknown"
    value: int = 0
    """Of ``final``: the semaphore's value. Of what was refused: the status."""


class History:
    """The events of some clients; thread-safe.

    Args:
        path: Where they are written down as they come; None: nowhere.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.events: list[Event] = []
        self._lock: Final = threading.Lock()
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _note(self, *words: Any) -> None:
        """Write a line, in one system call: all of it or nothing."""
        if self._file is not None:
            os.write(self._file, (json.dumps(words) + "\n").encode())

    def begin(self, client: str, kind: Kind, what: str = "") -> tuple[int, Event]:
        """Record that a call begins; give its number."""
        event = Event(client, kind, what, time.monotonic())
        with self._lock:
            number = len(self.events)
            self.events.append(event)
        self._note("begin", number, client, kind, what, event.begin)
        return number, event

    def end(self, number: int, event: Event, fate: Fate) -> None:
        """Record what came of it."""
        event.fate, event.end = fate, time.monotonic()
        self._note("end", number, fate, event.what, event.value, event.end)

    def lost(self) -> None:
        """Record that the session was lost."""
        self._note("lost")

    @contextmanager
    def call(self, client: str, kind: Kind, what: str = "") -> Iterator[Event]:
        """Record a call: done if the block ends, refused if the server said so, else unknown."""
        number, event = self.begin(client, kind, what)
        try:
            yield event
        except IPCError as error:
            event.value = error.status
            self.end(number, event, "refused")
            raise
        except SessionLost:
            self.lost()
            raise
        else:
            self.end(number, event, "refused" if event.fate == "refused" else "done")


def read(path: Path, died: float | None = None, *, acknowledges: bool = False) -> list[Event]:
    """Read what one client, a session at a time, has written down.

    A session that ends without a goodbye gives back what was not acknowledged: the message that its last call asked
    for surely, the one received before perhaps, since that call may have acknowledged it.

    Args:
        path: The file.
        died: When the client was killed; None: it came to its own end.
        acknowledges: The client acknowledges what it receives before its program sees it. Then the message that the
            last call asked for is gone, perhaps, as it is when a process of the kernel's is killed.
    """
    events: dict[int, Event] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            match json.loads(line):
                case "begin", number, client, kind, what, begin:
                    events[number] = Event(client, kind, what, begin)
                case "end", number, fate, what, value, end:
                    event = events[number]
                    event.fate, event.what, event.value, event.end = fate, what, value, end
                case _:
                    _give_back(list(events.values()), None, acknowledges=acknowledges)
    found = list(events.values())
    if died is not None:
        _give_back(found, died, acknowledges=acknowledges)
    return found


def _give_back(events: list[Event], died: float | None, *, acknowledges: bool) -> None:
    """Change the latest events to what is known of them when their session ends without a goodbye."""
    before = events
    if events and events[-1].kind == "receive" and events[-1].fate == "unknown":
        if not acknowledges:
            events[-1].kind = "borrow"
        before = events[:-1]
    for event in reversed(before):
        if event.kind == "receive":
            if event.fate == "done":
                event.fate, event.end = "unknown", float("inf")
                break
            if event.fate == "unknown":
                break
    held: Event | None = None
    for event in events:
        if event.kind == "acquire" and event.fate == "done":
            held = event
        elif event.kind == "release" and event.fate == "done":
            held = None
    if held is None:
        return
    if died is None:
        # Some time before; nobody knows when.
        held.fate = "unknown"
    elif events[-1].kind != "release":
        events.append(Event(held.client, "release", held.what, died))
