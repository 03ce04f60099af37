"""The tour's one loop: it waits for the keyboard, the server's tape and the clients' sockets at the same time.

So nothing is missed while somebody reads, and every arrival has its true time.
"""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Loop"]

_LONGEST: Final = 0.1
"""Seconds between two looks at timers and at what is waited for."""


class Loop:
    """Calls whoever has something to read, and those who keep time."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[Callable[[], object]] = []

    def add(self, descriptor: int, readable: Callable[[], object]) -> None:
        """Call this when the descriptor can be read."""
        self._selector.register(descriptor, selectors.EVENT_READ, readable)

    def remove(self, descriptor: int) -> None:
        """Call nobody any more."""
        self._selector.unregister(descriptor)

    def add_timer(self, look: Callable[[], object]) -> None:
        """Call this ten times a second or more often."""
        self._timers.append(look)

    def remove_timer(self, look: Callable[[], object]) -> None:
        """Do not, any more."""
        self._timers.remove(look)

    def run(self, seconds: float, until: Callable[[], object] = lambda: False) -> bool:
        """Go on for so long.

        Args:
            seconds: How long at most; the sockets are looked at once in any case.
            until: Ends it early, when it is true.

        Returns:
            Whether `until` came true.
        """
        deadline = time.monotonic() + seconds
        while True:
            for look in tuple(self._timers):
                look()
            done = bool(until())
            left = deadline - time.monotonic()
            wait = 0.0 if done else min(_LONGEST, max(0.0, left))
            for key, _ in self._selector.select(wait):
                if key.fd in self._selector.get_map():  # the one before may have closed it
                    key.data()
            if done or until():
                return True
            if left <= 0:
                return False

    def close(self) -> None:
        """Give it up."""
        self._selector.close()
