"""The messages of a queue, against a plain list that does the same slowly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipcserver.machine.backlog import Backlog, Message

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 6)),
        st.tuples(st.just("oldest"), st.just(0)),
        st.tuples(st.just("of"), st.integers(1, 6)),
        st.tuples(st.just("but"), st.integers(1, 6)),
        st.tuples(st.just("up to"), st.integers(1, 6)),
        st.tuples(st.just("put back"), st.integers(0, 50)),
        st.tuples(st.just("at"), st.integers(-1, 9)),
    ),
    max_size=300,
)


def choose(messages: list[Message], what: str, number: int) -> Message | None:
    """Say what is meant, from a list in order."""
    if what == "at":
        return messages[number] if 0 <= number < len(messages) else None
    if what == "up to":
        return min((m for m in messages if m[1] <= number), key=lambda m: (m[1], m[0]), default=None)
    fits = {"oldest": lambda m: True, "of": lambda m: m[1] == number, "but": lambda m: m[1] != number}[what]
    return next(filter(fits, messages), None)


@given(steps=STEPS)
def test_it_finds_what_a_search_of_all_messages_finds(steps: list[tuple[str, int]]) -> None:
    backlog = Backlog()
    messages: list[Message] = []
    taken: list[Message] = []
    order = 0
    for what, number in steps:
        if what == "send":
            message = (order, number, b"")
            order += 1
            messages.append(message)
            backlog.append(message)
        elif what == "put back":
            if taken:
                message = taken.pop(number % len(taken))
                messages.append(message)
                messages.sort()
                backlog.put_back(message)
        else:
            find = {
                "oldest": lambda _: backlog.oldest(),
                "of": backlog.oldest_of,
                "but": backlog.oldest_but,
                "up to": backlog.lowest_up_to,
                "at": backlog.at,
            }[what]
            found = find(number)
            assert found == choose(messages, what, number)
            if found is not None and what != "at":
                backlog.take(found)
                messages.remove(found)
                taken.append(found)
        assert list(backlog) == messages


def test_heaps_do_not_grow_with_what_has_gone() -> None:
    backlog = Backlog()
    backlog.append((0, 9, b""))
    backlog.lowest_up_to(1)
    for order in range(1, 2000):
        message = (order, order % 3 + 1, b"")
        backlog.append(message)
        backlog.take(message)
    assert backlog.oldest() == (0, 9, b"")
    assert len(backlog._fresh) + len(backlog._moved) < 100
    assert len(backlog._lowest or ()) < 100


def test_a_type_that_comes_and_goes_leaves_no_entries_to_go_through() -> None:
    backlog = Backlog()
    for order in range(1000):
        backlog.append((order, 1, b""))
        found = backlog.oldest()
        assert found is not None
        backlog.take(found)
    assert len(backlog._fresh) + len(backlog._moved) <= 1
