"""Calls that wait: how they begin, sleep, wake and end.

A wait ends when what it waits for happens, when its time is over, when it is cancelled, or with its owner. While nobody
is there to take its answer (the connection is gone, and the session that owns it still has its lease) it sleeps: it
keeps its place and its deadline, but is given nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from ipcserver._gen.ipc import RIPC_EINTR, RIPC_EQUOTA, RIPC_ETIMEDOUT
from ipcserver.machine.errors import Refused

if TYPE_CHECKING:
    from ipcserver._gen.ipc import ripc_status
    from ipcserver.machine.accounts import Accounts
    from ipcserver.machine.outcomes import Outcome
    from ipcserver.machine.owners import Call

__all__ = ["MILLISECOND", "Waiter", "Waits"]

MILLISECOND: Final = 1_000_000
"""In ns, the unit of the machine's clock."""


class Waiter(ABC):
    """A call that waits.

    Attributes:
        call: Who waits.
        arrival: Its place among all waits: lower came first.
        tickets: Where the answer goes: (ticket, connection). Several if the call was sent again meanwhile, none if
            nobody is there.
        deadline_ns: When it has waited long enough; 0: never.
    """

    __slots__ = ("arrival", "call", "deadline_ns", "tickets")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.arrival = 0
        self.tickets: list[tuple[int, int]] = [(call.ticket, call.connection)]
        self.deadline_ns = 0

    @staticmethod
    @abstractmethod
    def refusal(status: ripc_status) -> Outcome:
        """Make the result of this kind of call when it is refused."""

    @abstractmethod
    def enroll(self) -> None:
        """Become known to its object, where forget strikes it off again."""

    @abstractmethod
    def line_up(self) -> None:
        """Take its place in the lines of its object."""

    @abstractmethod
    def step_out(self) -> None:
        """Leave the lines of its object, to come back perhaps."""

    @abstractmethod
    def forget(self) -> None:
        """Leave the object for good; it has left the lines before."""

    @abstractmethod
    def resume(self) -> None:
        """Try again after sleep, and line up if it is not yet time."""


class Waits:
    """All waits.

    Attributes:
        answers: Where outcomes go; the machine takes them after each command.
        deadlines: A heap of (time, arrival), waits that are over among them.
    """

    __slots__ = ("_accounts", "answers", "by_arrival", "deadlines", "next_arrival")

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.deadlines: list[tuple[int, int]] = []
        self.answers: list[tuple[int, Outcome]] = []
        self.by_arrival: dict[int, Waiter] = {}
        self.next_arrival = 1

    def __len__(self) -> int:
        """Count the waits, sleeping ones too."""
        return len(self.by_arrival)

    def begin(self, waiter: Waiter, wait_ms: int) -> None:
        """Let a call wait, ``wait_ms`` at most (0: for ever).

        Raises:
            Refused: RIPC_EQUOTA if too many wait already.
        """
        call, accounts = waiter.call, self._accounts
        if len(self.by_arrival) >= accounts.limits.waiters:
            raise Refused(RIPC_EQUOTA)
        if not (call.connection or call.slot):
            most = accounts.limits.datagram_wait_ms
            wait_ms = min(wait_ms, most) if wait_ms else most
        accounts.add_waiter(call.caller.uid)
        waiter.arrival = self.next_arrival
        self.next_arrival += 1
        if wait_ms or not (call.connection or call.slot):
            waiter.deadline_ns = accounts.clock_ns + wait_ms * MILLISECOND
        self._enter(waiter)
        if call.slot is not None:
            call.slot.waiter = waiter
        waiter.enroll()
        waiter.line_up()

    def restore(self, waiter: Waiter) -> None:
        """Enter a wait of a snapshot, with its arrival and deadline."""
        self._accounts.add_waiter(waiter.call.caller.uid, restored=True)
        self._enter(waiter)
        if waiter.call.slot is not None:
            waiter.call.slot.waiter = waiter
        waiter.enroll()
        if waiter.tickets:
            waiter.line_up()

    def _enter(self, waiter: Waiter) -> None:
        self.by_arrival[waiter.arrival] = waiter
        waiter.call.owner.waits[waiter.arrival] = waiter
        if waiter.deadline_ns:
            heappush(self.deadlines, (waiter.deadline_ns, waiter.arrival))

    def finish(self, waiter: Waiter, outcome: Outcome) -> None:
        """End a wait that is in its lines or asleep."""
        if waiter.tickets:
            waiter.step_out()
        waiter.forget()
        call = waiter.call
        del self.by_arrival[waiter.arrival]
        del call.owner.waits[waiter.arrival]
        self._accounts.remove_waiter(call.caller.uid)
        if call.slot is not None:
            call.slot.finish(outcome)
        for ticket, _ in waiter.tickets:
            self.answers.append((ticket, outcome))

    def attach(self, waiter: Waiter, ticket: int, connection: int) -> None:
        """The call was sent again: answer here as well. If it slept, it wakes."""
        asleep = not waiter.tickets
        waiter.tickets.append((ticket, connection))
        if asleep:
            waiter.resume()

    def detach(self, waiter: Waiter, connection: int) -> None:
        """A connection is gone. If nobody else is there for the wait, it sleeps."""
        for ticket, through in waiter.tickets:
            if through == connection:
                self.answers.append((ticket, waiter.refusal(RIPC_EINTR)))
        tickets = [entry for entry in waiter.tickets if entry[1] != connection]
        if not tickets and waiter.tickets:
            waiter.step_out()
        waiter.tickets = tickets

    def sleep(self, waiter: Waiter) -> None:
        """Everybody is gone, and nobody can be told."""
        if waiter.tickets:
            waiter.step_out()
            waiter.tickets = []

    def expire(self, now: int) -> None:
        """End the waits whose time is over, with RIPC_ETIMEDOUT."""
        deadlines = self.deadlines
        while deadlines and deadlines[0][0] <= now:
            _, arrival = heappop(deadlines)
            waiter = self.by_arrival.get(arrival)
            if waiter is not None:
                self.finish(waiter, waiter.refusal(RIPC_ETIMEDOUT))

    def next_deadline(self) -> int | None:
        """Give the time at which the next wait is over."""
        deadlines = self.deadlines
        while deadlines and deadlines[0][1] not in self.by_arrival:
            heappop(deadlines)
        return deadlines[0][0] if deadlines else None
