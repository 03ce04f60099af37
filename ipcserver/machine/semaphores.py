"""Semaphore sets: semget, semop, semctl (SVID; semop(2), semctl(2)), with the checks and the fairness of Linux.

Waiting calls with the same operations are judged together: what one of them is stuck at, all are. So a thousand
processes waiting for one lock cost what one costs.
"""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, TypeAlias

from ipcserver._gen.ipc import (
    RIPC_E2BIG,
    RIPC_EACCES,
    RIPC_EAGAIN,
    RIPC_EFBIG,
    RIPC_EIDRM,
    RIPC_EINVAL,
    RIPC_ENOSESSION,
    RIPC_ENOSPC,
    RIPC_EQUOTA,
    RIPC_ERANGE,
    RIPC_NOWAIT,
    RIPC_OK,
    RIPC_UNDO,
    ripc_id_res_RIPC_OK,
    ripc_semid_ds,
)
from ipcserver._gen.machine import OWNER_DATAGRAM
from ipcserver.hypers import to_hyper
from ipcserver.machine import permissions
from ipcserver.machine.errors import Refused
from ipcserver.machine.ids import Table
from ipcserver.machine.lines import join, leave
from ipcserver.machine.outcomes import status_refusal
from ipcserver.machine.permissions import READ, WRITE, allows
from ipcserver.machine.waiting import Waiter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipcserver._gen.ipc import (
        ripc_perm,
        ripc_rmid_args,
        ripc_semget_args,
        ripc_semop_args,
        ripc_set_args,
        ripc_setall_args,
        ripc_setval_args,
        ripc_status,
    )
    from ipcserver.machine.accounts import Accounts
    from ipcserver.machine.outcomes import Outcome
    from ipcserver.machine.owners import Call, Owner
    from ipcserver.machine.waiting import Waits

__all__ = ["Operations", "SemaphoreSet", "Semaphores", "SemopWaiter", "Undo"]

Operations: TypeAlias = tuple[tuple[int, int, int], ...]
"""The sembufs of a semop: number, operation, flags."""

DONE: Final = -1
"""Not stuck at any operation."""

MOST_WATCHED: Final = 2000
"""Operations of different waiting calls about one semaphore. Each success among them looks at all the others once: this
keeps a thousand successes in a row below a second or so. Calls that are alike count once."""


class Undo:
    """The adjustments that a set keeps for an owner (SEM_UNDO).

    Attributes:
        pid: Who GETPID names once they were applied.
        values: By semaphore number; never 0.
    """

    __slots__ = ("pid", "values")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.values: dict[int, int] = {}


class Shape:
    """The waiting calls with the same operations.

    Attributes:
        alters: Whether they change anything; others only wait for zeros.
        line: Their arrivals.
        stuck: The operation that blocked when they were last judged; GETNCNT and GETZCNT count them there.
    """

    __slots__ = ("alters", "line", "operations", "stuck")

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self.alters = any(op for _, op, _ in operations)
        self.line: list[int] = []
        self.stuck = 0


class SemaphoreSet:
    """A semaphore set.

    Attributes:
        pids: Who last operated on each semaphore.
        undos: Adjustments by owner.
        waiters: Everybody who waits, sleeping or not, by arrival.
        shapes: The waiting calls in line, by their operations.
        watchers: By semaphore number the shapes that have to do with it.
        load: By semaphore number how many operations those have.
    """

    __slots__ = ("ctime", "id", "load", "otime", "perm", "pids", "shapes", "undos", "values", "waiters", "watchers")

    def __init__(self, id: int, perm: ripc_perm, nsems: int, ctime: int) -> None:
        self.id = id
        self.perm = perm
        self.ctime = ctime
        self.otime = 0
        self.values = [0] * nsems
        self.pids = [0] * nsems
        self.undos: dict[Owner, Undo] = {}
        self.waiters: dict[int, SemopWaiter] = {}
        self.shapes: dict[Operations, Shape] = {}
        self.watchers: dict[int, dict[Operations, Shape]] = {}
        self.load: dict[int, int] = {}

    def judge(self, operations: Operations, semvmx: int) -> int:
        """Tell at which operation a semop would block; DONE if at none, or if it would fail before that."""
        values = self.values
        if len(operations) == 1:
            num, op, _ = operations[0]
            return 0 if (values[num] + op < 0 if op else values[num]) else DONE
        changed: dict[int, int] = {}
        for at, (num, op, _) in enumerate(operations):
            value = changed.get(num)
            if value is None:
                value = values[num]
            if op == 0:
                if value:
                    return at
            else:
                value += op
                if value < 0:
                    return at
                if value > semvmx:
                    return DONE
                changed[num] = value
        return DONE

    def counts(self, num: int) -> tuple[int, int]:
        """Give semncnt and semzcnt: who is stuck at this semaphore waiting for more, and for zero."""
        more = zero = 0
        for shape in self.watchers.get(num, {}).values():
            at, op, _ = shape.operations[shape.stuck]
            if at == num:
                if op:
                    more += len(shape.line)
                else:
                    zero += len(shape.line)
        return more, zero

    def to_ds(self) -> ripc_semid_ds:
        """Give what IPC_STAT tells."""
        return ripc_semid_ds(
            id=self.id,
            perm=replace(self.perm),
            otime=to_hyper(self.otime),
            ctime=to_hyper(self.ctime),
            nsems=len(self.values),
        )


