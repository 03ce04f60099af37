"""The whole server, from the outside: what is acknowledged stays, whatever happens."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from ipcserver._gen import ipc as gen
from ipcserver.calls import ok
from ipcserver.client import IPC, Message
from ipcserver.client import connect as connect_ipc
from ipcserver.config import Config
from ipcserver.errors import IPCError
from ipcserver.service import reach
from oncrpc import sync
from oncrpc.errors import LocalRPCError
from tests.ipcserver.serving import Serving
from tests.peers import Background, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """A server on free ports."""
    with Serving(tmp_path) as running:
        yield running


@pytest.fixture
def ipc(serving: Serving) -> Iterator[IPC]:
    """A client of it."""
    with connect_ipc(serving.local) as client:
        yield client


class TestQueues:
    """The main job."""

    @pytest.mark.parametrize("transport", ["tcp", "udp", "local"])
    def test_a_message_comes_back_by_type_over_every_transport(self, serving: Serving, transport: str) -> None:
        with connect_ipc(getattr(serving, transport)) as client:
            queue = client.msgget(0x1234, create=True)
            queue.send(b"first", 1)
            queue.send(b"second", 2)
            assert queue.receive(2) == Message(2, b"second")
            assert queue.receive() == Message(1, b"first")

    def test_without_a_message_and_without_waiting_it_is_enomsg(self, ipc: IPC) -> None:
        queue = ipc.msgget(create=True)
        with pytest.raises(IPCError) as caught:
            queue.receive(nowait=True)
        assert caught.value.status.name == "RIPC_ENOMSG"

    def test_a_receive_waits_until_another_client_sends(self, serving: Serving, ipc: IPC) -> None:
        queue = ipc.msgget(5, create=True)
        received: list[Message] = []
        waiting = threading.Thread(target=lambda: received.append(queue.receive(timeout=30)))
        waiting.start()
        wait_until(lambda: ipc.info().waiters, "the receiver to wait")
        with connect_ipc(serving.tcp) as other:
            os_user_may = other.msgget(5, mode=0) if os.geteuid() != 0 else ipc.msgget(5)
            os_user_may.send(b"at last")
        waiting.join(30)
        assert received == [Message(1, b"at last")]

    def test_a_message_that_does_not_fit_a_datagram_stays_for_tcp(self, serving: Serving, ipc: IPC) -> None:
        queue = ipc.msgget(6, create=True, mode=0o666)
        queue.set(qbytes=16384)
        queue.send(b"x" * 8192)
        with connect_ipc(serving.udp) as datagrams:
            assert datagrams.msgget(6, mode=0).receive().text == b"x" * 8192  # a whole msgmax fits 8,800 bytes


class TestWhatIsAcknowledgedStays:
    """kill -9, and a new life."""

    def test_after_kill_9_every_acknowledged_message_is_there_once(self, serving: Serving) -> None:
        with connect_ipc(serving.local) as client:
            queue = client.msgget(0x77, create=True)
            for number in range(200):
                queue.send(b"%d" % number, 1 + number % 3)
            serving.kill()
            serving.start()
            again = client.msgget(0x77)
            assert again.id == queue.id
            found = [again.receive(nowait=True).text for _ in range(200)]
            assert found == [b"%d" % number for number in range(200)]
            with pytest.raises(IPCError):
                again.receive(nowait=True)

    def test_a_blocking_receive_lives_through_a_restart(self, serving: Serving) -> None:
        with connect_ipc(serving.local) as client, connect_ipc(serving.local) as sender:
            queue = client.msgget(0x78, create=True)
            received: list[Message] = []
            waiting = threading.Thread(target=lambda: received.append(queue.receive(timeout=60)))
            waiting.start()
            wait_until(lambda: sender.info().waiters, "the receiver to wait")
            serving.kill()
            serving.start()
            sender.msgget(0x78).send(b"in the new life")
            waiting.join(60)
            assert received == [Message(1, b"in the new life")]

    def test_what_a_polite_end_leaves_is_there_too(self, serving: Serving) -> None:
        with connect_ipc(serving.local) as client:
            client.msgget(0x79, create=True).send(b"kept")
        assert serving.stop() == 0
        assert not (serving.state / "ipcserver.sock").exists()
        serving.start()
        with connect_ipc(serving.local) as client:
            assert client.msgget(0x79).receive(nowait=True).text == b"kept"

    def test_a_polite_restart_is_not_the_end_of_a_bound_session(self, serving: Serving) -> None:
        with sync.connect(gen.IPCPROG_1_SyncClient, serving.local) as stub:
            args = gen.ripc_hello_args(gen.ripc_hyper(1, 2), "here", 1, flags=gen.RIPC_BOUND, slots=2, lease_ms=0)
            session = ok(stub.ripc_hello(args), "hello").ok.session
            semget = gen.ripc_semget_args(gen.ripc_ctx(session, 0, 1, 1), gen.RIPC_PRIVATE, 1, 0, 0o600)
            semaphore = ok(stub.ripc_semget(semget), "semget").id
            up = [gen.ripc_sembuf(0, 1, gen.RIPC_UNDO)]
            stub.ripc_semop(gen.ripc_semop_args(gen.ripc_ctx(session, 0, 2, 1), semaphore, 0, up))
            down = [gen.ripc_sembuf(0, -2, 0)]
            take = gen.ripc_semop_args(gen.ripc_ctx(session, 1, 1, 1), semaphore, 0, down)
            broken: list[bool] = []

            def wait_in_vain() -> None:
                try:
                    with sync.connect(gen.IPCPROG_1_SyncClient, serving.local) as waiting:
                        waiting.ripc_semop(take)
                except LocalRPCError:
                    broken.append(True)

            thread = threading.Thread(target=wait_in_vain)
            thread.start()
            wait_until(lambda: stub.ripc_info().waiters, "the one who waits")
            assert serving.stop() == 0
            thread.join(20)
            assert broken == [True]
        serving.start()
        with sync.connect(gen.IPCPROG_1_SyncClient, serving.local) as stub:
            number = gen.ripc_semnum_args(semaphore, 0)
            assert ok(stub.ripc_semgetval(number), "GETVAL").sem.semval == 1
            again = gen.ripc_semop_args(gen.ripc_ctx(session, 0, 3, 1), semaphore, 0, up)
            assert stub.ripc_semop(again) is gen.RIPC_OK
            assert stub.ripc_semop(take) is gen.RIPC_OK
            assert ok(stub.ripc_semgetval(number), "GETVAL").sem.semval == 0

    def test_a_memory_journal_says_that_it_keeps_nothing(self, tmp_path: Path) -> None:
        with Serving(tmp_path, "--journal", "memory") as running:
            assert "everything is lost when this server ends" in running.process.output
            assert not (running.state / "journal.sqlite").exists()


class TestWhoIsGone:
    """A client that ends while it waits gets nothing any more (what it would have got is somebody else's)."""

    @pytest.mark.parametrize("transport", ["tcp", "local"])
    def test_a_message_never_goes_to_a_receiver_that_was_killed(self, serving: Serving, transport: str) -> None:
        script = (
            "import sys; from ipcserver.client import connect\n"
            "connect(sys.argv[1], session=False).queue(int(sys.argv[2])).receive()"
        )
        with connect_ipc(serving.local) as client:
            queue = client.msgget(create=True, mode=0o666)
            arguments = [sys.executable, "-c", script, getattr(serving, transport), str(queue.id)]
            with Background(arguments, serving.directory / "receiver.log") as receiver:
                wait_until(lambda: client.info().waiters, "the receiver to wait")
                receiver.kill()
                wait_until(lambda: not client.info().waiters, "the end of its wait")
                queue.send(b"for the living")
                assert queue.receive(nowait=True).text == b"for the living"


class TestBadStarts:
    """One line, status 1, and nothing is touched."""

    def start_in_vain(self, directory: Path, *arguments: str) -> str:
        """Start a server that must not start; return what it wrote."""
        serving = Serving(directory, *arguments)
        with pytest.raises(pytest.fail.Exception):
            serving.start()
        process = serving.process.process
        process.wait(30)
        assert process.returncode == 1
        return serving.process.output.splitlines()[-1]

    def test_a_second_server_on_the_same_store_is_refused(self, serving: Serving, tmp_path: Path) -> None:
        (tmp_path / "second").mkdir()
        line = self.start_in_vain(
            tmp_path / "second", "--state", str(serving.state), "--socket", str(tmp_path / "second" / "x.sock")
        )
        assert str(serving.state / "journal.sqlite") in line

    def test_a_file_that_is_no_journal_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir()
        journal = tmp_path / "state" / "journal.sqlite"
        journal.write_bytes(b"precious" * 100)
        line = self.start_in_vain(tmp_path)
        assert str(journal) in line
        assert journal.read_bytes() == b"precious" * 100

    def test_a_port_that_is_taken_is_named(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            line = self.start_in_vain(tmp_path, "--port", str(port))
        assert f"127.0.0.1:{port}" in line
        assert "ss -" in line

    @pytest.mark.parametrize("limit", ["msgmnx=1", "msgmax=1000000000"])
    def test_a_limit_that_cannot_be_is_named(self, tmp_path: Path, limit: str) -> None:
        assert limit.partition("=")[0] in self.start_in_vain(tmp_path, "--limit", limit)

    def test_a_wrong_setting_is_named(self, tmp_path: Path) -> None:
        assert "'nowhere' is not a network" in self.start_in_vain(tmp_path, "--trust", "nowhere")


class TestLimits:
    """Those of the preset, and those that were given."""

    def test_the_server_tells_the_limits_in_force(self, tmp_path: Path) -> None:
        with (
            Serving(tmp_path, "--limits", "solaris2", "--limit", "msgmnb=8192", "--journal", "memory") as running,
            connect_ipc(running.local) as client,
        ):
            limits = client.info().limits
            assert (limits.msgmax, limits.msgmnb, limits.semmsl) == (2048, 8192, 25)


class TestPortmapper:
    """The builtin one, on a port of its own."""

    def test_the_program_is_found_through_it(self, tmp_path: Path) -> None:
        with Serving(tmp_path, "--portmapper", "builtin", "--portmapper-port", "0") as running:
            output = running.process.wait_for_output("registry: serving")
            found = re.search(r"registry: serving .*? on tcp 127\.0\.0\.1:(\d+)", output)
            assert found is not None
            from rpcbind_reg import sync

            uaddr = sync.find(536871512, 1, "127.0.0.1", "tcp", port=int(found[1]))
            assert uaddr == f"127.0.0.1.{running.port >> 8}.{running.port & 255}"


class TestSignals:
    """SIGTERM and SIGINT end it in good order."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_ends_with_status_0_and_says_so(self, serving: Serving, number: signal.Signals) -> None:
        serving.process.process.send_signal(number)
        assert serving.process.process.wait(30) == 0
        assert "nothing that was acknowledged is lost" in serving.process.output


def test_the_commands_that_reach_an_unprivileged_server_have_its_ports() -> None:
    assert reach("127.0.0.1", 6600, 6111) == [
        "rpcinfo -a 127.0.0.1.25.200 -T tcp 536871512 1",
        "ipcserver ipcs -H 127.0.0.1:6600",
        "rpcbind-reg list 127.0.0.1:6111",
    ]
    assert reach("127.0.0.1", 6600, None, ".venv/bin/")[1:] == [".venv/bin/ipcserver ipcs -H 127.0.0.1:6600"]
    assert Config().listen[0] == "127.0.0.1"
