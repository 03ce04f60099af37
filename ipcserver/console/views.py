"""State in, page data out: plain dictionaries that JSON can hold. Pure.

Numbers of 64 bits are texts, for JavaScript has no such numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipcserver.machine.queues import Receiver, Sender
from ipcserver.machine.segments import ChangeWaiter
from ipcserver.machine.semaphores import SemopWaiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipcserver.machine import Machine
    from ipcserver.machine.waiting import Waiter

__all__ = ["ROWS", "machine_view"]

ROWS: Final = 200
"""Rows of one table; how many there are in all is told."""

_SECOND: Final = 1_000_000_000


def machine_view(machine: Machine) -> dict[str, Any]:
    """Return tables of everything that the machine holds.

    Returns:
        For each of queues, sets, segments, sessions, waiters: ``{"total": int, "rows": [...]}``.
    """
    now = machine.clock_ns
    return {
        "queues": _table(
            machine.queues.table,
            lambda each: {
                **_object(each),
                "messages": each.qnum,
                "bytes": each.cbytes,
                "most_bytes": each.qbytes,
                "last_send_pid": each.lspid,
                "last_receive_pid": each.lrpid,
            },
            len(machine.queues.table),
        ),
        "sets": _table(
            machine.semaphores.table,
            lambda each: {
                **_object(each),
                "semaphores": len(each.values),
                "values": " ".join(map(str, each.values[:16])),
            },
            len(machine.semaphores.table),
        ),
        "segments": _table(
            machine.segments.table,
            lambda each: {
                **_object(each),
                "bytes": each.size,
                "attached": each.nattch,
                "creator_pid": each.cpid,
                "removed": each.removed,
            },
            len(machine.segments.table),
        ),
        "sessions": _table(
            machine.sessions.by_id.values(),
            lambda each: {
                "session": f"{each.id:x}",
                "uid": each.uid,
                "host": each.host,
                "pid": each.pid,
                "connections": len(each.connections),
                "waits": len(each.waits),
                "attached": len(each.attached),
                "ends_s": None if each.ends_ns is None else max(0, (each.ends_ns - now) // _SECOND),
            },
            len(machine.sessions.by_id),
        ),
        "waiters": _table(machine.waits.by_arrival.values(), lambda each: _waiter(each, now), len(machine.waits)),
    }


def _table(items: Iterable[Any], row: Callable[[Any], dict[str, Any]], total: int) -> dict[str, Any]:
    """Return the first rows of a table."""
    rows: list[dict[str, Any]] = []
    for item in items:
        if len(rows) == ROWS:
            break
        rows.append(row(item))
    return {"total": total, "rows": rows}


def _object(each: Any) -> dict[str, Any]:
    """Return what queues, sets and segments have in common."""
    perm = each.perm
    return {
        "id": each.id,
        "key": f"0x{perm.key & 0xFFFFFFFF:08x}",
        "owner": f"{perm.uid}:{perm.gid}",
        "mode": f"{perm.mode & 0o777:03o}",
    }


def _waiter(each: Waiter, now: int) -> dict[str, Any]:
    """Return a call that waits: for what, and until when."""
    kind, of = "", 0
    match each:
        case Sender():
            kind, of = f"msgsnd of type {each.mtype}", each.queue.id
        case Receiver():
            kind, of = f"msgrcv of type {each.msgtyp}", each.queue.id
        case SemopWaiter():
            kind = "semop " + ", ".join(f"{num}:{op:+d}" for num, op, _ in each.operations[:8])
            of = each.set.id
        case ChangeWaiter():
            kind, of = f"shmwait of bytes {each.start} to {each.end}", each.segment.id
        case _:
            kind = type(each).__name__
    return {
        "waits_for": kind,
        "id": of,
        "uid": each.call.caller.uid,
        "pid": each.call.pid,
        "connection": each.tickets[0][1] if each.tickets else 0,
        "ends_s": max(0, (each.deadline_ns - now) // _SECOND) if each.deadline_ns else None,
    }
