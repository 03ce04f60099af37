"""What is used, by whom, and the limits in force; and the moment of the current command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipcserver._gen.ipc import RIPC_ENOMEM, RIPC_EQUOTA
from ipcserver.machine.errors import Refused

if TYPE_CHECKING:
    from ipcserver.machine.limits import Limits

__all__ = ["Accounts", "Usage"]


class Usage:
    """What one uid uses."""

    __slots__ = ("memory", "objects", "sessions", "waiters")

    def __init__(self) -> None:
        self.objects = 0
        self.sessions = 0
        self.waiters = 0
        self.memory = 0

    @property
    def nothing(self) -> bool:
        """Whether the account can be closed."""
        return not (self.objects or self.sessions or self.waiters or self.memory)


class Accounts:
    """The use of everything that is limited.

    Attributes:
        limits: The limits in force.
        clock_ns: The time of the current command; it never goes back.
        time_s: The wall clock of the current command, in seconds since 1970.
        message_memory: Bytes reckoned for messages.
        segment_memory: Bytes of written pages.
    """

    __slots__ = ("_owners", "clock_ns", "limits", "message_memory", "segment_memory", "time_s")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.clock_ns = 0
        self.time_s = 0
        self.message_memory = 0
        self.segment_memory = 0
        self._owners: dict[int, Usage] = {}

    def _usage(self, uid: int) -> Usage:
        usage = self._owners.get(uid)
        if usage is None:
            usage = self._owners[uid] = Usage()
        return usage

    def _close(self, uid: int, usage: Usage) -> None:
        if usage.nothing:
            del self._owners[uid]

    def add_object(self, uid: int, *, restored: bool = False) -> None:
        """Count a new object of its creator.

        Raises:
            Refused: RIPC_EQUOTA.
        """
        usage = self._usage(uid)
        most = self.limits.owner_objects
        if uid and most and usage.objects >= most and not restored:
            self._close(uid, usage)
            raise Refused(RIPC_EQUOTA)
        usage.objects += 1

    def remove_object(self, uid: int) -> None:
        """Count it no longer."""
        usage = self._owners[uid]
        usage.objects -= 1
        self._close(uid, usage)

    def add_session(self, uid: int, *, restored: bool = False) -> None:
        """Count a new session of a uid.

        Raises:
            Refused: RIPC_EQUOTA.
        """
        usage = self._usage(uid)
        most = self.limits.owner_sessions
        if uid and most and usage.sessions >= most and not restored:
            self._close(uid, usage)
            raise Refused(RIPC_EQUOTA)
        usage.sessions += 1

    def remove_session(self, uid: int) -> None:
        """Count it no longer."""
        usage = self._owners[uid]
        usage.sessions -= 1
        self._close(uid, usage)

    def add_waiter(self, uid: int, *, restored: bool = False) -> None:
        """Count a new wait of a uid.

        Raises:
            Refused: RIPC_EQUOTA.
        """
        usage = self._usage(uid)
        most = self.limits.owner_waiters
        if uid and most and usage.waiters >= most and not restored:
            self._close(uid, usage)
            raise Refused(RIPC_EQUOTA)
        usage.waiters += 1

    def remove_waiter(self, uid: int) -> None:
        """Count it no longer."""
        usage = self._owners[uid]
        usage.waiters -= 1
        self._close(uid, usage)

    def require_message_memory(self, uid: int, size: int) -> None:
        """Refuse what would go beyond the memory for messages.

        Raises:
            Refused: RIPC_ENOMEM, or RIPC_EQUOTA for the owner's own limit.
        """
        limits = self.limits
        if self.message_memory + size > limits.message_memory:
            raise Refused(RIPC_ENOMEM)
        if uid and limits.owner_memory and self._memory_of(uid) + size > limits.owner_memory:
            raise Refused(RIPC_EQUOTA)

    def charge_message(self, uid: int, size: int) -> None:
        """Reckon ``size`` bytes more (or fewer) of messages to a uid."""
        self.message_memory += size
        if uid:
            self._charge(uid, size)

    def require_segment_memory(self, uid: int, size: int) -> None:
        """Refuse what would go beyond the memory for segments.

        Raises:
            Refused: RIPC_ENOMEM, or RIPC_EQUOTA for the owner's own limit.
        """
        limits = self.limits
        if self.segment_memory + size > limits.segment_memory:
            raise Refused(RIPC_ENOMEM)
        if uid and limits.owner_memory and self._memory_of(uid) + size > limits.owner_memory:
            raise Refused(RIPC_EQUOTA)

    def charge_segment(self, uid: int, size: int) -> None:
        """Reckon ``size`` bytes more (or fewer) of pages to a uid."""
        self.segment_memory += size
        if uid:
            self._charge(uid, size)

    def _memory_of(self, uid: int) -> int:
        usage = self._owners.get(uid)
        return usage.memory if usage is not None else 0

    def _charge(self, uid: int, size: int) -> None:
        usage = self._owners.get(uid) or self._usage(uid)
        usage.memory += size
        if not usage.memory:
            self._close(uid, usage)
