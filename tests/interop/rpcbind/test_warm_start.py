"""The table over a restart: ours keeps it also when killed; it and Debian's rpcbind -w read each other's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import peers
from tests.interop.rpcbind.conftest import start_registry

ROW = ["1", "tcp", "0.0.0.0.19.136", "1000"]


def hand_over(namespace: peers.Namespace) -> None:
    """Make the folder that of the user which Debian's rpcbind becomes, as its unit does."""
    namespace.run("mkdir", "-p", "/run/rpcbind")
    namespace.run("chown", "-R", "_rpc", "/run/rpcbind")


@pytest.mark.parametrize("after", ["rpcbind", "ours"])
@pytest.mark.parametrize("before", ["rpcbind", "ours"])
def test_the_table_is_handed_over(namespace: peers.Namespace, registrant: Path, before: str, after: str) -> None:
    hand_over(namespace)
    machine = start_registry(namespace, before, state=True)
    machine.as_user(1000, registrant, "rpcb_set", "430000")
    machine.registry.stop()
    hand_over(namespace)
    machine = start_registry(namespace, after, state=True)
    assert machine.rows(430_000) == [ROW]
    machine.as_user(1001, registrant, "rpcb_unset", "430000", check=False)
    assert machine.rows(430_000) == [ROW]
    machine.as_user(1000, registrant, "rpcb_unset", "430000")
    assert machine.rows(430_000) == []


def test_ours_keeps_the_table_when_it_is_killed(namespace: peers.Namespace, registrant: Path) -> None:
    machine = start_registry(namespace, "ours", state=True)
    machine.as_user(1000, registrant, "rpcb_set", "430000")
    state = namespace_file(namespace, "/run/rpcbind/rpcbind.xdr")
    peers.wait_until(lambda: state.exists() and len(state.read_bytes()) > 8, "the state file")
    machine.registry.kill()
    machine = start_registry(namespace, "ours", state=True)
    assert machine.rows(430_000) == [ROW]


def test_a_damaged_file_is_put_aside_and_ours_starts_empty(namespace: peers.Namespace) -> None:
    namespace.run("mkdir", "-p", "/run/rpcbind")
    namespace.run("sh", "-c", "printf 'no list' > /run/rpcbind/rpcbind.xdr")
    machine = start_registry(namespace, "ours", state=True)
    assert "cannot be read" in machine.registry.output
    assert namespace.run("cat", "/run/rpcbind/rpcbind.xdr.bad").stdout == "no list"


def namespace_file(namespace: peers.Namespace, path: str) -> Path:
    """Return a file of the namespace as this process sees it."""
    return Path(f"/proc/{namespace.holder}/root{path}")
