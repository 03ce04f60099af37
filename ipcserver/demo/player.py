"""Shows screens: page by page with keys on a terminal, by the clock, or one after the other into a file or pipe."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich.control import Control
from rich.segment import Segment, Segments
from rich.text import Text

from ipcserver.demo.screens import WIDEST, Line, Screen, lines_of, paginate

if TYPE_CHECKING:
    from rich.console import Console

    from ipcserver.demo.keyboard import Keyboard
    from ipcserver.demo.loop import Loop

__all__ = ["Jump", "Player", "Quit"]

_AROUND: Final = 4
"""Lines of a page that are not the screen's: title, rule, the living line, keys."""
_LEAST: Final = 3


class Quit(Exception):
    """Somebody has seen enough."""


class Jump(Exception):
    """Somebody wants to see another step.

    Args:
        number: Which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Player:
    """Shows one screen after the other.

    Args:
        console: Where to.
        loop: What goes on meanwhile.
        keyboard: Where keys come from; None: there are none.
        auto: Seconds after which a page is turned by itself; None: a key turns it.
        steps: How many steps there are.
        corner: What stands in the corner of each page: the console's URL.

    Attributes:
        pages: Whether it shows page by page: on a terminal that can be cleared.
    """

    def __init__(
        self,
        console: Console,
        loop: Loop,
        *,
        keyboard: Keyboard | None,
        auto: float | None,
        steps: int,
        corner: str = "",
    ) -> None:
        self.console, self._loop, self._keyboard = console, loop, keyboard
        self.auto, self._steps, self.corner = auto, steps, corner
        self.pages = console.is_terminal and not console.is_dumb_terminal

    def show(self, title: str, screen: Screen) -> None:
        """Show a screen until it was read.

        Args:
            title: Of its step.
            screen: The screen.

        Raises:
            Quit: A key said so.
            Jump: A key said so.
        """
        if not self.pages:
            self._print(title, screen)
            self._wait(None)
            return
        at, pages, size = 0, self._paginate(screen), self.console.size
        while at < len(pages):
            if self._keyboard is not None:  # what was pressed before there was this to read
                self._keyboard.forget()
            drawn = self._draw(title, pages, at, screen)
            if self._wait(drawn):
                at += 1
            elif self.console.size != size:
                pages, size = self._paginate(screen), self.console.size
                at = min(at, len(pages) - 1)

    # -- into a file, or on a terminal that cannot do more ---------------------------------------

    def _print(self, title: str, screen: Screen) -> None:
        out = self.console
        out.print(Text(title, style="bold"), Text("=" * min(len(title), out.width)), sep="\n")
        out.print()
        for page in paginate(lines_of(screen, out), 1 << 20):
            for line in page:
                out.print(Segments([*_trimmed(line), Segment.line()]), end="")
        if screen.tick is not None:
            out.print(Text.from_markup(screen.tick()))
        out.print()

    # -- page by page --------------------------------------------------------------------------------

    def _paginate(self, screen: Screen) -> list[list[Line]]:
        return paginate(lines_of(screen, self.console), max(_LEAST, self.console.height - _AROUND))

    def _draw(self, title: str, pages: list[list[Line]], at: int, screen: Screen) -> tuple[str, Screen]:
        """Draw a page; return what _wait() must know of it."""
        out = self.console
        width, height = min(out.width, WIDEST), out.height
        out.clear()
        page = f"page {at + 1} of {len(pages)}" if len(pages) > 1 else ""
        head = Text(title[: max(1, width - len(page) - 2)], style="bold reverse")
        head.pad_right(max(0, width - len(head) - len(page)))
        out.print(head.append(page, style="bold reverse"), no_wrap=True, overflow="crop")
        out.print()
        for line in pages[at][: max(_LEAST, height - _AROUND)]:
            out.print(Segments([*line, Segment.line()]), end="")
        cue = screen.cue if at == len(pages) - 1 else "turns the page"
        self._living(screen, cue)
        return cue, screen

    def _living(self, screen: Screen, cue: str, left: float | None = None) -> None:
        """Draw the last two lines."""
        out = self.console
        width, height = min(out.width, WIDEST), out.height
        if screen.tick is not None:
            out.control(Control.move_to(0, height - 2))
            line = Text.from_markup(screen.tick())
            line.truncate(width - 1, overflow="ellipsis", pad=True)
            out.print(line, end="", no_wrap=True)
        out.control(Control.move_to(0, height - 1))
        keys = Text()
        if left is not None:
            keys.append(f"{left:.0f} s", style="bold")
            keys.append(f" {cue}")
        elif self._keyboard is not None:
            keys.append("Enter", style="bold")
            keys.append(f" {cue}")
        if self._keyboard is not None:
            keys.append(f"   1-{self._steps}", style="bold").append(" step").append("   q", style="bold").append(
                " ends"
            )
        if len(keys) + len(self.corner) + 2 < width:
            keys.pad_right(width - 1 - len(keys) - len(self.corner))
            keys.append(self.corner, style="underline")
        keys.truncate(width - 1, overflow="ellipsis")
        out.print(keys, end="", no_wrap=True)

    def _busy(self) -> None:
        """Show that a key was heard, for what it leads to may take a second."""
        if self.pages:
            self.console.control(Control.move_to(0, self.console.height - 1))
            self.console.print("…    ", end="")

    # -- waiting ------------------------------------------------------------------------------------------

    def _wait(self, drawn: tuple[str, Screen] | None) -> bool:
        """Wait until a page was read.

        Args:
            drawn: The page's cue and screen; None if nothing of it lives.

        Returns:
            False if it must be drawn again first: the terminal has another size.

        Raises:
            Quit: A key said so.
            Jump: A key said so.
        """
        if self._keyboard is None and self.auto is None:
            self._loop.run(0)
            return True
        deadline = None if self.auto is None else time.monotonic() + self.auto
        size = self.console.size
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            pressed = self._loop.run(
                0.25 if left is None else max(0.0, min(0.25, left)),
                lambda: self._keyboard is not None and self._keyboard.pressed,
            )
            if pressed and self._keyboard is not None:
                key, self._keyboard.pressed = self._keyboard.pressed, ""
                if key == "quit":
                    raise Quit
                if key == "next":
                    self._busy()
                    return True
                if int(key) <= self._steps:
                    raise Jump(int(key))
            if left is not None and left <= 0:
                return True
            if drawn is not None:
                if self.console.size != size:
                    return False
                if drawn[1].tick is not None or left is not None:
                    self._living(drawn[1], drawn[0], left)


def _trimmed(line: Line) -> Line:
    """Return a line without the blanks at its end: a file is not padded."""
    kept = list(line)
    while kept and not kept[-1].text.strip():
        kept.pop()
    if kept:
        last = kept[-1]
        kept[-1] = Segment(last.text.rstrip(), last.style)
    return kept
