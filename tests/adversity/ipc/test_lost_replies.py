"""Replies that never arrive, clients that vanish while they wait or hold something: nothing is lost, nothing twice."""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest

from ipcserver._gen import ipc as gen
from ipcserver.client import connect
from ipcserver.errors import IPCError
from ipcserver.hypers import to_hyper
from oncrpc import sync
from oncrpc.auth import AuthSys, encode_opaque_auth
from oncrpc.client import Retransmission
from oncrpc.errors import RPCError
from oncrpc.message import encode_call
from oncrpc.records import frame_record
from tests.adversity import summary
from tests.adversity.ipc.nursery import ForkedServing
from tests.adversity.ipc.proxy import Faults, FaultyProxy
from tests.peers import Background, wait_until

import xdr  # isort: skip

if TYPE_CHECKING:
    from pathlib import Path

    from ipcserver.client import Queue
    from tests.adversity.ipc.nursery import Nursery


def emptied(queue: Queue) -> list[bytes]:
    texts = []
    with suppress(IPCError):
        while True:
            texts.append(queue.receive(nowait=True).text)
    return texts


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipcserver.calls._FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr("ipcserver.calls._LONGEST_PAUSE_S", 0.05)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(
    ("cuts", "kill"),
    [
        (30, False),
        pytest.param(1000, False, marks=pytest.mark.torture),
        (5, True),
        pytest.param(200, True, marks=pytest.mark.torture),
    ],
    ids=["cut", "cut, long", "cut and server killed", "cut and server killed, long"],
)
def test_a_reply_that_is_cut_off_comes_again_with_the_same_message(
    server: ForkedServing, cuts: int, kill: bool
) -> None:
    """The message left the queue, the reply was cut after any byte, and perhaps the server killed before the retry."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    faults = Faults(cut=0, delay=0, duplicate=0, late=0, stall=0, cut_reply=0.5)
    with (
        connect(server.tcp) as direct,
        FaultyProxy(lambda: server.port, random.Random(seed), faults) as proxy,
        connect(proxy.addresses["tcp"]) as ipc,
    ):
        queue = direct.msgget()
        receiver = ipc.queue(queue.id)

        def again() -> None:
            server.kill()
            server.start()

        if kill:
            proxy.on_cut_reply = again
        sent: list[bytes] = []
        received: list[bytes] = []
        while proxy.did["cut_reply"] < cuts:
            # Longer and shorter than what other caches keep.
            sent.append(b"%d " % len(sent) + bytes(len(sent) * 37 % 3000))
            queue.send(sent[-1])
            received.append(receiver.receive(timeout=20).text)
        done = proxy.did["cut_reply"]
        assert received == sent
        assert queue.stat().qnum == 0
        what = "replies cut, server killed before the retry" if kill else "replies cut"
        summary.add(what, {"cuts": done, "lost": 0, "twice": 0})


@pytest.mark.parametrize("adds", [40, pytest.param(2000, marks=pytest.mark.torture)])
def test_calls_by_datagram_without_a_session_are_done_once_whatever_the_network_does(
    server: ForkedServing, adds: int
) -> None:
    """What the replay cache is for: datagrams dropped, doubled and overtaken, the server as it is."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    faults = Faults(drop=0.2, duplicate=0.3, delay=0.3, longest_delay=0.02)
    done: list[int] = []
    unknown: list[int] = []
    with connect(server.tcp) as direct, FaultyProxy(lambda: server.port, random.Random(seed), faults) as proxy:
        semaphores = direct.semget(nsems=1)

        def add() -> None:
            args = gen.ripc_semop_args(gen.ripc_ctx(to_hyper(0), 0, 0, 1), semaphores.id, 0, [gen.ripc_sembuf(0, 1, 0)])
            credential = AuthSys.current()
            again = Retransmission(first=0.1, longest=1.0)
            with sync.connect(
                gen.IPCPROG_1_SyncClient,
                proxy.addresses["udp"],
                credential=credential,
                timeout=60,
                retransmission=again,
            ) as stub:
                for _ in range(adds // 4):
                    try:
                        done.append(stub.ripc_semop(args))
                    except RPCError:
                        unknown.append(1)

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # What was delayed is on its way still.
        time.sleep(0.1)
        assert set(done) == {gen.RIPC_OK}
        value = semaphores.get(0).semval
        assert unknown == []
        assert value == len(done)
    did = {name: proxy.did[name] for name in ("drop", "duplicate", "delay")}
    summary.add("datagrams without a session", {"done": len(done), "twice": 0, **did})


# ---- clients that vanish ----


def waiting_receive(address: tuple[str, int], queue: int) -> socket.socket:
    """Send a receive that waits, over a connection of its own."""
    user = AuthSys.current()
    head = encode_call(
        1, gen.IPCPROG_1_Server.program, 1, 12, credential=encode_opaque_auth(user.flavor, user.encode())
    )
    nobody = gen.ripc_ctx(to_hyper(0), 0, 0, 1)
    args = gen.ripc_msgrcv_args(nobody, queue, 0, 0, to_hyper(0), to_hyper(100))
    made = socket.create_connection(address, 20)
    made.sendall(frame_record(head + xdr.codec(gen.ripc_msgrcv_args).encode(args)))
    return made


@pytest.mark.parametrize("end", ["FIN", "RST"])
def test_a_hundred_receivers_who_are_gone_get_nothing_and_the_next_one_gets_it_all(
    server: ForkedServing, end: Literal["FIN", "RST"]
) -> None:
    with connect(server.tcp) as ipc:
        queue = ipc.msgget()
        parked = [waiting_receive(("127.0.0.1", server.port), queue.id) for _ in range(100)]
        wait_until(lambda: ipc.info().waiters == len(parked), "a hundred waits")
        for client in parked:
            if end == "RST":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        wait_until(lambda: ipc.info().waiters == 0, "the end of the waits")
        texts = [b"%d" % number for number in range(100)]
        for text in texts:
            queue.send(text)
        assert emptied(queue) == texts
    summary.add(f"waits of clients who are gone ({end})", {"waits": 100, "lost": 0})


def test_a_receiver_who_falls_silent_gives_back_what_it_never_acknowledged(server: ForkedServing) -> None:
    """Neither FIN nor RST: the message was sent to it, and comes back with the end of its lease."""
    with ExitStack() as stack:
        ipc = stack.enter_context(connect(server.tcp))
        queue = ipc.msgget()
        for number in range(3):
            queue.send(b"%d" % number)
        silent = stack.enter_context(sync.connect(gen.IPCPROG_1_SyncClient, server.tcp, credential=AuthSys.current()))
        granted: Any = silent.ripc_hello(gen.ripc_hello_args(to_hyper(5), "x", 1, 0, 1, 1000))
        ctx = gen.ripc_ctx(granted.ok.session, 0, 1, 1)
        silent.ripc_msgrcv(gen.ripc_msgrcv_args(ctx, queue.id, 0, 0, to_hyper(0), to_hyper(100)))
        assert queue.stat().qnum == 2
        wait_until(lambda: queue.stat().qnum == 3, "the message to come back")
        assert emptied(queue) == [b"0", b"1", b"2"]


_HOLDER = """
import signal, sys
from ipcserver.client import connect
with connect(sys.argv[1]) as ipc:
    ipc.semaphore_set(int(sys.argv[2])).acquire(0)
    print("held", flush=True)
    signal.pause()
"""


@pytest.mark.parametrize(
    "deaths",
    [
        ("client", "server"),
        ("server",),
        pytest.param(("client",), marks=pytest.mark.torture),
        pytest.param(("server", "client"), marks=pytest.mark.torture),
    ],
    ids=" then ".join,
)
def test_what_a_dead_holder_took_is_given_back_once_within_its_lease(
    nursery: Nursery, tmp_path: Path, deaths: tuple[str, ...]
) -> None:
    """The client is killed, the server, or both in either order; who only lost the server keeps what it holds."""
    lease = 3  # longer than a client's longest pause between two tries to come back
    with (
        ForkedServing(nursery, tmp_path, "--limit", f"lease_ms={lease}000") as server,
        connect(server.tcp) as ipc,
    ):
        semaphores = ipc.semget(nsems=1)
        semaphores.set_value(0, 1)
        with Background(
            [sys.executable, "-c", _HOLDER, server.tcp, str(semaphores.id)], tmp_path / "holder.log"
        ) as holder:
            holder.wait_for_output("held")
            assert semaphores.values() == [0]
            for death in deaths:
                if death == "client":
                    os.kill(holder.process.pid, signal.SIGKILL)
                    holder.process.wait()
                else:
                    server.kill()
                    server.start()
            died = time.monotonic()
            if "client" in deaths:
                wait_until(lambda: semaphores.values() == [1], "the undo")
                assert time.monotonic() - died < lease + 1
            # And not twice, or from one that lives.
            assert semaphores.values() == ([1] if "client" in deaths else [0])
            settled = time.monotonic() + lease + 0.5
            while time.monotonic() < settled:
                assert semaphores.values() == ([1] if "client" in deaths else [0])
                time.sleep(0.1)
