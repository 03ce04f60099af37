"""What the clients do while the network and the server fail under them, each in a process of its own.

Some are killed as well. A client writes down what it saw (history.py), so that the checker hears it all the same.
"""

from __future__ import annotations

import random
import signal
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipcserver import calls
from ipcserver._gen import ipc as gen
from ipcserver.client import IPC, connect
from ipcserver.errors import IPCError, SessionLost
from ipcserver.hypers import to_hyper
from oncrpc import sync
from oncrpc.auth import AuthSys
from oncrpc.errors import RPCError
from tests.adversity.ipc.history import History, read
from tests.adversity.ipc.pumps import Pump

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.adversity.ipc.history import Event
    from tests.adversity.ipc.nursery import Child, Nursery

__all__ = ["COUNTER", "INITIAL", "MUTEX", "POOL", "Crowd", "Program", "run"]

MUTEX: Final = "mutex"
"""Semaphore 0: one may have it."""
POOL: Final = "pool"
"""Semaphore 1: two may have it."""
COUNTER: Final = "counter"
"""Semaphore 2: goes up only."""

WORD: Final = "word"
"""The first word of the segment: goes up only."""

INITIAL: Final = {MUTEX: 1, POOL: 2, COUNTER: 0, WORD: 0}
"""What the semaphores and the word begin with."""

_SEMAPHORES: Final = (MUTEX, POOL, COUNTER)
_MAYFLY_LEASE_MS: Final = 1000
_SLOTS: Final = 16
"""Calls that a pump has under way."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a client is that is not of this module: sysv_client.c."""

    path: Path
    environment: Mapping[str, str]
    """What it takes to bring it to a server, but for its address."""


class Crowd:
    """Clients of one queue and one set of semaphores, in processes of their own.

    Args:
        nursery: Forks them.
        directory: For what they write down.
        addresses: Where they reach the server, by kind: ``tcp``, ``udp`` and ``direct``.
        objects: The ids of the queue, the set and the segment.
        seed: What their choices come from.
        programs: Clients in C, by kind; addresses has them too.
    """

    def __init__(
        self,
        nursery: Nursery,
        directory: Path,
        addresses: Mapping[str, str],
        objects: tuple[int, int, int],
        *,
        seed: int,
        programs: Mapping[str, Program] | None = None,
    ) -> None:
        self._nursery = nursery
        self._directory = directory
        self._addresses = addresses
        self._objects = objects
        self._seed = seed
        self._programs = dict(programs or {})
        self._running: dict[str, Child] = {}
        self._died: dict[str, float] = {}
        self._settled = History()
        self.failures: list[str] = []
        """What ended a client that should not have ended."""
        self.deaths = 0

    def start(self, **roles: int) -> None:
        """Let them loose: so many of each role; every third over UDP, except those that pump, which meet no proxy."""
        for role, count in roles.items():
            for number in range(1, count + 1):
                way = "direct" if role in {"pump", "drain"} else "udp" if number % 3 == 0 else "tcp"
                self._begin(f"{role}-{way}-{number}-1")

    def start_programs(self, **roles: int) -> None:
        """Let clients in C loose: so many of each role and kind."""
        for kind, way in enumerate(self._programs, 1):
            for role, count in roles.items():
                for number in range(1, count + 1):
                    self._begin(f"{role}-{way}-{100 * kind + number}-1")

    def _begin(self, name: str) -> None:
        way = name.split("-")[1]
        address = self._addresses[way]
        if way in self._programs:
            program = self._programs[way]
            arguments = [str(program.path), name, str(self._path(name)), *map(str, self._objects[:2])]
            changes = {**program.environment, "IPCSERVER": address, "IPCSERVER_PATIENCE": "120"}
            log = self._directory / "clients.log"
            self._running[name] = self._nursery.fork("program", arguments, log, **changes)
            return
        arguments = [name, address, str(self._path(name)), str(self._seed), *map(str, self._objects)]
        self._running[name] = self._nursery.fork("client", arguments, self._directory / "clients.log")

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.history"

    def kill_one(self, chance: random.Random) -> None:
        """Kill one, whatever it does just now; another takes its place."""
        name = chance.choice(sorted(self._running))
        child = self._running.pop(name)
        died = time.monotonic()
        child.kill()
        if child.wait() != -signal.SIGKILL:
            self.failures.append(f"{name} had ended by itself: see clients.log")
        self._died[name] = died
        self.deaths += 1
        kept, _, generation = name.rpartition("-")
        self._begin(f"{kept}-{int(generation) + 1}")

    def stop(self) -> None:
        """Let each finish what it is doing."""
        for child in self._running.values():
            child.signal(signal.SIGTERM)
        for name, child in self._running.items():
            status = child.wait()
            if status:
                self.failures.append(f"{name} ended with {status}: see clients.log")
        if self.failures:
            self.failures.append((self._directory / "clients.log").read_text())

    def events(self) -> list[Event]:
        """Return what they all saw, and what settle() saw."""
        found = list(self._settled.events)
        for path in sorted(self._directory.glob("*.history")):
            name = path.stem.partition("~")[0]
            found += read(path, self._died.get(name), acknowledges=name.split("-")[1] in self._programs)
        return found

    def lost_sessions(self) -> int:
        """Count the calls of clients in C that could not be made because their session was lost."""
        paths = [path for way in self._programs for path in self._directory.glob(f"*-{way}-*.history")]
        return sum(line == '["lost"]' for path in paths for line in path.read_text().splitlines())

    def settle(self, address: str) -> None:
        """When all have ended: wait for the end of every lease, empty the queue, and read the semaphores."""
        with connect(address) as ipc:
            latest = time.monotonic() + 120
            while ipc.info().sessions > 1:
                if time.monotonic() > latest:
                    self.failures.append(f"{ipc.info().sessions - 1} sessions do not end")
                    break
                time.sleep(0.05)
            queue = ipc.queue(self._objects[0])
            with suppress(IPCError):
                while True:
                    with self._settled.call("drain", "receive") as event:
                        event.what = _name(queue.receive(nowait=True).text)
            values = ipc.semaphore_set(self._objects[1]).values()
            word = int.from_bytes(ipc.segment(self._objects[2]).read(0, 4), "big")
            for name, value in zip((*_SEMAPHORES, WORD), (*values, word), strict=True):
                with self._settled.call("drain", "final", name) as event:
                    event.value = value


