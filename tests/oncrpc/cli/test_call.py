"""oncrpc call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.oncrpc.libtirpc import SPEC

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oncrpc.cli.conftest import Run

ADD = ("--spec", SPEC, "SAMPLE_PROG.SAMPLE_VERS.SAMPLE_ADD")


@pytest.mark.parametrize(
    "name",
    [
        "SAMPLE_PROG.SAMPLE_VERS.SAMPLE_ADD",
        "sample_prog.1.sample_add",
        "SAMPLE_PROG.add",
        "0x20000601.1.2",
        "536872449.SAMPLE_VERS.ADD",
    ],
)
def test_a_procedure_is_called_by_names_or_numbers(run: Run, tcp: str, name: str) -> None:
    result = run("call", tcp, "--spec", SPEC, name, '{"a": 2, "b": 40}')
    assert (result.exit_code, json.loads(result.stdout)) == (0, 42)


def test_results_are_json(run: Run, udp: str) -> None:
    result = run("call", udp, "--spec", SPEC, "SAMPLE_PROG.who", "--uid", 5, "--gid", 6, "--machine", "krypton")
    assert json.loads(result.stdout) == {"flavor": 1, "uid": 5, "gid": 6, "gids": [], "machine": "krypton"}


def test_arguments_come_from_a_file_or_standard_input(run: Run, tcp: str, tmp_path: Path) -> None:
    (tmp_path / "arg.json").write_text('{"a": 1, "b": 2}')
    assert run("call", tcp, *ADD, f"@{tmp_path}/arg.json").stdout == "3\n"
    assert run("call", tcp, *ADD, "-", stdin='{"a": 3, "b": 4}').stdout == "7\n"


def test_opaque_data_is_hex_or_base64(run: Run, tcp: str) -> None:
    assert run("call", tcp, "--spec", SPEC, "SAMPLE_PROG.echo", '"cafe"').stdout == '"cafe"\n'
    assert run("call", tcp, "--spec", SPEC, "SAMPLE_PROG.echo", '"cafe"', "--base64").stdout == '"base64:yv4="\n'


def test_without_a_specification_procedures_go_by_number(run: Run, tcp: str) -> None:
    assert run("call", tcp, "0x20000601.1.0").stdout == "null\n"
    assert run("call", tcp, "0x20000601.1.2", "--hex", "00000001 00000002").stdout == '"00000003"\n'


@pytest.mark.parametrize(
    ("name", "outcome", "text"),
    [
        ("0x20000602.1.0", "ProgramUnavailable", "PROG_UNAVAIL"),
        ("0x20000601.9.0", "ProgramMismatch", "PROG_MISMATCH: versions 1 to 1"),
        ("0x20000601.1.77", "ProcedureUnavailable", "PROC_UNAVAIL"),
        ("0x20000601.1.2", "GarbageArguments", "GARBAGE_ARGS"),
    ],
)
def test_each_outcome_is_told_in_the_words_of_the_rfc(run: Run, tcp: str, name: str, outcome: str, text: str) -> None:
    result = run("call", tcp, name)
    assert result.exit_code == 1
    assert text in result.stderr
    told = json.loads(run("call", tcp, name, "--json").stdout)
    assert told["outcome"] == outcome
    assert text in told["error"]


def test_a_refusal_of_the_server_is_told(run: Run, tcp: str) -> None:
    assert "AUTH_TOOWEAK" in run("call", tcp, "--spec", SPEC, "SAMPLE_PROG.fail", "5").stderr
    assert "SYSTEM_ERR" in run("call", tcp, "--spec", SPEC, "SAMPLE_PROG.fail", "0").stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "HOST and PROG.VERS.PROC"),
        (("h", "nonsense"), "not PROG.VERS.PROC"),
        (("h", "nosuch.1.0"), "--spec"),
        (("h", "--spec", SPEC, "OTHER.1.0"), "declares SAMPLE_PROG.SAMPLE_VERS"),
        (("h", "--spec", SPEC, "SAMPLE_PROG.1.nothing"), "there are SAMPLE_NULL"),
        (("h", *ADD), "--describe"),
        (("h", *ADD, "{"), "JSON"),
        (("h", *ADD, '{"a": 1}'), "'b' is missing"),
        (("h", *ADD, '{"a": 1, "b": 4294967296}'), "b"),
        (("h", *ADD, "@/nonexistent/file"), "No such file"),
        (("h", "--spec", SPEC, "SAMPLE_PROG.null", "5"), "takes no arguments"),
        (("h", "1.1.0", "--hex", "xyz"), "hex"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_says_why(run: Run, arguments: tuple[object, ...], text: str) -> None:
    result = run("call", *arguments)
    assert result.exit_code == 2
    assert text in result.stderr


def test_a_faulty_specification_is_shown_with_its_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.x").write_text("struct a {\n  int b\n};\n")
    result = run("call", "h", "--spec", tmp_path / "bad.x", "A.1.0")
    assert result.exit_code == 2
    assert "bad.x:" in result.stderr


def test_list_shows_the_procedures_of_installed_specifications_once(run: Run) -> None:
    result = run("call", "--list")
    assert result.stdout.count("IPCPROG.IPCVERS.RIPC_MSGSND") == 1
    assert "PMAPPROC_GETPORT" in result.stdout
    listed = json.loads(run("call", "--list", "--json", "--spec", SPEC).stdout)
    assert [one["procedure_name"] for one in listed][:2] == ["SAMPLE_NULL", "SAMPLE_ECHO"]


def test_describe_shows_types_and_an_example(run: Run) -> None:
    result = run("call", "--describe", "--spec", SPEC, "SAMPLE_PROG.add")
    assert "struct pair {\n    int a;\n    int b;\n};" in result.stdout
    assert "int SAMPLE_ADD(pair) = 2;" in result.stdout
    assert '"a": 0' in result.stdout
    told = json.loads(run("call", "--describe", "--json", "--spec", SPEC, "SAMPLE_PROG.who").stdout)
    assert told["arguments"] == []
    assert told["result"] == {"flavor": 0, "uid": 0, "gid": 0, "gids": [0], "machine": ""}


def test_no_connection_exits_with_3(run: Run) -> None:
    assert run("call", "tcp:127.0.0.1:1", "5.1.0").exit_code == 3
    assert run("call", "unix:/nonexistent/socket", "5.1.0").exit_code == 3
