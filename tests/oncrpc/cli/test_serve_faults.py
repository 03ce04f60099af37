"""oncrpc serve-faults, as a process, and our own clients against it."""

# ruff: noqa: SIM117 - what runs stands on a line of its own

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oncrpc import sync
from oncrpc.client import Retransmission
from oncrpc.errors import (
    AuthenticationFailed,
    CallTimedOut,
    MalformedMessage,
    NotConnected,
    RecordTooLarge,
    SystemFailure,
)
from tests.oncrpc.libtirpc import SPEC
from tests.oncrpc.sample import Pair, SampleSyncClient
from tests.peers import Background

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.oncrpc.cli.conftest import Run

COMMAND = Path(sys.executable).parent / "oncrpc"


@contextmanager
def faults(log: Path, *arguments: str | Path) -> Iterator[tuple[str, str, Background]]:
    """The command in a process of its own: where it listens by TCP and UDP, and the process."""
    with Background([COMMAND, "serve-faults", "--json", *arguments], log) as background:
        background.wait_for_output('"udp:')
        addresses = [json.loads(line)["listening"] for line in background.output.splitlines()[:2]]
        yield addresses[0], addresses[1], background


def test_each_fault_reaches_a_client(tmp_path: Path) -> None:
    rules = [
        "proc=1 nth=1 truncate=20",
        "proc=1 nth=2 drop",
        "proc=1 nth=3 fragment=1 dribble=0",
        "proc=1 nth=4 status=SYSTEM_ERR",
        "proc=1 nth=5 auth-error=AUTH_BADCRED",
        "proc=1 nth=6 announce=2147483647",
        "proc=1 nth=7 cut=6",
    ]
    with faults(tmp_path / "log", *[word for rule in rules for word in ("--rule", rule)]) as (tcp, _, background):
        with sync.connect(SampleSyncClient, tcp) as stub:
            with pytest.raises(MalformedMessage):
                stub.sample_echo(b"1")
            with pytest.raises(CallTimedOut):
                stub.sample_echo(b"2", timeout=0.2)
            assert stub.sample_echo(b"3") == b"3"
            with pytest.raises(SystemFailure):
                stub.sample_echo(b"4")
            with pytest.raises(AuthenticationFailed):
                stub.sample_echo(b"5")
            with pytest.raises(RecordTooLarge):
                stub.sample_echo(b"6")
        with sync.connect(SampleSyncClient, tcp) as stub, pytest.raises(NotConnected):
            stub.sample_echo(b"7")
        with sync.connect(SampleSyncClient, tcp) as stub:
            assert stub.sample_echo(b"8") == b"8"
        background.stop()
        lines = [json.loads(line) for line in background.output.splitlines()]
    assert [line["faults"] for line in lines[2:-1]][3] == ["status=5"]
    assert lines[-1]["applied"]["dribble"] == 1


def test_lost_and_doubled_datagrams_do_not_disturb_our_client(tmp_path: Path) -> None:
    with faults(tmp_path / "log", "--rule", "first=2 drop", "--rule", "duplicate=3") as (_, udp, _background):
        with sync.connect(SampleSyncClient, udp, retransmission=Retransmission(first=0.05)) as stub:
            for number in range(20):
                data = bytes((number,)) * 8
                assert stub.sample_echo(data) == data


def test_a_specification_gives_results_of_the_right_types(tmp_path: Path) -> None:
    with faults(tmp_path / "log", "--spec", SPEC) as (tcp, _, _background), sync.connect(SampleSyncClient, tcp) as stub:
        assert stub.sample_add(Pair(1, 2)) == 0
        assert stub.sample_who().machine == ""


def test_the_words_of_rules_are_listed(run: Run) -> None:
    result = run("serve-faults", "--list")
    assert result.exit_code == 0
    assert "truncate" in result.stdout


@pytest.mark.parametrize("rule", ["explode", "proc=1", "delay=x"])
def test_a_wrong_rule_exits_with_2(run: Run, rule: str) -> None:
    assert run("serve-faults", "--rule", rule).exit_code == 2
