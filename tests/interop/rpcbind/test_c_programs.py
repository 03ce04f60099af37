"""Real C programs do not see whether rpcbind or ours answers: each test runs against both, Debian's is the referee."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.rpcbind.conftest import Machine

WAYS = {
    "svc_create": {"tcp", "udp", "tcp6", "udp6"},
    "svc_reg": {"tcp"},
    "svc_register": {"udp"},
    "registerrpc": {"udp", "udp6"},
}


@pytest.mark.parametrize(("uid", "owner"), [(0, "superuser"), (1000, "1000")])
@pytest.mark.parametrize("way", WAYS)
def test_a_server_registers_is_found_and_called(
    machine: Machine, registrant: Path, way: str, uid: int, owner: str
) -> None:
    program = 400_000 + 10 * list(WAYS).index(way) + (uid > 0)
    identity = ("--reuid", str(uid), "--regid", str(uid), "--clear-groups")
    with machine.space.start("setpriv", *identity, registrant, way, str(program)) as server:
        server.wait_for_output("granted")
        rows = machine.rows(program)
        assert {row[1] for row in rows} == WAYS[way]
        assert {row[3] for row in rows} == {owner}
        netid = min(WAYS[way])
        assert machine.space.run(registrant, "callrpc", str(program), netid).stdout == "answered 42\n"
        kind = ("-T", netid, "127.0.0.1", str(program), "1")
        assert machine.rpcinfo(*kind) == f"program {program} version 1 ready and waiting\n"


@pytest.mark.parametrize(("put", "remove"), [("pmap_set", "pmap_unset"), ("rpcb_set", "rpcb_unset")])
def test_mappings_are_set_looked_up_and_removed(machine: Machine, registrant: Path, put: str, remove: str) -> None:
    program = "410000"

    def run(way: str) -> str:
        return machine.space.run(registrant, way, program, check=False).stdout

    assert run(put) == "granted\n"
    assert run("pmap_getport") == "port 5000\n"
    assert run(put) == "granted\n"  # the same again
    assert run(remove) == "granted\n"
    assert run("pmap_getport") == "port 0\n"
    assert run(remove) == "granted\n"  # of nothing


def test_another_address_is_refused(machine: Machine, registrant: Path) -> None:
    program = "410001"
    assert machine.space.run(registrant, "rpcb_set", program).stdout == "granted\n"
    assert machine.space.run(registrant, "rpcb_set", program, "0.0.0.0.19.137", check=False).stdout == "refused\n"
    assert [row[2] for row in machine.rows(410_001)] == ["0.0.0.0.19.136"]


def test_somebody_elses_entry_cannot_be_removed_and_roots_word_counts(machine: Machine, registrant: Path) -> None:
    program = "410002"
    machine.as_user(1000, registrant, "rpcb_set", program)
    machine.as_user(1001, registrant, "rpcb_unset", program, check=False)
    machine.as_user(1001, registrant, "pmap_unset", program, check=False)
    assert [row[3] for row in machine.rows(410_002)] == ["1000"]
    machine.rpcinfo("-d", program, "1")
    assert machine.rows(410_002) == []


def test_the_registrys_own_entries_stay_when_a_user_wants_them_gone(machine: Machine) -> None:
    before = machine.rows(100_000)
    machine.as_user(1000, "rpcinfo", "-d", "100000", "4", check=False)
    assert machine.rows(100_000) == before


def test_without_the_local_socket_libtirpc_registers_over_loopback(machine: Machine, registrant: Path) -> None:
    space = machine.space
    space.run("mv", "/run/rpcbind.sock", "/run/rpcbind.aside")
    try:
        assert space.run(registrant, "rpcb_set", "410003").stdout == "granted\n"
    finally:
        space.run("mv", "/run/rpcbind.aside", "/run/rpcbind.sock")
    assert [row[1:3] for row in machine.rows(410_003)] == [["tcp", "0.0.0.0.19.136"]]
