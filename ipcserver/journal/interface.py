"""What a journal is, whatever keeps it.

A journal orders and keeps **batches** of encoded commands. It never looks into a command. The rule that everything
rests on: a command is applied, and answered, only after ``done(None)`` was called for its batch.

A journal is used in this order::

    recovered = journal.open()            # blocks; raises StoreRefused
    ... restore recovered.snapshot, apply every batch of recovered.batches ...
    journal.start(deliver)                # from now on append() works
    journal.append(commands, done)        # any number of times, one thread
    journal.close()                       # blocks until all appended batches are settled
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .errors import JournalError

__all__ = ["Batch", "Deliver", "Done", "Journal", "Recovered"]

Done: TypeAlias = "Callable[[JournalError | None], None]"
"""Called once for each append, in the order of the appends: with None when committed, else with the reason."""

Deliver: TypeAlias = "Callable[[Callable[[], None]], object]"
"""Runs a function in the caller's thread, later, in order: ``reactor.callFromThread``."""


class Batch(NamedTuple):
    """One committed batch."""

    number: int
    """1 for the first batch of a store, then without gaps."""
    commands: list[bytes]
    """The encoded commands, in order."""


@dataclass(slots=True)
class Recovered:
    """What open() found."""

    source: str
    """Where it was found, for messages to people."""
    snapshot: bytes | None
    """The newest complete snapshot, or None if there is none."""
    snapshot_number: int
    """The last batch that the snapshot contains; 0 without a snapshot."""
    batches: Iterator[Batch]
    """The batches after the snapshot. Read it to its end before start(). Raises StoreDamaged."""
    commands: int
    """How many commands batches will give, for a progress display."""


class Journal(Protocol):
    """Ordered, committed batches of commands."""

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all. If not, append() needs no commands, only their done."""

    @property
    def settled(self) -> int:
        """The last batch all of whose done callbacks have returned; for the caller's thread, outside a callback."""

    def open(self) -> Recovered:
        """Open the store, or create it, and find what it holds. Blocks.

        Raises:
            StoreRefused: The store is not usable; none of its files was changed.
        """

    def start(self, deliver: Deliver) -> None:
        """Begin to accept batches.

        Args:
            deliver: Carries each done callback to the caller's thread.

        Raises:
            CommitFailed: The store cannot be written.
        """

    def append(self, commands: Sequence[bytes], done: Done) -> None:
        """Commit a batch.

        Never blocks on the disk. ``done`` may be called before append() returns, or later through deliver.
        After ``done(CommitFailed)`` the batch will not come back at a replay.

        Args:
            commands: One or more encoded commands.
            done: Called once.
        """

    def save_snapshot(self, number: int, parts: Iterator[bytes], done: Done) -> None:
        """Keep a snapshot, then forget the batches that it contains.

        Appends go on meanwhile: the snapshot is written part by part between batches.

        Args:
            number: The last batch whose effects the snapshot contains.
            parts: The snapshot's bytes, cut as the caller likes. Read in the journal's own thread.
            done: Called once.
        """

    def scratch(self) -> IO[bytes]:
        """Open a file without a name, where save_snapshot() has space as well.

        Raises:
            OSError: It cannot be made.
        """

    def reclaim(self, done: Done) -> None:
        """After JournalFull: find out whether there is space again. done(None) if so."""

    def close(self) -> None:
        """Settle everything appended, then close. Blocks. Safe to repeat."""
