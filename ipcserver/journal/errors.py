"""What can go wrong with a journal.

::

    JournalError
    ├── StoreRefused(path, reason)      a file that this server will not serve from; nothing was touched
    │   ├── NotAJournal                 another program's file, or no database at all
    │   ├── NewerFormat                 written by a later version of this software
    │   ├── StoreDamaged                truncated, bits changed, committed batches missing
    │   └── StoreLocked                 another server has it open
    ├── CommitFailed(path, reason)      a batch was not committed and never will be; memory may stay as it is
    │   ├── JournalFull                 the disk (or the store's quota) is full
    │   └── JournalUnwritable           an I/O error: the disk's word is not to be trusted
    └── JournalClosed                   append after close
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "CommitFailed",
    "JournalClosed",
    "JournalError",
    "JournalFull",
    "JournalUnwritable",
    "NewerFormat",
    "NotAJournal",
    "StoreDamaged",
    "StoreLocked",
    "StoreRefused",
]


class JournalError(Exception):
    """Anything that went wrong with a journal."""


class _AboutFile(JournalError):
    """An error that names its file.

    Args:
        path: The file it is about.
        reason: One sentence without a full stop.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class StoreRefused(_AboutFile):
    """The store is not opened, and none of its files was changed."""


class NotAJournal(StoreRefused):
    """The file is no journal of this software."""


class NewerFormat(StoreRefused):
    """The file was written in a format that this version does not know."""


class StoreDamaged(StoreRefused):
    """Something that was committed is missing or changed."""


class StoreLocked(StoreRefused):
    """Another process serves from this store."""


class CommitFailed(_AboutFile):
    """A batch was not committed; it will not come back at a replay either."""


class JournalFull(CommitFailed):
    """There is no space for the batch."""


class JournalUnwritable(CommitFailed):
    """The batch could not be written or synced."""


class JournalClosed(JournalError):
    """The journal was closed before this append."""
