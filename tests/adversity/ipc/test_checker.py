"""The checker finds what it must find: each history here is wrong in one way, but for those that say otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adversity.ipc.checker import faults
from tests.adversity.ipc.history import Event

if TYPE_CHECKING:
    from tests.adversity.ipc.history import Fate, Kind


def event(
    kind: Kind, what: str, begin: float, end: float, fate: Fate = "done", *, client: str = "c", value: int = 0
) -> Event:
    """Make an event."""
    return Event(client, kind, what, begin, end, fate, value)


RIGHT = [
    event("send", "1:1", 0, 1),
    event("send", "1:2", 2, 3),
    event("send", "2:1", 0, 1),
    event("receive", "2:1", 4, 5),
    event("receive", "1:1", 4, 5),
    event("receive", "1:2", 6, 7),
]


def test_a_right_history_has_no_faults() -> None:
    assert faults(RIGHT) == []


@pytest.mark.parametrize(
    ("history", "fault"),
    [
        (RIGHT[:-1], "lost: 1:2, acknowledged to c"),
        ([*RIGHT, event("receive", "1:1", 8, 9)], "twice: 1:1, received by c and c"),
        ([*RIGHT, event("receive", "3:3", 8, 9)], "invented: 3:3, received by c"),
        (
            [*RIGHT, event("send", "1:3", 4, 5, "refused"), event("receive", "1:3", 8, 9)],
            "refused and sent all the same: 1:3, received by c",
        ),
        ([event("send", "1:1", 5, 6), event("receive", "1:1", 1, 2)], "received before it was sent: 1:1"),
        (
            [*RIGHT[:2], event("receive", "1:2", 4, 5), event("receive", "1:1", 6, 7)],
            "out of order: 1:2 before 1:1 of type 1",
        ),
        (
            [
                event("send", "1:1", 0, 1),
                event("send", "1:2", 2, 3),
                event("send", "1:3", 4, 5),
                event("receive", "1:3", 6, 7),
                event("receive", "1:1", 8, 9),
                event("receive", "1:2", 8, 9),
            ],
            "out of order: 1:3 before 1:1 of type 1",
        ),
    ],
)
def test_a_fault_with_messages_is_found(history: list[Event], fault: str) -> None:
    assert fault in faults(history)


def test_one_message_that_was_away_explains_one_that_came_late_and_no_other() -> None:
    late = [event("borrow", "", 3, 4, "unknown")]
    for mtype in ("1", "2"):
        late += [event("send", f"{mtype}:1", 0, 1), event("send", f"{mtype}:2", 2, 3)]
        late += [event("receive", f"{mtype}:2", 5, 6), event("receive", f"{mtype}:1", 7, 8)]
    assert len(faults(late)) == 2


def test_what_somebody_may_have_taken_explains_the_loss_of_no_other_message() -> None:
    history = [event("send", "1:1", 0, 1), event("send", "1:2", 2, 3), event("receive", "1:1", 4, 5, "unknown")]
    assert faults(history) == ["lost: 1:2, acknowledged to c"]


def test_what_was_lost_is_found_among_many() -> None:
    history = []
    for number in range(1000):
        history.append(event("send", f"1:{number}", number, number + 0.5))
        if number != 500:
            history.append(event("receive", f"1:{number}", 2000 + number, 2000.5 + number))
    assert faults(history) == ["lost: 1:500, acknowledged to c"]


@pytest.mark.parametrize(
    "history",
    [
        [event("send", "1:1", 0, 1, "unknown")],
        [event("send", "1:1", 0, 1, "unknown"), event("receive", "1:1", 2, 3)],
        [event("send", "1:1", 0, 1, "refused")],
        [event("send", "1:1", 0, 1), event("receive", "", 2, 3, "unknown")],
        # Sent at the same time: either may be first.
        [
            event("send", "1:1", 0, 3),
            event("send", "1:2", 1, 2),
            event("receive", "1:2", 4, 5),
            event("receive", "1:1", 6, 7),
        ],
        # Received at the same time: either may have been first.
        [*RIGHT[:2], event("receive", "1:2", 4, 6), event("receive", "1:1", 5, 7)],
        # Borrowed, nobody knows which, since the connection was cut before the borrower saw it.
        [
            *RIGHT[:2],
            event("borrow", "", 3, 4, "unknown"),
            event("receive", "1:2", 5, 6),
            event("receive", "1:1", 7, 8),
        ],
        # Received by somebody who was killed before he could acknowledge it: it may come again, or not.
        [event("send", "1:1", 0, 1), event("receive", "1:1", 2, 3, "unknown")],
        [event("send", "1:1", 0, 1), event("receive", "1:1", 2, 3, "unknown"), event("receive", "1:1", 4, 5)],
        [*RIGHT[:2], event("receive", "1:1", 3, 4, "unknown"), RIGHT[5], event("receive", "1:1", 8, 9)],
        # Borrowed by somebody who died, and put back.
        [*RIGHT[:2], event("borrow", "1:1", 3, 4), event("receive", "1:2", 5, 6), event("receive", "1:1", 7, 8)],
    ],
)
def test_what_can_be_explained_is_no_fault(history: list[Event]) -> None:
    assert [fault for fault in faults(history) if "2:1" not in fault] == []


def semaphore(*holds: tuple[str, float, float], final: int = 1) -> list[Event]:
    """Make a history of holders of a semaphore of 1."""
    history = []
    for client, begin, end in holds:
        history.append(event("acquire", "s", begin - 0.5, begin, client=client))
        history.append(event("release", "s", end, end + 0.5, client=client))
    return [*history, event("final", "s", 99, 100, value=final)]


def test_holders_one_after_the_other_are_right() -> None:
    assert faults(semaphore(("a", 1, 2), ("b", 2, 3), ("a", 3, 4)), capacity={"s": 1}) == []


def test_two_holders_of_one_semaphore_are_found() -> None:
    assert "over-counted: 2 hold s, which has 1, at 1.500" in faults(
        semaphore(("a", 1, 2), ("b", 1.5, 3)), capacity={"s": 1}
    )


@pytest.mark.parametrize("final", [0, 2])
def test_an_undo_that_was_forgotten_or_done_twice_is_found(final: int) -> None:
    assert faults(semaphore(("a", 1, 2), final=final), capacity={"s": 1}) == [
        f"counted wrong: s ended with {final}, not 1"
    ]


@pytest.mark.parametrize(("value", "right"), [(1, False), (2, True), (3, True), (4, False)])
def test_additions_are_counted_once(value: int, right: bool) -> None:
    history = [
        event("add", "n", 0, 1),
        event("add", "n", 1, 2),
        event("add", "n", 2, 3, "unknown"),
        event("add", "n", 3, 4, "refused"),
        event("final", "n", 9, 10, value=value),
    ]
    assert (faults(history) == []) is right
