"""oncrpc check, as a command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from oncrpc.check.groups import all_cases
from tests.oncrpc.libtirpc import SPEC

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oncrpc.cli.conftest import Run

PROGRAM = ("0x20000601", 1)


def test_a_group_that_passes_exits_with_0(run: Run, tcp: str) -> None:
    result = run("check", tcp, *PROGRAM, "--only", "ER")
    assert result.exit_code == 0
    assert "8 checks: 8 passed, 0 failed" in result.stdout


def test_a_failure_shows_rule_sent_expected_and_got_and_exits_with_1(run: Run, tcp: str) -> None:
    result = run("check", tcp, *PROGRAM, "--only", "HD-3")
    assert result.exit_code == 1
    for text in ("FAIL HD-3", "RFC 5531, section 9", "sent", "RPC_MISMATCH 2..2", "the connection was closed"):
        assert text in result.stdout


def test_a_warning_fails_only_when_strict(run: Run, tcp: str) -> None:
    assert run("check", tcp, *PROGRAM, "--only", "XD-3").exit_code == 0
    assert run("check", tcp, *PROGRAM, "--only", "XD-3", "--strict").exit_code == 1


def test_json_has_every_result(run: Run, udp: str) -> None:
    report = json.loads(run("check", udp, *PROGRAM, "--only", "ER", "--only", "RM-1", "--json").stdout)
    assert report["summary"] == {"pass": 7, "fail": 0, "warn": 0, "skip": 2}
    assert report["results"][0]["code"] == "RM-1"
    assert set(report["results"][1]) >= {"code", "title", "section", "quote", "sent", "expected", "got", "status"}


def test_junit_is_written(run: Run, tcp: str, tmp_path: Path) -> None:
    run("check", tcp, *PROGRAM, "--only", "ER", "--only", "HD-3", "--only", "XD-3", "--junit", tmp_path / "report.xml")
    suites = {suite.get("name"): suite for suite in ET.parse(tmp_path / "report.xml").getroot()}
    assert suites["errors"].get("failures") == "0"
    assert suites["headers"].get("failures") == "1"
    failure = suites["headers"].find("testcase/failure")
    assert failure is not None
    assert "the connection was closed" in (failure.get("message") or "")
    assert suites["XDR strictness"].find("testcase/system-out") is not None


def test_a_specification_brings_checks_of_its_procedures(run: Run, tcp: str) -> None:
    assert run("check", tcp, *PROGRAM, "--only", "XD-7").stdout.count("1 skipped") == 1
    result = run("check", tcp, *PROGRAM, "--only", "XD-7", "--spec", SPEC, "-v")
    assert "3 procedures noticed" in result.stdout
    assert result.exit_code == 0


def test_list_shows_every_code(run: Run) -> None:
    result = run("check", "--list")
    assert all(f"{case.code} " in result.stdout for case in all_cases())


def test_nobody_there_exits_with_3(run: Run) -> None:
    assert run("check", "tcp:127.0.0.1:1", *PROGRAM).exit_code == 3
    assert "error" in json.loads(run("check", "tcp:127.0.0.1:1", *PROGRAM, "--json").stdout)


def test_a_wrong_command_line_exits_with_2(run: Run) -> None:
    assert run("check", "tcp:127.0.0.1:1", *PROGRAM, "--only", "ZZ").exit_code == 2
    assert run("check", "tcp:127.0.0.1:1").exit_code == 2
    assert run("check", "tcp:127.0.0.1:1", 5, 1, "--spec", SPEC).exit_code == 2
