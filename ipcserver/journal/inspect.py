"""Looking at a store from outside: check, figures, export, backup. Nothing here writes to a store.

Each reads one consistent state of the store, also while a server writes to it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import StoreDamaged, StoreLocked, StoreRefused
from .mark import MarkFile, read_mark
from .store import StoreReader, beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .interface import Batch

__all__ = ["Figures", "backup", "check", "figures", "read", "snapshot"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What there is in a store."""

    path: str
    format: int
    identity: str
    """16 bytes in hex."""
    created: str
    """UTC, ISO 8601."""
    in_use: bool
    """Whether a server has it open."""
    snapshot_number: int
    """The last batch that the snapshot contains; 0: there is none."""
    snapshot_bytes: int
    snapshot_created: str
    """UTC, ISO 8601; empty if there is none."""
    first_batch: int
    """The first batch in the log; 0 if it is empty."""
    last_batch: int
    batches: int
    commands: int
    """In the log, that is, after the snapshot."""
    log_bytes: int
    """Of the batches' bodies."""
    disk_bytes: int
    """Of all its files, the reserve included."""


@contextmanager
def _reading(path: Path) -> Iterator[StoreReader]:
    """Open a store for reading one state of it."""
    # The mark first: the store that is read after it has at least what the mark says.
    mark = read_mark(beside(path, "mark"))
    reader = StoreReader(path, mark)
    try:
        reader.query("BEGIN")
        yield reader
    finally:
        reader.close()


def check(path: Path, look: Callable[[bytes], object] | None = None) -> Figures:
    """Read everything in a store and compare it with its digests.

    Args:
        path: The store.
        look: Called with each command; raises ValueError if it is not one.

    Raises:
        StoreRefused: It is not whole.
    """
    with _reading(path) as reader:
        reader.verify_pages()
        reader.snapshot()
        for batch in reader.batches():
            for command in batch.commands:
                if look is not None:
                    try:
                        look(command)
                    except ValueError as error:
                        raise StoreDamaged(
                            path, f"a command of batch {batch.number} cannot be read: {error}"
                        ) from error
    return figures(path)


def read(path: Path) -> Iterator[Batch]:
    """Yield the batches of the log, each verified.

    Raises:
        StoreRefused: It is not whole.
    """
    with _reading(path) as reader:
        reader.snapshot()
        yield from reader.batches()


def snapshot(path: Path) -> bytes | None:
    """Return the newest snapshot.

    Raises:
        StoreRefused: It is not whole.
    """
    with _reading(path) as reader:
        return reader.snapshot()


def figures(path: Path) -> Figures:
    """Count what there is in a store.

    Raises:
        StoreRefused: It cannot be read.
    """
    with _reading(path) as reader:
        ((identity, created),) = reader.query("SELECT id, created FROM store")
        found = reader.query("SELECT number, size, created FROM snapshot ORDER BY number DESC LIMIT 1")
        number, size, taken = found[0] if found else (0, 0, "")
        ((first, last, batches, commands, log),) = reader.query(
            "SELECT coalesce(min(number), 0), coalesce(max(number), ?), count(*), coalesce(sum(count), 0), "
            "coalesce(sum(length(body)), 0) FROM batch WHERE number > ?",
            number,
            number,
        )
        ((user_version,),) = reader.query("PRAGMA user_version")
    disk = 0
    for file in (path, *(beside(path, suffix) for suffix in ("wal", "shm", "mark", "reserve"))):
        with contextlib.suppress(FileNotFoundError):
            disk += file.stat().st_blocks * 512
    return Figures(
        str(path), user_version, identity.hex(), created, _in_use(path), number, size, taken, first, last, batches,
        commands, log, disk,
    )  # fmt: skip


def _in_use(path: Path) -> bool:
    mark = beside(path, "mark")
    if not mark.exists():
        return False
    try:
        MarkFile(mark).close()
    except StoreLocked:
        return True
    except StoreRefused:
        return False
    return False


def backup(path: Path, copy: Path, progress: Callable[[int, int], object] | None = None) -> None:
    """Copy a store, also while a server writes to it. The copy is whole, or not there.

    Args:
        path: The store.
        copy: A file that does not exist. To serve from it, put it in the store's place and remove the files
            beside it (``-mark``, ``-wal``, ``-shm``).
        progress: Called with the pages copied and the pages in all.

    Raises:
        StoreRefused: The store cannot be read, or the copy cannot be written.
    """
    if copy.exists():
        raise StoreRefused(copy, "is there already")
    unfinished = beside(copy, "new")
    try:
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        with _reading(path) as reader:
            reader.verify_pages()
            reader.copy_to(unfinished, progress)
        # A name appears only for a copy that was read again and found whole.
        with closing(StoreReader(unfinished, None)) as written:
            written.locked = True
            written.verify_pages()
            written.snapshot()
            for _ in written.batches():
                pass
        unfinished.replace(copy)
    except (OSError, sqlite3.Error) as error:
        raise StoreRefused(copy, f"cannot be written: {error}") from error
    finally:
        for leftover in (unfinished, beside(unfinished, "wal"), beside(unfinished, "shm")):
            with contextlib.suppress(OSError):
                leftover.unlink(missing_ok=True)
