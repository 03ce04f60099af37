from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from ipcserver.journal import JournalUnwritable, NewerFormat, NotAJournal, StoreDamaged, StoreLocked, StoreRefused
from ipcserver.journal.records import body_digest, link, pack_batch
from ipcserver.journal.store import APPLICATION_ID, FORMAT, Store, preflight
from tests.ipcserver.journal.stores import append, contents, files, killed_after, save_snapshot, started

if TYPE_CHECKING:
    from pathlib import Path


def refused(path: Path) -> StoreRefused:
    """Open a store that must be refused, see that no byte of it changed, and return why."""
    before = files(path.parent)
    with pytest.raises(StoreRefused) as caught:
        contents(path)
    assert files(path.parent) == before
    assert path.name in str(caught.value)
    return caught.value


def closed_store(path: Path, batches: int = 20, size: int = 3000) -> list[bytes]:
    """Fill a store and close it in order: everything is in the database file, there is no log beside it."""
    journal = started(path)
    commands = [b"%06d" % number + b"y" * size for number in range(batches)]
    for command in commands:
        assert append(journal, command) is None
    journal.close()
    return commands


# ---- what is made ----


def test_a_new_store_is_made_with_its_directory_for_its_owner_alone(tmp_path: Path) -> None:
    journal = started(tmp_path / "deep" / "store.db", reserve=1 << 16)
    assert append(journal, b"a") is None
    for path in (tmp_path / "deep").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert (tmp_path / "deep").stat().st_mode & 0o777 == 0o700
    journal.close()


def test_the_header_says_whose_file_it_is_and_its_format(tmp_path: Path) -> None:
    closed_store(tmp_path / "store.db", 1)
    data = (tmp_path / "store.db").read_bytes()
    assert data[68:72] == b"RIPC"
    assert int.from_bytes(data[60:64], "big") == FORMAT
    preflight(tmp_path / "store.db")


def test_a_store_of_format_1_is_read(tmp_path: Path) -> None:
    """Made here from the text of the schema alone, as the first release wrote it."""
    path = tmp_path / "store.db"
    identity = bytes(range(16))
    schema = resources.files("ipcserver.journal").joinpath("schema", "v1.sql").read_text()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(schema)
        connection.execute(f"PRAGMA application_id = {0x52495043}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO store VALUES (?, '2026-01-01T00:00:00+00:00')", (identity,))
        chain = identity
        for number, commands in enumerate(([b"one"], [b"two", b"three"], [b"four"]), 1):
            body = pack_batch(commands)
            chain = link(chain, number, body)
            connection.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", (number, len(commands), chain, body))
            if number == 1:
                connection.execute(
                    "INSERT INTO snapshot VALUES (1, ?, 2, 4, ?, '2026-01-01T00:00:00+00:00')",
                    (chain, body_digest([b"snap"])),
                )
                connection.executemany("INSERT INTO snapshot_part VALUES (1, ?, ?)", [(0, b"sn"), (1, b"ap")])
    store = Store(path, reserve=0)
    recovered = store.recover()
    assert (recovered.snapshot, recovered.snapshot_number, recovered.commands) == (b"snap", 1, 3)
    assert [(batch.number, batch.commands) for batch in recovered.batches] == [(2, [b"two", b"three"]), (3, [b"four"])]
    store.make_writable()
    store.commit([b"five"])
    store.close()
    assert contents(path) == [b"two", b"three", b"four", b"five"]


def test_what_was_committed_is_there_after_the_process_vanished(tmp_path: Path) -> None:
    commands = killed_after(tmp_path / "store.db", 50)
    assert (tmp_path / "store.db-wal").stat().st_size > 0
    assert contents(tmp_path / "store.db") == commands
    # Reading alone, without start(), has changed nothing: it is still there.
    assert contents(tmp_path / "store.db") == commands
    journal = started(tmp_path / "store.db")
    assert append(journal, b"next") is None
    journal.close()
    assert contents(tmp_path / "store.db") == [*commands, b"next"]


def test_leftovers_of_a_creation_cut_short_are_in_nobody_s_way(tmp_path: Path) -> None:
    (tmp_path / "store.db-new").write_bytes(b"half")
    assert closed_store(tmp_path / "store.db", 1) == contents(tmp_path / "store.db")
    assert not (tmp_path / "store.db-new").exists()


# ---- what is refused ----


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"dear diary, " * 100)
    assert isinstance(refused(tmp_path / "store.db"), NotAJournal)


