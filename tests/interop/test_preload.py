"""Programs that know nothing of servers give the same results by the kernel and by librpcipc.so, side by side."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import pytest

from ipcserver.client import connect
from tests.interop.leases import SHORT, wait_for_a_lease_to_end
from tests.ipcserver.serving import Serving
from tests.peers import ROOT, Background, environment, find, require, require_root, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = ROOT / "tests" / "interop"

SYSV_IPC = """
import os, sysv_ipc
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX, max_message_size=64)
queue.send(b"one", type=1); queue.send(b"two", type=2)
print(queue.current_messages, queue.receive(type=2), queue.receive(block=False), queue.last_send_pid == os.getpid())
try:
    queue.receive(block=False)
except sysv_ipc.BusyError as error:
    print(error)
queue.remove()
try:
    queue.send(b"x")
except OSError as error:
    print(error)
semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
with semaphore:
    print(semaphore.value, semaphore.waiting_for_nonzero)
    semaphore.block = False
    try:
        semaphore.acquire()
    except sysv_ipc.BusyError as error:
        print(error)
print(semaphore.value, semaphore.last_pid == os.getpid(), oct(semaphore.mode))
semaphore.undo = True
child = os.fork()
if child == 0:
    semaphore.acquire()
    os._exit(0)
os.waitpid(child, 0)
print(semaphore.value)
semaphore.remove()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that keeps what it acknowledged."""
    with Serving(tmp_path_factory.mktemp("server")) as serving:
        yield serving


@pytest.fixture(scope="module")
def preloaded(library: Path, server: Serving) -> dict[str, str]:
    """The environment of a program that uses the server."""
    return environment(LD_PRELOAD=str(library), IPCSERVER=server.local, IPCSERVER_PATIENCE="30")


def _run(env: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60, env=env
    )
    return f"{done.stdout}ended with {done.returncode}\n"


def _perl() -> str:
    require("perl")
    perl = find("perl")
    assert perl is not None
    return perl


def test_a_c_program_sees_the_kernels_results_errors_and_fields(program: Path, preloaded: dict[str, str]) -> None:
    native = _run(environment(), str(program))
    assert native.count("\n") > 70
    assert _run(preloaded, str(program)) == native


def test_perls_modules_see_the_kernels_results(preloaded: dict[str, str]) -> None:
    perl = _perl()
    script = str(HERE / "sysv_program.pl")
    native = _run(environment(), perl, script)
    assert native.endswith("ended with 0\n")
    assert _run(preloaded, perl, script) == native


def test_pythons_sysv_ipc_sees_the_kernels_results(preloaded: dict[str, str]) -> None:
    native = _run(environment(), sys.executable, "-c", SYSV_IPC)
    assert native.endswith("ended with 0\n")
    assert _run(preloaded, sys.executable, "-c", SYSV_IPC) == native


def test_adjustments_live_on_after_exec_and_end_with_the_process(process: Path, preloaded: dict[str, str]) -> None:
    native = _run(environment(), str(process), "exec")
    assert native.count("after exec: held") == 11
    assert _run(preloaded, str(process), "exec") == native


def test_children_of_every_kind_leave_their_parents_adjustments_alone(process: Path, preloaded: dict[str, str]) -> None:
    native = _run(environment(), str(process), "children")
    assert native.endswith("ended with 0\n")
    assert _run(preloaded, str(process), "children") == native


def test_a_blocked_call_is_left_by_a_handler_that_forks_or_jumps_and_by_cancellation(
    process: Path, preloaded: dict[str, str]
) -> None:
    native = _run(environment(), str(process), "out")
    assert native.endswith("ended with 0\n")
    assert _run(preloaded, str(process), "out") == native


@pytest.mark.skipif(platform.machine() != "x86_64", reason="syscall and dlsym are replaced on x86-64 only")
@pytest.mark.parametrize("way", ["number", "dlsym"])
def test_calls_by_number_and_by_looking_them_up_go_to_the_server(
    process: Path, preloaded: dict[str, str], way: str
) -> None:
    arguments = [str(process), way, str(process.with_suffix(".so"))]
    native = _run(environment(), *arguments)
    assert native.endswith("ended with 0\n")
    assert _run(preloaded, *arguments) == native


def test_bad_pointers_are_found_where_the_kernel_finds_them(program: Path, preloaded: dict[str, str]) -> None:
    native = _run(environment(), str(program), "pointers")
    assert native.count("Bad address") > 20
    assert _run(preloaded, str(program), "pointers") == native


@pytest.mark.parametrize("transport", ["local", "tcp"])
def test_another_user_may_do_what_the_kernel_lets_him_do(
    library: Path, program: Path, tmp_path: Path, transport: str
) -> None:
    require_root()
    native = _run(environment(), str(program), "users")
    assert native.count("Permission denied") > 40
    assert native.count("Operation not permitted") > 20
    with TemporaryDirectory(dir="/tmp") as open_to_all:
        Path(open_to_all).chmod(0o755)
        socket = f"{open_to_all}/socket"
        with Serving(tmp_path, "--trust", "127.0.0.0/8:root", "--socket", socket) as server:
            address = socket if transport == "local" else f"127.0.0.1:{server.port}"
            preloaded = environment(LD_PRELOAD=str(library), IPCSERVER=address)
            assert _run(preloaded, str(program), "users") == native


def test_a_local_socket_that_one_may_not_reach_is_told_at_once(library: Path, program: Path, tmp_path: Path) -> None:
    require_root()
    with Serving(tmp_path) as server:
        tmp_path.chmod(0o700)
        preloaded = environment(LD_PRELOAD=str(library), IPCSERVER=server.local)
        said = _run(preloaded, str(program), "users")
    assert f"IPC server {server.local}: Permission denied (may we reach it, does it trust us?)\n" in said
    assert "msgget as it is                          No space left on device\n" in said


def test_programs_that_list_objects_see_the_servers(library: Path, program: Path, tmp_path: Path) -> None:
    require("unshare", "ipcs", "ipcrm")
    require_root()
    native = _run(environment(), "unshare", "--ipc", str(program), "list")
    assert "2 queues, 2 messages, 20 bytes\n" in native
    with Serving(tmp_path, "--limit", "semmns=1024000000") as server:
        preloaded = environment(LD_PRELOAD=str(library), IPCSERVER=server.local)
        assert _run(preloaded, str(program), "list") == native
        listed = _run(preloaded, "ipcs", "-q", "-s")
        assert re.findall("^0x00000([12]0[0-2]) ", listed, re.MULTILINE) == ["100", "102", "201", "202"]
        assert _run(preloaded, "ipcrm", "-Q", "0x100") == "ended with 0\n"
        assert "0x00000100" not in _run(preloaded, "ipcs", "-q")


def test_segments_are_the_kernels_unless_the_experimental_mode_is_asked_for(
    process: Path, preloaded: dict[str, str], server: Serving
) -> None:
    native = _run(environment(), str(process), "segments")
    assert _run(preloaded, str(process), "segments") == native
    with connect(server.local) as ipc:
        assert list(ipc.segments()) == []
    assert _run({**preloaded, "IPCSERVER_SHM": "experimental"}, str(process), "segments") == native
    perl = [_perl(), str(HERE / "sysv_shm.pl")]
    native = _run(environment(), *perl)
    assert native.endswith("remove: done\nended with 0\n")
    assert _run({**preloaded, "IPCSERVER_SHM": "experimental"}, *perl) == native


def test_what_the_experimental_mode_does_not_have_is_refused_aloud(process: Path, preloaded: dict[str, str]) -> None:
    said = _run({**preloaded, "IPCSERVER_SHM": "experimental"}, str(process), "lock")
    assert said.startswith("librpcipc: IPCSERVER_SHM=experimental has no SHM_LOCK and SHM_UNLOCK\n")
    assert "Operation not permitted" in said
    said = _run({**preloaded, "IPCSERVER_SHM": "yes"}, str(process), "lock")
    assert 'IPCSERVER_SHM=yes is neither "kernel" nor "experimental"' in said


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_blocked_calls_of_every_kind_go_on_after_a_restart_of_the_server(
    process: Path, library: Path, tmp_path: Path, end: Literal["kill", "stop"]
) -> None:
    with Serving(tmp_path) as server:
        env = environment(LD_PRELOAD=str(library), IPCSERVER=server.local)

        def start(name: str, *arguments: str) -> Background:
            return Background([process, name, *arguments], tmp_path / f"{name}-{arguments[0]}.log", env=env)

        with (
            start("count", "1", "300") as full,
            start("drain", "2", "1") as empty,
            start("take", "3") as taker,
            connect(server.local) as ipc,
        ):
            wait_until(lambda: ipc.info().waiters == 3, "three waiting calls")
            server.kill() if end == "kill" else server.stop()
            server.start()
            ipc.semget(3, 1).op((0, 1))
            taker.wait_for_output("semop                                    0")
            with start("count", "2", "1") as sender:
                sender.wait_for_output("sent")
            empty.wait_for_output("received                                 1")
            with start("drain", "1", "300") as drain:
                drain.wait_for_output("received                                 300")
                assert "not" not in drain.output
            full.wait_for_output("sent                                     300")
        for program in (full, empty, taker):
            assert program.process.returncode == 0, program.output


def test_two_programs_share_a_queue_of_the_server_and_a_restart_in_between(
    server: Serving, preloaded: dict[str, str], tmp_path: Path
) -> None:
    perl = _perl()
    key = 0x7E57
    receive = f'$q = msgget({key}, 01600); msgrcv($q, $b, 100, 0, 0) or die $!; print unpack("x[l!] a*", $b), "\\n"'
    send = f'$q = msgget({key}, 01600); msgsnd($q, pack("l! a*", 3, "across"), 0) or die $!'
    with Background([perl, "-e", receive], tmp_path / "receive.log", env=preloaded) as receiver:
        with connect(server.local) as ipc:
            wait_until(lambda: ipc.info().waiters == 1, "the receiver")
        server.kill()
        server.start()
        assert _run(preloaded, perl, "-e", send) == "ended with 0\n"
        receiver.wait_for_output("across")


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_process_that_makes_no_calls_keeps_its_adjustments_over_a_restart_of_the_server(
    process: Path, library: Path, tmp_path: Path, end: Literal["kill", "stop"]
) -> None:
    with Serving(tmp_path, *SHORT) as server:
        env = environment(LD_PRELOAD=str(library), IPCSERVER=server.local)
        with Background([process, "hold", "0x7e58"], tmp_path / "hold.log", env=env) as holder:
            holder.wait_for_output("0")
            server.kill() if end == "kill" else server.stop()
            server.start()
            wait_for_a_lease_to_end(server)
            with connect(server.local) as ipc:
                held = ipc.semget(0x7E58)
                assert held.values() == [1]
                holder.kill()
                wait_until(lambda: held.values() == [0], "the end of the holder")


def test_a_program_that_waits_for_its_server_says_so_once(process: Path, library: Path, tmp_path: Path) -> None:
    server = Serving(tmp_path)
    env = environment(LD_PRELOAD=str(library), IPCSERVER=server.local)
    with Background([process, "count", "5", "10"], tmp_path / "early.log", env=env) as early:
        early.wait_for_output("No such file or directory; trying again for 60 s (IPCSERVER_PATIENCE)\n")
        with server:
            early.wait_for_output("sent")
        assert early.output.count("librpcipc") == 1


def test_patience_is_had_once_and_not_for_every_call(program: Path, library: Path, tmp_path: Path) -> None:
    env = environment(LD_PRELOAD=str(library), IPCSERVER=str(tmp_path / "nobody.sock"), IPCSERVER_PATIENCE="2")
    said = _run(env, str(program), "pointers")  # some 60 calls, and _run waits for 60 seconds
    assert said.count("Identifier removed") + said.count("No space left on device") > 5
    assert said.endswith("ended with 0\n")


def test_without_a_server_the_program_gets_an_errno_of_the_manual_page_and_the_user_the_reason(
    library: Path, tmp_path: Path
) -> None:
    perl = _perl()
    nobody = str(tmp_path / "nobody.sock")
    env = environment(LD_PRELOAD=str(library), IPCSERVER=nobody, IPCSERVER_PATIENCE="0")
    said = _run(env, perl, "-e", "$|=1; print defined msgget(1, 01600) ? 'done' : $!{ENOSPC} ? 'ENOSPC' : $!, qq(\\n)")
    assert said == f"librpcipc: IPC server {nobody}: No such file or directory\nENOSPC\nended with 0\n"
