"""A process that makes System V calls for the oracle: one call per line of JSON, one answer per line.

Run as a program of its own, for it changes its user, joins a namespace, blocks, is interrupted and is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

import sysv_ipc

libc = ctypes.CDLL(None, use_errno=True)
libc.msgsnd.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.msgrcv.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long, ctypes.c_int]
libc.msgrcv.restype = ctypes.c_ssize_t
libc.semctl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
libc.semop.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]

CLONE_NEWIPC = 0x08000000
IPC_RMID, IPC_SET, IPC_STAT = 0, 1, 2
GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL = 11, 12, 13, 14, 15, 16, 17


class IpcPerm(ctypes.Structure):
    _fields_ = (
        ("key", ctypes.c_int),
        ("uid", ctypes.c_uint),
        ("gid", ctypes.c_uint),
        ("cuid", ctypes.c_uint),
        ("cgid", ctypes.c_uint),
        ("mode", ctypes.c_uint),
        ("seq", ctypes.c_ushort),
        ("pad", ctypes.c_ushort),
        ("unused", ctypes.c_ulong * 2),
    )


class MsqidDs(ctypes.Structure):
    _fields_ = (
        ("perm", IpcPerm),
        ("stime", ctypes.c_long),
        ("rtime", ctypes.c_long),
        ("ctime", ctypes.c_long),
        ("cbytes", ctypes.c_ulong),
        ("qnum", ctypes.c_ulong),
        ("qbytes", ctypes.c_ulong),
        ("lspid", ctypes.c_int),
        ("lrpid", ctypes.c_int),
        ("unused", ctypes.c_ulong * 2),
    )


class SemidDs(ctypes.Structure):
    _fields_ = (
        ("perm", IpcPerm),
        ("otime", ctypes.c_long),
        ("unused1", ctypes.c_ulong),
        ("ctime", ctypes.c_long),
        ("unused2", ctypes.c_ulong),
        ("nsems", ctypes.c_ulong),
        ("unused", ctypes.c_ulong * 2),
    )


class ShmidDs(ctypes.Structure):
    _fields_ = (
        ("perm", IpcPerm),
        ("segsz", ctypes.c_size_t),
        ("atime", ctypes.c_long),
        ("dtime", ctypes.c_long),
        ("ctime", ctypes.c_long),
        ("cpid", ctypes.c_int),
        ("lpid", ctypes.c_int),
        ("nattch", ctypes.c_ulong),
        ("unused", ctypes.c_ulong * 2),
    )


class Sembuf(ctypes.Structure):
    _fields_ = (("num", ctypes.c_ushort), ("op", ctypes.c_short), ("flg", ctypes.c_short))


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def perm(of: IpcPerm) -> dict[str, int]:
    return {name: getattr(of, name) for name in ("key", "uid", "gid", "cuid", "cgid", "mode")}


def numbers(of: ctypes.Structure) -> dict[str, Any]:
    names = [name for name, *_ in of._fields_ if name != "perm" and not name.startswith("unused")]
    return {"perm": perm(of.perm), **{name: getattr(of, name) for name in names}}


def identity(uid: int, gid: int, gids: list[int]) -> None:
    os.setgroups(gids)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def msgget(key: int, flags: int) -> int:
    return checked(libc.msgget(key, flags))


def msgsnd(id: int, mtype: int, text: str, flags: int) -> int:
    data = text.encode("latin-1")
    buffer = ctypes.create_string_buffer(mtype.to_bytes(8, sys.byteorder, signed=True) + data)
    return checked(libc.msgsnd(id, buffer, len(data), flags))


def msgrcv(id: int, msgtyp: int, size: int, flags: int) -> tuple[int, str]:
    buffer = ctypes.create_string_buffer(8 + max(size, 0))
    got = checked(libc.msgrcv(id, buffer, size & (2**64 - 1), msgtyp, flags))
    return int.from_bytes(buffer.raw[:8], sys.byteorder, signed=True), buffer.raw[8 : 8 + got].decode("latin-1")


def msgstat(id: int) -> dict[str, Any]:
    ds = MsqidDs()
    checked(libc.msgctl(id, IPC_STAT, ctypes.byref(ds)))
    return numbers(ds)


def msgset(id: int, uid: int, gid: int, mode: int, qbytes: int) -> int:
    ds = MsqidDs()
    ds.perm.uid, ds.perm.gid, ds.perm.mode, ds.qbytes = uid, gid, mode, qbytes
    return checked(libc.msgctl(id, IPC_SET, ctypes.byref(ds)))


def msgrmid(id: int) -> int:
    return checked(libc.msgctl(id, IPC_RMID, None))


def semget(key: int, nsems: int, flags: int) -> int:
    return checked(libc.semget(key, nsems, flags))


def semop(id: int, sops: list[tuple[int, int, int]]) -> int:
    return checked(libc.semop(id, (Sembuf * max(len(sops), 1))(*[Sembuf(*sop) for sop in sops]), len(sops)))


def semstat(id: int) -> dict[str, Any]:
    ds = SemidDs()
    checked(libc.semctl(id, 0, IPC_STAT, ctypes.byref(ds)))
    return numbers(ds)


def semset(id: int, uid: int, gid: int, mode: int) -> int:
    ds = SemidDs()
    ds.perm.uid, ds.perm.gid, ds.perm.mode = uid, gid, mode
    return checked(libc.semctl(id, 0, IPC_SET, ctypes.byref(ds)))


def semrmid(id: int) -> int:
    return checked(libc.semctl(id, 0, IPC_RMID, None))


def semvals(id: int, num: int) -> tuple[int, int, int, int]:
    value, pid, more, zero = (checked(libc.semctl(id, num, what, None)) for what in (GETVAL, GETPID, GETNCNT, GETZCNT))
    return value, pid, more, zero


def semgetall(id: int, nsems: int) -> list[int]:
    values = (ctypes.c_ushort * nsems)()
    checked(libc.semctl(id, 0, GETALL, values))
    return list(values)


def semsetval(id: int, num: int, value: int) -> int:
    return checked(libc.semctl(id, num, SETVAL, value & (2**64 - 1)))


def semsetall(id: int, values: list[int]) -> int:
    return checked(libc.semctl(id, 0, SETALL, (ctypes.c_ushort * len(values))(*values)))


def shmget(key: int, size: int, flags: int) -> int:
    return checked(libc.shmget(key, size, flags))


attached: dict[int, list[Any]] = {}


def shmat(id: int, flags: int) -> int:
    attached.setdefault(id, []).append(sysv_ipc.attach(id, None, flags))
    return 0


def shmdt(id: int) -> int:
    if not attached.get(id):
        raise OSError(22, "")  # EINVAL: what the machine says of a segment that this process has not attached
    attached[id].pop().detach()
    return 0


def shmread(id: int, offset: int, count: int) -> str:
    data: bytes = attached[id][-1].read(count, offset)
    return data.decode("latin-1")


def shmwrite(id: int, offset: int, data: str) -> int:
    attached[id][-1].write(data.encode("latin-1"), offset)
    return 0


def shmstat(id: int) -> dict[str, Any]:
    ds = ShmidDs()
    checked(libc.shmctl(id, IPC_STAT, ctypes.byref(ds)))
    return numbers(ds)


def shmset(id: int, uid: int, gid: int, mode: int) -> int:
    ds = ShmidDs()
    ds.perm.uid, ds.perm.gid, ds.perm.mode = uid, gid, mode
    return checked(libc.shmctl(id, IPC_SET, ctypes.byref(ds)))


def shmrmid(id: int) -> int:
    return checked(libc.shmctl(id, IPC_RMID, None))


def main() -> None:
    signal.signal(signal.SIGUSR1, lambda *_: None)
    namespace, uid, gid, gids = json.loads(sys.argv[1])
    if namespace == 0:
        checked(libc.unshare(CLONE_NEWIPC))
    else:
        with open(f"/proc/{namespace}/ns/ipc", "rb") as file:  # noqa: PTH123 - a descriptor is wanted
            checked(libc.setns(file.fileno(), CLONE_NEWIPC))
    if uid:
        identity(uid, gid, gids)
    answer({"value": os.getpid()})
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer({"value": globals()[name](*arguments)})
        except sysv_ipc.PermissionsError:
            answer({"errno": 13})
        except (sysv_ipc.ExistentialError, ValueError):
            answer({"errno": 22})  # sysv_ipc gives no number
        except OSError as error:
            answer({"errno": error.errno})


def answer(what: dict[str, Any]) -> None:
    # One write: who waits for the answer must never see half of it.
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
