from __future__ import annotations

from typing import TYPE_CHECKING

from ipcserver.journal.reserve import Reserve

if TYPE_CHECKING:
    from pathlib import Path


def test_blocks_are_allocated_and_given_back(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 1 << 20)
    assert reserve.take()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 1 << 20
    assert (tmp_path / "reserve").stat().st_mode & 0o777 == 0o600
    reserve.release()
    assert (tmp_path / "reserve").stat().st_blocks == 0
    assert reserve.take()


def test_no_reserve_is_always_held(tmp_path: Path) -> None:
    assert Reserve(tmp_path / "reserve", 0).take()
    assert list(tmp_path.iterdir()) == []


def test_a_reserve_that_cannot_be_had_is_no_error(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "no" / "reserve", 1 << 20)
    assert not reserve.take()
    reserve.release()
