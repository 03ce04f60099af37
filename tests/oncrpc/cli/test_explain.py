"""``oncrpc explain``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from oncrpc.records import frame_record
from tests.oncrpc.test_explain import accepted, call

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Any]


def test_a_call_is_told_field_by_field(run: Run) -> None:
    result = run("explain", frame_record(call()).hex())
    assert result.exit_code == 0, result.output
    assert "CALL IPCPROG.1 RIPC_MSGSND" in result.stdout
    for text in ("record mark", "machinename", "sun", "RFC 5531, 8.2", "mtext", "b'hello'"[1:]):
        assert text in result.stdout


def test_standard_input_may_be_a_dump(run: Run) -> None:
    digits = call().hex(" ").split()
    dump = "\n".join(f"{at:04x}  {' '.join(digits[at : at + 16])}" for at in range(0, len(digits), 16))
    assert "RIPC_MSGSND" in run("explain", "-", stdin=dump).stdout


def test_a_file_of_bytes_is_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "call.bin").write_bytes(call())
    assert "RIPC_MSGSND" in run("explain", "--file", tmp_path / "call.bin").stdout


def test_a_reply_is_decoded_if_its_call_is_named(run: Run) -> None:
    reply = accepted(0, bytes(8)).hex()
    assert "not decoded" in run("explain", reply).stdout.lower()
    result = run("explain", reply, "--call", "ipcprog.1.ripc_msgget", "--json")
    (found,) = json.loads(result.stdout)
    assert (found["kind"], found["procedure"], found["fault"]) == ("REPLY", 10, "")
    assert "status" in {part["name"] for part in found["parts"]}


def test_a_specification_names_what_is_not_installed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.x").write_text(
        "program OTHER { version ONE { int TWICE(int) = 1; } = 1; } = 0x20001234;", encoding="ascii"
    )
    message = "00000001 00000000 00000002 20001234 00000001 00000001" + " 00000000" * 4 + " 0000002a"
    result = run("explain", "--spec", tmp_path / "other.x", *message.split())
    assert (result.exit_code, "OTHER.1 TWICE" in result.stdout, "42" in result.stdout) == (0, True, True)


def test_where_a_message_is_wrong_is_told_with_status_1(run: Run) -> None:
    result = run("explain", call()[:-3].hex())
    assert result.exit_code == 1
    assert "wrong: " in result.stdout


def test_what_is_no_hexadecimal_is_a_wrong_command_line(run: Run) -> None:
    result = run("explain", "zz")
    assert result.exit_code == 2
    assert "hexadecimal" in result.stderr


def test_nothing_from_a_message_reaches_the_terminal_as_a_command(run: Run) -> None:
    message = call().replace(b"sun", b"\x1b[2")
    result = run("explain", message.hex())
    assert "\x1b" not in result.stdout
    assert "\\x1b[2" in result.stdout
