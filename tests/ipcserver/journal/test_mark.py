from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipcserver.journal import StoreDamaged, StoreLocked, StoreRefused
from ipcserver.journal.mark import MarkFile, read_mark

if TYPE_CHECKING:
    from pathlib import Path

CHAIN = bytes(range(16))


def test_what_was_written_last_is_read(tmp_path: Path) -> None:
    mark = MarkFile(tmp_path / "mark")
    mark.claim()
    for number in range(1, 6):
        mark.write(number, CHAIN)
    mark.write(5, CHAIN, void=True)
    mark.close()
    found = read_mark(tmp_path / "mark")
    assert found is not None
    assert (found.number, found.void, found.chain) == (5, True, CHAIN)


@pytest.mark.parametrize("torn", [0, 512])
def test_one_torn_record_leaves_the_one_before_it_or_itself(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "mark"
    mark = MarkFile(path)
    mark.claim()
    mark.write(1, CHAIN)
    mark.write(2, CHAIN)
    mark.close()
    data = bytearray(path.read_bytes())
    data[torn + 20] ^= 1
    path.write_bytes(data)
    found = read_mark(path)
    assert found is not None
    assert found.number == (1 if torn == 0 else 2) or found.number in (1, 2)


def test_two_damaged_records_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    path.write_bytes(b"x" * 1024)
    with pytest.raises(StoreDamaged, match=r"mark: both of its records are damaged.*journal check"):
        read_mark(path)
    with pytest.raises(StoreDamaged):
        MarkFile(path)
    assert path.read_bytes() == b"x" * 1024


def test_the_lock_is_held_once_and_its_holder_is_named(tmp_path: Path) -> None:
    first = MarkFile(tmp_path / "mark")
    first.claim()
    with pytest.raises(StoreLocked, match=r"process \d+ serves from this store"):
        MarkFile(tmp_path / "mark")
    first.close()
    MarkFile(tmp_path / "mark").close()


def test_a_mark_that_was_not_claimed_leaves_no_file(tmp_path: Path) -> None:
    MarkFile(tmp_path / "mark").close()
    assert list(tmp_path.iterdir()) == []


def test_a_mark_that_cannot_be_opened_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "mark").mkdir()
    with pytest.raises(StoreRefused, match="mark: cannot be opened: Is a directory"):
        MarkFile(tmp_path / "mark")


def test_the_mark_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    mark = MarkFile(tmp_path / "mark")
    assert (tmp_path / "mark").stat().st_mode & 0o777 == 0o600
    mark.close()
