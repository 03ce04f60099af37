from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

import xdr
from ipcserver._gen import machine as gen
from ipcserver.cli import main
from ipcserver.machine import LINUX, Command, Machine, start
from tests.ipcserver.journal.stores import append, save_snapshot, started

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A journal with the first command of two lives, the first of them in a snapshot."""
    path = tmp_path / "journal.sqlite"
    journal = started(path)
    machine = Machine()
    for ticket in (1, 2):
        command = gen.machine_command(ticket, ticket, 0, gen.machine_caller(0, 0, []), 0, 0, start(ticket, LINUX))
        append(journal, xdr.encode(gen.machine_command, command))
        if ticket == 1:
            machine.apply(Command.from_xdr(command))
            save_snapshot(journal, 1, [bytes(16) + machine.snapshot()])
    journal.close()
    return path


def run(*args: str, status: int = 0) -> str:
    """Run ``ipcserver journal`` and return what it printed."""
    result = CliRunner().invoke(main, ["journal", *args], env={"COLUMNS": "200"})
    assert result.exit_code == status, result.output
    return result.output


def test_check_says_that_a_journal_is_whole(store: Path) -> None:
    assert "whole, format 1: snapshot after batch 1, then 1 commands in 1 batches up to batch 2" in run(
        "check", str(store)
    )


def test_check_says_what_is_wrong_in_one_line_and_ends_with_1(store: Path) -> None:
    store.write_bytes(store.read_bytes()[:5000])
    output = run("check", str(store), status=1)
    assert output.startswith("Error: ")
    assert "journal.sqlite" in output
    assert output.count("\n") == 1


def test_check_reads_the_snapshot_as_the_machine_would(tmp_path: Path) -> None:
    journal = started(tmp_path / "journal.sqlite")
    append(journal, b"a")
    save_snapshot(journal, 1, [b"no snapshot of a machine"])
    journal.close()
    assert "the snapshot after batch 1 cannot be read" in run("check", str(tmp_path / "journal.sqlite"), status=1)


def test_stat_shows_figures_for_people_and_machines(store: Path) -> None:
    assert "1 commands in 1 batches" in run("stat", str(store))
    found = json.loads(run("stat", "--json", str(store)))
    assert (found["snapshot_number"], found["last_batch"], found["in_use"]) == (1, 2, False)


def test_export_writes_a_line_for_each_command(store: Path) -> None:
    assert "SERVER_STARTED" in run("export", str(store))
    (line,) = run("export", "--json", str(store)).splitlines()
    assert json.loads(line)["op"] == "SERVER_STARTED"


def test_backup_makes_a_copy_that_is_whole(store: Path, tmp_path: Path) -> None:
    assert "up to batch 2" in run("backup", "--from", str(store), str(tmp_path / "copy.sqlite"))
    assert "whole" in run("check", str(tmp_path / "copy.sqlite"))
    assert "is there already" in run("backup", "--from", str(store), str(tmp_path / "copy.sqlite"), status=1)


def test_a_journal_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in run("stat", str(tmp_path / "none.sqlite"), status=1)


def test_without_a_path_the_configured_journal_is_meant(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPCSERVER_STATE", str(store.parent))
    assert "whole" in run("check")
