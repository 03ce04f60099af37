"""Keys and ids: which object is which.

An id is ``seq * 32768 + index``. The index is the lowest that is free; seq counts how often the index was used before,
so that the id of a removed object is nobody else's until its index was used 65,536 times again.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from ipcserver._gen.ipc import (
    RIPC_CREAT,
    RIPC_EEXIST,
    RIPC_EINVAL,
    RIPC_ENOENT,
    RIPC_ENOSPC,
    RIPC_EXCL,
    RIPC_PRIVATE,
    ripc_perm,
)
from ipcserver.machine.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["INDEXES", "SEQUENCES", "Identified", "Table"]

INDEXES: Final = 32768
SEQUENCES: Final = 65536


class Identified(Protocol):
    """What a table holds: a queue, a set or a segment."""

    id: int
    perm: ripc_perm


T = TypeVar("T", bound=Identified)


class Table(Generic[T]):
    """All objects of one kind, by key, id and index."""

    __slots__ = ("_free", "_keys", "by_id", "by_index", "seqs")

    def __init__(self, seqs: Iterable[int] = ()) -> None:
        self.by_id: dict[int, T] = {}
        self.by_index: dict[int, T] = {}
        self.seqs = list(seqs)
        self._keys: dict[int, T] = {}
        self._free: list[int] = list(range(len(self.seqs)))

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.by_id)

    def __iter__(self) -> Iterator[T]:
        """Go through the objects by index."""
        return (self.by_index[index] for index in sorted(self.by_index))

    def find(self, id: int) -> T:
        """Give the object with this id.

        Raises:
            Refused: RIPC_EINVAL if there is none, or no longer, as in the kernel.
        """
        found = self.by_id.get(id)
        if found is None:
            raise Refused(RIPC_EINVAL)
        return found

    def at(self, index: int) -> T:
        """Give the object at this index, for the STAT calls of ipcs.

        Raises:
            Refused: RIPC_EINVAL if there is none.
        """
        found = self.by_index.get(index)
        if found is None:
            raise Refused(RIPC_EINVAL)
        return found

    def look_up(self, key: int, flags: int) -> T | None:
        """Give the object that a get with this key means; None: it is to be created.

        Raises:
            Refused: RIPC_ENOENT or RIPC_EEXIST.
        """
        if key == RIPC_PRIVATE:
            return None
        found = self._keys.get(key)
        if found is None:
            if not flags & RIPC_CREAT:
                raise Refused(RIPC_ENOENT)
        elif flags & RIPC_CREAT and flags & RIPC_EXCL:
            raise Refused(RIPC_EEXIST)
        return found

    def require_room(self, most: int) -> None:
        """Refuse with RIPC_ENOSPC to hold more than ``most`` objects."""
        if len(self.by_id) >= most:
            raise Refused(RIPC_ENOSPC)

    def next_id(self) -> tuple[int, int]:
        """Reserve the id of a new object.

        Returns:
            The id and its sequence number.
        """
        if self._free:
            index = heappop(self._free)
        else:
            index = len(self.seqs)
            self.seqs.append(0)
        seq = self.seqs[index]
        return seq * INDEXES + index, seq

    def add(self, item: T) -> None:
        """Put a new object under the id that next_id gave."""
        self.by_id[item.id] = item
        self.by_index[item.id % INDEXES] = item
        if item.perm.key != RIPC_PRIVATE:
            self._keys[item.perm.key] = item

    def forget_key(self, item: T) -> None:
        """Make the object private: a segment that waits for its last detach."""
        self._keys.pop(item.perm.key, None)
        item.perm.key = RIPC_PRIVATE

    def remove(self, item: T) -> None:
        """Take the object out; its id is used up."""
        index = item.id % INDEXES
        del self.by_id[item.id]
        del self.by_index[index]
        if item.perm.key != RIPC_PRIVATE:
            del self._keys[item.perm.key]
        self.seqs[index] = (self.seqs[index] + 1) % SEQUENCES
        heappush(self._free, index)

    def restored(self) -> None:
        """Find the free indexes again, after the objects of a snapshot were added."""
        self._free = [index for index in range(len(self.seqs)) if index not in self.by_index]
        heapify(self._free)

    def highest(self) -> int:
        """Give the highest index in use; -1 if there is none."""
        return max(self.by_index, default=-1)

    def page(self, start: int, most: int) -> tuple[list[T], int]:
        """Give up to ``most`` objects from index ``start`` on, and the index to go on from (0: that was all)."""
        items: list[T] = []
        for index in range(start, len(self.seqs)):
            item = self.by_index.get(index)
            if item is None:
                continue
            if len(items) == most:
                return items, index
            items.append(item)
        return items, 0
