from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment

from ipcserver.demo.screens import Line, Screen, lines_of, paginate


def line(text: str) -> Line:
    return [Segment(text)]


def texts(pages: list[list[Line]]) -> list[list[str]]:
    return [["".join(segment.text for segment in each) for each in page] for page in pages]


blocks = st.lists(st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=12), max_size=8)


@given(blocks, st.integers(1, 20))
def test_no_page_is_too_long_and_nothing_that_can_be_read_is_lost(written: list[list[str]], height: int) -> None:
    pages = texts(paginate([[line(text) for text in block] for block in written], height))
    assert all(len(page) <= height for page in pages)
    assert [text for page in pages for text in page if text] == [text for block in written for text in block if text]


@given(blocks, st.integers(1, 20))
def test_no_page_begins_or_ends_with_an_empty_line(written: list[list[str]], height: int) -> None:
    pages = texts(paginate([[line(text) for text in block] for block in written], height))
    assert all(page[0] and page[-1] for page in pages if page)


def test_a_block_that_fits_a_page_is_not_cut() -> None:
    first, second = [line("1")] * 3, [line("2")] * 3
    assert texts(paginate([first, second], 4)) == [["1"] * 3, ["2"] * 3]


def test_a_block_longer_than_a_page_is_cut() -> None:
    assert texts(paginate([[line("1")] * 5], 2)) == [["1", "1"], ["1", "1"], ["1"]]


def test_a_screen_without_anything_is_one_empty_page() -> None:
    assert paginate([], 5) == [[]]


def test_texts_are_markup_and_fit_the_width() -> None:
    console = Console(file=io.StringIO(), width=20)
    screen = Screen(["[b]bold[/] " + "word " * 10])
    (found,) = lines_of(screen, console)
    assert len(found) > 1
    assert all(sum(len(segment.text) for segment in each) <= 20 for each in found)
    assert found[0][0].text == "bold"


def test_lines_do_not_get_longer_than_people_read() -> None:
    console = Console(file=io.StringIO(), width=300)
    (found,) = lines_of(Screen(["word " * 100]), console)
    assert max(sum(len(segment.text) for segment in each) for each in found) <= 120
