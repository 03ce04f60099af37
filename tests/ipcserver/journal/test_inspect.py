from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from ipcserver.journal import StoreDamaged, StoreRefused, inspect
from tests.ipcserver.journal.stores import append, contents, files, killed_after, save_snapshot, started

if TYPE_CHECKING:
    from pathlib import Path


def test_figures_tell_what_there_is_also_while_a_server_writes(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db", reserve=1 << 16)
    for number in range(5):
        append(journal, b"%d" % number, b"more")
    save_snapshot(journal, 3, [b"state"])
    found = inspect.figures(tmp_path / "store.db")
    assert (found.format, found.snapshot_number, found.snapshot_bytes) == (1, 3, 5)
    assert (found.first_batch, found.last_batch, found.batches, found.commands) == (4, 5, 2, 4)
    assert found.in_use
    assert found.disk_bytes >= 1 << 16
    journal.close()
    assert not inspect.figures(tmp_path / "store.db").in_use


def test_looking_at_a_store_that_nobody_uses_leaves_no_trace(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    append(journal, b"a")
    journal.close()
    before = sorted(tmp_path.iterdir()), files(tmp_path)
    inspect.figures(tmp_path / "store.db")
    inspect.check(tmp_path / "store.db")
    assert [batch.commands for batch in inspect.read(tmp_path / "store.db")] == [[b"a"]]
    assert inspect.snapshot(tmp_path / "store.db") is None
    assert (sorted(tmp_path.iterdir()), files(tmp_path)) == before


def test_a_check_finds_what_is_wrong_and_changes_nothing(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    for number in range(5):
        append(journal, b"%d" % number)
    journal.close()
    assert inspect.check(tmp_path / "store.db").commands == 5
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM batch WHERE number = 3")
    before = files(tmp_path)
    with pytest.raises(StoreDamaged, match="batch 3 is missing"):
        inspect.check(tmp_path / "store.db")
    assert files(tmp_path) == before


def test_a_check_hands_each_command_to_who_can_read_it(tmp_path: Path) -> None:
    killed_after(tmp_path / "store.db", 3)

    def look(command: bytes) -> None:
        if command.startswith(b"000001"):
            msg = "no such operation"
            raise ValueError(msg)

    with pytest.raises(StoreDamaged, match="a command of batch 2 cannot be read: no such operation"):
        inspect.check(tmp_path / "store.db", look)


def test_a_backup_of_a_store_in_use_holds_everything_acknowledged_before_it(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    stop = threading.Event()
    acknowledged: list[bytes] = []

    def write() -> None:
        while not stop.is_set():
            command = b"%d" % len(acknowledged)
            if append(journal, command) is None:
                acknowledged.append(command)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            known = list(acknowledged)
            copy = tmp_path / f"copy{number}.db"
            inspect.backup(tmp_path / "store.db", copy)
            held = [command for batch in inspect.read(copy) for command in batch.commands]
            assert held[: len(known)] == known
            assert copy.stat().st_mode & 0o777 == 0o600
    finally:
        stop.set()
        writer.join()
        journal.close()
    assert contents(tmp_path / "store.db") == acknowledged
    assert contents(tmp_path / "copy4.db") == held


def test_a_backup_never_replaces_a_file(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    journal.close()
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(StoreRefused, match=r"copy\.db: is there already"):
        inspect.backup(tmp_path / "store.db", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_no_backup_is_made_of_a_damaged_store(tmp_path: Path) -> None:
    journal = started(tmp_path / "store.db")
    for number in range(5):
        append(journal, b"%d" % number)
    journal.close()
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        connection.execute("UPDATE batch SET body = x'00000000' WHERE number = 3")
    with pytest.raises(StoreDamaged, match="batch 3 is not what was written"):
        inspect.backup(tmp_path / "store.db", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    assert not (tmp_path / "copy.db-new").exists()


def test_a_backup_into_a_place_that_is_not_there_says_so(tmp_path: Path) -> None:
    started(tmp_path / "store.db").close()
    with pytest.raises(StoreRefused, match="cannot be written"):
        inspect.backup(tmp_path / "store.db", tmp_path / "no" / "copy.db")
