"""oncrpc.cli: the group and its plug-ins."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest

from oncrpc import cli

if TYPE_CHECKING:
    from tests.oncrpc.cli.conftest import Run


@pytest.mark.parametrize("command", sorted(cli._COMMANDS))
def test_every_command_has_help_with_examples(run: Run, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"oncrpc {command} " in result.stdout.partition("Examples:")[2]
    assert "\\b" not in result.stdout


def test_the_group_lists_its_commands(run: Run) -> None:
    result = run("--help")
    assert all(command in result.stdout for command in cli._COMMANDS)


def test_another_package_can_add_a_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("extra", "oncrpc.cli.ping:ping", "oncrpc.commands")
    monkeypatch.setattr(cli, "entry_points", lambda group: [entry] if group == "oncrpc.commands" else [])
    assert "extra" in run("--help").stdout
    assert "again and again" in run("extra", "--help").stdout


def test_a_broken_plug_in_says_why_and_harms_no_other(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("extra", "oncrpc.nowhere:nothing", "oncrpc.commands")
    monkeypatch.setattr(cli, "entry_points", lambda group: [entry] if group == "oncrpc.commands" else [])
    assert run("--help").exit_code == 0
    result = run("extra")
    assert result.exit_code == 1
    assert "oncrpc.nowhere" in result.stderr


def test_a_plug_in_does_not_replace_a_command_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("ping", "nowhere:nothing", "oncrpc.commands")
    monkeypatch.setattr(cli, "entry_points", lambda group: [entry])
    assert cli._plug_ins() == {}


def test_an_unknown_command_is_a_fault_of_the_command_line(run: Run) -> None:
    assert run("nonsense").exit_code == 2
