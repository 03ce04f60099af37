"""libipcclient, built by its own Makefile, against a real server: System V's results, signals, deaths, restarts."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from ipcserver.client import connect
from tests.interop.leases import SHORT, wait_for_a_lease_to_end
from tests.ipcserver.serving import Serving
from tests.peers import ROOT, Background, environment, require, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIBRARY = ROOT / "clients" / "c"
PEER = ROOT / "tests" / "interop" / "ipcclient_peer.c"

QUEUES = """\
get again exclusively: EEXIST
send: 0
send: 0
send type 0: EINVAL
stat: 0
messages: 2, last sent by me: 1
received: type 2, "second"
received: type 1, "first"
received: ENOMSG
set: 0
remove: 0
send to nothing: EINVAL
"""

SEMAPHORES = """\
set all: 0
take without waiting: EAGAIN
take in time: EAGAIN
take of none: EFBIG
take two: 0
get all: 0
values: 2 5 6
set beyond: ERANGE
mine: 1
"""

INTERRUPTED = """\
received: EINTR
caught: 1
send: 0
received: type 7, "after"
"""

FORK = """\
parent gives: 0
child gives: 0
value: 8
undone with the child: 1
value: 5
"""


def _build(directory: Path, *settings: str) -> Path:
    """Install the library by its Makefile, and link the program of the tests with it as a user would."""
    require("gcc", "make", "pkg-config", "rpcgen", "libtirpc")
    destination = directory / "installed"
    arguments = [f"BUILD={directory / 'build'}", f"PREFIX={destination}", *settings]
    built = subprocess.run(
        ["make", "-C", str(LIBRARY), *arguments, "install"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment(),
    )
    assert built.returncode == 0, built.stdout + built.stderr
    where = environment(PKG_CONFIG_PATH=str(destination / "lib" / "pkgconfig"))
    flags = subprocess.run(
        ["pkg-config", "--static", "--cflags", "--libs", "ipcclient"],
        capture_output=True,
        text=True,
        check=True,
        env=where,
    )
    program = directory / "ipcclient_peer"
    command = ["gcc", "-g", "-Wall", "-D_DEFAULT_SOURCE", "-o", str(program), str(PEER), *flags.stdout.split()]
    linked = subprocess.run(
        [*command, f"-Wl,-rpath,{destination / 'lib'}"], capture_output=True, text=True, check=False, timeout=60
    )
    assert linked.returncode == 0, linked.stderr
    assert shutil.which(program) is not None
    return program


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the tests."""
    return _build(tmp_path_factory.mktemp("ipcclient"), "CFLAGS=-O1 -g -Werror")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that keeps what it acknowledged; each test has keys of its own."""
    with Serving(tmp_path_factory.mktemp("server")) as serving:
        yield serving


class _Steps:
    """Runs steps of the program against a server."""

    def __init__(self, program: Path, server: Serving, directory: Path) -> None:
        self._program = program
        self._server = server
        self._directory = directory
        self._started = 0

    def _environment(self) -> dict[str, str]:
        return environment(IPCSERVER=self._server.local, IPCSERVER_PATIENCE="30")

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=self._environment(),
        )
        return done.stdout

    def start(self, *arguments: str) -> Background:
        self._started += 1
        log = self._directory / f"step-{self._started}.log"
        return Background([self._program, *arguments], log, env=self._environment())


@pytest.fixture
def steps(peer: Path, server: Serving, tmp_path: Path) -> _Steps:
    return _Steps(peer, server, tmp_path)


def _until_waiting(server: Serving, number: int = 1) -> None:
    """Wait until calls wait at the server."""
    with connect(server.local) as client:
        wait_until(lambda: client.info().waiters >= number, "a waiting call")


def test_queues_give_the_results_of_system_v(steps: _Steps) -> None:
    assert steps.run("queues", "0x51") == QUEUES


def test_semaphores_give_the_results_of_system_v(steps: _Steps) -> None:
    assert steps.run("semaphores", "0x52") == SEMAPHORES


def test_the_library_is_c89_on_the_oldest_stubs_and_works_without_what_only_linux_has(
    server: Serving, tmp_path: Path
) -> None:
    stubs = tmp_path / "build"
    steps = _Steps(
        _build(
            tmp_path,
            "RPCGEN=rpcgen -b",
            "STD=-std=c89 -pedantic",
            "CFLAGS=-O1 -g -Werror -U__linux__ -Ulinux",
            "TIRPC_CFLAGS=-isystem /usr/include/tirpc",
            f"STUBS=-isystem {stubs}",
        ),
        server,
        tmp_path,
    )
    assert "quad_t" not in (stubs / "ipc.h").read_text()
    assert "hyper" not in (stubs / "ipc_xdr.c").read_text().replace("ripc_hyper", "")
    assert steps.run("queues", "0x61") == QUEUES
    assert steps.run("semaphores", "0x62") == SEMAPHORES
    assert steps.run("interrupted", "0x63") == INTERRUPTED
    assert steps.run("threads", "0x64") == "received by threads: 10\n"


def test_an_address_may_be_a_host_and_a_port(peer: Path, server: Serving) -> None:
    done = subprocess.run(
        [peer, "queues", "0x51"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment(IPCSERVER=f"127.0.0.1:{server.port}"),
    )
    assert done.stdout == QUEUES


def test_a_blocked_receive_gets_what_is_sent(steps: _Steps, server: Serving) -> None:
    with steps.start("receive", "0x53") as receiver:
        _until_waiting(server)
        assert steps.run("send", "0x53", "hello") == "send: 0\n"
        receiver.wait_for_output('received: type 1, "hello"')


def test_a_signal_ends_a_blocked_receive_with_eintr_and_takes_nothing(steps: _Steps) -> None:
    assert steps.run("interrupted", "0x54") == INTERRUPTED


def test_adjustments_are_undone_when_the_process_is_killed(steps: _Steps) -> None:
    with steps.start("hold", "0x55") as holder:
        holder.wait_for_output("held: 0")
        assert steps.run("value", "0x55") == "value: 1\n"
        holder.kill()
        assert steps.run("zero", "0x55") == "zero: 0\n"


def test_adjustments_of_a_child_are_its_own(steps: _Steps) -> None:
    assert steps.run("fork", "0x56") == FORK
    assert steps.run("value", "0x56") == "value: 0\n"


def test_adjustments_live_on_after_ipcc_execve(steps: _Steps) -> None:
    said = steps.run("exec", "0x5c").splitlines()
    assert said == ["held: 0", "no program: ENOENT", "held more: 0", "still: 6", "given back: 0", "still: 4"]
    assert steps.run("zero", "0x5c") == "zero: 0\n"


def test_a_message_that_a_killed_process_received_does_not_come_back(steps: _Steps) -> None:
    assert steps.run("count", "0x57", "2") == "sent\n"
    assert steps.run("receive-and-die", "0x57") == 'received: type 1, "0"\n'
    assert steps.run("receive", "0x57") == 'waiting: 0\nreceived: type 1, "1"\n'


def test_every_thread_waits_for_itself(steps: _Steps) -> None:
    assert steps.run("threads", "0x58") == "received by threads: 10\n"


def test_a_blocked_receive_outlives_a_crash_of_the_server(steps: _Steps, server: Serving) -> None:
    with steps.start("receive", "0x59") as receiver, steps.start("take", "0x59") as taker:
        _until_waiting(server, 2)
        server.kill()
        server.start()
        assert steps.run("send", "0x59", "after") == "send: 0\n"
        receiver.wait_for_output('received: type 1, "after"')
        assert "taken" not in taker.output
        with steps.start("hold", "0x59") as holder:
            holder.wait_for_output("held: 0")
            taker.wait_for_output("taken: 0")


def test_a_process_that_makes_no_calls_keeps_its_lease_and_a_dead_one_does_not(peer: Path, tmp_path: Path) -> None:
    with Serving(tmp_path, *SHORT) as server:
        steps = _Steps(peer, server, tmp_path)
        with steps.start("hold-lease", "0x5b") as holder:
            holder.wait_for_output("held: 0")
            wait_for_a_lease_to_end(server)
            assert steps.run("value", "0x5b") == "value: 1\n"
            server.kill()
            server.start()
            wait_for_a_lease_to_end(server)
            assert steps.run("value", "0x5b") == "value: 1\n"
            holder.kill()
            assert steps.run("zero", "0x5b") == "zero: 0\n"


def test_messages_sent_across_a_crash_arrive_once_each(steps: _Steps, server: Serving) -> None:
    with steps.start("count", "0x5a", "300") as sender:
        with connect(server.local) as client:
            queue = client.msgget(0x5A, create=True, mode=0o600)
            first = [queue.receive().text for _ in range(20)]
            server.kill()
            server.start()
            rest = [queue.receive(timeout=30).text for _ in range(280)]
        sender.wait_for_output("sent")
    assert first + rest == [b"%d" % number for number in range(300)]


def test_without_a_server_a_call_fails_when_patience_ends(peer: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [peer, "get", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=environment(IPCSERVER=str(tmp_path / "nobody.sock"), IPCSERVER_PATIENCE="0"),
    )
    assert done.stdout == "get: ENOENT\n"
