"""The messages of one queue, in the order and by the type they are asked for.

Every receive takes the oldest message of some type, so each type has a line whose head alone ever leaves. Entries in
order of age, and (once a negative type was asked for) of type, tell which head is next. They may be out of date; that
is found out when one comes up. All costs are constant or logarithmic in the number of types.

A message is a tuple, not an object: the collector stops tracking it, and a million of them cost it nothing.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush, heapreplace
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

    __slots__ = ("_by_age", "_fresh", "_lines", "_lowest", "_moved")

    def __init__(self) -> None:
        # A type with a single message has the message itself as its line: a deque alone takes 700 bytes.
        self._lines: dict[int, Message | deque[Message]] = {}
        # Entries are order << 64 | type; for each type there is one that is not younger than the type's head. New heads
        # come in order of age, so those of types that came anew need no heap: it holds those of heads that changed.
        self._fresh: deque[int] = deque()
        self._moved: list[int] = []
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
            self._fresh.append(message[0] << _TYPE_BITS | mtype)
            self._announced(mtype)
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
        heappush(self._moved, message[0] << _TYPE_BITS | mtype)
        self._announced(mtype)

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
        # Mostly it was the oldest of all, and its entry is the first.
        for entries in (self._fresh, self._moved):
            if entries and entries[0] & _TYPE_MASK == mtype:
                self._drop(entries[0])

    def oldest_of(self, mtype: int) -> Message | None:
        """Give the oldest message of a type."""
        line = self._lines.get(mtype)
        return line[0] if isinstance(line, deque) else line

    def oldest(self) -> Message | None:
        """Give the oldest message."""
        fresh, moved, lines = self._fresh, self._moved, self._lines
        while fresh or moved:
            entry = fresh[0] if fresh and not (moved and moved[0] < fresh[0]) else moved[0]
            mtype = entry & _TYPE_MASK
            line = lines.get(mtype)
            if line is None:
                self._drop(entry)
                continue
            head = line[0] if isinstance(line, deque) else line
            if head[0] == entry >> _TYPE_BITS:
                return head
            # The head has changed. A type that went and came back has left entries that become alike: _drop ends them.
            if moved and moved[0] == entry:
                heapreplace(moved, head[0] << _TYPE_BITS | mtype)
            else:
                fresh.popleft()
                heappush(moved, head[0] << _TYPE_BITS | mtype)
            if moved[1:2] == moved[:1] or moved[2:3] == moved[:1]:
                heappop(moved)
        return None

    def oldest_but(self, mtype: int) -> Message | None:
        """Give the oldest message of any other type (MSG_EXCEPT)."""
        found = self.oldest()
        if found is None or found[1] != mtype:
            return found
        aside = found[0] << _TYPE_BITS | mtype
        while found is not None and found[1] == mtype:
            self._drop(found[0] << _TYPE_BITS | mtype)
            found = self.oldest()
        heappush(self._moved, aside)
        return found

    def _drop(self, entry: int) -> None:
        """Drop a first entry, and those that are alike."""
        fresh, moved = self._fresh, self._moved
        if fresh and fresh[0] == entry:
            fresh.popleft()
        while moved and moved[0] == entry:
            heappop(moved)

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

    def _announced(self, mtype: int) -> None:
        """Keep the entries from growing beyond what there is."""
        most = 2 * len(self._lines) + _SLACK
        if len(self._fresh) + len(self._moved) > most:
            heads = ((line[0] if isinstance(line, deque) else line) for line in self._lines.values())
            self._fresh = deque(sorted([head[0] << _TYPE_BITS | head[1] for head in heads]))
            self._moved = []
        if self._lowest is not None:
            heappush(self._lowest, mtype)
            if len(self._lowest) > most:
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
