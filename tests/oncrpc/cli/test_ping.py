"""oncrpc ping."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from oncrpc.cli.ping import Statistics

if TYPE_CHECKING:
    from tests.oncrpc.cli.conftest import Run
    from tests.oncrpc.libtirpc import CServer


def test_round_trips_are_counted_and_summed_up(run: Run, tcp: str) -> None:
    result = run("ping", tcp, "0x20000601", 1, "-c", 3, "-i", 0)
    assert result.exit_code == 0
    assert result.stdout.count("reply seq=") == 3
    assert "3 calls, 3 answered, 0.0% lost" in result.stdout
    assert "round trip min/avg/median/p99/max/stddev = " in result.stdout


def test_without_a_version_the_highest_is_called(run: Run, udp: str) -> None:
    result = run("ping", udp, "0x20000601", "-c", 1)
    assert "version 1 at udp:" in result.stdout
    assert result.exit_code == 0


def test_unix_sockets_are_pinged(run: Run, server: CServer) -> None:
    assert run("ping", f"unix:{server.path}", "0x20000601", 1, "-c", 1, "-q").exit_code == 0


def test_json_has_one_object_for_each_call_and_a_summary(run: Run, tcp: str) -> None:
    lines = [
        json.loads(line) for line in run("ping", tcp, "0x20000601", 1, "-c", 2, "-i", 0, "--json").stdout.splitlines()
    ]
    assert [line.get("seq") for line in lines] == [1, 2, None]
    assert lines[2]["summary"]["answered"] == 2
    assert lines[2]["summary"]["ms"]["min"] <= lines[2]["summary"]["ms"]["max"]


def test_an_unknown_program_exits_with_1(run: Run, tcp: str) -> None:
    result = run("ping", tcp, 77, 1, "-c", 1)
    assert result.exit_code == 1
    assert "PROG_UNAVAIL" in result.stdout
    assert "100.0% lost" in result.stdout
    assert run("ping", tcp, 77).exit_code == 1


def test_a_closed_port_exits_with_3(run: Run) -> None:
    result = run("ping", "tcp:127.0.0.1:1", 77, 1, "-c", 2, "-i", 0)
    assert result.exit_code == 3
    assert "Connection refused" in result.stdout
    assert run("ping", "tcp:127.0.0.1:1", 77).exit_code == 3


@pytest.mark.parametrize("arguments", [("tcp:nonsense", 77, 1), ("tcp:h:1", "nosuchprogram"), ("tcp:h:1", 77, -1)])
def test_a_wrong_command_line_exits_with_2(run: Run, arguments: tuple[object, ...]) -> None:
    assert run("ping", *arguments).exit_code == 2


def test_statistics_are_those_of_the_answered_calls() -> None:
    statistics = Statistics(sent=5, times=[0.001, 0.002, 0.003, 0.004])
    assert statistics.lost == 1
    assert statistics.summary() == {"min": 1, "avg": 2.5, "median": 2.5, "p99": 4, "max": 4, "stddev": 1.118}
    assert Statistics().summary() == {}
