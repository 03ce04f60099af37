"""Proves from histories that nothing was lost, given twice, put out of order or counted wrong.

It trusts nothing but what the clients saw. A call whose fate is unknown may have happened once or not at all; what the
checker calls a fault cannot be explained by any such choice.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.adversity.ipc.history import Event

__all__ = ["faults"]


def faults(events: Iterable[Event], *, capacity: dict[str, int] | None = None) -> list[str]:
    """Return what no correct server could have done, a line each.

    Args:
        events: Everything that all clients saw, up to an empty queue.
        capacity: The initial value of each semaphore.
    """
    events = list(events)
    return [*_messages(events), *_order(events), *_semaphores(events, capacity or {})]


def _messages(events: list[Event]) -> list[str]:
    """Acknowledged messages came out exactly once, refused ones never, others at most once."""
    found = []
    sent = {event.what: event for event in events if event.kind == "send"}
    receipts: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.kind == "receive" and event.fate == "done":
            receipts[event.what].append(event)
    # A receive whose fate is unknown may have taken one message: whichever it was, if nobody saw it.
    doubtful = sum(1 for event in events if event.kind == "receive" and event.fate == "unknown" and not event.what)
    seen = {event.what for event in events if event.kind == "receive"}
    lost = [what for what, event in sent.items() if event.fate == "done" and what not in seen]
    if len(lost) > doubtful:
        found += [f"lost: {what}, acknowledged to {sent[what].client}" for what in lost]
    for what, events_of in receipts.items():
        if len(events_of) > 1:
            found.append(f"twice: {what}, received by {' and '.join(event.client for event in events_of)}")
        if what not in sent:
            found.append(f"invented: {what}, received by {events_of[0].client}")
        elif sent[what].fate == "refused":
            found.append(f"refused and sent all the same: {what}, received by {events_of[0].client}")
        elif events_of[0].end < sent[what].begin:
            found.append(f"received before it was sent: {what}")
    return found


def _order(events: list[Event]) -> list[str]:
    """Of two messages of one type, the one sent first was not received after the other.

    Only what is certain counts: the first send had ended when the second began, and the receive of the second had
    ended when that of the first began. A message that was borrowed and put back, perhaps, was away for a while: it is
    left out; so is one for each borrowing or receipt of which nobody knows what it took.
    """
    found = []
    away = [event for event in events if event.kind == "borrow" or (event.kind, event.fate) == ("receive", "unknown")]
    doubtful = sum(1 for event in away if not event.what)
    borrowed = {event.what for event in away}
    sends: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.kind == "send" and event.fate != "refused" and event.what not in borrowed:
            sends[event.what.partition(":")[0]].append(event)
    received = {event.what: event for event in events if event.kind == "receive" and event.fate == "done"}
    for mtype, of_type in sends.items():
        pairs = sorted(
            ((send, received[send.what]) for send in of_type if send.what in received), key=lambda pair: pair[0].begin
        )
        # Going back in the order of sending, keep the earliest end of a receive among sends that began later.
        earliest: list[tuple[float, float, str]] = []
        best, name = float("inf"), ""
        for send, receive in reversed(pairs):
            if receive.end < best:
                best, name = receive.end, send.what
            earliest.append((send.begin, best, name))
        earliest.reverse()
        position = 0
        for send, receive in sorted(pairs, key=lambda pair: pair[0].end):
            while position < len(earliest) and earliest[position][0] <= send.end:
                position += 1
            if position < len(earliest) and earliest[position][1] < receive.begin:
                found.append(f"out of order: {earliest[position][2]} before {send.what} of type {mtype}")
    return found if len(found) > doubtful else []


def _semaphores(events: list[Event], capacity: dict[str, int]) -> list[str]:
    """Never more holders than the initial value; at the end all undone, and every +1 counted once."""
    found = []
    for name, size in capacity.items():
        changes: list[tuple[float, int]] = []
        for client in {event.client for event in events}:
            held_since: float | None = None
            for event in (e for e in events if e.client == client and e.what == name):
                if event.kind == "acquire" and event.fate == "done":
                    held_since = event.end
                elif event.kind == "release" and held_since is not None:
                    changes += [(held_since, 1), (event.begin, -1)]
                    held_since = None
        holders = 0
        # At equal times a release counts first: the benefit of the doubt.
        for when, change in sorted(changes):
            holders += change
            if holders > size:
                found.append(f"over-counted: {holders} hold {name}, which has {size}, at {when:.3f}")
                break
    for event in events:
        if event.kind != "final":
            continue
        added = [e for e in events if e.kind == "add" and e.what == event.what]
        low = capacity.get(event.what, 0) + sum(1 for e in added if e.fate == "done")
        high = low + sum(1 for e in added if e.fate == "unknown")
        if not low <= event.value <= high:
            wanted = str(low) if low == high else f"{low} to {high}"
            found.append(f"counted wrong: {event.what} ended with {event.value}, not {wanted}")
    return found
