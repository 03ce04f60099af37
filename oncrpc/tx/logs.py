"""A server's notices as log lines, never more than the limits allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger
from twisted.python.failure import Failure

from oncrpc.observe import Notice, Observer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NoticeLog"]


class NoticeLog(Observer):
    """Writes notices to Twisted's log: a burst of each kind, then one line for many.

    A peer can cause any number of notices, so it must not be able to fill a disk with them.

    Args:
        burst: Lines of one kind that are written at once.
        interval: Seconds after which one more is written, with the number left out since.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, burst: int, interval: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._interval = interval
        self._clock = clock
        self._log = Logger(namespace="oncrpc.server")
        # By kind: lines still free, when the last was written, how many were left out.
        self._kinds: dict[str, list[float]] = {}

    def noticed(self, notice: Notice) -> None:
        """Write it, or count it."""
        now = self._clock()
        state = self._kinds.setdefault(notice.kind, [self._burst, now, 0])
        free, since, left_out = state
        # What is left of the burst comes back at one line for each interval.
        free = min(float(self._burst or 1), free + (now - since) / self._interval)
        state[1] = now
        if free < 1:
            state[0] = free
            state[2] += 1
            return
        state[0] = free - 1
        state[2] = 0
        more = f" ({int(left_out)} more like this were not logged)" if left_out else ""
        peer = f"{notice.peer}: " if notice.peer is not None else ""
        if notice.error is not None:
            self._log.failure(
                "{peer}{text}{more}",
                Failure(notice.error),
                peer=peer,
                text=notice.text,
                more=more,
                kind=notice.kind,
            )
        else:
            tell = self._log.info if notice.routine else self._log.warn
            tell("{kind}: {peer}{text}{more}", kind=notice.kind, peer=peer, text=notice.text, more=more)
