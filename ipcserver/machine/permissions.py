"""Who may do what to an object: struct ipc_perm and its rules (SVID, "ipc_perm"; sysvipc(7))."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipcserver._gen.ipc import RIPC_EACCES, RIPC_EINVAL, RIPC_EPERM, ripc_perm
from ipcserver.machine.errors import Refused

if TYPE_CHECKING:
    from ipcserver._gen.ipc import ripc_set_args
    from ipcserver._gen.machine import machine_caller

__all__ = ["NOBODY", "READ", "WRITE", "allows", "change", "controls", "require", "require_control", "require_mode"]

READ: Final = 4
WRITE: Final = 2

NOBODY: Final = 0xFFFFFFFF
"""The uid and gid -1, which nobody can have."""

MODE_BITS: Final = 0o777


def allows(perm: ripc_perm, caller: machine_caller, bits: int) -> bool:
    """Tell whether the mode grants ``bits`` (READ, WRITE or both) to the caller.

    The first class that fits decides, as in the kernel: owner or creator, else a member of either's group
    (supplementary groups count), else other. Uid 0 may do everything.
    """
    uid = caller.uid
    if uid == 0:
        return True
    mode = perm.mode
    if uid in (perm.uid, perm.cuid):
        mode >>= 6
    elif caller.gid in (perm.gid, perm.cgid) or perm.gid in caller.gids or perm.cgid in caller.gids:
        mode >>= 3
    return not bits & ~mode & 7


def require(perm: ripc_perm, caller: machine_caller, bits: int) -> None:
    """Refuse with RIPC_EACCES unless the mode grants ``bits``."""
    if not allows(perm, caller, bits):
        raise Refused(RIPC_EACCES)


def require_mode(perm: ripc_perm, caller: machine_caller, mode: int) -> None:
    """Refuse with RIPC_EACCES a get that asks for more than the object's mode grants the caller.

    The three classes of the wanted mode are joined, as in the kernel: whoever asks for 0600 asks to read and write.
    """
    require(perm, caller, (mode >> 6 | mode >> 3 | mode) & 7)


def controls(perm: ripc_perm, caller: machine_caller) -> bool:
    """Tell whether the caller may change or remove the object: its owner, its creator or uid 0."""
    return caller.uid in (0, perm.uid, perm.cuid)


def require_control(perm: ripc_perm, caller: machine_caller) -> None:
    """Refuse with RIPC_EPERM all but the owner, the creator and uid 0."""
    if not controls(perm, caller):
        raise Refused(RIPC_EPERM)


def change(perm: ripc_perm, args: ripc_set_args) -> None:
    """Set owner, group and mode (IPC_SET).

    Raises:
        Refused: RIPC_EINVAL if the uid or gid is -1.
    """
    if NOBODY in (args.uid, args.gid):
        raise Refused(RIPC_EINVAL)
    perm.uid = args.uid
    perm.gid = args.gid
    perm.mode = args.mode & MODE_BITS


def new(caller: machine_caller, key: int, mode: int) -> ripc_perm:
    """Make the permissions of an object that the caller creates; its seq is set when it gets its id."""
    return ripc_perm(
        key=key, uid=caller.uid, gid=caller.gid, cuid=caller.uid, cgid=caller.gid, mode=mode & MODE_BITS, seq=0
    )
