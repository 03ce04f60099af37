"""The same random programs run against the kernel's System V IPC and against our machine, and must agree.

Several processes of several users make calls; some block, are woken, interrupted, killed. After every step the results,
errnos, who still sleeps, and all that STAT, GETVAL, GETPID, GETNCNT and GETZCNT tell must be the same. What the kernel
leaves to its scheduler (which of several woken senders is first) is not asked.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ipcserver._gen.ipc import (
    RIPC_COPY,
    RIPC_CREAT,
    RIPC_EXCEPT,
    RIPC_EXCL,
    RIPC_NOERROR,
    RIPC_NOWAIT,
    RIPC_RDONLY,
    RIPC_UNDO,
    ripc_status,
)
from ipcserver.hypers import from_hyper
from ipcserver.machine.queues import Receiver, Sender
from tests.ipcserver.machine.kernel import Kernel, KernelProcess, User, name_of
from tests.ipcserver.machine.lab import Lab, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = User(0, 0)
USERS: Final = (ROOT, User(5001, 6001), User(5002, 6002, (6001, 6009)), User(5003, 6009), User(5001, 6001))
KEYS: Final = (0, 0x51, 0x52)
MODES: Final = st.sampled_from([0o600, 0o660, 0o666, 0o640, 0o620, 0o400, 0o200, 0o222, 0o004, 0o606, 0])
FLAGS: Final = st.sampled_from([0, RIPC_CREAT, RIPC_CREAT, RIPC_CREAT | RIPC_EXCL, RIPC_EXCL])
UIDS: Final = st.sampled_from([0, 5001, 5002, 5003])
GIDS: Final = st.sampled_from([0, 6001, 6002, 6009])

EXAMPLES: Final = int(os.environ.get("ORACLE_EXAMPLES", "20"))
STEPS: Final = int(os.environ.get("ORACLE_STEPS", "40"))
SETTINGS: Final = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.explain],
)


def errno_name(status: ripc_status) -> str:
    """Give the errno that a C library would make of a status."""
    return "EAGAIN" if status.name == "RIPC_ETIMEDOUT" else status.name.removeprefix("RIPC_")


class Pair:
    """One process: in the kernel, and at our machine."""

    def __init__(self, ours: Process, theirs: KernelProcess) -> None:
        self.ours = ours
        self.theirs = theirs
        self.waiting = False
        self.attached: list[int] = []


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """Give the kernel, with nothing in it."""
    found = Kernel()
    try:
        yield found
    finally:
        found.close()


class Oracle(RuleBasedStateMachine):
    """What all programs have in common: calls, waiting, comparing."""

    kernel: ClassVar[Kernel]
    pool: ClassVar[list[KernelProcess]] = []

    def __init__(self) -> None:
        super().__init__()
        self.lab = Lab()
        self.pairs: list[Pair] = []
        self.died = False
        self.ids: list[tuple[int, int]] = []  # ours, theirs
        pool, now = type(self).pool, self.pairs
        for user in USERS:
            theirs = next((process for process in pool if process.user == user), None)
            if theirs is None:
                theirs = self.kernel.process(user)
            else:
                pool.remove(theirs)
            now.append(Pair(self._ours(theirs), theirs))

    def _ours(self, theirs: KernelProcess) -> Process:
        user = theirs.user
        return self.lab.process(user.uid, user.gid, user.gids, pid=theirs.pid)

    def teardown(self) -> None:
        """Remove everything; processes are used again."""
        for _, theirs in self.ids:
            self.kernel.root.call(self.remove, theirs)
        for pair in self.pairs:
            if pair.waiting:
                pair.theirs.result()
            for segment in pair.attached:
                pair.theirs.call("shmdt", segment)
            type(self).pool.append(pair.theirs)

    remove: ClassVar[str]

    # -- making calls ------------------------------------------------------------

    def idle(self, number: int) -> Pair | None:
        """Give a process that is not asleep, beginning to look at a number."""
        for offset in range(len(self.pairs)):
            pair = self.pairs[(number + offset) % len(self.pairs)]
            if not pair.waiting:
                return pair
        return None

    def id(self, number: int) -> tuple[int, int]:
        """Give an object's ids; perhaps one that is no longer there."""
        return self.ids[number % len(self.ids)]

    def both(self, pair: Pair, ours: Callable[[], Any], name: str, *arguments: Any) -> Any:
        """Make a call on both sides and compare; give what it came to, None if it waits."""
        self.lab.time_s = int(time.time())
        result = ours()
        pair.theirs.start(name, *arguments)
        if result is None:
            assert pair.theirs.blocked_or_answered(), f"{name}{arguments} waits here, there: {pair.theirs.result()}"
            pair.waiting = True
        else:
            self.compare(pair, result, f"{name}{arguments}")
        self.settle(f"after {name}{arguments}")
        return result

    def compare(self, pair: Pair, ours: Any, what: str) -> None:
        """Compare two results."""
        theirs = pair.theirs.result()
        if isinstance(ours, ripc_status) and ours.name != "RIPC_OK":
            assert isinstance(theirs, tuple), f"{what}: here {ours!r}, there {theirs}"
            assert errno_name(ours) == name_of(theirs[1]), f"{what}: here {ours!r}, there {name_of(theirs[1])}"
            return
        assert not isinstance(theirs, tuple), f"{what}: here {ours}, there {name_of(theirs[1])}"
        if isinstance(ours, tuple):
            assert [ours[0], ours[1].decode("latin-1")] == theirs, f"{what}: here {ours}, there {theirs}"

    def settle(self, what: str) -> None:
        """Those who wait no longer here must have woken there, with the same result; the others must sleep on."""
        for pair in self.pairs:
            if pair.waiting and (result := pair.ours.result()) is not None:
                pair.waiting = False
                self.compare(pair, result, f"{what}: pid {pair.theirs.pid} woken")
        for pair in self.pairs:
            if pair.waiting:
                assert pair.theirs.blocked_or_answered(), f"{what}: only there woken: {pair.theirs.result()}"

    def made(self, ours: Any, pair: Pair, theirs: Any) -> None:
        """Note a new object."""

    # -- rules that all share ------------------------------------------------------

    @precondition(lambda self: any(pair.waiting for pair in self.pairs))
    @rule(number=st.integers(0, 9))
    def interrupt(self, number: int) -> None:
        """A caught signal ends a wait with EINTR."""
        waiting = [pair for pair in self.pairs if pair.waiting]
        pair = waiting[number % len(waiting)]
        pair.theirs.interrupt()
        pair.ours.cancel()
        self.settle("after a signal")

    @precondition(lambda self: len(self.ids) > 0)
    @rule(number=st.integers(0, 14))
    def die(self, number: int) -> None:
        """A process is killed, and another one takes its place (not too often: starting one takes time)."""
        if number >= len(USERS):
            return
        pair = self.pairs[number % len(self.pairs)]
        pair.theirs.kill()
        self.died = True
        pair.waiting = False
        pair.attached.clear()
        self.lab.time_s = int(time.time())
        self.lab.close(pair.ours.connection)
        self.settle("after a death")
        pair.theirs = self.kernel.process(pair.theirs.user)
        pair.ours = self._ours(pair.theirs)

    def get(self, number: int, result: Callable[[Pair], Any], name: str, *arguments: Any) -> None:
        """Make a get call on both sides; ids need not be equal, but must go together."""
        pair = self.idle(number)
        if pair is None:
            return
        self.lab.time_s = int(time.time())
        ours = result(pair)
        theirs = pair.theirs.call(name, *arguments)
        if isinstance(ours, ripc_status):
            assert theirs[0] == "errno", f"{name}{arguments}: here {ours!r}, there {theirs}"
            assert errno_name(ours) == name_of(theirs[1]), f"{name}{arguments}"
            return
        assert isinstance(theirs, int), f"{name}{arguments}: here {ours}, there {theirs}"
        known = {pair_of_ids for pair_of_ids in self.ids if ours == pair_of_ids[0] or theirs == pair_of_ids[1]}
        assert known <= {(ours, theirs)}, f"{name}{arguments}: here {ours}, there {theirs}"
        if not known:
            self.ids.append((ours, theirs))

    def compare_perm(self, ours: Any, theirs: dict[str, int], what: str) -> None:
        """Compare struct ipc_perm."""
        mine = {name: getattr(ours, name) for name in ("key", "uid", "gid", "cuid", "cgid", "mode")}
        assert mine == {**theirs, "mode": theirs["mode"] & 0o777}, what

    def compare_times(self, ours: Any, theirs: dict[str, Any], names: tuple[str, ...], what: str) -> None:
        """Compare times: never or never, else within two seconds."""
        for name in names:
            mine = from_hyper(getattr(ours, name))
            assert (mine == 0) == (theirs[name] == 0), f"{what}: {name}"
            assert abs(mine - theirs[name]) <= 2, f"{what}: {name}"


