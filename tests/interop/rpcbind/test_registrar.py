"""A registrar through the life of a registry: goals R1 to R5, on a machine of its own, with each registry."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests import peers
from tests.interop.rpcbind.conftest import Machine, start_registry

if TYPE_CHECKING:
    from collections.abc import Callable

SERVED: Final = Path(__file__).with_name("served.py")
PROGRAM: Final = 500_000
NETIDS: Final = {"tcp", "udp", "tcp6", "udp6", "local"}


@pytest.fixture(params=["rpcbind", "ours"])
def kind(request: pytest.FixtureRequest) -> str:
    peers.require("rpcbind", "rpcinfo")
    made: str = request.param
    return made


def serve(space: peers.Namespace, port: int = 0, *, uid: int = 0) -> peers.Background:
    identity = ("setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups") if uid else ()
    return space.start(*identity, sys.executable, SERVED, str(PROGRAM), str(port))


def netids(machine: Machine) -> set[str]:
    return {row[1] for row in machine.rows(PROGRAM)}


def seconds_until(condition: Callable[[], bool], what: str) -> float:
    start = time.monotonic()
    peers.wait_until(condition, what)
    return time.monotonic() - start


def restart(machine: Machine) -> None:
    """Start the registry again after it was killed."""
    # What the killed one left: Debian's rpcbind refuses to start over its lock only while that is held.
    started = start_registry(machine.space, machine.kind)
    machine.registry = started.registry


def test_everything_that_is_served_is_registered_and_unregistered_at_the_end(
    namespace: peers.Namespace, kind: str
) -> None:
    machine = start_registry(namespace, kind)
    service = serve(namespace)
    service.wait_for_output("settled: LOCAL_SOCKET")
    rows = machine.rows(PROGRAM)
    assert {row[1] for row in rows} == NETIDS
    assert {row[3] for row in rows} == {"superuser"}  # goal R5
    for netid in ("tcp", "udp"):
        assert "ready and waiting" in machine.rpcinfo("-T", netid, "127.0.0.1", str(PROGRAM), "1")
    assert service.stop() == 0
    assert machine.rows(PROGRAM) == []
    assert service.output.count(": registered at") == len(NETIDS)
    assert service.output.count(": unregistered") == len(NETIDS)


def test_an_absent_registry_is_met_when_it_comes(namespace: peers.Namespace, kind: str) -> None:
    """Goal R1: the service runs at once, and registers within five seconds."""
    service = serve(namespace)
    output = service.wait_for_output("settled: ABSENT")
    assert "no registry runs here" in output
    machine = start_registry(namespace, kind)
    assert seconds_until(lambda: netids(machine) == NETIDS, "the registration") < 5
    assert service.output.count("no registry runs here") == 1


def test_a_registry_that_was_killed_gets_the_registration_back(namespace: peers.Namespace, kind: str) -> None:
    """Goal R2: within two seconds of the registry's return; the end of the held connection tells."""
    machine = start_registry(namespace, kind)
    service = serve(namespace)
    service.wait_for_output("settled: LOCAL_SOCKET")
    for _ in range(3):
        machine.registry.kill()
        service.wait_for_output("the line to the registry was lost")
        restart(machine)
        assert seconds_until(lambda: netids(machine) == NETIDS, "the registration") < 2


def test_an_entry_that_somebody_removed_comes_back(namespace: peers.Namespace, kind: str) -> None:
    machine = start_registry(namespace, kind)
    serve(namespace).wait_for_output("settled: LOCAL_SOCKET")
    machine.rpcinfo("-d", str(PROGRAM), "1")
    peers.wait_until(lambda: netids(machine) == NETIDS, "the registration")


def test_what_a_killed_server_left_is_replaced(namespace: peers.Namespace, kind: str) -> None:
    """Goal R3: exactly one entry for each transport, and it is the living server's."""
    machine = start_registry(namespace, kind)
    first = serve(namespace, 5001)
    first.wait_for_output("settled: LOCAL_SOCKET")
    first.kill()
    assert netids(machine) == NETIDS
    second = serve(namespace, 5002)
    second.wait_for_output("settled: LOCAL_SOCKET")
    addresses = {row[1]: row[2] for row in machine.rows(PROGRAM)}
    assert addresses == {
        "tcp": "0.0.0.0.19.138",
        "udp": "0.0.0.0.19.138",
        "tcp6": "::.19.138",
        "udp6": "::.19.138",
        "local": f"/run/served.{PROGRAM}.5002",
    }
    assert len(machine.rows(PROGRAM)) == len(NETIDS)


def test_somebody_elses_living_server_is_never_replaced(namespace: peers.Namespace, kind: str) -> None:
    """Goal R4: logged as an error, and the service goes on."""
    machine = start_registry(namespace, kind)
    serve(namespace, 5001).wait_for_output("settled: LOCAL_SOCKET")
    before = machine.rows(PROGRAM)
    second = serve(namespace, 5002)
    output = second.wait_for_output("settled: LOCAL_SOCKET")
    assert machine.rows(PROGRAM) == before
    assert (
        "another server of this program is registered at 0.0.0.0.19.137 (owner superuser) and answers there" in output
    )
    assert second.stop() == 0
    assert machine.rows(PROGRAM) == before


def test_a_server_that_is_stopped_but_alive_is_not_taken_for_dead(namespace: peers.Namespace, kind: str) -> None:
    machine = start_registry(namespace, kind)
    first = serve(namespace, 5001)
    first.wait_for_output("settled: LOCAL_SOCKET")
    before = machine.rows(PROGRAM)
    first.process.send_signal(signal.SIGSTOP)
    try:
        serve(namespace, 5002).wait_for_output("settled: LOCAL_SOCKET", timeout=40)
        assert machine.rows(PROGRAM) == before
    finally:
        first.process.send_signal(signal.SIGCONT)


def test_what_another_user_left_is_explained(namespace: peers.Namespace, kind: str) -> None:
    machine = start_registry(namespace, kind)
    namespace.run("chmod", "777", "/run")
    first = serve(namespace, 5001, uid=1001)
    first.wait_for_output("settled: LOCAL_SOCKET")
    assert {row[3] for row in machine.rows(PROGRAM)} == {"1001"}
    first.kill()
    before = machine.rows(PROGRAM)
    second = serve(namespace, 5002, uid=1002)
    output = second.wait_for_output("settled: LOCAL_SOCKET")
    assert "a server that is gone left 0.0.0.0.19.137, owned by 1001; remove it as root: rpcinfo -d" in output
    assert machine.rows(PROGRAM) == before


def test_without_the_local_socket_loopback_is_used_and_said(namespace: peers.Namespace, kind: str) -> None:
    machine = start_registry(namespace, kind)
    namespace.run("mv", "/run/rpcbind.sock", "/run/rpcbind.aside")
    service = serve(namespace)
    output = service.wait_for_output("settled: LOOPBACK")
    assert "but not on a local socket" in output
    namespace.run("mv", "/run/rpcbind.aside", "/run/rpcbind.sock")
    assert netids(machine) == NETIDS
    assert {row[3] for row in machine.rows(PROGRAM)} == {"superuser"}
