"""The real rpcinfo sees the IPC program and gets its procedure 0 answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.ipcserver.serving import Serving
from tests.peers import require, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers import Namespace

PROGRAM = "536871512"
READY = f"program {PROGRAM} version 1 ready and waiting\n"


def registered(namespace: Namespace) -> list[tuple[str, str, int]]:
    """Return what ``rpcinfo -p`` shows of the program: version, transport, port; nothing if no portmapper answers."""
    output = namespace.run("rpcinfo", "-p", "127.0.0.1", check=False).stdout
    rows = [line.split() for line in output.splitlines()]
    return sorted((row[1], row[2], int(row[3])) for row in rows if row and row[0] == PROGRAM)


BOTH = [("1", "tcp", 600), ("1", "udp", 600)]


@pytest.fixture(params=["system", "builtin"])
def server(request: pytest.FixtureRequest, namespace: Namespace, tmp_path: Path) -> Serving:
    """A server as root starts it, with the real rpcbind or as the portmapper itself."""
    require("rpcinfo")
    if request.param == "system":
        namespace.rpcbind()
    started = Serving(tmp_path, "--portmapper", "auto", namespace=namespace)
    started.start()
    wait_until(lambda: registered(namespace) == BOTH, "the registration")
    return started


def test_it_is_listed_while_it_runs_and_not_after(server: Serving, namespace: Namespace) -> None:
    served_by_itself = server.process.output.count("111")
    assert server.stop() == 0
    if 111 in namespace.ports():
        assert registered(namespace) == []
    else:
        assert served_by_itself


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_procedure_0_is_answered(server: Serving, namespace: Namespace, transport: str) -> None:
    assert namespace.run("rpcinfo", "-T", transport, "127.0.0.1", PROGRAM, "1").stdout == READY


@pytest.mark.parametrize("option", ["-t", "-u"], ids=["tcp", "udp"])
def test_procedure_0_is_answered_on_port_600_without_the_portmapper(
    server: Serving, namespace: Namespace, option: str
) -> None:
    assert namespace.run("rpcinfo", "-n", "600", option, "127.0.0.1", PROGRAM, "1").stdout == READY


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_another_version_is_told_which_ones_there_are(server: Serving, namespace: Namespace, transport: str) -> None:
    done = namespace.run("rpcinfo", "-T", transport, "127.0.0.1", PROGRAM, "7", check=False)
    assert done.returncode != 0
    assert re.search(r"low version = 1, high version = 1", done.stdout)


def test_versions_are_found_by_probing(server: Serving, namespace: Namespace) -> None:
    """Without a version rpcinfo calls 0 and then a huge one, and believes the range in the refusals."""
    assert namespace.run("rpcinfo", "-T", "tcp", "127.0.0.1", PROGRAM).stdout == READY


def test_the_short_listing_of_rpcbind_has_it(server: Serving, namespace: Namespace) -> None:
    output = namespace.run("rpcinfo", "-s", "127.0.0.1").stdout
    assert re.search(rf"(?m)^\s*{PROGRAM}\s+1\s+\S*tcp", output), output


def test_after_a_crash_and_a_new_start_it_is_registered_once(namespace: Namespace, tmp_path: Path) -> None:
    require("rpcinfo")
    namespace.rpcbind()
    server = Serving(tmp_path, namespace=namespace)
    server.start()
    wait_until(lambda: registered(namespace) == BOTH, "the registration")
    server.kill()
    assert registered(namespace) == BOTH, "rpcbind does not know of the crash"
    server.start()
    # What rpcbind says is what the first life left, until the second has looked.
    server.process.wait_for_output("udp at 127.0.0.1.2.88: registered at")
    assert registered(namespace) == BOTH
    assert namespace.run("rpcinfo", "-T", "tcp", "127.0.0.1", PROGRAM, "1").stdout == READY
    assert server.stop() == 0
    assert registered(namespace) == []


def test_a_restarted_rpcbind_is_told_again(namespace: Namespace, tmp_path: Path) -> None:
    require("rpcinfo")
    first = namespace.rpcbind()
    server = Serving(tmp_path, namespace=namespace)
    server.start()
    wait_until(lambda: registered(namespace) == BOTH, "the registration")
    first.stop()
    wait_until(lambda: 111 not in namespace.ports(), "rpcbind's end")
    namespace.rpcbind()
    wait_until(lambda: registered(namespace) == BOTH, "the registration with the new rpcbind", timeout=60)
    assert server.stop() == 0
