"""What clients saw: one event for each call, in the words of the checker."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ipcserver.errors import IPCError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Event", "Fate", "History", "Kind"]

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
    """Of ``final``: the semaphore's value."""


class History:
    """The events of all clients; thread-safe."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._lock: Final = threading.Lock()

    @contextmanager
    def call(self, client: str, kind: Kind, what: str = "") -> Iterator[Event]:
        """Record a call: done if the block ends, refused if the server said so, else unknown."""
        event = Event(client, kind, what, time.monotonic())
        with self._lock:
            self.events.append(event)
        try:
            yield event
        except IPCError:
            event.fate = "refused"
            raise
        else:
            event.fate = "done"
        finally:
            if event.fate != "unknown":
                event.end = time.monotonic()
