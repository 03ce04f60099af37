from __future__ import annotations

import io
from typing import TYPE_CHECKING, cast

import pytest
from rich.console import Console

from ipcserver.demo.loop import Loop
from ipcserver.demo.player import Jump, Player, Quit
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import THEME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipcserver.demo.keyboard import Keyboard


class Keys:
    """A keyboard on which somebody presses one key after each look at the screen."""

    def __init__(self, *keys: str) -> None:
        self._keys = list(keys)
        self.pressed = ""

    def forget(self) -> None:
        """A new page is there."""
        self.pressed = self._keys.pop(0)


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def terminal(width: int = 60, height: int = 12) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=width, height=height, theme=THEME, _environ={"TERM": "xterm"}
    )


def written(console: Console) -> str:
    return cast("io.StringIO", console.file).getvalue()


def player(console: Console, loop: Loop, *keys: str, auto: float | None = None) -> Player:
    keyboard = cast("Keyboard", Keys(*keys)) if keys else None
    return Player(console, loop, keyboard=keyboard, auto=auto, steps=9, corner="http://x/")


LONG = Screen([f"line {number}" for number in range(12)], cue="shows more")


def test_a_long_screen_is_shown_page_by_page(loop: Loop) -> None:
    console = terminal()
    player(console, loop, "next", "next").show("title", LONG)
    pages = written(console).split("\x1b[2J")[1:]
    assert ["line 7" in page for page in pages] == [True, False]
    assert ["line 8" in page for page in pages] == [False, True]
    assert "turns the page" in pages[0]
    assert "shows more" in pages[1]
    assert "page 2 of 2" in pages[1]


def test_keys_end_the_tour_and_jump(loop: Loop) -> None:
    with pytest.raises(Quit):
        player(terminal(), loop, "quit").show("title", LONG)
    with pytest.raises(Jump) as jumped:
        player(terminal(), loop, "7").show("title", LONG)
    assert jumped.value.number == 7


def test_by_the_clock_no_key_is_needed(loop: Loop) -> None:
    console = terminal()
    player(console, loop, auto=0).show("title", LONG)
    assert "line 11" in written(console)


def test_into_a_file_everything_is_written_at_once_and_plain(loop: Loop) -> None:
    console = Console(file=io.StringIO(), width=40, theme=THEME)
    living = Screen(["[b]bold[/]", "", "text"], tick=lambda: "it lives")
    player(console, loop, auto=0).show("title", living)
    assert written(console) == "title\n=====\n\nbold\n\ntext\nit lives\n\n"
