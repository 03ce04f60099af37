"""The file beside a store that locks it and witnesses what was committed.

SQLite recovers from a write-ahead log up to the first frame that does not fit, which is right after a crash, but a
log that lost its end, or had a bit changed in the middle, looks just the same: committed batches would vanish
without a word. So the number and digest of the last committed batch are noted here before anyone is answered. The
note is written without a sync of its own: it survives the death of the process, and after a power failure it can
only be too old, which is harmless, never too new.

The file holds two records in two disk sectors, written in turn, so that one of them is whole at any time; then the
number of the process that holds the lock, for people.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import StoreDamaged, StoreLocked, StoreRefused
from .records import DIGEST_SIZE

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Mark", "MarkFile", "read_mark"]

_MAGIC: Final = b"RIPCMARK"
_RECORD: Final = struct.Struct(f">8sQQI{DIGEST_SIZE}s")
_SECTOR: Final = 512
_SIZE: Final = 2 * _SECTOR
_HOLDER_MAX: Final = 32


class Mark(NamedTuple):
    """What was committed last."""

    serial: int
    """Goes up with each note; the higher of the two records counts."""
    number: int
    """The last committed batch."""
    void: bool
    """Batches after this number were refused to their callers, and must not be replayed."""
    chain: bytes
    """The digest of that batch."""


def _encode(mark: Mark) -> bytes:
    record = _RECORD.pack(_MAGIC, mark.serial, mark.number, int(mark.void), mark.chain)
    return record + hashlib.blake2b(record, digest_size=DIGEST_SIZE).digest()


def _decode(data: bytes) -> Mark | None:
    record, digest = data[: _RECORD.size], data[_RECORD.size : _RECORD.size + DIGEST_SIZE]
    if len(record) < _RECORD.size or hashlib.blake2b(record, digest_size=DIGEST_SIZE).digest() != digest:
        return None
    magic, serial, number, void, chain = _RECORD.unpack(record)
    return Mark(serial, number, bool(void), chain) if magic == _MAGIC else None


def _newest(data: bytes, path: Path) -> Mark | None:
    if not data[:_SIZE].strip(b"\0"):
        return None  # made, and no batch committed since
    found = [mark for mark in (_decode(data[:_SECTOR]), _decode(data[_SECTOR:_SIZE])) if mark is not None]
    if not found:
        raise StoreDamaged(
            path,
            "both of its records are damaged, so nobody can say which batch was the last; "
            "if `ipcserver journal check` finds the journal whole, remove this file",
        )
    return max(found)


def read_mark(path: Path) -> Mark | None:
    """Read the mark of a store that may be in use.

    Args:
        path: The mark's file.

    Returns:
        The newest mark, or None if there is no file or nothing was ever committed.

    Raises:
        StoreDamaged: Neither record is whole.
        StoreRefused: The file cannot be read.
    """
    try:
        return _newest(path.read_bytes(), path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreRefused(path, f"cannot be read: {error.strerror}") from error


class MarkFile:
    """The lock and the mark of a store that this process serves.

    Args:
        path: The mark's file; made if missing.

    Raises:
        StoreLocked: Another process holds the lock.
        StoreRefused: The file cannot be opened.
        StoreDamaged: Neither record is whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._new = not path.exists()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreRefused(path, f"cannot be opened: {error.strerror}") from error
        try:
            self._lock()
            self.mark = _newest(os.pread(self._fd, _SIZE, 0), path)
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self) -> None:
        # flock, not fcntl: a lock of the open file, which no other descriptor of this process can drop by closing.
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, _HOLDER_MAX, _SIZE).strip().decode("ascii", "replace")
            who = f"process {holder}" if holder else "another process"
            raise StoreLocked(self.path, f"{who} serves from this store; stop it first") from None

    def claim(self) -> None:
        """Say in the file who holds the lock, now that the store is going to be written.

        Raises:
            OSError: The file cannot be written.
        """
        os.pwrite(self._fd, f"{os.getpid()}\n".encode().ljust(_HOLDER_MAX), _SIZE)
        os.fsync(self._fd)
        self._new = False

    def fileno(self) -> int:
        """Return the descriptor, which a forked child must close lest the lock outlive the server."""
        return self._fd

    def write(self, number: int, chain: bytes, *, void: bool = False) -> None:
        """Note the last committed batch.

        Args:
            number: Its number.
            chain: Its digest.
            void: Any batch after it was refused to its callers.

        Raises:
            OSError: The file cannot be written.
        """
        serial = self.mark.serial + 1 if self.mark is not None else 1
        mark = Mark(serial, number, void, chain)
        os.pwrite(self._fd, _encode(mark), _SECTOR * (serial % 2))
        self.mark = mark

    def close(self) -> None:
        """Give the lock back. A claimed file stays: it is what tells a lost store from a new one."""
        if self._new:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._fd)
