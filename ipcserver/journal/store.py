"""The SQLite file of a journal, used from one thread at a time.

Files of a store at ``PATH``: ``PATH`` and SQLite's own ``PATH-wal`` and ``PATH-shm``, ``PATH-mark`` (mark.py) and
``PATH-reserve`` (reserve.py). All have mode 0600.

**Opening touches nothing** until everything was read and found whole: the header is read as plain bytes, then the
log through a read-only connection. Only make_writable() changes files. (SQLite's index of the log, ``-shm``, is no
part of the store: every reader may rebuild it.)

**A failed sync is final for its connection.** After one, the kernel may take pages for clean that never reached the
disk, so that a second sync proves nothing ("fsyncgate", 2018). The next commit then goes the long way: a new
connection, which reads the write-ahead log again; a full checkpoint, which writes every page of it anew into the
database and empties it; and a comparison with what was committed before.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import tempfile
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from .errors import JournalFull, JournalUnwritable, NewerFormat, NotAJournal, StoreDamaged, StoreRefused
from .interface import Batch, Recovered
from .mark import Mark, MarkFile, read_mark
from .records import DIGEST_SIZE, body_digest, link, pack_batch, unpack_batch
from .reserve import Reserve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .errors import CommitFailed

__all__ = ["APPLICATION_ID", "FORMAT", "Store", "StoreReader", "create", "preflight"]

APPLICATION_ID: Final = 0x52495043
"""``RIPC`` in the header of every journal."""

FORMAT: Final = 1
"""The newest format that this software writes; it reads all from 1 on."""

CHECKPOINT_BYTES: Final = 8 << 20
"""Log bytes after which the write-ahead log is copied into the database: it stays about this size on disk."""

FORGET_SLICE: Final = 256
"""Batches deleted in one transaction once a snapshot contains them: a few milliseconds between two commits."""

BUSY_MS: Final = 5000
"""How long to wait for a reader (a backup, an export) that is in the way, in milliseconds."""

# Magic, page size, write and read version, user_version, application_id (the SQLite file format, section 1.3).
_HEADER: Final = struct.Struct(">16sHBB40xI4xI")
_MAGIC: Final = b"SQLite format 3\0"
_WAL_VERSION: Final = 2
_HEADER_SIZE: Final = 100


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a store's companion file: ``PATH-suffix``."""
    return path.with_name(f"{path.name}-{suffix}")