class QueueOracle(Oracle):
    """Message queues."""

    remove = "msgrmid"

    @initialize()
    def first(self) -> None:
        """There is a queue that everybody may use."""
        self.get(0, lambda pair: pair.ours.msgget(0x50, RIPC_CREAT, 0o666), "msgget", 0x50, RIPC_CREAT | 0o666)

    @rule(number=st.integers(0, 9), key=st.sampled_from(KEYS), flags=FLAGS, mode=MODES)
    def msgget(self, number: int, key: int, flags: int, mode: int) -> None:
        """Msgget."""
        self.get(number, lambda pair: pair.ours.msgget(key, flags, mode), "msgget", key, flags | mode)

    def _blocked(self, id: int, kind: type[Any]) -> int:
        queue = self.lab.machine.queues.table.by_id.get(id)
        return 0 if queue is None else sum(isinstance(waiter, kind) for waiter in queue.waiters.values())

    @rule(
        number=st.integers(0, 9),
        at=st.integers(0, 99),
        mtype=st.sampled_from([1, 1, 2, 3, 3, 4, 7, 0, -1, 2**40]),
        size=st.sampled_from([0, 1, 5, 5, 100, 3000, 8000, 8192, 8193]),
        flags=st.sampled_from([0, 0, RIPC_NOWAIT]),
    )
    def msgsnd(self, number: int, at: int, mtype: int, size: int, flags: int) -> None:
        """Msgsnd."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is None:
            return
        if self._blocked(ours, Sender):
            flags |= RIPC_NOWAIT  # of several senders who could go on, the kernel's scheduler chooses
        text = bytes([number + 65]) * size
        self.both(
            pair,
            lambda: pair.ours.send(ours, mtype, text, flags),
            "msgsnd",
            theirs,
            mtype,
            text.decode("latin-1"),
            flags,
        )

    @rule(
        number=st.integers(0, 9),
        at=st.integers(0, 99),
        msgtyp=st.sampled_from([0, 0, 1, 2, 3, 4, 5, -1, -2, -3, -9, -(2**63), 2**40]),
        size=st.sampled_from([0, 4, 5, 100, 8192, 10000, -1]),
        flags=st.sampled_from(
            [
                *(0, 0, 0, RIPC_NOWAIT, RIPC_NOERROR, RIPC_EXCEPT, RIPC_EXCEPT | RIPC_NOERROR),
                *(RIPC_COPY, RIPC_COPY | RIPC_NOWAIT, RIPC_COPY | RIPC_NOWAIT | RIPC_NOERROR),
                *(RIPC_COPY | RIPC_EXCEPT | RIPC_NOWAIT, RIPC_EXCEPT | RIPC_NOWAIT, RIPC_NOERROR | RIPC_NOWAIT),
            ]
        ),
    )
    def msgrcv(self, number: int, at: int, msgtyp: int, size: int, flags: int) -> None:
        """Msgrcv."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is None:
            return
        self.both(pair, lambda: pair.ours.receive(ours, msgtyp, size, flags), "msgrcv", theirs, msgtyp, size, flags)

    @rule(
        number=st.integers(0, 9),
        at=st.integers(0, 99),
        uid=UIDS,
        gid=GIDS,
        mode=MODES,
        qbytes=st.sampled_from([0, 1, 3, 100, 8192, 16384, 16385, 40000]),
    )
    def msgset(self, *, number: int, at: int, uid: int, gid: int, mode: int, qbytes: int) -> None:
        """Msgctl IPC_SET."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is None or self._blocked(ours, Receiver) > 1:
            return  # the kernel wakes all receivers to judge them again, and they line up as they are scheduled
        if not pair.theirs.user.uid and not self.kernel.root_may_raise:
            qbytes = min(qbytes, 16384)  # root in a container without CAP_SYS_RESOURCE
        self.both(
            pair,
            lambda: pair.ours.msgset(ours, uid, gid, mode, qbytes),
            *("msgset", theirs, uid, gid, mode, qbytes),
        )

    @rule(number=st.integers(0, 9), at=st.integers(0, 99))
    def msgrmid(self, number: int, at: int) -> None:
        """Msgctl IPC_RMID."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is not None:
            self.both(pair, lambda: pair.ours.msgrmid(ours), "msgrmid", theirs)

    @rule(number=st.integers(0, 9), at=st.integers(0, 99))
    def msgstat(self, number: int, at: int) -> None:
        """Msgctl IPC_STAT by anybody."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is not None:
            self._compare_stat(pair.ours.msgstat(ours), pair.theirs.call("msgstat", theirs))

    def _compare_stat(self, ours: Any, theirs: Any) -> None:
        if isinstance(ours, ripc_status):
            assert theirs[0] == "errno", (ours, theirs)
            assert errno_name(ours) == name_of(theirs[1])
            return
        self.compare_perm(ours.perm, theirs["perm"], f"{ours}")
        mine = {name: getattr(ours, name) for name in ("qnum", "lspid", "lrpid")}
        mine |= {name: from_hyper(getattr(ours, name)) for name in ("cbytes", "qbytes")}
        assert mine == {name: theirs[name] for name in mine}
        self.compare_times(ours, theirs, ("stime", "rtime", "ctime"), f"{ours}")

    @invariant()
    def all_queues_look_the_same(self) -> None:
        """Root sees the same."""
        for ours, theirs in self.ids:
            self._compare_stat(Process.msgstat(self.pairs[0].ours, ours), self.kernel.root.call("msgstat", theirs))


class SemaphoreOracle(Oracle):
    """Semaphore sets."""

    remove = "semrmid"

    @initialize(nsems=st.integers(1, 3))
    def first(self, nsems: int) -> None:
        """There is a set that everybody may use."""
        flags = RIPC_CREAT | 0o666
        self.get(0, lambda pair: pair.ours.semget(0x50, nsems, RIPC_CREAT, 0o666), "semget", 0x50, nsems, flags)

    @rule(
        number=st.integers(0, 9),
        key=st.sampled_from(KEYS),
        nsems=st.sampled_from([0, 1, 2, 3, -1, 32001]),
        flags=FLAGS,
        mode=MODES,
    )
    def semget(self, number: int, key: int, nsems: int, flags: int, mode: int) -> None:
        """Semget."""
        self.get(number, lambda pair: pair.ours.semget(key, nsems, flags, mode), "semget", key, nsems, flags | mode)

    @rule(
        number=st.integers(0, 9),
        at=st.sampled_from([0, 0, 0, 0, 1, 2, 3]),
        sops=st.lists(
            st.tuples(
                st.sampled_from([0, 0, 0, 1, 1, 2, 3]),
                st.sampled_from([0, 0, 1, 1, 2, 3, -1, -1, -2, -3, 32767, -32768]),
                st.sampled_from([0, 0, 0, 0, RIPC_UNDO, RIPC_UNDO, RIPC_NOWAIT, RIPC_NOWAIT | RIPC_UNDO]),
            ),
            min_size=1,
            max_size=4,
        ),
    )
    def semop(self, number: int, at: int, sops: list[tuple[int, int, int]]) -> None:
        """Semop."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is not None:
            self.both(pair, lambda: pair.ours.semop(ours, *sops), "semop", theirs, sops)

    @rule(number=st.integers(0, 9), at=st.integers(0, 99))
    def too_many(self, number: int, at: int) -> None:
        """E2BIG and EINVAL for the number of operations."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is not None and number % 2:
            self.both(pair, lambda: pair.ours.semop(ours), "semop", theirs, [])

    @rule(
        number=st.integers(0, 9),
        at=st.sampled_from([0, 0, 0, 1, 2]),
        num=st.sampled_from([0, 0, 1, 2, 3, -1]),
        val=st.sampled_from([0, 0, 1, 2, 5, 32767, 32768, -1]),
    )
    def setval(self, number: int, at: int, num: int, val: int) -> None:
        """Semctl SETVAL."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is not None:
            self.both(pair, lambda: pair.ours.setval(ours, num, val), "semsetval", theirs, num, val)

    @rule(number=st.integers(0, 9), at=st.sampled_from([0, 0, 1]), vals=st.lists(st.sampled_from([0, 1, 3, 32768])))
    def setall(self, number: int, at: int, vals: list[int]) -> None:
        """Semctl SETALL, with the right number of values (C cannot tell another)."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        found = self.lab.machine.semaphores.table.by_id.get(ours)
        if pair is not None and found is not None:
            vals = [*vals, 0, 1, 0][: len(found.values)]
            self.both(pair, lambda: pair.ours.setall(ours, vals), "semsetall", theirs, vals)

    @rule(number=st.integers(0, 9), at=st.integers(0, 99), uid=UIDS, gid=GIDS, mode=MODES)
    def semset(self, number: int, at: int, uid: int, gid: int, mode: int) -> None:
        """Semctl IPC_SET."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is not None:
            self.both(pair, lambda: pair.ours.semset(ours, uid, gid, mode), "semset", theirs, uid, gid, mode)

    @rule(number=st.integers(0, 9), at=st.integers(0, 99))
    def semrmid(self, number: int, at: int) -> None:
        """Semctl IPC_RMID."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is not None:
            self.both(pair, lambda: pair.ours.semrmid(ours), "semrmid", theirs)

    @rule(number=st.integers(0, 9), at=st.integers(0, 99), num=st.sampled_from([0, 1, 3, -1]))
    def getval(self, number: int, at: int, num: int) -> None:
        """Semctl GETVAL and the like by anybody."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is not None:
            self._compare(pair.ours.getval(ours, num), pair.theirs.call("semvals", theirs, num))
            nsems = len(found.values) if (found := self.lab.machine.semaphores.table.by_id.get(ours)) else 1
            self._compare(pair.ours.getall(ours), pair.theirs.call("semgetall", theirs, nsems))

    def _compare(self, ours: Any, theirs: Any) -> None:
        if isinstance(ours, ripc_status):
            assert theirs[0] == "errno", (ours, theirs)
            assert errno_name(ours) == name_of(theirs[1])
        else:
            assert list(ours) == theirs, f"here {list(ours)}, there {theirs}"

    @invariant()
    def all_sets_look_the_same(self) -> None:
        """Root sees the same."""
        me = self.pairs[0].ours
        for ours, theirs in self.ids:
            mine, yours = me.semstat(ours), self.kernel.root.call("semstat", theirs)
            if isinstance(mine, ripc_status):
                self._compare(mine, yours)
                continue
            self.compare_perm(mine.perm, yours["perm"], f"{mine}")
            # At its exit the kernel notes otime for everybody who ever gave SEM_UNDO, though nothing be left to undo.
            self.compare_times(mine, yours, ("ctime",) if self.died else ("otime", "ctime"), f"{mine}")
            assert mine.nsems == yours["nsems"]
            for num in range(mine.nsems):
                self._compare(me.getval(ours, num), self.kernel.root.call("semvals", theirs, num))


