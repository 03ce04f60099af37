"""Lines of waiters, against sets that are searched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipcserver.machine.lines import Excepting, Ranked, join, leave

ENTRIES = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60)


@given(arrivals=st.lists(st.integers(0, 100), unique=True))
def test_a_line_stays_in_order_of_arrival(arrivals: list[int]) -> None:
    line: list[int] = []
    for arrival in arrivals:
        join(line, arrival)
    assert line == sorted(arrivals)
    for arrival in arrivals:
        leave(line, arrival)
    assert line == []


@given(entries=ENTRIES)
def test_the_oldest_in_a_range_of_ranks_is_found(entries: list[tuple[int, bool]]) -> None:
    ranked = Ranked()
    there: set[tuple[int, int]] = set()
    for arrival, (rank, stays) in enumerate(entries):
        if stays or not there:
            ranked.join(rank, arrival)
            there.add((rank, arrival))
        else:
            gone = min(there, key=lambda entry: (entry[1] * 7919) % 31)
            ranked.leave(*gone)
            there.remove(gone)
        assert bool(ranked) == bool(there)
        for wanted in range(-1, 7):
            assert ranked.oldest_from(wanted) == min((a for r, a in there if r >= wanted), default=None)
            assert ranked.oldest_up_to(wanted) == min((a for r, a in there if r <= wanted), default=None)


@given(entries=ENTRIES)
def test_the_oldest_to_whom_a_number_is_welcome_is_found(entries: list[tuple[int, bool]]) -> None:
    excepting = Excepting()
    there: set[tuple[int, int]] = set()
    for arrival, (number, stays) in enumerate(entries):
        if stays or not there:
            excepting.join(number, arrival)
            there.add((number, arrival))
        else:
            gone = min(there, key=lambda entry: (entry[1] * 7919) % 31)
            excepting.leave(*gone)
            there.remove(gone)
        assert bool(excepting) == bool(there)
        for given_number in range(7):
            wanted = min((a for unwanted, a in there if unwanted != given_number), default=None)
            assert excepting.oldest_but(given_number) == wanted


def test_who_comes_back_takes_the_old_place() -> None:
    ranked = Ranked()
    for arrival in (1, 2, 3):
        ranked.join(5, arrival)
    ranked.leave(5, 1)
    assert ranked.oldest_from(0) == 2
    ranked.join(5, 1)
    assert ranked.oldest_from(0) == 1
