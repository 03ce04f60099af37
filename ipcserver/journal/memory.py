"""The journal that keeps nothing: for tests, demonstrations and volatile servers."""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING

from .errors import JournalClosed
from .interface import Batch, Recovered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .interface import Deliver, Done

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Says yes at once and forgets, or remembers for as long as this object lives.

    Args:
        keep: Keep the batches in memory, so that a second open() of this object replays them. For tests; without
            it an append costs nothing and takes no memory.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.batches: list[Batch] = []
        self.snapshot: bytes | None = None
        self.snapshot_number = 0
        self.keeps = keep
        self.settled = 0
        self._open = False

    def open(self) -> Recovered:
        """Give what an earlier life of this object kept."""
        kept = [batch for batch in self.batches if batch.number > self.snapshot_number]
        return Recovered(
            "memory", self.snapshot, self.snapshot_number, iter(kept), sum(len(batch.commands) for batch in kept)
        )

    def start(self, deliver: Deliver) -> None:  # noqa: ARG002 - nothing here comes from another thread
        """Begin to accept batches."""
        self._open = True

    def append(self, commands: Sequence[bytes], done: Done) -> None:
        """Call ``done(None)`` at once, before returning."""
        if not self._open:
            done(JournalClosed("the journal is closed"))
            return
        if self.keeps:
            self.batches.append(Batch(self.settled + 1, list(commands)))
        done(None)
        self.settled += 1

    def save_snapshot(self, number: int, parts: Iterator[bytes], done: Done) -> None:
        """Keep the snapshot if this journal keeps anything."""
        if self.keeps:
            self.snapshot = b"".join(parts)
            self.snapshot_number = number
            self.batches = [batch for batch in self.batches if batch.number > number]
        done(None)

    def scratch(self) -> IO[bytes]:
        """Open a file without a name, where temporary files are."""
        return tempfile.TemporaryFile()

    def reclaim(self, done: Done) -> None:
        """There is always space."""
        done(None)

    def close(self) -> None:
        """Accept nothing more."""
        self._open = False
