"""The messages of one queue, in the order and by the type they are asked for.

Every receive takes the oldest message of some type, so each type has a line whose head alone ever leaves. Two heaps
tell which head is next: by age, and (once a negative type was asked for) by type. Their entries may be out of date;
that is found out when one comes up. All costs are constant or logarithmic in the number of types.

A message is a tuple, not an object: the collector stops tracking it, and a million of them cost it nothing.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Backlog", "Message"]

Message: TypeAlias = tuple[int, int, bytes]
"""Order (place in the queue), type, text."""

_TYPE_BITS: Final = 64
_TYPE_MASK: Final = (1 << _TYPE_BITS) - 1
_SLACK: Final = 64
"""Entries out of date that a heap may hold beside twice the number of types, before it is made anew."""


class Backlog:
    """The messages of a queue."""

    __slots__ = ("_ages", "_by_age", "_lines", "_lowest")

    def __init__(self) -> None:
        # A type with a single message has the message itself as its line: a deque alone takes 700 bytes.
        self._lines: dict[int, Message | deque[Message]] = {}
        # order << 64 | type; for each type there is an entry that is not younger than the type's head.
        self._ages: list[int] = []
        self._lowest: list[int] | None = None
        self._by_age: list[Message] | None = None

    def __iter__(self) -> Iterator[Message]:
        """Go through the messages, oldest first."""
        return iter(self._sorted())

    def append(self, message: Message) -> None:
        """Add a message that is younger than all others."""
        self._by_age = None
        mtype = message[1]
        line = self._lines.get(mtype)
        if line is None:
            self._lines[mtype] = message
            self._announce(message)
        elif isinstance(line, deque):
            line.append(message)
        else:
            self._lines[mtype] = deque((line, message))

    def put_back(self, message: Message) -> None:
        """Put a message that was taken back into its place."""
        self._by_age = None
        mtype = message[1]
        line = self._lines.get(mtype)
        if line is None:
            self._lines[mtype] = message
        else:
            if not isinstance(line, deque):
                line = self._lines[mtype] = deque((line,))
            # What is older can only have been put back as well: the place is near the head.
            at = 0
            while at < len(line) and line[at][0] < message[0]:
                at += 1
            line.insert(at, message)
        self._announce(message)

    def take(self, message: Message) -> None:
        """Remove the head of a type."""
        self._by_age = None
        mtype = message[1]
        line = self._lines[mtype]
        if isinstance(line, deque):
            line.popleft()
            if line:
                return
        del self._lines[mtype]
        ages = self._ages
        if ages and ages[0] & _TYPE_MASK == mtype:
            heappop(ages)

    def oldest_of(self, mtype: int) -> Message | None:
        """Give the oldest message of a type."""
        line = self._lines.get(mtype)
        return line[0] if isinstance(line, deque) else line

    def oldest(self) -> Message | None:
        """Give the oldest message."""
        ages, lines = self._ages, self._lines
        while ages:
            mtype = ages[0] & _TYPE_MASK
            line = lines.get(mtype)
            if line is None:
                heappop(ages)
                continue
            head = line[0] if isinstance(line, deque) else line
            if head[0] == ages[0] >> _TYPE_BITS:
                # A type that went and came back by itself has left entries behind; brought up to date they are alike.
                while ages[1:2] == ages[:1] or ages[2:3] == ages[:1]:
                    heappop(ages)
                return head
            heapreplace(ages, head[0] << _TYPE_BITS | mtype)
        return None

    def oldest_but(self, mtype: int) -> Message | None:
        """Give the oldest message of any other type (MSG_EXCEPT)."""
        found = self.oldest()
        if found is None or found[1] != mtype:
            return found
        aside = self._ages[0]
        while found is not None and found[1] == mtype:
            heappop(self._ages)
            found = self.oldest()
        heappush(self._ages, aside)
        return found

    def lowest_up_to(self, mtype: int) -> Message | None:
        """Give the oldest message of the lowest type, if that is not above ``mtype`` (a negative msgtyp)."""
        if self._lowest is None:
            self._lowest = sorted(self._lines)
        lowest = self._lowest
        while lowest:
            line = self._lines.get(lowest[0])
            if line is not None:
                if lowest[0] > mtype:
                    return None
                return line[0] if isinstance(line, deque) else line
            heappop(lowest)
        return None

    def at(self, index: int) -> Message | None:
        """Give the message with this number, counted from the oldest (MSG_COPY)."""
        messages = self._sorted()
        return messages[index] if 0 <= index < len(messages) else None

    def _announce(self, head: Message) -> None:
        """Enter a new head into the heaps."""
        ages = self._ages
        heappush(ages, head[0] << _TYPE_BITS | head[1])
        if len(ages) > 2 * len(self._lines) + _SLACK:
            ages[:] = [
                (line[0] if isinstance(line, deque) else line)[0] << _TYPE_BITS | mtype
                for mtype, line in self._lines.items()
            ]
            heapify(ages)
        if self._lowest is not None:
            heappush(self._lowest, head[1])
            if len(self._lowest) > 2 * len(self._lines) + _SLACK:
                self._lowest = sorted(self._lines)

    def _sorted(self) -> list[Message]:
        # Kept until the next change: whoever walks a queue by MSG_COPY pays for one sorting.
        if self._by_age is None:
            messages: list[Message] = []
            for line in self._lines.values():
                if isinstance(line, deque):
                    messages.extend(line)
                else:
                    messages.append(line)
            messages.sort()
            self._by_age = messages
        return self._by_age
