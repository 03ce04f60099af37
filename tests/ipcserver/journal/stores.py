"""What the journal's tests share: stores with something in them, and the bytes of their files."""

from __future__ import annotations

import subprocess
import sys
from threading import Event
from typing import TYPE_CHECKING

from ipcserver.journal import JournalError, SQLiteJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ipcserver.journal import Recovered


def at_once(call: Callable[[], None]) -> None:
    """Deliver in the journal's own thread: these tests have no reactor."""
    call()


def open_whole(journal: SQLiteJournal) -> tuple[Recovered, list[bytes]]:
    """Open, and read the log to its end."""
    recovered = journal.open()
    return recovered, [command for batch in recovered.batches for command in batch.commands]


def started(path: Path, *, reserve: int = 0) -> SQLiteJournal:
    """Open a store for appends."""
    journal = SQLiteJournal(path, reserve=reserve)
    open_whole(journal)
    journal.start(at_once)
    return journal


def append(journal: SQLiteJournal, *commands: bytes) -> JournalError | None:
    """Append one batch and wait for its fate."""
    return wait_for(lambda done: journal.append(commands, done))


def wait_for(begin: Callable[[Callable[[JournalError | None], None]], None]) -> JournalError | None:
    """Run something that calls done, and wait until it did."""
    fate: list[JournalError | None] = []
    settled = Event()

    def done(error: JournalError | None) -> None:
        fate.append(error)
        settled.set()

    begin(done)
    assert settled.wait(30), "nothing was settled"
    return fate[0]


def contents(path: Path) -> list[bytes]:
    """Read a store's log with a journal of its own."""
    journal = SQLiteJournal(path)
    try:
        return open_whole(journal)[1]
    finally:
        journal.close()


def files(directory: Path) -> dict[str, bytes]:
    """Read every file of a directory, but for SQLite's index of the log, which any reader may rebuild."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if not path.name.endswith("-shm")}


KILLED = """
import os, sys
from pathlib import Path
from threading import Event
from ipcserver.journal import SQLiteJournal
journal = SQLiteJournal(Path(sys.argv[1]), reserve=0)
for batch in journal.open().batches: pass
journal.start(lambda call: call())
for number in range(int(sys.argv[2])):
    settled = Event()
    journal.append([b"%06d" % number + b"x" * int(sys.argv[3])], lambda error: settled.set())
    settled.wait()
os._exit(0)
"""


def killed_after(path: Path, batches: int, size: int = 100) -> list[bytes]:
    """Have a process commit batches one by one and vanish without closing anything. Return the commands."""
    subprocess.run([sys.executable, "-c", KILLED, str(path), str(batches), str(size)], check=True, timeout=60)
    return [b"%06d" % number + b"x" * size for number in range(batches)]


def save_snapshot(journal: SQLiteJournal, number: int, parts: Sequence[bytes]) -> JournalError | None:
    """Save a snapshot and wait for its fate."""
    return wait_for(lambda done: journal.save_snapshot(number, iter(parts), done))