class SemopWaiter(Waiter):
    """A semop that waits."""

    __slots__ = ("operations", "semaphores", "set")

    @staticmethod
    def refusal(status: ripc_status) -> Outcome:
        """Make the result of a refused call."""
        return status_refusal(status)

    def __init__(self, call: Call, semaphores: Semaphores, set: SemaphoreSet, operations: Operations) -> None:
        super().__init__(call)
        self.semaphores = semaphores
        self.set = set
        self.operations = operations

    def enroll(self) -> None:
        """Become known to the set."""
        self.set.waiters[self.arrival] = self

    def line_up(self) -> None:
        """Stand with those who want the same."""
        shapes = self.set.shapes
        shape = shapes.get(self.operations)
        if shape is None:
            shape = shapes[self.operations] = Shape(self.operations)
            shape.stuck = max(self.set.judge(self.operations, self.semaphores.accounts.limits.semvmx), 0)
            load = self.set.load
            for num in {num for num, _, _ in self.operations}:
                self.set.watchers.setdefault(num, {})[self.operations] = shape
                load[num] = load.get(num, 0) + len(self.operations)
        join(shape.line, self.arrival)

    def step_out(self) -> None:
        """Leave them."""
        shape = self.set.shapes[self.operations]
        leave(shape.line, self.arrival)
        if shape.line:
            return
        del self.set.shapes[self.operations]
        for num in {num for num, _, _ in self.operations}:
            self.set.load[num] -= len(self.operations)
            del self.set.watchers[num][self.operations]
            if not self.set.watchers[num]:
                del self.set.watchers[num], self.set.load[num]

    def forget(self) -> None:
        """Leave the set."""
        del self.set.waiters[self.arrival]

    def resume(self) -> None:
        """Try again, or go on waiting."""
        self.line_up()
        self.semaphores.retry(self)