class SegmentOracle(Oracle):
    """Segments: what they have in common with the kernel's."""

    remove = "shmrmid"

    @initialize()
    def first(self) -> None:
        """There is a segment that everybody may use."""
        flags = RIPC_CREAT | 0o666
        self.get(0, lambda pair: pair.ours.shmget(0x50, 5000, RIPC_CREAT, 0o666), "shmget", 0x50, 5000, flags)

    @rule(
        number=st.integers(0, 9),
        key=st.sampled_from(KEYS),
        size=st.sampled_from([0, 1, 4096, 5000, 9000]),
        flags=FLAGS,
        mode=MODES,
    )
    def shmget(self, number: int, key: int, size: int, flags: int, mode: int) -> None:
        """Shmget."""
        self.get(number, lambda pair: pair.ours.shmget(key, size, flags, mode), "shmget", key, size, flags | mode)

    @rule(number=st.integers(0, 9), at=st.integers(0, 99), flags=st.sampled_from([0, RIPC_RDONLY]))
    def shmat(self, number: int, at: int, flags: int) -> None:
        """Shmat."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is not None and not isinstance(
            self.both(pair, lambda: pair.ours.attach(ours, flags), "shmat", theirs, flags), ripc_status
        ):
            pair.attached.append(theirs)

    @rule(number=st.integers(0, 9), at=st.integers(0, 99))
    def shmdt(self, number: int, at: int) -> None:
        """Shmdt."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is None:
            return
        if self.both(pair, lambda: pair.ours.detach(ours), "shmdt", theirs).name == "RIPC_OK":
            pair.attached.remove(theirs)

    @rule(number=st.integers(0, 9), at=st.integers(0, 99), uid=UIDS, gid=GIDS, mode=MODES)
    def shmset(self, number: int, at: int, uid: int, gid: int, mode: int) -> None:
        """Shmctl IPC_SET."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is not None:
            self.both(pair, lambda: pair.ours.shmset(ours, uid, gid, mode), "shmset", theirs, uid, gid, mode)

    @rule(number=st.integers(0, 9), at=st.integers(0, 99))
    def shmrmid(self, number: int, at: int) -> None:
        """Shmctl IPC_RMID."""
        pair, (ours, theirs) = self.idle(number), self.id(at)
        if pair is not None:
            self.both(pair, lambda: pair.ours.shmrmid(ours), "shmrmid", theirs)

    @invariant()
    def all_segments_look_the_same(self) -> None:
        """Root sees the same."""
        me = self.pairs[0].ours
        for ours, theirs in self.ids:
            mine, yours = me.shmstat(ours), self.kernel.root.call("shmstat", theirs)
            if isinstance(mine, ripc_status):
                assert yours[0] == "errno", (mine, yours)
                assert errno_name(mine) == name_of(yours[1])
                continue
            self.compare_perm(mine.perm, yours["perm"], f"{mine}")
            assert (mine.removed == 1) == bool(yours["perm"]["mode"] & 0o1000)
            self.compare_times(mine, yours, ("atime", "dtime", "ctime"), f"{mine}")
            assert from_hyper(mine.segsz) == yours["segsz"]
            assert (mine.cpid, mine.lpid, mine.nattch) == (yours["cpid"], yours["lpid"], yours["nattch"])


@pytest.mark.parametrize("program", [QueueOracle, SemaphoreOracle, SegmentOracle])
def test_random_programs_see_the_same_as_with_the_kernel(program: type[Oracle], kernel: Kernel) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    Oracle.kernel = kernel
    try:
        run_state_machine_as_test(program, settings=SETTINGS)
    finally:
        while Oracle.pool:
            Oracle.pool.pop().kill()
