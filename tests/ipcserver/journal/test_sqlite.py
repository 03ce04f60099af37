from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from threading import Event
from typing import TYPE_CHECKING

import pytest

from ipcserver.journal import JournalClosed, JournalFull, JournalUnwritable, SQLiteJournal
from ipcserver.journal.sqlite import BATCH_COMMANDS, RESERVE_BYTES
from tests.ipcserver.journal.stores import append, at_once, contents, save_snapshot, started, wait_for
from tests.peers import require, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ipcserver.journal import JournalError


class Gate:
    """A store whose commits wait until they may go on."""

    def __init__(self, journal: SQLiteJournal) -> None:
        self.batches: list[list[bytes]] = []
        self.reached = threading.Semaphore(0)
        self.opened = threading.Semaphore(0)
        commit = journal._store.commit

        def gated(commands: list[bytes]) -> None:
            self.batches.append(list(commands))
            self.reached.release()
            assert self.opened.acquire(timeout=30)
            commit(commands)

        journal._store.commit = gated  # type: ignore[method-assign, assignment]


def test_what_is_appended_while_a_commit_is_under_way_becomes_one_batch(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    gate = Gate(journal)
    fates: list[tuple[bytes, JournalError | None]] = []
    end = Event()

    def settle(command: bytes) -> Callable[[JournalError | None], None]:
        def done(error: JournalError | None) -> None:
            fates.append((command, error))
            if len(fates) == 11:
                end.set()

        return done

    journal.append([b"first"], settle(b"first"))
    assert gate.reached.acquire(timeout=30)
    for number in range(10):
        journal.append([b"%d" % number], settle(b"%d" % number))
    assert fates == []
    gate.opened.release(2)
    assert end.wait(30)
    assert gate.batches == [[b"first"], [b"%d" % number for number in range(10)]]
    assert fates == [(b"first", None), *((b"%d" % number, None) for number in range(10))]
    assert journal.settled == 2
    journal.close()
    assert contents(tmp_path / "store.db") == [b"first", *(b"%d" % number for number in range(10))]


def test_a_batch_has_no_more_commands_than_the_bound(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    gate = Gate(journal)
    gate.opened.release(100)
    end = Event()
    first = Event()
    journal.append([b"x"], lambda error: first.set())
    for _ in range(5):
        journal.append([b"y"] * (BATCH_COMMANDS // 2), lambda error: None)
    journal.append([b"z"], lambda error: end.set())
    assert end.wait(30)
    assert max(map(len, gate.batches)) <= BATCH_COMMANDS
    assert sum(map(len, gate.batches)) == 2 + 5 * (BATCH_COMMANDS // 2)
    journal.close()


def test_close_settles_what_was_appended_and_refuses_what_comes_later(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    fates: list[JournalError | None] = []
    for number in range(100):
        journal.append([b"%d" % number], fates.append)
    journal.close()
    assert fates == [None] * 100
    assert isinstance(append(journal, b"late"), JournalClosed)
    assert isinstance(save_snapshot(journal, 1, [b"late"]), JournalClosed)
    journal.close()
    assert len(contents(tmp_path / "store.db")) == 100


def test_batches_are_committed_between_the_parts_of_a_snapshot(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    append(journal, b"a")
    order: list[str] = []
    saved = Event()

    def note(what: str) -> Callable[[JournalError | None], None]:
        return lambda error: order.append(what)

    def parts() -> Iterator[bytes]:
        for number in range(3):
            order.append(f"part {number}")
            # From the journal's own thread: it goes before the next part.
            journal.append([b"b%d" % number], note(f"batch {number}"))
            yield b"part"

    journal.save_snapshot(1, parts(), lambda error: saved.set())
    assert saved.wait(30)
    assert order == ["part 0", "batch 0", "part 1", "batch 1", "part 2", "batch 2"]
    journal.close()
    assert contents(tmp_path / "store.db") == [b"b0", b"b1", b"b2"]


def test_a_snapshot_that_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    append(journal, b"a")

    def parts() -> Iterator[bytes]:
        yield b"part"
        raise OSError(5, "Input/output error")

    error = wait_for(lambda done: journal.save_snapshot(1, parts(), done))
    assert isinstance(error, JournalUnwritable)
    assert append(journal, b"b") is None
    journal.close()
    assert contents(tmp_path / "store.db") == [b"a", b"b"]


def test_an_unexpected_fault_is_an_answer_too(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")

    def broken(commands: list[bytes]) -> None:
        raise ZeroDivisionError

    journal._store.commit = broken  # type: ignore[method-assign, assignment]
    assert "ZeroDivisionError" in str(append(journal, b"a"))
    journal.close()


def test_the_log_beside_the_database_stays_small(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    for _ in range(60):
        assert append(journal, *[bytes(100_000)] * 5) is None
    assert (tmp_path / "store.db-wal").stat().st_size < 20 << 20
    journal.close()
    assert not (tmp_path / "store.db-wal").exists()


# ---- a full disk (reliability goal D8) ----


@contextmanager
def small_disk(tmp_path: Path, size: str) -> Iterator[Path]:
    """A file system of its own, if this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        unavailable("needs to mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(path: Path) -> None:
    """Take all space that is left."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass


def test_on_a_full_disk_nothing_is_lost_the_reserve_takes_more_and_space_ends_it(tmp_path: Path) -> None:
    with small_disk(tmp_path, "8m") as disk:
        journal = started(disk / "store.db", reserve=1 << 20)
        kept: list[bytes] = []
        while True:
            command = b"%06d" % len(kept) + bytes(20_000)
            error = append(journal, command)
            if error is not None:
                break
            kept.append(command)
        assert isinstance(error, JournalFull)
        assert len(kept) > 50
        for number in range(200):  # what empties the store lives on the reserve
            assert append(journal, b"receive %d" % number) is None
            kept.append(b"receive %d" % number)
        assert isinstance(wait_for(journal.reclaim), JournalFull)
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        assert wait_for(journal.reclaim) is None
        assert append(journal, bytes(20_000)) is None
        kept.append(bytes(20_000))
        journal.close()
        assert contents(disk / "store.db") == kept


def test_a_snapshot_makes_room_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path, "8m") as disk:
        journal = started(disk / "store.db", reserve=1 << 20)
        while append(journal, bytes(20_000)) is None:
            pass
        fill(disk / "filler")
        os.truncate(disk / "filler", (disk / "filler").stat().st_size - (200 << 10))
        assert save_snapshot(journal, journal.settled, [b"an empty queue"]) is None
        assert wait_for(journal.reclaim) is None
        journal.close()


def test_a_server_starts_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path, "40m") as disk:
        journal = started(disk / "store.db", reserve=RESERVE_BYTES)
        kept = 0
        while append(journal, bytes(200_000)) is None:
            kept += 1
        journal.close()
        fill(disk / "filler")
        journal = SQLiteJournal(disk / "store.db", reserve=RESERVE_BYTES)
        assert sum(len(batch.commands) for batch in journal.open().batches) == kept
        journal.start(at_once)
        assert append(journal, b"receive") is None
        journal.close()


# ---- syncs that fail or take long (D9, A17) ----

SCRIPT = """
import os, sys
from pathlib import Path
from threading import Event
from ipcserver.journal import SQLiteJournal
journal = SQLiteJournal(Path(sys.argv[1]), reserve=0)
for batch in journal.open().batches: pass
journal.start(lambda call: call())
for number in range(40):
    settled = Event()
    def done(error, settled=settled, number=number):
        os.write(1, f"{number} {'ok' if error is None else type(error).__name__}\\n".encode())
        settled.set()
    journal.append([b"%d" % number], done)
    settled.wait()
os._exit(0)
"""


def run_script(path: Path) -> list[str]:
    """Return the command line that commits forty batches one by one, says what became of each, and vanishes."""
    return [sys.executable, "-c", SCRIPT, str(path)]


@pytest.mark.parametrize("when", ["12..14", "12+3", "15"])
def test_after_a_failed_sync_what_was_said_is_what_is_found(tmp_path: Path, when: str) -> None:
    require("strace")
    path = tmp_path / "store.db"
    started(path).close()
    result = subprocess.run(
        [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"inject=fdatasync,fsync:error=EIO:when={when}",
            *run_script(path),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = [line.split() for line in result.stdout.splitlines()]
    assert len(said) == 40, result.stderr
    assert {"ok", "JournalUnwritable"} == {word for _, word in said}
    # The process vanished with its last word: what it called failed must not come back.
    assert contents(path) == [number.encode() for number, word in said if word == "ok"]
    journal = started(path)
    assert append(journal, b"on it goes") is None
    journal.close()


def test_nothing_is_called_committed_before_its_sync(tmp_path: Path) -> None:
    """Reliability goal D2: in the order of system calls, an answer follows the sync of its batch."""
    require("strace")
    trace, path = tmp_path / "trace", tmp_path / "store.db"
    subprocess.run(
        ["strace", "-f", "-qq", "-y", "-o", str(trace), "-e", "trace=fdatasync,write,pwrite64", *run_script(path)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    synced = False
    answers = 0
    for line in trace.read_text(errors="replace").splitlines():
        call = line.split(maxsplit=1)[1]
        if call.startswith("pwrite64") and "store.db-wal>" in call:
            synced = False
        elif "fdatasync" in call and call.endswith("= 0") and ("store.db-wal>" in call or "resumed" in call):
            synced = True
        elif call.startswith("write(1<"):
            assert synced, line
            answers += 1
    assert answers == 40


def test_an_error_of_sqlite_s_own_code_is_told(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    assert append(journal, b"a") is None
    store = journal._store
    assert store._connection is not None
    store._connection.execute("PRAGMA max_page_count = 1")  # a quota: SQLITE_FULL without a full disk
    assert isinstance(append(journal, *[bytes(100_000)] * 10), JournalFull)
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store._connection.execute("PRAGMA query_only = ON")
    error = append(journal, b"b")
    assert isinstance(error, JournalUnwritable)
    assert "SQLITE_READONLY" in str(error)
    assert append(journal, b"c") is None  # a new connection, which is not read-only
    journal.close()
    assert contents(tmp_path / "store.db") == [b"a", b"c"]
    assert sqlite3.threadsafety > 0
