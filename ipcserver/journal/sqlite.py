"""The durable journal: a store, and the one thread that writes to it.

Group commit without waiting: the thread takes everything that was appended while the commit before was under way,
and commits it as one batch with one sync. So one lonely caller waits for one sync, and under load a sync is shared
by as many callers as came during the one before.

Between batches the same thread writes snapshots part by part and deletes what they contain.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final, Protocol

from .errors import JournalClosed, JournalError, JournalUnwritable
from .records import DIGEST_SIZE
from .store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from .interface import Deliver, Done, Recovered

__all__ = ["BATCH_BYTES", "BATCH_COMMANDS", "RESERVE_BYTES", "SQLiteJournal"]

RESERVE_BYTES: Final = 16 << 20
"""Held back for a full disk: half to copy the write-ahead log into the database, half to log some 40,000 receives."""

BATCH_COMMANDS: Final = 2000
"""Commands after which a batch is closed: applying it must not hold up the reactor for more than some 20 ms."""

BATCH_BYTES: Final = 4 << 20
"""Bytes after which a batch is closed: writing it must not hold up the next for long."""


@dataclass(slots=True)
class _Append:
    commands: Sequence[bytes]
    size: int
    done: Done


class SQLiteJournal:
    """Keeps batches in an SQLite database: write-ahead log, ``synchronous=FULL``.

    Args:
        path: The database file.
        reserve: Bytes to hold back so that a full disk can be emptied; 0 for none.
    """

    keeps = True

    def __init__(self, path: Path, *, reserve: int = RESERVE_BYTES) -> None:
        self._store = Store(path, reserve=reserve)
        self._appends: deque[_Append] = deque()
        self._chores: deque[_Chore] = deque()
        self._wake = threading.Condition()
        self._closed = True
        self.settled = 0
        self._thread: threading.Thread | None = None
        self._deliver: Deliver = _at_once

    def open(self) -> Recovered:
        """Verify the store and give what it holds; see Journal.open()."""
        return self._store.recover()

    def start(self, deliver: Deliver) -> None:
        """Begin to accept batches; see Journal.start(). Blocks for a checkpoint."""
        self._store.make_writable()
        self.settled = self._store.number
        self._deliver = deliver
        self._closed = False
        self._chores.append(_Forget(self._store, _ignore))  # what a snapshot cut short by a crash left behind
        self._thread = threading.Thread(target=self._run, name="ipcserver-journal", daemon=True)
        self._thread.start()

    def append(self, commands: Sequence[bytes], done: Done) -> None:
        """Commit a batch; see Journal.append()."""
        with self._wake:
            if not self._closed:
                self._appends.append(_Append(commands, sum(map(len, commands)), done))
                self._wake.notify()
                return
        done(JournalClosed("the journal is closed"))

    def save_snapshot(self, number: int, parts: Iterator[bytes], done: Done) -> None:
        """Keep a snapshot; see Journal.save_snapshot()."""
        self._add_chore(_Snapshot(self._store, number, parts, done))

    def reclaim(self, done: Done) -> None:
        """Ask whether there is space again; see Journal.reclaim()."""
        self._add_chore(_Reclaim(self._store, done))

    def _add_chore(self, chore: _Chore) -> None:
        with self._wake:
            if not self._closed:
                self._chores.append(chore)
                self._wake.notify()
                return
        chore.done(JournalClosed("the journal is closed"))

    def scratch(self) -> IO[bytes]:
        """Open a file without a name on the store's disk, mode 0600; see Journal.scratch()."""
        return self._store.scratch()

    def close(self) -> None:
        """Settle everything appended, drop unfinished snapshots, close the store and give back its lock."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._store.close()

    # ---- in the journal's thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._appends or self._chores or self._closed):
                    self._wake.wait()
                group = self._take_group()
                if not group and self._closed:
                    break
                chore = self._chores.popleft() if self._chores else None
            if group:
                self._commit(group)
            if chore is not None:
                self._advance(chore)
        for chore in self._chores:
            self._settle([chore.done], JournalClosed("the journal was closed before the end"))

    def _take_group(self) -> list[_Append]:
        """Take what fits into one batch: at least one append, if there is any."""
        group: list[_Append] = []
        count = size = 0
        while self._appends:
            job = self._appends[0]
            count += len(job.commands)
            size += job.size
            if group and (count > BATCH_COMMANDS or size > BATCH_BYTES):
                break
            group.append(self._appends.popleft())
        return group

    def _commit(self, group: list[_Append]) -> None:
        commands = group[0].commands if len(group) == 1 else [command for job in group for command in job.commands]
        error: JournalError | None = None
        try:
            self._store.commit(commands)
        except JournalError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - a fault here must not leave every later caller without an answer
            error = JournalUnwritable(self._store.path, f"unexpected {failure!r}")
        self._settle([job.done for job in group], error, self._store.number)
        # After the answers are on their way, so that nobody waits for it but the next batch.
        with contextlib.suppress(JournalError):
            self._store.checkpoint()

    def _advance(self, chore: _Chore) -> None:
        """Do one piece of a long job; the rest comes after the batches that were appended meanwhile."""
        error: JournalError | None = None
        try:
            if chore.step():
                with self._wake:
                    self._chores.append(chore)
                return
        except JournalError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - as in _commit()
            error = JournalUnwritable(self._store.path, f"unexpected {failure!r}")
        self._settle([chore.done], error)
        with contextlib.suppress(JournalError):
            self._store.checkpoint()

    def _settle(self, dones: list[Done], error: JournalError | None, number: int = 0) -> None:
        def call() -> None:
            for done in dones:
                done(error)
            self.settled = max(self.settled, number)

        self._deliver(call)


class _Chore(Protocol):
    """A long job, done in pieces between the batches."""

    @property
    def done(self) -> Done:
        """Called at the end."""

    def step(self) -> bool:
        """Do one piece. Return whether there is more."""


@dataclass(slots=True)
class _Forget:
    store: Store
    done: Done

    def step(self) -> bool:
        return self.store.forget()


@dataclass(slots=True)
class _Reclaim:
    store: Store
    done: Done

    def step(self) -> bool:
        self.store.reclaim()
        return False


@dataclass(slots=True)
class _Snapshot:
    store: Store
    number: int
    parts: Iterator[bytes]
    done: Done
    count: int = 0
    size: int = 0
    digest: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=DIGEST_SIZE))
    finished: bool = False

    def step(self) -> bool:
        if self.finished:
            return self.store.forget()
        part = next(self.parts, None)
        if part is None:
            self.store.finish_snapshot(self.number, self.count, self.size, self.digest.digest())
            self.finished = True
        else:
            self.store.put_part(self.number, self.count, part)
            self.digest.update(part)
            self.count += 1
            self.size += len(part)
        return True


def _ignore(error: JournalError | None) -> None:
    """Leave a failure to the next commit, which meets it too."""


def _at_once(call: Callable[[], None]) -> None:
    call()
