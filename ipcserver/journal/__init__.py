"""Durability: ordered, committed batches of encoded commands.

``MemoryJournal`` keeps nothing; ``SQLiteJournal`` keeps everything it said yes to. The interface is
``ipcserver.journal.interface.Journal``; a replicated log can stand behind it as well.
"""

from __future__ import annotations

from .errors import (
    CommitFailed,
    JournalClosed,
    JournalError,
    JournalFull,
    JournalUnwritable,
    NewerFormat,
    NotAJournal,
    StoreDamaged,
    StoreLocked,
    StoreRefused,
)
from .interface import Batch, Deliver, Done, Journal, Recovered
from .memory import MemoryJournal
from .sqlite import SQLiteJournal

__all__ = [
    "Batch",
    "CommitFailed",
    "Deliver",
    "Done",
    "Journal",
    "JournalClosed",
    "JournalError",
    "JournalFull",
    "JournalUnwritable",
    "MemoryJournal",
    "NewerFormat",
    "NotAJournal",
    "Recovered",
    "SQLiteJournal",
    "StoreDamaged",
    "StoreLocked",
    "StoreRefused",
]