def test_an_empty_file_is_refused_and_not_filled(tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    assert "only 0 bytes" in str(refused(tmp_path / "store.db"))


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    assert "another program" in str(refused(tmp_path / "store.db"))


def test_a_newer_format_is_refused_and_both_formats_are_named(tmp_path: Path) -> None:
    closed_store(tmp_path / "store.db", 1)
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    error = refused(tmp_path / "store.db")
    assert isinstance(error, NewerFormat)
    assert f"has format {FORMAT + 1}; this version knows formats 1 to {FORMAT}" in str(error)


def test_a_directory_in_the_place_of_the_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    with pytest.raises(StoreRefused, match=r"store.db: cannot be read: Is a directory"):
        contents(tmp_path / "store.db")


def test_a_store_that_lost_its_database_is_refused_and_does_not_begin_anew(tmp_path: Path) -> None:
    closed_store(tmp_path / "store.db", 3)
    (tmp_path / "store.db").unlink()
    assert "3 batches were committed" in str(refused(tmp_path / "store.db"))


def test_a_log_without_its_database_is_refused(tmp_path: Path) -> None:
    killed_after(tmp_path / "store.db", 3)
    (tmp_path / "store.db").unlink()
    (tmp_path / "store.db-mark").unlink()
    assert "store.db-wal, a part of it, is there" in str(refused(tmp_path / "store.db"))


def test_a_second_server_on_the_store_is_refused(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    assert append(journal, b"a") is None
    before = files(tmp_path)
    with pytest.raises(StoreLocked):
        contents(tmp_path / "store.db")
    assert files(tmp_path) == before
    assert append(journal, b"b") is None
    journal.close()
    assert contents(tmp_path / "store.db") == [b"a", b"b"]


def test_a_store_put_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    closed_store(tmp_path / "one.db", 5)
    closed_store(tmp_path / "two.db", 5)
    shutil.copy(tmp_path / "two.db", tmp_path / "one.db")
    assert "is not the store that one.db-mark belongs to" in str(refused(tmp_path / "one.db"))


def test_an_older_copy_in_the_place_of_the_store_is_refused(tmp_path: Path) -> None:
    closed_store(tmp_path / "store.db", 5)
    copy = (tmp_path / "store.db").read_bytes()
    journal = started(tmp_path / "store.db")
    assert append(journal, b"later") is None
    journal.close()
    (tmp_path / "store.db").write_bytes(copy)
    assert "ends with batch 5, but batch 6 was committed" in str(refused(tmp_path / "store.db"))


# ---- truncation and flipped bits (reliability goal D10) ----


@pytest.mark.parametrize("twentieth", range(20))
def test_a_truncated_database_is_refused(tmp_path: Path, twentieth: int) -> None:
    path = tmp_path / "store.db"
    closed_store(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * twentieth // 20])
    refused(path)


@pytest.mark.parametrize("twentieth", range(20))
def test_a_truncated_log_is_refused(tmp_path: Path, twentieth: int) -> None:
    path = tmp_path / "store.db"
    killed_after(path, 20, 3000)
    wal = path.with_name("store.db-wal")
    data = wal.read_bytes()
    wal.write_bytes(data[: len(data) * twentieth // 20])
    refused(path)


@pytest.mark.parametrize("cut", [0, 1, 60, 511, 512, 600, 1023])
def test_a_truncated_mark_never_loses_a_batch(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "store.db"
    commands = killed_after(path, 20)
    mark = path.with_name("store.db-mark")
    mark.write_bytes(mark.read_bytes()[:cut])
    with suppress(StoreRefused):
        assert contents(path) == commands


def test_a_flipped_bit_is_refused_or_harmless(tmp_path: Path) -> None:
    """Wherever the bit is: either the store is refused and untouched, or every command is there unchanged."""
    path = tmp_path / "store.db"
    commands = closed_store(path, 12, 900)
    data = path.read_bytes()
    refusals = 0
    for place in range(0, len(data) * 8, len(data) * 8 // 150):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        before = files(tmp_path)
        try:
            assert contents(path) == commands, f"bit {place}"
        except StoreRefused:
            refusals += 1
        assert files(tmp_path) == before, f"bit {place}"
    assert refusals > 50


def test_a_flipped_bit_in_the_log_is_refused_or_harmless(tmp_path: Path) -> None:
    """SQLite takes such a log for one that ends there; the mark knows better."""
    path = tmp_path / "store.db"
    commands = killed_after(path, 12, 900)
    wal = path.with_name("store.db-wal")
    data = wal.read_bytes()
    refusals = 0
    for place in range(0, len(data) * 8, len(data) * 8 // 60):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        wal.write_bytes(damaged)
        try:
            assert contents(path) == commands, f"bit {place}"
        except StoreRefused:
            refusals += 1
        assert wal.read_bytes() == bytes(damaged)
    assert refusals > 50


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("DELETE FROM batch WHERE number = 7", "batch 7 is missing"),
        ("DELETE FROM batch WHERE number > 15", "ends with batch 15, but batch 20 was committed"),
        ("DELETE FROM batch", "ends with batch 0, but batch 20 was committed"),
        ("UPDATE batch SET body = x'00000000' WHERE number = 3", "batch 3 is not what was written"),
        ("UPDATE batch SET digest = 'text' WHERE number = 3", "batch 3 is not what was written"),
        ("UPDATE batch SET body = 'text' WHERE number = 3", "batch 3 is not what was written"),
        ("UPDATE batch SET count = 2 WHERE number = 3", "batch 3 has 1 commands, not 2"),
        ("DELETE FROM store", "has lost its identity"),
        ("UPDATE store SET id = zeroblob(16)", "batch 1 is not what was written"),
        ("DROP TABLE snapshot_part; INSERT INTO snapshot VALUES (1, x'00', 0, 0, x'00', '')", "no such table"),
        ("INSERT INTO snapshot VALUES (1, x'00', 1, 0, x'00', '')", "the snapshot after batch 1 is damaged"),
    ],
)
def test_what_sqlite_holds_for_whole_and_is_not_is_refused(tmp_path: Path, sql: str, reason: str) -> None:
    path = tmp_path / "store.db"
    closed_store(path, 20, 10)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(sql)
    error = refused(path)
    assert isinstance(error, StoreDamaged)
    assert reason in str(error)


# ---- snapshots ----


def test_a_snapshot_takes_the_place_of_the_batches_that_it_contains(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    for number in range(600):
        append(journal, b"%d" % number)
    assert save_snapshot(journal, 500, [b"state ", b"after ", b"500"]) is None
    journal.close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("SELECT min(number), max(number) FROM batch").fetchone() == (501, 600)
    store = Store(tmp_path / "store.db", reserve=0)
    recovered = store.recover()
    assert (recovered.snapshot, recovered.snapshot_number, recovered.commands) == (b"state after 500", 500, 100)
    assert [command for batch in recovered.batches for command in batch.commands] == [
        b"%d" % number for number in range(500, 600)
    ]
    store.close()


def test_a_snapshot_of_everything_leaves_an_empty_log_that_goes_on(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    append(journal, b"a")
    assert save_snapshot(journal, 1, [b"A"]) is None
    assert append(journal, b"b") is None
    assert save_snapshot(journal, 2, [b"AB"]) is None
    journal.close()
    assert contents(tmp_path / "store.db") == []
    journal = started(tmp_path / "store.db")
    assert append(journal, b"c") is None
    journal.close()
    assert contents(tmp_path / "store.db") == [b"c"]


def test_parts_of_a_snapshot_cut_short_are_forgotten_at_the_next_start(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db", reserve=0)
    for _ in store.recover().batches:
        pass
    store.make_writable()
    store.commit([b"a"])
    store.put_part(1, 0, b"half of a state")
    store.close()
    assert contents(tmp_path / "store.db") == [b"a"]
    journal = started(tmp_path / "store.db")
    append(journal, b"b")
    journal.close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("SELECT count(*) FROM snapshot_part").fetchone() == (0,)


# ---- commits that fail ----


def test_a_batch_that_was_called_failed_does_not_come_back(tmp_path: Path) -> None:
    """The sync failed, the batch was on the disk all the same, and the process died before it could delete it."""
    path = tmp_path / "store.db"
    store = Store(path, reserve=0)
    for _ in store.recover().batches:
        pass
    store.make_writable()
    store.commit([b"a"])
    number, chain = store.number, store.chain
    store.commit([b"b"])
    assert store._marks is not None
    store._marks.write(number, chain, void=True)
    store.close()
    assert contents(path) == [b"a"]
    journal = started(path)
    assert append(journal, b"c") is None
    journal.close()
    assert contents(path) == [b"a", b"c"]


def test_a_store_whose_file_vanished_fails_and_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db", reserve=0)
    for _ in store.recover().batches:
        pass
    store.make_writable()
    store.commit([b"a"])
    store._disconnect()
    (tmp_path / "store.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(JournalUnwritable, match="cannot be written: unable to open database file"):
        store.commit([b"b"])
    (tmp_path / "elsewhere.db").rename(tmp_path / "store.db")
    store.commit([b"c"])
    store.close()
    assert contents(tmp_path / "store.db") == [b"a", b"c"]


def test_the_handle_is_not_trusted_after_a_failure_and_the_store_is_compared(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db", reserve=0)
    for _ in store.recover().batches:
        pass
    store.make_writable()
    store.commit([b"a"])
    store._failure(sqlite3.OperationalError("disk I/O error"))
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        connection.execute("UPDATE batch SET digest = zeroblob(16)")
    with pytest.raises(JournalUnwritable, match="batch 1, which was committed, is not there any more"):
        store.commit([b"b"])
    store.close()


def test_opening_twice_without_reading_is_a_mistake_that_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db", reserve=0)
    store.recover()
    with pytest.raises(RuntimeError, match="read every batch"):
        store.make_writable()
    store.close()


def test_application_id_is_readable_text() -> None:
    assert APPLICATION_ID.to_bytes(4, "big") == b"RIPC"
