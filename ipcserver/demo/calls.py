"""The calls that the tour makes, as arguments of Wire.call() and Wire.prepare()."""

from __future__ import annotations

import os
from typing import Any, Final

from ipcserver._gen import ipc
from ipcserver.hypers import to_hyper
from rpcbind_reg._gen import portmap

__all__ = [
    "KEY",
    "ProcedureCall",
    "dump",
    "getport",
    "ipc_null",
    "msgget",
    "msgrcv",
    "msgrmid",
    "msgsnd",
    "msgstat",
    "unset",
]

ProcedureCall = tuple[Any, ...]
"""Stub class, procedure number, arguments."""

KEY: Final = 0x600
"""Where the keys of the tour's queues begin; each step has one of its own."""

_IPC: Final = ipc.IPCPROG_1_SyncClient
_PMAP: Final = portmap.PMAP_PROG_2_SyncClient
_NUMBER: Final = {each.name: each.number for each in _IPC.procedures}


def _context() -> ipc.ripc_ctx:
    """Return what an old client says: no session."""
    return ipc.ripc_ctx(to_hyper(0), 0, 0, os.getpid())


def ipc_null() -> ProcedureCall:
    """Procedure 0 of the IPC program: nothing there, nothing back."""
    return _IPC, _NUMBER["RIPC_NULL"]


def msgget(key: int, mode: int = 0o666, flags: int = ipc.RIPC_CREAT) -> ProcedureCall:
    """Find or make a queue."""
    return _IPC, _NUMBER["RIPC_MSGGET"], ipc.ripc_msgget_args(_context(), key, flags, mode)


def msgsnd(queue: int, mtype: int, text: bytes) -> ProcedureCall:
    """Put a message into a queue."""
    arguments = ipc.ripc_msgsnd_args(_context(), queue, 0, 0, to_hyper(mtype), text)
    return _IPC, _NUMBER["RIPC_MSGSND"], arguments


def msgrcv(queue: int, mtype: int, *, wait: bool) -> ProcedureCall:
    """Take a message out of a queue; with `wait` for as long as it takes."""
    flags = 0 if wait else ipc.RIPC_NOWAIT
    arguments = ipc.ripc_msgrcv_args(_context(), queue, flags, 0, to_hyper(mtype), to_hyper(1024))
    return _IPC, _NUMBER["RIPC_MSGRCV"], arguments


def msgstat(queue: int) -> ProcedureCall:
    """Ask for a queue's owner and fill."""
    return _IPC, _NUMBER["RIPC_MSGSTAT"], ipc.ripc_stat_args(ipc.RIPC_BY_ID, queue)


def msgrmid(queue: int) -> ProcedureCall:
    """Remove a queue."""
    return _IPC, _NUMBER["RIPC_MSGRMID"], ipc.ripc_rmid_args(_context(), queue)


def getport(program: int, version: int, protocol: int) -> ProcedureCall:
    """Ask the portmapper for a port."""
    return _PMAP, portmap.PMAPPROC_GETPORT, portmap.mapping(program, version, protocol, 0)


def unset(program: int, version: int) -> ProcedureCall:
    """Ask the portmapper to forget a program."""
    return _PMAP, portmap.PMAPPROC_UNSET, portmap.mapping(program, version, 0, 0)


def dump() -> ProcedureCall:
    """Ask the portmapper for its whole list."""
    return _PMAP, portmap.PMAPPROC_DUMP
