"""A C client, its stubs from ipc.x by the real rpcgen, its RPC by libtirpc, against a real server."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.ipcserver.serving import Serving
from tests.peers import ROOT, SPEC, Background, compile_rpc_client, environment, require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers import Namespace

EXAMPLE = ROOT / "examples" / "c"

STORY = """\
create: RIPC_OK
create the same again: RIPC_EEXIST
send type 1: RIPC_OK
send type 2: RIPC_OK
send type 1: RIPC_OK
received: type 2, "second"
receive type 2: RIPC_OK
received: type 1, "first"
receive any: RIPC_OK
key          id       owner    mode   bytes    messages
0x00001234   ID       OWNER    600    5        1
received: type 1, "third"
receive up to type 5: RIPC_OK
receive type 7, without waiting: RIPC_ENOMSG
receive type 7: waiting for another client ...
received: type 7, "from another client"
receive type 7: RIPC_OK
"""

TWICE = """\
send: call N of the session: RIPC_OK
send: call N of the session: RIPC_OK
send type 9, and the same call again: RIPC_OK
received: type 9, "once only"
receive type 9: RIPC_OK
receive type 9: RIPC_ENOMSG
"""

END = """\
remove: RIPC_OK
send to what was removed: RIPC_EINVAL
"""


@pytest.fixture(scope="module")
def ipcdemo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, compiled."""
    return compile_rpc_client(tmp_path_factory.mktemp("c"), SPEC, [EXAMPLE / "ipcdemo.c"], "ipcdemo")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    """A server on a free port of loopback, without a portmapper."""
    with Serving(tmp_path) as running:
        yield running
        assert running.stop() == 0


def run(*arguments: str | Path, check: bool = True) -> str:
    """Run a client to its end and return what it said."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )
    if check:
        assert done.returncode == 0, done.stdout
    return done.stdout


def at(client: Path, server: Serving) -> list[str]:
    """Return the client's command as far as the server's place."""
    return [str(client), "-p", str(server.port), "127.0.0.1"]


def told(output: str) -> str:
    """Leave out of a story what differs from run to run."""
    output = re.sub(r"(?m)^(0x00001234   )\d+ +\d+ +", r"\1ID       OWNER    ", output)
    return re.sub(r"call \d+ of", "call N of", output)


def test_the_example_is_built_by_its_own_makefile(tmp_path: Path) -> None:
    require("make", "cc", "rpcgen", "libtirpc")
    shutil.copytree(
        EXAMPLE, tmp_path / "c", ignore=shutil.ignore_patterns("*.o", "ipc*.x", "ipc.h", "ipc_*", "ipcdemo")
    )
    output = run("make", "-C", tmp_path / "c", f"SPEC={SPEC}", "CC=cc -Werror")
    assert (tmp_path / "c" / "ipcdemo").exists()
    assert "warning" not in output


@pytest.mark.parametrize("transport", [[], ["-u"]], ids=["tcp", "udp"])
def test_the_whole_story_without_a_session(ipcdemo: Path, server: Serving, transport: list[str]) -> None:
    output = run(ipcdemo, *transport, "-p", str(server.port), "127.0.0.1", "demo", "0x1234")
    assert told(output) == STORY + END


@pytest.mark.parametrize("transport", [[], ["-u"]], ids=["tcp", "udp"])
def test_the_whole_story_in_a_session(ipcdemo: Path, server: Serving, transport: list[str]) -> None:
    output = run(ipcdemo, "-s", *transport, "-p", str(server.port), "127.0.0.1", "demo", "0x1234")
    first, *rest = told(output).splitlines(keepends=True)
    assert re.fullmatch(r"session: open, lease \d+ ms\n", first)
    assert "".join(rest) == STORY + TWICE + END + "session: closed, RIPC_OK\n"


@pytest.mark.parametrize("portmapper", ["system", "builtin"])
@pytest.mark.parametrize("transport", [[], ["-u"]], ids=["tcp", "udp"])
def test_the_server_is_found_through_the_portmapper(
    ipcdemo: Path, namespace: Namespace, tmp_path: Path, portmapper: str, transport: list[str]
) -> None:
    if portmapper == "system":
        namespace.rpcbind()
    server = Serving(tmp_path, "--portmapper", portmapper, namespace=namespace)
    server.start()
    assert server.port == 600
    namespace.wait_for_program(536871512)
    output = namespace.run(ipcdemo, *transport, "127.0.0.1", "demo", "0x1234").stdout
    assert told(output) == STORY + END
    assert server.stop() == 0


def test_a_receive_waits_until_another_client_sends(ipcdemo: Path, server: Serving, tmp_path: Path) -> None:
    client = at(ipcdemo, server)
    run(*client, "create", "0x77")
    with Background([*client, "recv", "0x77", "5"], tmp_path / "recv.log") as receiver:
        assert run(*client, "send", "0x77", "4", "not this one") == "send: RIPC_OK\n"
        assert run(*client, "send", "0x77", "5", "this one") == "send: RIPC_OK\n"
        assert receiver.process.wait(20) == 0
        assert receiver.output == 'received: type 5, "this one"\nrecv: RIPC_OK\n'
    assert run(*client, "nowait", "0x77") == 'received: type 4, "not this one"\nnowait: RIPC_OK\n'


def test_what_was_sent_is_there_once_after_a_crash(ipcdemo: Path, tmp_path: Path) -> None:
    server = Serving(tmp_path)
    server.start()
    client = at(ipcdemo, server)
    run(*client, "create", "0x78")
    run(*client, "send", "0x78", "1", "before the crash")
    server.kill()
    with server:
        client = at(ipcdemo, server)
        assert run(*client, "nowait", "0x78") == 'received: type 1, "before the crash"\nnowait: RIPC_OK\n'
        assert run(*client, "nowait", "0x78", check=False) == "nowait: RIPC_ENOMSG\n"


def test_refusals_have_their_names_and_an_exit_status(ipcdemo: Path, server: Serving) -> None:
    client = at(ipcdemo, server)
    assert run(*client, "recv", "0x404", check=False) == "recv: RIPC_ENOENT\n"
    assert subprocess.run([*client, "recv", "0x404"], check=False, capture_output=True).returncode == 1
    assert subprocess.run([*client, "recv", "no-key"], check=False, capture_output=True).returncode == 2


def test_removing_a_queue_wakes_who_waits_there(ipcdemo: Path, server: Serving, tmp_path: Path) -> None:
    client = at(ipcdemo, server)
    run(*client, "create", "0x79")
    with Background([*client, "recv", "0x79"], tmp_path / "recv.log") as receiver:
        server.wait_for_waiters(1)
        run(*client, "remove", "0x79")
        assert receiver.process.wait(20) == 1
        assert receiver.output == "recv: RIPC_EIDRM\n"