class Semaphores:
    """All semaphore sets."""

    __slots__ = ("accounts", "table", "total", "waits")

    def __init__(self, accounts: Accounts, waits: Waits) -> None:
        self.accounts = accounts
        self.waits = waits
        self.table: Table[SemaphoreSet] = Table()
        self.total = 0

    def get(self, call: Call, args: ripc_semget_args) -> Outcome:
        """Semget."""
        limits = self.accounts.limits
        if not 0 <= args.nsems <= limits.semmsl:
            raise Refused(RIPC_EINVAL)
        found = self.table.look_up(args.key, args.flags)
        if found is not None:
            if args.nsems > len(found.values):
                raise Refused(RIPC_EINVAL)
            permissions.require_mode(found.perm, call.caller, args.mode)
            return ripc_id_res_RIPC_OK(found.id)
        if args.nsems == 0:
            raise Refused(RIPC_EINVAL)
        if self.total + args.nsems > limits.semmns:
            raise Refused(RIPC_ENOSPC)
        self.table.require_room(limits.semmni)
        self.accounts.add_object(call.caller.uid)
        perm = permissions.new(call.caller, args.key, args.mode)
        number, perm.seq = self.table.next_id()
        self.table.add(SemaphoreSet(number, perm, args.nsems, self.accounts.time_s))
        self.total += args.nsems
        return ripc_id_res_RIPC_OK(number)

    def operate(self, call: Call, args: ripc_semop_args) -> Outcome | None:
        """semop, semtimedop.

        Raises:
            Refused: RIPC_EINVAL, RIPC_E2BIG (number of operations), RIPC_EINVAL (id), RIPC_EFBIG, RIPC_EACCES, then
                RIPC_ERANGE or RIPC_EAGAIN by the values; RIPC_ENOSESSION for SEM_UNDO without session or connection.
        """
        sops = args.sops
        if not sops:
            raise Refused(RIPC_EINVAL)
        if len(sops) > self.accounts.limits.semopm:
            raise Refused(RIPC_E2BIG)
        found = self.table.find(args.id)
        operations = tuple([(sop.num, sop.op, sop.flags) for sop in sops])
        nsems = len(found.values)
        alters = undoes = False
        for num, op, flags in operations:
            if num >= nsems:
                raise Refused(RIPC_EFBIG)
            if op:
                alters = True
                if flags & RIPC_UNDO:
                    undoes = True
        if not allows(found.perm, call.caller, WRITE if alters else READ):
            raise Refused(RIPC_EACCES)
        if undoes and call.owner.kind is OWNER_DATAGRAM:
            raise Refused(RIPC_ENOSESSION)
        stuck = self._attempt(found, operations, call)
        if stuck == DONE:
            found.otime = self.accounts.time_s
            if alters and found.shapes:
                self._settle(found, [num for num, op, _ in operations])
            return RIPC_OK
        if operations[stuck][2] & RIPC_NOWAIT:
            raise Refused(RIPC_EAGAIN)
        if operations not in found.shapes and any(found.load.get(num, 0) >= MOST_WATCHED for num, _, _ in operations):
            raise Refused(RIPC_EQUOTA)
        self.waits.begin(SemopWaiter(call, self, found, operations), args.wait_ms)
        return None

    def set(self, call: Call, args: ripc_set_args) -> Outcome:
        """Semctl IPC_SET. Waiters are not judged again: a changed mode is seen by the next call only."""
        found = self.table.find(args.id)
        permissions.require_control(found.perm, call.caller)
        permissions.change(found.perm, args)
        found.ctime = self.accounts.time_s
        return RIPC_OK

    def remove(self, call: Call, args: ripc_rmid_args) -> Outcome:
        """Semctl IPC_RMID: everybody who waits gets RIPC_EIDRM, adjustments are void."""
        found = self.table.find(args.id)
        permissions.require_control(found.perm, call.caller)
        for owner in found.undos:
            del owner.adjusted[found.id]
        for arrival in sorted(found.waiters):
            self.waits.finish(found.waiters[arrival], RIPC_EIDRM)
        self.table.remove(found)
        self.total -= len(found.values)
        self.accounts.remove_object(found.perm.cuid)
        return RIPC_OK

    def set_value(self, call: Call, args: ripc_setval_args) -> Outcome:
        """Semctl SETVAL: the adjustments of this semaphore are void."""
        if not 0 <= args.val <= self.accounts.limits.semvmx:
            raise Refused(RIPC_ERANGE)
        found = self.table.find(args.id)
        if not 0 <= args.num < len(found.values):
            raise Refused(RIPC_EINVAL)
        permissions.require(found.perm, call.caller, WRITE)
        for owner, undo in list(found.undos.items()):
            undo.values.pop(args.num, None)
            self._drop_if_void(found, owner, undo)
        found.values[args.num] = args.val
        found.pids[args.num] = call.pid
        found.ctime = self.accounts.time_s
        if self._settle(found, (args.num,)):
            found.otime = self.accounts.time_s
        return RIPC_OK

    def set_all(self, call: Call, args: ripc_setall_args) -> Outcome:
        """Semctl SETALL: all adjustments are void. The number of values must be the set's."""
        found = self.table.find(args.id)
        permissions.require(found.perm, call.caller, WRITE)
        if len(args.vals) != len(found.values):
            raise Refused(RIPC_EINVAL)
        if max(args.vals) > self.accounts.limits.semvmx:
            raise Refused(RIPC_ERANGE)
        for owner in found.undos:
            del owner.adjusted[found.id]
        found.undos.clear()
        found.values = list(args.vals)
        found.pids = [call.pid] * len(found.values)
        found.ctime = self.accounts.time_s
        if self._settle(found, range(len(found.values))):
            found.otime = self.accounts.time_s
        return RIPC_OK

    def undo(self, id: int, owner: Owner) -> None:
        """Apply an owner's adjustments to a set; values stay within their range (exit_sem in Linux)."""
        found = self.table.find(id)
        undo = found.undos.pop(owner)
        del owner.adjusted[id]
        for num, adjustment in sorted(undo.values.items()):
            found.values[num] = min(max(found.values[num] + adjustment, 0), self.accounts.limits.semvmx)
            found.pids[num] = undo.pid
        found.otime = self.accounts.time_s
        self._settle(found, list(undo.values))

    def retry(self, waiter: SemopWaiter) -> None:
        """Try a semop that is in line."""
        found = waiter.set
        try:
            stuck = self._attempt(found, waiter.operations, waiter.call)
        except Refused as refused:
            self.waits.finish(waiter, refused.status)
            return
        if stuck == DONE:
            self.waits.finish(waiter, RIPC_OK)
            found.otime = self.accounts.time_s
            self._settle(found, [num for num, op, _ in waiter.operations if op])
        elif waiter.operations[stuck][2] & RIPC_NOWAIT:
            self.waits.finish(waiter, RIPC_EAGAIN)

    def restore_undo(self, found: SemaphoreSet, owner: Owner, undo: Undo) -> None:
        """Enter the adjustments of a snapshot."""
        found.undos[owner] = undo
        owner.adjusted[found.id] = None

    def _attempt(self, found: SemaphoreSet, operations: Operations, call: Call) -> int:
        """Do all operations or none; give the one that blocks, or DONE.

        Raises:
            Refused: RIPC_ERANGE, if that is met before any operation blocks.
        """
        values = found.values
        limits = self.accounts.limits
        if len(operations) == 1:
            num, op, flags = operations[0]
            if op == 0:
                if values[num]:
                    return 0
            else:
                value = values[num] + op
                if value < 0:
                    return 0
                if value > limits.semvmx:
                    raise Refused(RIPC_ERANGE)
                if flags & RIPC_UNDO:
                    self._adjust(found, call, {num: -op})
                values[num] = value
            found.pids[num] = call.pid
            return DONE
        changed: dict[int, int] = {}
        adjusted: dict[int, int] = {}
        for at, (num, op, flags) in enumerate(operations):
            value = changed.get(num, values[num])
            if op == 0:
                if value:
                    return at
                continue
            value += op
            if value < 0:
                return at
            if value > limits.semvmx:
                raise Refused(RIPC_ERANGE)
            if flags & RIPC_UNDO:
                adjusted[num] = adjusted.get(num, 0) - op
                self._check_adjustment(found, call, num, adjusted[num])
            changed[num] = value
        if adjusted:
            self._adjust(found, call, adjusted)
        for num, value in changed.items():
            values[num] = value
        for num, _, _ in operations:
            found.pids[num] = call.pid
        return DONE

    def _check_adjustment(self, found: SemaphoreSet, call: Call, num: int, change: int) -> int:
        """Give the new adjustment; RIPC_ERANGE if it is beyond semaem."""
        undo = found.undos.get(call.owner)
        value = change if undo is None else undo.values.get(num, 0) + change
        most = self.accounts.limits.semaem
        if not -most - 1 <= value <= most:
            raise Refused(RIPC_ERANGE)
        return value

    def _adjust(self, found: SemaphoreSet, call: Call, changes: dict[int, int]) -> None:
        """Keep what has to be undone at the owner's end."""
        values = {num: self._check_adjustment(found, call, num, change) for num, change in changes.items()}
        owner = call.owner
        undo = found.undos.get(owner)
        if undo is None:
            undo = Undo(call.pid)
            self.restore_undo(found, owner, undo)
        undo.pid = call.pid
        for num, value in values.items():
            if value:
                undo.values[num] = value
            else:
                undo.values.pop(num, None)
        self._drop_if_void(found, owner, undo)

    def _drop_if_void(self, found: SemaphoreSet, owner: Owner, undo: Undo) -> None:
        if not undo.values:
            del found.undos[owner], owner.adjusted[found.id]

    def _settle(self, found: SemaphoreSet, touched: Iterable[int]) -> bool:
        """Wake whoever can go on after these semaphores have changed.

        As Linux does it: first those who wait for zeros, all that can; then the first by arrival of those who alter,
        and after each of them everybody again. Who is stuck at an unchanged semaphore is not looked at.

        Returns:
            Whether anybody succeeded.
        """
        success = False
        pending = set(touched) & found.watchers.keys()
        if pending:
            success = self._wake_for_zeros(found, pending)
        ready: list[int] = []  # arrivals of those who could go on when they were judged
        while pending:
            # Again until nothing changes: what was taken since may have changed where others are stuck.
            self._judge_those_who_alter(found, pending, ready)
            pending = set()
            while ready:
                waiter = found.waiters.get(heappop(ready))
                if waiter is None:
                    continue
                outcome = self._try_again(found, waiter)
                if outcome is None:
                    continue
                shape = found.shapes[waiter.operations]
                self.waits.finish(waiter, outcome)
                if shape.line:
                    heappush(ready, shape.line[0])
                if outcome is RIPC_OK:
                    success = True
                    nums = {num for num, _, _ in waiter.operations} & found.watchers.keys()
                    pending |= nums
                    self._wake_for_zeros(found, nums)
                    values = found.values
                    risen = {num for num, op, _ in waiter.operations if op > 0 or (op and not values[num])}
                    self._judge_those_who_alter(found, risen & nums, ready)
        return success

    def _try_again(self, found: SemaphoreSet, waiter: SemopWaiter) -> ripc_status | None:
        """Try a call that waits; None if it must wait on."""
        operations = waiter.operations
        shape = found.shapes.get(operations)
        if shape is None or shape.line[0] != waiter.arrival:
            return None
        stuck = found.judge(operations, self.accounts.limits.semvmx)
        if stuck != DONE:
            shape.stuck = stuck
            return RIPC_EAGAIN if operations[stuck][2] & RIPC_NOWAIT else None
        try:
            self._attempt(found, operations, waiter.call)
        except Refused as refused:
            return refused.status
        found.otime = self.accounts.time_s
        return RIPC_OK

    def _judge_those_who_alter(self, found: SemaphoreSet, nums: Iterable[int], ready: list[int]) -> None:
        """Judge the calls about these semaphores anew, and note who could end now."""
        semvmx = self.accounts.limits.semvmx
        shapes: dict[Operations, Shape] = {}
        for num in nums:
            shapes.update(found.watchers.get(num, {}))
        for operations, shape in shapes.items():
            if shape.alters:
                stuck = found.judge(operations, semvmx)
                if stuck != DONE:
                    shape.stuck = stuck
                if stuck == DONE or operations[stuck][2] & RIPC_NOWAIT:
                    heappush(ready, shape.line[0])

    def _wake_for_zeros(self, found: SemaphoreSet, nums: Iterable[int]) -> bool:
        """Judge those who only wait for zeros; calls with one operation come first.

        Linux looks at them only when something became zero; GETZCNT shows it.
        """
        shapes: dict[Operations, Shape] = {}
        zero = False
        for num in nums:
            zero = zero or not found.values[num]
            shapes.update((key, shape) for key, shape in found.watchers.get(num, {}).items() if not shape.alters)
        if not zero or not shapes:
            return False
        success = False
        semvmx = self.accounts.limits.semvmx
        for operations, shape in sorted(shapes.items(), key=lambda item: (len(item[0]) > 1, item[1].line[0])):
            stuck = found.judge(operations, semvmx)
            if stuck != DONE:
                shape.stuck = stuck
                if not operations[stuck][2] & RIPC_NOWAIT:
                    continue
            for arrival in list(shape.line):
                waiter = found.waiters[arrival]
                if stuck == DONE:
                    for num, _, _ in operations:
                        found.pids[num] = waiter.call.pid
                    success = True
                    found.otime = self.accounts.time_s
                self.waits.finish(waiter, RIPC_OK if stuck == DONE else RIPC_EAGAIN)
        return success
