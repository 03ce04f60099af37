"""Every limit of the machine, with its unit, reason and precedent.

The limits in force are part of the machine's state: they come with SERVER_STARTED and stay in snapshots, so that a
replay gives the same outcomes whatever the configuration says by then.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from ipcserver._gen.ipc import (
    RIPC_MSGMAX,
    RIPC_SEMMSL,
    RIPC_SEMOPM,
    RIPC_SLOTMAX,
    ripc_hyper,
    ripc_limits,
)
from ipcserver._gen.machine import machine_limits
from ipcserver.hypers import from_hyper, to_hyper

__all__ = ["LINUX", "MESSAGE_OVERHEAD", "PAGE", "SOLARIS_2", "Limits"]

MESSAGE_OVERHEAD: Final = 256
"""Bytes that a queued message is reckoned to take beside its text (measured: 150 to 350, by how many types there
are)."""

PAGE: Final = 4096
"""Bytes of a segment that are kept together; what was never written is not kept."""

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the machine lets its callers use.

    The first group is System V's own, with the defaults of Linux 6; IPC_INFO shows it. The second bounds what the
    server spends. A limit of an owner counts for each uid but 0; 0 there means no limit.

    Raises:
        ValueError: A limit is negative, or beyond what ipc.x can carry.
    """

    msgmax: int = 8192
    """most bytes of text in a message (Linux 8192)"""
    msgmnb: int = 16384
    """msg_qbytes of a new queue, in bytes (Linux 16384)"""
    msgmni: int = 32000
    """most queues (Linux 32000)"""
    semmni: int = 32000
    """most semaphore sets (Linux 32000)"""
    semmsl: int = 32000
    """most semaphores in a set (Linux 32000)"""
    semmns: int = 1_024_000
    """most semaphores in all; Linux says 32000 * 32000, which bounds nothing: a server must, at about 16 bytes each"""
    semopm: int = 500
    """most operations in a semop (Linux 500)"""
    semvmx: int = 32767
    """highest value of a semaphore (Linux 32767)"""
    semaem: int = 32767
    """largest adjustment of SEM_UNDO (Linux 32767)"""
    shmmax: int = 1 << 30
    """most bytes in a segment; Linux has no limit to speak of, but its pages are not journalled"""
    shmmin: int = 1
    """fewest bytes in a segment (Linux 1)"""
    shmmni: int = 4096
    """most segments (Linux 4096)"""
    shmall: int = 1 << 36
    """most bytes in all segments together, written or not"""

    message_memory: int = 1024 * MIB
    """bytes for messages: queued, held back by blocked senders, or received and not yet acknowledged"""
    segment_memory: int = 1024 * MIB
    """bytes for pages of segments that were written"""
    sessions: int = 20_000
    """most sessions"""
    session_slots: int = RIPC_SLOTMAX
    """most slots of a session: its calls under way at the same time"""
    lease_ms: int = 60_000
    """lease of a session that asks for none, in ms (goal D13: undo within 60 s)"""
    lease_min_ms: int = 1_000
    """shortest lease, in ms: a shorter one ends in any hiccup of the network"""
    lease_max_ms: int = 3_600_000
    """longest lease, in ms"""
    waiters: int = 100_000
    """most calls that wait, in all"""
    owner_objects: int = 0
    """most queues, sets and segments of one creator; test programs for the kernel create 32000"""
    owner_sessions: int = 1_000
    """most sessions of one uid; one may keep 64 outcomes, of about 1 KiB each"""
    owner_waiters: int = 50_000
    """most waiting calls of one uid"""
    owner_memory: int = 0
    """most bytes of messages and written pages in the objects of one creator"""
    datagram_wait_ms: int = 10_000
    """longest wait, in ms, of a call with neither session nor connection: nobody could tell that its caller is gone"""

    def __post_init__(self) -> None:
        """Check every limit."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < 1 << (63 if field.name in _WIDE else 31):
                message = f"{field.name} is out of range: {value}"
                raise ValueError(message)
        for name, most in _CEILINGS.items():
            if getattr(self, name) > most:
                message = f"{name} is {getattr(self, name)}, and the protocol carries {most} at most"
                raise ValueError(message)
        if not 1 <= self.lease_min_ms <= self.lease_ms <= self.lease_max_ms:
            message = "leases must be lease_min_ms <= lease_ms <= lease_max_ms, and 1 ms at least"
            raise ValueError(message)

    def sysv(self) -> ripc_limits:
        """Give the part that IPC_INFO shows."""
        values: dict[str, Any] = {name: _outward(name, getattr(self, name)) for name in _SYSV}
        return ripc_limits(**values)

    def to_xdr(self) -> machine_limits:
        """Give all of it, as SERVER_STARTED and snapshots carry it."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _SYSV}
        return machine_limits(sysv=self.sysv(), **own)

    @classmethod
    def from_xdr(cls, limits: machine_limits) -> Limits:
        """Read back what to_xdr gave."""
        values = {name: getattr(limits.sysv, name) for name in _SYSV}
        values |= {field.name: getattr(limits, field.name) for field in fields(cls) if field.name not in _SYSV}
        return cls(**{name: from_hyper(v) if isinstance(v, ripc_hyper) else v for name, v in values.items()})


def _outward(name: str, value: int) -> int | ripc_hyper:
    return to_hyper(value) if name in _SYSV_HYPER else value


_SYSV: Final = (
    *("msgmax", "msgmnb", "msgmni"),
    *("semmni", "semmsl", "semmns", "semopm", "semvmx", "semaem"),
    *("shmmax", "shmmin", "shmmni", "shmall"),
)
_SYSV_HYPER: Final = ("shmmax", "shmall")
_WIDE: Final = ("shmmax", "shmall", "message_memory", "segment_memory", "owner_memory")
_INDEXES: Final = 32768
_CEILINGS: Final = {
    "msgmax": RIPC_MSGMAX,
    "semopm": RIPC_SEMOPM,
    "semmsl": RIPC_SEMMSL,
    "session_slots": RIPC_SLOTMAX,
    "msgmni": _INDEXES,
    "semmni": _INDEXES,
    "shmmni": _INDEXES,
}

LINUX: Final = Limits()
"""The defaults of Linux 6, but for semmns, shmmax and shmall."""

SOLARIS_2: Final = Limits(
    msgmax=2048,
    msgmnb=4096,
    msgmni=50,
    semmni=10,
    semmsl=25,
    semmns=60,
    semopm=10,
    semvmx=32767,
    semaem=16384,
    shmmax=MIB,
    shmmin=1,
    shmmni=100,
    shmall=100 * MIB,
)
"""The defaults of Solaris 2 to 9 (msgsys, semsys and shmsys in /etc/system)."""
