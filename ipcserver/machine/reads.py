"""Reads: INFO, STAT, LIST, GETVAL, GETALL and reading a segment. They change nothing and are not journalled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from ipcserver._gen.ipc import (
    RIPC_BY_ID,
    RIPC_BY_INDEX_ANY,
    RIPC_EINVAL,
    RIPC_LISTMAX,
    ripc_info_res,
    ripc_msglist_res,
    ripc_msgstat_res_default,
    ripc_msgstat_res_RIPC_OK,
    ripc_sem,
    ripc_semall_res_default,
    ripc_semall_res_RIPC_OK,
    ripc_semlist_res,
    ripc_semstat_res_default,
    ripc_semstat_res_RIPC_OK,
    ripc_semval_res_default,
    ripc_semval_res_RIPC_OK,
    ripc_shmlist_res,
    ripc_shmread_res_default,
    ripc_shmread_res_RIPC_OK,
    ripc_shmstat_res_default,
    ripc_shmstat_res_RIPC_OK,
    ripc_use,
)
from ipcserver.hypers import from_hyper, to_hyper
from ipcserver.machine import permissions
from ipcserver.machine.errors import Refused
from ipcserver.machine.ids import INDEXES, Identified
from ipcserver.machine.permissions import READ

if TYPE_CHECKING:
    from ipcserver._gen.ipc import (
        ripc_list_args,
        ripc_msgstat_res,
        ripc_semall_res,
        ripc_semnum_args,
        ripc_semstat_res,
        ripc_semval_res,
        ripc_shmread_args,
        ripc_shmread_res,
        ripc_shmstat_res,
        ripc_stat_args,
    )
    from ipcserver._gen.machine import machine_caller
    from ipcserver.machine.ids import Table
    from ipcserver.machine.machine import Machine

__all__ = ["Reads"]

T = TypeVar("T", bound=Identified)

LISTMAX: Final = RIPC_LISTMAX


class Reads:
    """The procedures of ipc.x that change nothing, each under its name without ``ripc_``."""

    __slots__ = ("_machine",)

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def info(self) -> ripc_info_res:
        """Tell limits and use (IPC_INFO, MSG_INFO, SEM_INFO, SHM_INFO)."""
        machine = self._machine
        queues, sets, segments = machine.queues, machine.semaphores, machine.segments
        return ripc_info_res(
            boot=to_hyper(machine.boot),
            limits=machine.limits.sysv(),
            queues=_use(queues.table, queues.messages, queues.bytes),
            sets=_use(sets.table, sets.total, 0),
            segments=_use(segments.table, segments.nattch, segments.bytes),
            sessions=len(machine.sessions.by_id),
            waiters=len(machine.waits),
        )

    def msgstat(self, caller: machine_caller, args: ripc_stat_args) -> ripc_msgstat_res:
        """Msgctl IPC_STAT, MSG_STAT, MSG_STAT_ANY; RIPC_EINVAL, RIPC_EACCES."""
        try:
            return ripc_msgstat_res_RIPC_OK(_found(self._machine.queues.table, caller, args).to_ds())
        except Refused as refused:
            return ripc_msgstat_res_default(refused.status)

    def semstat(self, caller: machine_caller, args: ripc_stat_args) -> ripc_semstat_res:
        """Semctl IPC_STAT, SEM_STAT, SEM_STAT_ANY; RIPC_EINVAL, RIPC_EACCES."""
        try:
            return ripc_semstat_res_RIPC_OK(_found(self._machine.semaphores.table, caller, args).to_ds())
        except Refused as refused:
            return ripc_semstat_res_default(refused.status)

    def shmstat(self, caller: machine_caller, args: ripc_stat_args) -> ripc_shmstat_res:
        """Shmctl IPC_STAT, SHM_STAT, SHM_STAT_ANY; RIPC_EINVAL, RIPC_EACCES."""
        try:
            return ripc_shmstat_res_RIPC_OK(_found(self._machine.segments.table, caller, args).to_ds())
        except Refused as refused:
            return ripc_shmstat_res_default(refused.status)

    def msglist(self, caller: machine_caller, args: ripc_list_args) -> ripc_msglist_res:  # noqa: ARG002
        """List queues from an index on. Everybody may, as with /proc/sysvipc."""
        items, following = self._machine.queues.table.page(args.start, min(args.max, LISTMAX))
        return ripc_msglist_res(following, [item.to_ds() for item in items])

    def semlist(self, caller: machine_caller, args: ripc_list_args) -> ripc_semlist_res:  # noqa: ARG002
        """List semaphore sets from an index on."""
        items, following = self._machine.semaphores.table.page(args.start, min(args.max, LISTMAX))
        return ripc_semlist_res(following, [item.to_ds() for item in items])

    def shmlist(self, caller: machine_caller, args: ripc_list_args) -> ripc_shmlist_res:  # noqa: ARG002
        """List segments from an index on."""
        items, following = self._machine.segments.table.page(args.start, min(args.max, LISTMAX))
        return ripc_shmlist_res(following, [item.to_ds() for item in items])

    def semgetval(self, caller: machine_caller, args: ripc_semnum_args) -> ripc_semval_res:
        """Semctl GETVAL, GETPID, GETNCNT and GETZCNT in one; RIPC_EINVAL, RIPC_EACCES."""
        try:
            found = self._machine.semaphores.table.find(args.id)
            permissions.require(found.perm, caller, READ)
            if not 0 <= args.num < len(found.values):
                return ripc_semval_res_default(RIPC_EINVAL)
        except Refused as refused:
            return ripc_semval_res_default(refused.status)
        semncnt, semzcnt = found.counts(args.num)
        return ripc_semval_res_RIPC_OK(ripc_sem(found.values[args.num], found.pids[args.num], semncnt, semzcnt))

    def semgetall(self, caller: machine_caller, args: int) -> ripc_semall_res:
        """Semctl GETALL; RIPC_EINVAL, RIPC_EACCES.

        Args:
            args: The set's id.
        """
        try:
            found = self._machine.semaphores.table.find(args)
            permissions.require(found.perm, caller, READ)
        except Refused as refused:
            return ripc_semall_res_default(refused.status)
        return ripc_semall_res_RIPC_OK(list(found.values))

    def shmread(self, caller: machine_caller, args: ripc_shmread_args) -> ripc_shmread_res:
        """Read a range, perhaps less than was asked for (RIPC_CHUNK, the end); RIPC_EINVAL, RIPC_EACCES."""
        segments = self._machine.segments
        try:
            found = segments.table.find(args.id)
            permissions.require(found.perm, caller, READ)
            return ripc_shmread_res_RIPC_OK(segments.read(found, from_hyper(args.offset), args.count))
        except Refused as refused:
            return ripc_shmread_res_default(refused.status)


def _found(table: Table[T], caller: machine_caller, args: ripc_stat_args) -> T:
    if args.by == RIPC_BY_ID:
        found = table.find(args.id)
    elif args.id < 0:
        raise Refused(RIPC_EINVAL)
    else:
        found = table.at(args.id % INDEXES)
    if args.by != RIPC_BY_INDEX_ANY:
        permissions.require(found.perm, caller, READ)
    return found


def _use(table: Table[T], parts: int, size: int) -> ripc_use:
    return ripc_use(used=len(table), highest=table.highest(), parts=to_hyper(parts), bytes_=to_hyper(size))
