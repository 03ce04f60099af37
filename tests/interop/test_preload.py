"""Programs that know nothing of servers give the same results by the kernel and by librpcipc.so, side by side."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

import pytest

from ipcserver.client import connect
from tests.interop.leases import SHORT, wait_for_a_lease_to_end
from tests.ipcserver.serving import Serving
from tests.peers import ROOT, Background, environment, find, require, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.mark.skipif(platform.machine() != "x86_64", reason="syscall and dlsym are replaced on x86-64 only")
@pytest.mark.parametrize("way", ["number", "dlsym"])
def test_calls_by_number_and_by_looking_them_up_go_to_the_server(
    process: Path, preloaded: dict[str, str], way: str
) -> None:
    arguments = [str(process), way, str(process.with_suffix(".so"))]
    native = _run(environment(), *arguments)
    assert native.endswith("ended with 0\n")
    assert _run(preloaded, *arguments) == native


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


def test_without_a_server_the_program_gets_an_errno_of_the_manual_page_and_the_user_the_reason(
    library: Path, tmp_path: Path
) -> None:
    perl = _perl()
    nobody = str(tmp_path / "nobody.sock")
    env = environment(LD_PRELOAD=str(library), IPCSERVER=nobody, IPCSERVER_PATIENCE="0")
    said = _run(env, perl, "-e", "$|=1; print defined msgget(1, 01600) ? 'done' : $!{ENOSPC} ? 'ENOSPC' : $!, qq(\\n)")
    assert said == f"librpcipc: IPC server {nobody}: No such file or directory\nENOSPC\nended with 0\n"
