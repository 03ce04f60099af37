"""What the clients do while the network and the server fail under them; each in a thread of its own."""

from __future__ import annotations

import random
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ipcserver._gen import ipc as gen
from ipcserver.client import IPC, connect
from ipcserver.errors import IPCError
from ipcserver.hypers import to_hyper
from oncrpc import sync
from oncrpc.auth import AuthSys
from oncrpc.errors import RPCError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.adversity.ipc.history import History

__all__ = ["COUNTER", "INITIAL", "MUTEX", "POOL", "Crowd"]

MUTEX: Final = "mutex"
"""Semaphore 0: one may have it."""
POOL: Final = "pool"
"""Semaphore 1: two may have it."""
COUNTER: Final = "counter"
"""Semaphore 2: goes up only."""

INITIAL: Final = {MUTEX: 1, POOL: 2, COUNTER: 0}
"""What the semaphores begin with."""

_SEMAPHORES: Final = (MUTEX, POOL, COUNTER)
_MAYFLY_LEASE_MS: Final = 1000


class Crowd:
    """Clients of one queue and one set of semaphores.

    Args:
        address: Where they reach the server.
        queue: The queue's id.
        semaphores: The set's id.
        history: Where they note what they see.
        seed: What their choices come from.
    """

    def __init__(self, address: str, queue: int, semaphores: int, history: History, seed: int) -> None:
        self._address = address
        self._queue = queue
        self._semaphores = semaphores
        self._history = history
        self._seed = seed
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._receivers: list[IPC] = []
        self.failures: list[str] = []
        """What ended a client that should not have ended."""
        self.cancelled = 0

    def start(self, *, senders: int, receivers: int, holders: int, adders: int, mayflies: int) -> None:
        """Let them loose."""
        roles: list[tuple[str, Callable[[str, random.Random], None]]] = [
            *((f"sender{number}", self._send) for number in range(1, senders + 1)),
            *((f"receiver{number}", self._receive) for number in range(1, receivers + 1)),
            *((f"holder{number}", self._hold) for number in range(1, holders + 1)),
            *((f"adder{number}", self._add) for number in range(1, adders + 1)),
            *((f"mayflies{number}", self._live_briefly) for number in range(1, mayflies + 1)),
            ("canceller", self._cancel),
        ]
        for name, role in roles:
            thread = threading.Thread(target=self._guarded, args=(name, role), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Let each finish what it is doing."""
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
            if thread.is_alive():
                self.failures.append(f"{thread.name} did not come to an end")

    def _guarded(self, name: str, role: Callable[[str, random.Random], None]) -> None:
        try:
            role(name, random.Random(f"{self._seed} {name}"))
        except Exception:  # noqa: BLE001 - told by whoever waits for the crowd
            self.failures.append(f"{name}: {traceback.format_exc()}")

    def _send(self, name: str, chance: random.Random) -> None:
        """Send numbered messages of a type of its own."""
        mtype = int(name.removeprefix("sender"))
        with connect(self._address) as ipc:
            queue = ipc.queue(self._queue)
            number = 0
            while not self._stop.is_set():
                number += 1
                what = f"{mtype}:{number}"
                text = what.encode() + b" " + bytes(chance.randrange(200))
                with suppress(IPCError), self._history.call(name, "send", what):
                    queue.send(text, mtype, timeout=5)

    def _receive(self, name: str, chance: random.Random) -> None:
        """Receive whatever comes, in one of the three ways."""
        with connect(self._address) as ipc:
            self._receivers.append(ipc)
            queue = ipc.queue(self._queue)
            while not self._stop.is_set():
                msgtyp = chance.choice((0, 0, -100, chance.randrange(1, 4)))
                with suppress(IPCError), self._history.call(name, "receive") as event:
                    event.what = _name(queue.receive(msgtyp, timeout=0.5).text)

    def _cancel(self, name: str, chance: random.Random) -> None:
        """Cancel what receivers are waiting for, from a connection of its own."""
        while not self._stop.wait(chance.random() * 0.2):
            if not self._receivers:
                continue
            calls = chance.choice(self._receivers)._calls
            slots = list(calls._free)
            seq = slots[0].seq + 1 if slots else chance.randrange(1, 1000)
            with (
                suppress(RPCError, OSError),
                sync.connect(gen.IPCPROG_1_SyncClient, self._address, credential=AuthSys.current(), timeout=2) as stub,
            ):
                stub.ripc_cancel(gen.ripc_cancel_args(calls._session, 0, seq, 0))
                self.cancelled += 1

    def _hold(self, name: str, chance: random.Random) -> None:
        """Take and give back semaphores with undo, sometimes leaving the giving back to the end of the session."""
        while not self._stop.is_set():
            with connect(self._address) as ipc:
                semaphores = ipc.semaphore_set(self._semaphores)
                for _ in range(chance.randrange(1, 200)):
                    what = chance.choice((MUTEX, POOL))
                    number = _SEMAPHORES.index(what)
                    try:
                        with self._history.call(name, "acquire", what):
                            semaphores.acquire(number, timeout=2)
                    except IPCError:
                        continue
                    time.sleep(chance.random() * 0.003)
                    with self._history.call(name, "release", what):
                        if chance.random() < 0.01:
                            break  # the goodbye undoes it, or the lease
                        semaphores.release(number)
                    if self._stop.is_set():
                        break

    def _add(self, name: str, chance: random.Random) -> None:
        """Count up, without undo."""
        with connect(self._address) as ipc:
            semaphores = ipc.semaphore_set(self._semaphores)
            while not self._stop.wait(chance.random() * 0.02):
                with suppress(IPCError), self._history.call(name, "add", COUNTER):
                    semaphores.op((_SEMAPHORES.index(COUNTER), 1))

    def _live_briefly(self, name: str, chance: random.Random) -> None:
        """Open a session, take a semaphore and a message, and vanish without a word: all must go back."""
        while not self._stop.wait(chance.random()):
            credential = AuthSys.current()
            ctx = gen.ripc_ctx
            with (
                suppress(RPCError, OSError),
                sync.connect(gen.IPCPROG_1_SyncClient, self._address, credential=credential, timeout=5) as stub,
            ):
                nonce = to_hyper(chance.getrandbits(62))
                granted = stub.ripc_hello(gen.ripc_hello_args(nonce, "mayfly", 1, 0, 2, _MAYFLY_LEASE_MS))
                if not isinstance(granted, gen.ripc_hello_res_RIPC_OK):
                    continue
                session = granted.ok.session
                take = [gen.ripc_sembuf(0, -1, gen.RIPC_UNDO | gen.RIPC_NOWAIT)]
                stub.ripc_semop(gen.ripc_semop_args(ctx(session, 0, 1, 1), self._semaphores, 0, take))
                with self._history.call(name, "borrow") as event:
                    result = stub.ripc_msgrcv(
                        gen.ripc_msgrcv_args(
                            ctx(session, 1, 1, 1),
                            self._queue,
                            gen.RIPC_NOWAIT,
                            0,
                            to_hyper(0),
                            to_hyper(gen.RIPC_MSGMAX),
                        )
                    )
                    if isinstance(result, gen.ripc_msgrcv_res_RIPC_OK):
                        event.what = _name(result.msg.mtext)

    def settle(self, *, all_leases: bool) -> None:
        """When all have ended: empty the queue and read the semaphores.

        Args:
            all_leases: Wait for the end of every session that could not say goodbye, not only until all is given back.
        """
        with connect(self._address) as ipc:
            queue = ipc.queue(self._queue)
            end = time.monotonic() + 3 * _MAYFLY_LEASE_MS / 1000
            empty = False
            # A lease that ran while the server was down began anew when it came back.
            while not empty or time.monotonic() < end or self._anything_held(ipc, all_leases=all_leases):
                empty = False
                try:
                    with self._history.call("drain", "receive") as event:
                        event.what = _name(queue.receive(nowait=True).text)
                except IPCError:
                    empty = True
                    time.sleep(0.05)
                if time.monotonic() > end + 90:
                    self.failures.append(f"{ipc.info().sessions - 1} sessions do not end")
                    break
            values = ipc.semaphore_set(self._semaphores).values()
            for name, value in zip(_SEMAPHORES, values, strict=True):
                with self._history.call("drain", "final", name) as event:
                    event.value = value

    def _anything_held(self, ipc: IPC, *, all_leases: bool) -> bool:
        if ipc.info().sessions == 1:
            return False
        return all_leases or ipc.semaphore_set(self._semaphores).values()[:2] != [INITIAL[MUTEX], INITIAL[POOL]]


def _name(text: bytes) -> str:
    return text.partition(b" ")[0].decode()
