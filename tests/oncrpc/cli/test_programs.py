"""oncrpc.cli.programs: numbers and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oncrpc.cli import programs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def etc_rpc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "rpc"
    file.write_text("# comment\nportmapper\t100000\tportmap sunrpc # more\nnfs 100003\nbroken line\n\n")
    monkeypatch.setattr(programs, "ETC_RPC", file)
    return file


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("100003", 100003), ("0x20000258", 0x20000258)])
def test_numbers_are_decimal_or_hexadecimal(text: str, number: int) -> None:
    assert programs.program_number(text) == number


@pytest.mark.usefixtures("etc_rpc")
def test_names_come_from_etc_rpc_and_installed_specifications() -> None:
    assert programs.program_number("nfs") == 100003
    assert programs.program_number("SunRPC") == 100000
    assert programs.program_number("ipcprog") == 0x20000258
    assert programs.program_name(100003) == "nfs"
    assert programs.program_name(0x20000258) == "IPCPROG"
    assert programs.program_name(77) == "77"


@pytest.mark.parametrize("text", ["", "nobody", "-1", "4294967296", "1.5"])
def test_what_is_neither_number_nor_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        programs.program_number(text)


def test_a_missing_etc_rpc_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "ETC_RPC", tmp_path / "none")
    assert programs.program_name(100003) == "100003"


def test_programs_are_found_without_compiling() -> None:
    text = "/* program X { } = 1; */ program A { version V { void N(void) = 0; } = 1; } = 0x20; program B { } = 7;"
    assert list(programs.declared_programs(text)) == [("A", 32), ("B", 7)]
