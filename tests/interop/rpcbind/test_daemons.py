"""Daemons and tools of Debian's that come from elsewhere: rstatd, rusersd, statd, rup, rusers, nmap."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests import peers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.rpcbind.conftest import Machine

# The daemons leave their starter at once; in a process namespace of their own they end with it.
START = """
rpc.rstatd
rpc.rusersd
mkdir -p /run/statd/sm /run/statd/sm.bak
chown -R statd /run/statd
rpc.statd --no-notify --state-directory-path /run/statd
exec sleep 1000
"""


@pytest.fixture(scope="module")
def daemons(machine: Machine) -> Iterator[Machine]:
    peers.require("rpc.rstatd", "rpc.rusersd", "rpc.statd", "rup", "rusers", "nmap")
    started = machine.space.start("unshare", "--pid", "--fork", "--kill-child", "sh", "-c", START)
    peers.wait_until(lambda: all(machine.rows(number) for number in (100001, 100002, 100024)), "the daemons")
    yield machine
    started.kill()  # unshare minds no SIGTERM


def test_all_three_are_registered(daemons: Machine) -> None:
    assert {row[0] for row in daemons.rows(100001)} == {"1", "2", "3", "5"}
    assert {row[0] for row in daemons.rows(100002)} == {"2", "3"}
    assert {row[1] for row in daemons.rows(100024)} == {"tcp", "udp", "tcp6", "udp6"}


def test_each_answers_where_it_is_registered(daemons: Machine) -> None:
    for program, version in (("100001", "3"), ("100002", "2"), ("100024", "1")):
        answer = daemons.rpcinfo("-T", "udp", "127.0.0.1", program, version)
        assert answer == f"program {program} version {version} ready and waiting\n"


def test_rup_tells_how_long_the_machine_is_up(daemons: Machine) -> None:
    assert re.search(r"localhost +.*up +", daemons.space.run("rup", "127.0.0.1").stdout)


def test_rusers_asks_who_is_there(daemons: Machine) -> None:
    assert "localhost" in daemons.space.run("rusers", "-a", "127.0.0.1").stdout


def test_nmap_lists_the_programs(daemons: Machine) -> None:
    scan = ("nmap", "-n", "-Pn", "-p", "111", "--script", "rpcinfo", "127.0.0.1")
    lines = [line.strip("|_ ").split() for line in daemons.space.run(*scan).stdout.splitlines()]
    assert ["100000", "2,3,4", "111/tcp", "rpcbind"] in lines
    assert any(line[:2] == ["100001", "1,2,3,5"] and line[-1] == "rstatd" for line in lines if line)
    assert any(line[:2] == ["100024", "1"] and line[-1] == "status" for line in lines if line)
