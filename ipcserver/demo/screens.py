"""Screens of the tour, and how they are cut into pages, so that nothing scrolls away unread. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, RenderableType
    from rich.segment import Segment

__all__ = ["WIDEST", "Line", "Screen", "lines_of", "paginate"]

WIDEST: Final = 120
"""Columns that are used: longer lines are hard to read."""

Line = list["Segment"]


@dataclass(slots=True)
class Screen:
    """What is to be read before the tour goes on.

    Attributes:
        blocks: In order; a block is not cut by the end of a page, if it fits one. A text is rich's markup, "" an
            empty line.
        cue: What happens next, as it is said beside the key for it.
        tick: A line that goes on living while the screen is read, in markup.
    """

    blocks: Sequence[RenderableType]
    cue: str = "goes on"
    tick: Callable[[], str] | None = field(default=None)


def lines_of(screen: Screen, console: Console) -> list[list[Line]]:
    """Render a screen.

    Args:
        screen: The screen.
        console: Knows width and colours.

    Returns:
        The lines of each block.
    """
    options = console.options.update(width=min(console.width, WIDEST))
    return [
        console.render_lines(
            Text.from_markup(block) if isinstance(block, str) else block, options, pad=False, new_lines=False
        )
        for block in screen.blocks
    ]


def paginate(blocks: Sequence[Sequence[Line]], height: int) -> list[list[Line]]:
    """Cut blocks into pages.

    Args:
        blocks: The lines of each.
        height: Lines of a page; at least 1.

    Returns:
        The pages, one at least; none begins or ends with an empty line.
    """
    pages: list[list[Line]] = [[]]
    for block in blocks:
        lines = list(block)
        while lines:
            page = pages[-1]
            room = height - len(page)
            if not page and _is_empty(lines[0]):
                lines = lines[1:]
            elif len(lines) <= room:
                page.extend(lines)
                break
            elif (len(lines) <= height and page) or not room:
                pages.append([])
            else:
                page.extend(lines[:room])
                lines = lines[room:]
                pages.append([])
    for page in pages:
        while page and _is_empty(page[-1]):
            page.pop()
    return [page for page in pages if page] or [[]]


def _is_empty(line: Line) -> bool:
    return not "".join(segment.text for segment in line).strip()