def preflight(path: Path) -> None:
    """Judge a store by the first bytes of its file, without SQLite and without changing anything.

    Raises:
        NotAJournal: No database, or another program's.
        NewerFormat: A later version's.
        StoreRefused: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_HEADER_SIZE)
    except OSError as error:
        raise StoreRefused(path, f"cannot be read: {error.strerror}") from error
    if len(data) < _HEADER_SIZE:
        raise NotAJournal(
            path, f"has only {len(data)} bytes, fewer than a header; it was truncated or never was a journal"
        )
    magic, _, write_version, read_version, user_version, application_id = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise NotAJournal(path, "is no SQLite database")
    if application_id != APPLICATION_ID:
        raise NotAJournal(path, f"is a database of another program (application_id 0x{application_id:08x})")
    if user_version > FORMAT:
        raise NewerFormat(path, f"has format {user_version}; this version knows formats 1 to {FORMAT}")
    if user_version < 1 or (write_version, read_version) != (_WAL_VERSION, _WAL_VERSION):
        raise StoreDamaged(path, "has a header that no version of this software wrote")


def create(path: Path, schema: str = f"v{FORMAT}.sql") -> None:
    """Create an empty store: whole under another name, then renamed, so that half a store is never found.

    Raises:
        StoreRefused: The file cannot be made.
    """
    unfinished = beside(path, "new")
    try:
        for leftover in (unfinished, beside(unfinished, "wal"), beside(unfinished, "shm")):
            leftover.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            text = resources.files(__package__).joinpath("schema", schema).read_text("utf-8")
            connection.executescript(text)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("INSERT INTO store (id, created) VALUES (?, ?)", (os.urandom(DIGEST_SIZE), _now()))
        # Nothing may be in a log that the renamed file would not have: closing the last connection emptied it.
        unfinished.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise StoreRefused(path, f"cannot be created: {error}") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class StoreReader:
    """Reads a store through a connection that cannot write; other processes may be using it.

    Args:
        path: The store.
        mark: What the store must at least contain; None to trust it without a witness.

    Raises:
        StoreRefused: See preflight().
    """

    def __init__(self, path: Path, mark: Mark | None) -> None:
        preflight(path)
        self.path = path
        self.mark = mark
        self.number = 0
        """The last batch that was read and verified."""
        self.chain = b""
        """Its digest."""
        self._index = None if beside(path, "shm").exists() else beside(path, "shm")
        # Without a log beside it the file is all there is, and nobody writes to it: SQLite then needs no index.
        how = "mode=ro" if beside(path, "wal").exists() else "immutable=1"
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None, timeout=BUSY_MS / 1000
        )

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one SELECT.

        Raises:
            StoreDamaged: SQLite cannot read the file.
        """
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreDamaged(self.path, f"cannot be read: {error}") from error

    def verify_pages(self) -> None:
        """Have SQLite check the structure of every page.

        Raises:
            StoreDamaged: Something does not fit.
        """
        findings = self.query("PRAGMA quick_check(3)")
        if findings != [("ok",)]:
            raise StoreDamaged(self.path, "is damaged: " + "; ".join(str(row[0]) for row in findings))

    def snapshot(self) -> bytes | None:
        """Read the newest snapshot, and set number and chain to where the log goes on from it.

        Raises:
            StoreDamaged: It is not what was written.
        """
        identity = self.query("SELECT id FROM store")
        if len(identity) != 1 or not _is_digest(identity[0][0]):
            raise StoreDamaged(self.path, "has lost its identity")
        self.number, self.chain = 0, identity[0][0]
        rows = self.query("SELECT number, chain, parts, size, digest FROM snapshot ORDER BY number DESC LIMIT 1")
        if not rows:
            return None
        number, chain, parts, size, digest = rows[0]
        bodies = [row[0] for row in self.query("SELECT body FROM snapshot_part WHERE number = ? ORDER BY part", number)]
        whole = (
            len(bodies) == parts
            and all(isinstance(body, bytes) for body in bodies)
            and sum(map(len, bodies)) == size
            and body_digest(bodies) == digest
            and _is_digest(chain)
        )
        if not whole:
            raise StoreDamaged(self.path, f"the snapshot after batch {number} is damaged")
        self.number, self.chain = number, chain
        self._compare_with_mark()
        return b"".join(bodies)

    def commands(self) -> int:
        """Count the commands after number."""
        ((count,),) = self.query("SELECT coalesce(sum(count), 0) FROM batch WHERE number > ?", self.number)
        return int(count)

    def batches(self) -> Iterator[Batch]:
        """Yield the batches after number, each verified.

        Raises:
            StoreDamaged: One is missing or is not what was written.
        """
        self._compare_with_mark()
        last = self.mark.number if self.mark is not None and self.mark.void else None
        sql = "SELECT number, count, digest, body FROM batch WHERE number > ? ORDER BY number"
        try:
            for number, count, digest, body in self._connection.execute(sql, (self.number,)):
                if last is not None and number > last:
                    break
                yield self._verified(number, count, digest, body)
        except sqlite3.Error as error:
            raise StoreDamaged(self.path, f"cannot be read after batch {self.number}: {error}") from error
        if self.mark is not None and self.number < self.mark.number:
            raise StoreDamaged(
                self.path,
                f"ends with batch {self.number}, but batch {self.mark.number} was committed; "
                f"{self.path.name} or {self.path.name}-wal was truncated, damaged or replaced",
            )

    def _verified(self, number: object, count: object, digest: object, body: object) -> Batch:
        expected = self.number + 1
        if number != expected:
            raise StoreDamaged(self.path, f"batch {expected} is missing")
        if not isinstance(body, bytes) or (found := link(self.chain, expected, body)) != digest:
            raise StoreDamaged(self.path, f"batch {expected} is not what was written")
        try:
            commands = unpack_batch(body)
        except ValueError as error:
            raise StoreDamaged(self.path, f"batch {expected}: {error}") from error
        if len(commands) != count:
            raise StoreDamaged(self.path, f"batch {expected} has {len(commands)} commands, not {count}")
        self.number = expected
        self.chain = found
        self._compare_with_mark()
        return Batch(expected, commands)

    def _compare_with_mark(self) -> None:
        if self.mark is not None and self.mark.number == self.number and self.mark.chain != self.chain:
            raise StoreDamaged(
                self.path,
                f"is not the store that {self.path.name}-mark belongs to; if you put a copy in its place on purpose, "
                "remove the -mark, -wal and -shm files beside it",
            )

    def copy_to(self, copy: Path, progress: Callable[[int, int], object] | None) -> None:
        """Copy what this connection sees into an empty file.

        Raises:
            sqlite3.Error: It cannot be written.
        """

        def told(_: int, remaining: int, total: int) -> None:
            if progress is not None:
                progress(total - remaining, total)

        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as target:
            self._connection.backup(target, pages=4096, progress=told)

    def close(self) -> None:
        """Close, and leave no file behind that was not there."""
        self._connection.close()
        if self.locked and self._index is not None:
            self._index.unlink(missing_ok=True)

    locked = False
    """Whether the caller holds the store's lock: only then nobody else can be using the -shm file."""


