"""Our commands and clients beside both registries, on a machine with a network."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import peers
from tests.interop.rpcbind.conftest import Machine, start_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

INFO = (sys.executable, "-c", "from rpcbind_reg.info import info; info()")
# Not by -m, and away from the test's folder: another user may not read that.
REG = (sys.executable, "-P", "-c", "import os; os.chdir('/'); from rpcbind_reg.cli import main; main()")

TX_DISCOVER = """
from twisted.internet import task
from rpcbind_reg.tx.broadcast import discover

async def main(reactor):
    for found in await discover(100000, 2, wait=1.5):
        print(found.host, found.uaddr)

task.react(lambda reactor: __import__("twisted.internet.defer").internet.defer.ensureDeferred(main(reactor)))
"""


@pytest.fixture(scope="module", params=["rpcbind", "ours"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with peers.namespace(tmp_path_factory.mktemp("network")) as space:
        space.run("ip", "link", "add", "net0", "type", "veth", "peer", "name", "net1")
        space.run("ip", "addr", "add", "10.9.8.1/24", "broadcast", "10.9.8.255", "dev", "net0")
        space.run("ip", "link", "set", "net0", "up")
        space.run("ip", "link", "set", "net1", "up")
        yield start_registry(space, request.param, callit=True)


def test_machines_are_discovered_by_broadcast(network: Machine, registrant: Path) -> None:
    assert "10.9.8.1  10.9.8.1.0.111\n" in network.space.run(*INFO, "-b", "100000", "2", "--wait", "1.5").stdout
    assert "10.9.8.1 10.9.8.1.0.111\n" in network.space.run(sys.executable, "-c", TX_DISCOVER).stdout
    with network.space.start(registrant, "svc_create", "430010") as server:
        server.wait_for_output("granted")
        port = next(row[2].removeprefix("0.0.0.0") for row in network.rows(430_010) if row[1] == "udp")
        found = network.space.run(*INFO, "-b", "430010", "1", "--json", "--wait", "1.5").stdout
        assert {"host": "10.9.8.1", "address": f"10.9.8.1{port}"} in json.loads(found)
    nobody = network.space.run(*INFO, "-b", "430011", "1", "--wait", "1", check=False)
    assert nobody.returncode == 1
    assert "nobody answered" in nobody.stdout


def test_ours_is_discovered_over_ipv6_too(namespace: peers.Namespace) -> None:
    """Debian's rpcbind leaves the multicast group again before it serves."""
    namespace.run("ip", "link", "add", "net0", "type", "veth", "peer", "name", "net1")
    namespace.run("ip", "link", "set", "net0", "up")
    namespace.run("ip", "addr", "add", "fd00:9::1/64", "dev", "net0", "nodad")
    namespace.run("ip", "link", "set", "net1", "up")
    options = ("--listen", "::", "--callit", "--trust", "fd00::/8", "--trust", "fe80::/10")
    registry = namespace.start(*REG, "serve", *options)
    registry.wait_for_output("serving portmap 2")
    script = (
        "from rpcbind_reg.sync import discover\n"
        "for found in discover(100000, 4, addresses=['ff02::202%net0'], wait=2.5): print(found.uaddr)"
    )
    found = namespace.run(sys.executable, "-c", script).stdout
    assert found.endswith(".0.111\n")
    assert found.startswith(("fe80::", "fd00:9::1."))


def test_programs_are_called_in_every_version(network: Machine) -> None:
    for host in ("127.0.0.1", "10.9.8.1", "::1"):
        told = network.space.run(*INFO, host, "100000").stdout
        versions = (3, 4) if ":" in host else (2, 3, 4)
        assert all(f"version {version} at " in told for version in versions)
        assert told.count(": ready\n") == 3
    assert network.space.run(*INFO, "127.0.0.1", "100000", "4", "--udp").stdout.endswith(": ready\n")


def test_lists_agree_with_rpcinfo(network: Machine) -> None:
    ours = json.loads(network.space.run(*REG, "list", "--json").stdout)
    theirs = [line.split() for line in network.rpcinfo().splitlines()[1:]]
    assert {(str(row["program"]), str(row["version"]), row["netid"], row["address"], row["owner"]) for row in ours} == {
        (row[0], row[1], row[2], row[3], row[5]) for row in theirs
    }


def test_registrations_are_set_and_removed(network: Machine) -> None:
    network.space.run(*REG, "set", "430020", "1", "tcp", "5000")
    assert network.rows(430_020) == [["1", "tcp", "0.0.0.0.19.136", "superuser"]]
    refused = network.space.run(*REG, "set", "430020", "1", "tcp", "5001", check=False)
    assert "0.0.0.0.19.136 is registered for it already, owner superuser" in refused.stdout
    network.space.run(*REG, "unset", "430020", "1")
    assert network.rows(430_020) == []


def test_an_ordinary_user_cannot_remove_what_is_not_theirs(network: Machine) -> None:
    network.space.run(*REG, "set", "430021", "1", "tcp", "5000")
    told = network.as_user(1000, *REG, "unset", "430021", "1", check=False)
    assert "1 stayed: they belong to superuser" in told
    assert len(network.rows(430_021)) == 1


def test_changes_from_another_machine_are_refused_in_one_sentence(network: Machine) -> None:
    told = network.space.run(*REG, "set", "--at", "10.9.8.1", "430022", "1", "tcp", "5000", check=False)
    assert (told.returncode, told.stdout.count("\n")) == (1, 1)
    assert "takes changes from its own machine only; run this there" in told.stdout


def test_with_privileges_dropped_callers_are_still_known(namespace: peers.Namespace, registrant: Path) -> None:
    for _ in range(2):  # the second time over the socket that the first, no longer root, could not remove
        registry = namespace.start(*REG, "serve", "--user", "nobody")
        registry.wait_for_output("serving portmap 2")
        machine = Machine(namespace, "ours", registry)
        status = Path(f"/proc/{registry.process.pid}/status").read_text()
        assert re.search(r"Uid:\s+65534\s+65534\s+65534", status)
        machine.as_user(1000, registrant, "rpcb_set", "430030")
        namespace.run("mv", "/run/rpcbind.sock", "/run/aside")
        machine.as_user(1001, registrant, "rpcb_set", "430031")
        namespace.run("mv", "/run/aside", "/run/rpcbind.sock")
        assert [row[3] for number in (430_030, 430_031) for row in machine.rows(number)] == ["1000", "1001"]
        assert registry.stop() == 0


def test_sockets_passed_by_systemd_are_served(namespace: peers.Namespace) -> None:
    peers.require("systemd-socket-activate", "rpcinfo")
    passed = ("-l", "/run/rpcbind.sock", "-l", "127.0.0.1:111")
    namespace.start("systemd-socket-activate", *passed, *REG, "serve")
    peers.wait_until(lambda: 111 in namespace.ports(), "the passed socket")
    # The first connection starts it; rpcinfo may be too early for the second.
    rows = peers.wait_until(lambda: rows_of(namespace), "the registry")
    assert {row[2] for row in rows} == {"local", "tcp"}


def rows_of(space: peers.Namespace) -> list[list[str]]:
    told = space.run("rpcinfo", check=False).stdout
    return [line.split() for line in told.splitlines()[1:] if " portmapper " in line]