# ---- in a client's process -------------------------------------------------------------------------------------------


class _Client:
    """One client, which does what its name says until it is told to stop.

    Args:
        name: ``role-transport-number-life``.
        address: Where it reaches the server.
        path: Where it notes what it sees.
        objects: The ids of the queue, the set and the segment.
        seed: What its choices come from.
    """

    def __init__(self, name: str, address: str, path: Path, objects: list[int], *, seed: str) -> None:
        self._name = name
        self._address = address
        self._queue, self._semaphores, self._segment = objects
        self._path = path
        self._history = History(path)
        self._chance = random.Random(f"{seed} {name}")
        self._stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())

    def live(self) -> None:
        """Play the role; with a new session when one is lost."""
        role, _, number, life = self._name.split("-")
        self._mtype = int(number)
        self._life = int(life)
        self._count = self._lives = 0
        while not self._stop.is_set():
            with suppress(SessionLost):
                getattr(self, role)()

    @contextmanager
    def _connected(self) -> Iterator[IPC]:
        with connect(self._address) as ipc:
            yield ipc

    def sender(self) -> None:
        """Send numbered messages of a type of its own."""
        with self._connected() as ipc:
            queue = ipc.queue(self._queue)
            while not self._stop.is_set():
                self._count += 1
                what = f"{self._mtype}:{self._life}.{self._count}"
                text = what.encode() + b" " + bytes(self._chance.randrange(200))
                with suppress(IPCError), self._history.call(self._name, "send", what):
                    queue.send(text, self._mtype, timeout=5)

    def receiver(self) -> None:
        """Receive whatever comes, in one of the three ways; now and then cancel it from elsewhere."""
        with self._connected() as ipc:
            queue = ipc.queue(self._queue)
            threading.Thread(target=self._cancel, args=(ipc, ipc._calls._free[0]), daemon=True).start()
            while not self._stop.is_set():
                msgtyp = self._chance.choice((0, 0, -100, self._chance.randrange(1, 4)))
                with suppress(IPCError), self._history.call(self._name, "receive") as event:
                    event.what = _name(queue.receive(msgtyp, timeout=0.5).text)

    def _cancel(self, ipc: IPC, slot: Any) -> None:
        """Cancel what this client is waiting for, from a connection of its own."""
        chance = random.Random(f"{self._chance.random()}")
        while not self._stop.wait(chance.random() * 0.5):
            with (
                suppress(RPCError, OSError),
                sync.connect(gen.IPCPROG_1_SyncClient, self._address, credential=AuthSys.current(), timeout=2) as stub,
            ):
                stub.ripc_cancel(gen.ripc_cancel_args(ipc._calls._session, slot.number, slot.seq, 0))

    def pump(self) -> None:
        """Send with many slots at once."""
        self._pump(receives=False)

    def drain(self) -> None:
        """Receive with many slots at once."""
        self._pump(receives=True)

    def _pump(self, *, receives: bool) -> None:
        _, host, port = self._address.split(":")
        self._lives += 1
        Pump(
            self._name,
            (host, int(port)),
            queue=self._queue,
            path=self._path.with_name(f"{self._path.stem}~{self._lives}"),
            slots=_SLOTS,
            receives=receives,
            first_type=1000 * self._mtype,
            life=100 * self._life + self._lives,
        ).run(self._stop)

    def holder(self) -> None:
        """Take and give back semaphores with undo, sometimes leaving the giving back to the end of the session."""
        with self._connected() as ipc:
            semaphores = ipc.semaphore_set(self._semaphores)
            for _ in range(self._chance.randrange(1, 200)):
                if self._stop.is_set():
                    break
                what = self._chance.choice((MUTEX, POOL))
                number = _SEMAPHORES.index(what)
                try:
                    with self._history.call(self._name, "acquire", what):
                        semaphores.acquire(number, timeout=2)
                except IPCError:
                    continue
                time.sleep(self._chance.random() * 0.003)
                with self._history.call(self._name, "release", what):
                    if self._chance.random() < 0.01:
                        break  # the goodbye undoes it, or the lease
                    semaphores.release(number)

    def adder(self) -> None:
        """Count up, without undo: a semaphore, or a word of memory."""
        with self._connected() as ipc:
            semaphores, segment = ipc.semaphore_set(self._semaphores), ipc.segment(self._segment)
            while not self._stop.wait(self._chance.random() * 0.02):
                what = self._chance.choice((COUNTER, WORD))
                with suppress(IPCError), self._history.call(self._name, "add", what):
                    if what == COUNTER:
                        semaphores.op((_SEMAPHORES.index(COUNTER), 1))
                    else:
                        segment.fetch_and_add(0, 1)

    def plain(self) -> None:
        """Take semaphores over a connection whose end gives them back at once, with or without a session."""
        chance = self._chance
        while not self._stop.wait(chance.random() * 0.2):
            with (
                suppress(RPCError, OSError),
                sync.connect(gen.IPCPROG_1_SyncClient, self._address, credential=AuthSys.current(), timeout=2) as stub,
            ):
                session = to_hyper(0)
                if chance.random() < 0.5:
                    nonce = to_hyper(chance.getrandbits(62))
                    granted = stub.ripc_hello(
                        gen.ripc_hello_args(nonce, "plain", 1, gen.RIPC_BOUND, 1, _MAYFLY_LEASE_MS)
                    )
                    if not isinstance(granted, gen.ripc_hello_res_RIPC_OK):
                        continue
                    session = granted.ok.session
                for seq in range(1, chance.randrange(2, 6)):
                    take = [gen.ripc_sembuf(chance.randrange(2), -1, gen.RIPC_UNDO | gen.RIPC_NOWAIT)]
                    stub.ripc_semop(gen.ripc_semop_args(gen.ripc_ctx(session, 0, seq, 1), self._semaphores, 0, take))

    def mayfly(self) -> None:
        """Open a session, take a semaphore and a message, and vanish without a word: all must go back."""
        chance = self._chance
        while not self._stop.wait(chance.random()):
            ctx = gen.ripc_ctx
            with (
                suppress(RPCError, OSError),
                sync.connect(gen.IPCPROG_1_SyncClient, self._address, credential=AuthSys.current(), timeout=5) as stub,
            ):
                nonce = to_hyper(chance.getrandbits(62))
                granted = stub.ripc_hello(gen.ripc_hello_args(nonce, "mayfly", 1, 0, 2, _MAYFLY_LEASE_MS))
                if not isinstance(granted, gen.ripc_hello_res_RIPC_OK):
                    continue
                session = granted.ok.session
                take = [gen.ripc_sembuf(0, -1, gen.RIPC_UNDO | gen.RIPC_NOWAIT)]
                stub.ripc_semop(gen.ripc_semop_args(ctx(session, 0, 1, 1), self._semaphores, 0, take))
                with self._history.call(self._name, "borrow") as event:
                    receive = gen.ripc_msgrcv_args(
                        ctx(session, 1, 1, 1), self._queue, gen.RIPC_NOWAIT, 0, to_hyper(0), to_hyper(gen.RIPC_MSGMAX)
                    )
                    result = stub.ripc_msgrcv(receive)
                    if isinstance(result, gen.ripc_msgrcv_res_RIPC_OK):
                        event.what = _name(result.msg.mtext)
                    else:
                        event.fate = "refused"


def _name(text: bytes) -> str:
    return text.partition(b" ")[0].decode()


def run(arguments: list[str]) -> None:
    """Be a client, in a process of its own; what ends it by mistake is its exit status.

    Args:
        arguments: Name, address, path of its history, seed, queue, semaphores, segment.
    """
    name, address, path, seed, *objects = arguments
    # A server that is away comes back within a tenth of a second here.
    calls._FIRST_PAUSE_S, calls._LONGEST_PAUSE_S = 0.01, 0.1  # type: ignore[misc]
    client = _Client(name, address, Path(path), [int(each) for each in objects], seed=seed)
    try:
        client.live()
    except BaseException:
        print(f"{name}: {traceback.format_exc()}", flush=True)
        raise