def _is_digest(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == DIGEST_SIZE


class Store:
    """A store that this process serves from. Every method blocks; one thread at a time.

    Args:
        path: The database file. Its directory is made if missing.
        reserve: Bytes to hold back for a full disk.
    """

    def __init__(self, path: Path, *, reserve: int) -> None:
        self.path = Path(path)
        self.number = 0
        self.chain = b""
        self._reserve = Reserve(beside(self.path, "reserve"), reserve)
        self._marks: MarkFile | None = None
        self._reader: StoreReader | None = None
        self._connection: sqlite3.Connection | None = None
        self._uncopied = 0
        self._short = False  # a checkpoint found the disk full

    # ---- reading, before anything is touched -------------------------------------------------------------------

    def recover(self) -> Recovered:
        """Lock the store, verify it and give what it holds; create it if there is none.

        Raises:
            StoreRefused: And none of its files was changed.
        """
        if self.path.exists():
            preflight(self.path)
        else:
            self._refuse_a_lost_store()
            with contextlib.suppress(FileExistsError):
                self.path.parent.mkdir(parents=True, mode=0o700)
        self._marks = MarkFile(beside(self.path, "mark"))
        try:
            if not self.path.exists():
                create(self.path)
            reader = self._reader = StoreReader(self.path, self._marks.mark)
            reader.locked = True
            reader.verify_pages()
            snapshot = reader.snapshot()
            return Recovered(str(self.path), snapshot, reader.number, self._replay(reader), reader.commands())
        except BaseException:
            self.close()
            raise

    def _refuse_a_lost_store(self) -> None:
        if beside(self.path, "wal").exists():
            raise StoreDamaged(self.path, f"is missing, but {self.path.name}-wal, a part of it, is there")
        mark = read_mark(beside(self.path, "mark"))
        if mark is not None:
            raise StoreDamaged(
                self.path,
                f"is missing, but {mark.number} batches were committed to it; to begin anew without them, "
                f"remove {self.path.name}-mark",
            )

    def _replay(self, reader: StoreReader) -> Iterator[Batch]:
        try:
            yield from reader.batches()
        except BaseException:
            self.close()
            raise
        self.number, self.chain = reader.number, reader.chain
        reader.close()
        self._reader = None

    # ---- writing -----------------------------------------------------------------------------------------------

    def make_writable(self) -> None:
        """Open the store for commits, and begin with an empty write-ahead log and nothing doubtful in the database.

        Raises:
            CommitFailed: It cannot be written.
        """
        if self._marks is None or self._reader is not None:
            msg = "read every batch that recover() gave first"
            raise RuntimeError(msg)
        self._reserve.take()
        try:
            self._marks.claim()
        except OSError as error:
            raise JournalUnwritable(self._marks.path, f"cannot be written: {error.strerror}") from error
        try:
            self._reopen()
        except JournalFull:
            self._reopen()  # on the space of the reserve, which was given back

    def _reopen(self) -> None:
        self._disconnect()
        try:
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                timeout=BUSY_MS / 1000,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise self._failure(error) from error
        try:
            connection.execute("PRAGMA synchronous = FULL")
            # Checkpoints are run by checkpoint(): SQLite's own swallow an I/O error.
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            # What messages said is not wiped from freed pages: mode 0600 guards the file.
            connection.execute("PRAGMA secure_delete = OFF")
            ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._require_whole(connection, busy=bool(busy))
        except (sqlite3.Error, OSError) as error:
            connection.close()
            raise self._failure(error) from error
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._uncopied = 0

    def _require_whole(self, connection: sqlite3.Connection, *, busy: bool) -> None:
        """Compare the store with what was committed, and delete what was not."""
        assert self._marks is not None
        if busy:
            raise JournalUnwritable(self.path, "a reader (a backup or an export) keeps the log from being emptied")
        rows = connection.execute(
            "SELECT digest FROM batch WHERE number = ? UNION ALL SELECT chain FROM snapshot WHERE number = ? "
            "UNION ALL SELECT id FROM store WHERE ? = 0",
            (self.number, self.number, self.number),
        ).fetchall()
        if not rows or any(row[0] != self.chain for row in rows):
            raise JournalUnwritable(self.path, f"batch {self.number}, which was committed, is not there any more")
        connection.execute("DELETE FROM batch WHERE number > ?", (self.number,))
        # No commit may happen while the mark calls later batches void.
        self._marks.write(self.number, self.chain)

    def commit(self, commands: Sequence[bytes]) -> None:
        """Commit one batch: when this returns it is on the disk.

        Raises:
            CommitFailed: It is not committed, and never will be.
        """
        if self._short:
            # The log could take this batch, but the database has no room for the log: time to say so, while there is
            # still the reserve.
            self._short = False
            self._reserve.release()
            self._uncopied = CHECKPOINT_BYTES
            raise JournalFull(self.path, "the disk is full")
        body = pack_batch(commands)
        number = self.number + 1
        digest = link(self.chain, number, body)
        # One statement, so one commit, one sync, and the GIL is given up once for all of it.
        self._execute(
            "INSERT INTO batch (number, count, digest, body) VALUES (?, ?, ?, ?)", (number, len(commands), digest, body)
        )
        self.number, self.chain = number, digest
        self._uncopied += len(body) + 4096
        assert self._marks is not None
        # A mark that is too old is harmless (the batch itself is synced), so failing to write it is too.
        with contextlib.suppress(OSError):
            self._marks.write(number, digest)

    def put_part(self, number: int, part: int, body: bytes) -> None:
        """Write one part of the snapshot after batch ``number``.

        Raises:
            CommitFailed: It was not written.
        """
        if part == 0:
            self._execute("DELETE FROM snapshot_part WHERE number = ?", (number,))
        self._execute("INSERT INTO snapshot_part (number, part, body) VALUES (?, ?, ?)", (number, part, body))
        self._uncopied += len(body) + 4096

    def finish_snapshot(self, number: int, parts: int, size: int, digest: bytes) -> None:
        """Make the parts written a snapshot; from now on a replay begins with it.

        Raises:
            CommitFailed: It is not one.
        """
        self._execute(
            "INSERT OR REPLACE INTO snapshot (number, chain, parts, size, digest, created) "
            "SELECT ?, digest, ?, ?, ?, ? FROM batch WHERE number = ?",
            (number, parts, size, digest, _now(), number),
        )

    def forget(self) -> bool:
        """Delete a little of what the newest snapshot has made superfluous.

        Returns:
            Whether there is more to delete.

        Raises:
            CommitFailed: Nothing was deleted.
        """
        newest = "coalesce((SELECT max(number) FROM snapshot), 0)"
        deleted = self._execute(f"DELETE FROM snapshot WHERE number < {newest}")  # noqa: S608 - a constant
        deleted += self._execute(
            "DELETE FROM snapshot_part WHERE rowid IN (SELECT rowid FROM snapshot_part "  # noqa: S608
            f"WHERE number <> {newest} LIMIT 8)"
        )
        deleted += self._execute(
            f"DELETE FROM batch WHERE number IN (SELECT number FROM batch WHERE number <= {newest} "  # noqa: S608
            f"ORDER BY number LIMIT {FORGET_SLICE})"
        )
        self._uncopied += 4096 * deleted
        return deleted > 0

    def _execute(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run one statement as one transaction. Return the rows changed."""
        if self._connection is None:
            self._reopen()
        assert self._connection is not None
        try:
            return self._connection.execute(sql, values).rowcount
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the database if it has grown long.

        Raises:
            CommitFailed: It could not be copied. Nothing is lost, but the next commit goes the long way.
        """
        if self._uncopied < CHECKPOINT_BYTES or self._connection is None:
            return
        self._uncopied = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                self._short = True
            else:
                raise self._failure(error) from error

    def reclaim(self) -> None:
        """Take the reserve up again, or find as much room in the database itself, which a snapshot may have made.

        Raises:
            CommitFailed: There is no space.
        """
        if self._reserve.take_again():
            return
        if self._connection is not None:
            try:
                ((pages,),) = self._connection.execute("PRAGMA freelist_count").fetchall()
                ((size,),) = self._connection.execute("PRAGMA page_size").fetchall()
            except sqlite3.Error as error:
                raise self._failure(error) from error
            if pages * size >= self._reserve.size:
                return
        raise JournalFull(self.path, "the disk is full")

    def scratch(self) -> IO[bytes]:
        """Open a file without a name, on the store's disk.

        Raises:
            OSError: It cannot be made.
        """
        return tempfile.TemporaryFile(dir=self.path.parent)

    def _failure(self, error: Exception) -> CommitFailed:
        """Say what an error means, and act on it."""
        code = getattr(error, "sqlite_errorcode", None)
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE):
            # The transaction is rolled back and nothing of it was synced: the connection stays good.
            self._reserve.release()
            return JournalFull(self.path, "the disk is full")
        self._disconnect()
        if self._marks is not None:
            # If the batch did reach the disk, a restart must not find it: its callers are told that it failed.
            with contextlib.suppress(OSError):
                self._marks.write(self.number, self.chain, void=True)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return JournalUnwritable(self.path, f"cannot be written: {error} ({name})")

    # ---- the end -----------------------------------------------------------------------------------------------

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close everything and give the lock back. Safe to repeat."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._connection is not None:
            self._disconnect()
            self._reserve.take_what_there_is()  # so that the next start finds some, if the disk stays full
        if self._marks is not None:
            self._marks.close()
            self._marks = None
