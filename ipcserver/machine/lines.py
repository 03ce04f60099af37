"""Lines of waiters, found by age and by what they wait for.

A waiter is known by its arrival, a number that only goes up: lower came first. One that sleeps while nobody is there
for it leaves its line and comes back to its old place, so lines are sorted lists and not deques; moving 10,000 numbers
in memory takes about a microsecond.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

__all__ = ["Excepting", "Ranked", "join", "leave"]


def join(line: list[int], arrival: int) -> None:
    """Put an arrival into its place in a line."""
    if not line or arrival > line[-1]:
        line.append(arrival)
    else:
        insort(line, arrival)


def leave(line: list[int], arrival: int) -> None:
    """Take an arrival out of a line that it stands in."""
    del line[bisect_left(line, arrival)]


class Ranked:
    """Lines by a number (a type, a size), to find the oldest waiter in a range of it."""

    __slots__ = ("_firsts", "_lines", "_ranks")

    def __init__(self) -> None:
        self._ranks: list[int] = []
        self._firsts: list[int] = []
        self._lines: dict[int, list[int]] = {}

    def __bool__(self) -> bool:
        """Tell whether anybody waits."""
        return bool(self._ranks)

    def join(self, rank: int, arrival: int) -> None:
        """Add a waiter."""
        line = self._lines.get(rank)
        at = bisect_left(self._ranks, rank)
        if line is None:
            self._lines[rank] = [arrival]
            self._ranks.insert(at, rank)
            self._firsts.insert(at, arrival)
        else:
            join(line, arrival)
            self._firsts[at] = line[0]

    def leave(self, rank: int, arrival: int) -> None:
        """Take a waiter out."""
        line = self._lines[rank]
        at = bisect_left(self._ranks, rank)
        leave(line, arrival)
        if line:
            self._firsts[at] = line[0]
        else:
            del self._lines[rank], self._ranks[at], self._firsts[at]

    def oldest_from(self, rank: int) -> int | None:
        """Give the oldest arrival with this rank or a higher one."""
        if len(self._ranks) == 1:
            return self._firsts[0] if self._ranks[0] >= rank else None
        return min(self._firsts[bisect_left(self._ranks, rank) :], default=None)

    def oldest_up_to(self, rank: int) -> int | None:
        """Give the oldest arrival with this rank or a lower one."""
        if len(self._ranks) == 1:
            return self._firsts[0] if self._ranks[0] <= rank else None
        return min(self._firsts[: bisect_right(self._ranks, rank)], default=None)


class Excepting:
    """Lines by a number that is not wanted, to find the oldest waiter to whom another one is welcome."""

    __slots__ = ("_heads", "_lines")

    def __init__(self) -> None:
        self._lines: dict[int, list[int]] = {}
        self._heads: list[tuple[int, int]] = []  # (first arrival, number), sorted

    def __bool__(self) -> bool:
        """Tell whether anybody waits."""
        return bool(self._heads)

    def join(self, number: int, arrival: int) -> None:
        """Add a waiter."""
        line = self._lines.setdefault(number, [])
        if line:
            del self._heads[bisect_left(self._heads, (line[0], number))]
        join(line, arrival)
        insort(self._heads, (line[0], number))

    def leave(self, number: int, arrival: int) -> None:
        """Take a waiter out."""
        line = self._lines[number]
        del self._heads[bisect_left(self._heads, (line[0], number))]
        leave(line, arrival)
        if line:
            insort(self._heads, (line[0], number))
        else:
            del self._lines[number]

    def oldest_but(self, number: int) -> int | None:
        """Give the oldest arrival whose number is another one."""
        for arrival, unwanted in self._heads[:2]:
            if unwanted != number:
                return arrival
        return None
