"""The real rpcinfo in every mode, against Debian's rpcbind and against ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.rpcbind.conftest import start_registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests import peers
    from tests.interop.rpcbind.conftest import Machine

READY = "".join(f"program 100000 version {version} ready and waiting\n" for version in (2, 3, 4))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_ping_by_transport(machine: Machine, transport: str, host: str) -> None:
    assert machine.rpcinfo("-T", transport, host, "100000") == READY


def test_ping_over_ipv6_and_the_local_socket(machine: Machine) -> None:
    assert machine.rpcinfo("-T", "tcp6", "::1", "100000") == READY
    assert machine.rpcinfo("-T", "udp6", "::1", "100000") == READY
    assert machine.rpcinfo("-T", "local", "localhost", "100000") == READY


def test_ping_by_the_old_options(machine: Machine) -> None:
    assert machine.rpcinfo("-t", "127.0.0.1", "100000") == READY
    assert machine.rpcinfo("-u", "127.0.0.1", "100000") == READY
    assert machine.rpcinfo("-n", "111", "-t", "127.0.0.1", "100000", "2") == READY.splitlines(keepends=True)[0]
    assert machine.rpcinfo("-a", "127.0.0.1.0.111", "-T", "tcp", "100000") == READY


def test_a_program_that_is_not_there_is_said_not_to_be(machine: Machine) -> None:
    told = machine.rpcinfo("-T", "tcp", "127.0.0.1", "499999", "1", check=False)
    assert "Program not registered" in told


def test_lists(machine: Machine) -> None:
    rows = [line.split() for line in machine.rpcinfo().splitlines()[1:]]
    assert ["100000", "4", "tcp", "0.0.0.0.0.111", "portmapper", "superuser"] in rows
    assert ["100000", "3", "udp6", "::.0.111", "portmapper", "superuser"] in rows
    assert ["100000", "4", "local", "/run/rpcbind.sock", "portmapper", "superuser"] in rows
    old = [line.split() for line in machine.rpcinfo("-p").splitlines()[1:]]
    assert {tuple(row) for row in old if row[0] == "100000"} == {
        ("100000", version, kind, "111", "portmapper") for version in "234" for kind in ("tcp", "udp")
    }
    assert machine.rpcinfo("-p", "127.0.0.1") == machine.rpcinfo("-p")
    short = next(line.split() for line in machine.rpcinfo("-s").splitlines() if " 100000 " in line)
    assert short[1] == "2,3,4"
    assert set(short[2].split(",")) == {"local", "udp", "tcp", "udp6", "tcp6"}


def test_addresses_of_a_version_are_those_of_the_network_asked_over(machine: Machine) -> None:
    rows = [line.split() for line in machine.rpcinfo("-l", "127.0.0.1", "100000", "4").splitlines()[1:]]
    assert sorted(row[2:4] for row in rows) == [
        ["inet/tcp/cots_ord", "127.0.0.1.0.111"],
        ["inet/udp/clts", "127.0.0.1.0.111"],
    ]


def test_registrations_are_deleted(machine: Machine, registrant: Path) -> None:
    machine.space.run(registrant, "rpcb_set", "420000")
    machine.rpcinfo("-d", "420000", "1")
    assert machine.rows(420_000) == []
    machine.space.run(registrant, "rpcb_set", "420000")
    machine.rpcinfo("-d", "-T", "tcp", "420000", "1")
    assert machine.rows(420_000) == []


@pytest.mark.parametrize("kind", ["rpcbind", "ours"])
def test_statistics_are_printed_alike(namespace: peers.Namespace, registrant: Path, kind: str) -> None:
    machine = start_registry(namespace, kind)
    namespace.run(registrant, "rpcb_set", "420001")
    namespace.run(registrant, "rpcb_set", "420001", "0.0.0.0.1.1", check=False)
    namespace.run(registrant, "pmap_getport", "420001")
    namespace.run(registrant, "pmap_getport", "420002")
    namespace.run(registrant, "rpcb_unset", "420001")
    printed = machine.rpcinfo("-m")
    assert "PORTMAP (version 2) statistics" in printed
    lines = [line.split() for line in printed.splitlines()]
    version_2, version_3 = lines[2], lines[lines.index(["RPCBIND", "(version", "3)", "statistics"]) + 2]
    assert version_2 == ["0", "0/0", "0/0", "1/2", "0", "0/0"]
    assert version_3 == ["0", "1/2", "1/1", "0/0", "0", "0/0", "0", "0", "0"]
    assert ["420001", "1", "tcp", "1", "0"] in lines
    assert ["420002", "1", "tcp", "0", "1"] in lines


@pytest.mark.parametrize("kind", ["rpcbind", "ours"])
def test_broadcasts_discover_registries_and_programs(namespace: peers.Namespace, registrant: Path, kind: str) -> None:
    """By rpcinfo -b, over an interface that can broadcast; calls must be passed on. It listens for 12 seconds."""
    namespace.run("ip", "link", "add", "net0", "type", "veth", "peer", "name", "net1")
    namespace.run("ip", "addr", "add", "10.9.8.1/24", "broadcast", "10.9.8.255", "dev", "net0")
    namespace.run("ip", "link", "set", "net0", "up")
    namespace.run("ip", "link", "set", "net1", "up")
    machine = start_registry(namespace, kind, callit=True)
    with namespace.start(registrant, "svc_create", "420010") as server:
        server.wait_for_output("granted")
        uaddr = next(row[2] for row in machine.rows(420_010) if row[1] == "udp")
        registries = namespace.start("rpcinfo", "-b", "-T", "udp", "100000", "2")
        programs = namespace.start("rpcinfo", "-b", "-T", "udp", "420010", "1")
        nobody = namespace.start("rpcinfo", "-b", "-T", "udp", "420011", "1")
        for search in (registries, programs, nobody):
            search.process.wait(60)
        assert "10.9.8.1.0.111\tunknown\n" in registries.output
        assert f"10.9.8.1.{uaddr.removeprefix('0.0.0.0.')}\tunknown\n" in programs.output
        assert "10.9.8.1" not in nobody.output
