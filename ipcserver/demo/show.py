"""What the tour shows, as rich renders it: bytes, fields, two machines side by side. Pure.

What came over a wire is never taken for markup, nor for anything that a terminal obeys.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

    from oncrpc.explain import Explanation, Part

__all__ = [
    "THEME",
    "FieldRow",
    "bits",
    "facts",
    "field_rows",
    "group_of",
    "hex_dump",
    "hex_line",
    "legend",
    "plain",
    "safe",
    "side_by_side",
    "table",
    "times",
]

THEME: Final = Theme(
    {
        "mark": "bold yellow",
        "head": "cyan",
        "cred": "magenta",
        "verf": "bright_blue",
        "body": "green",
        "pad": "bold red",
        "offset": "dim",
        "fact": "bold",
        "aside": "italic",
        "good": "bold green",
        "bad": "bold red",
    }
)
"""Colours that a projector shows on a dark ground and on a light one; nothing is told by colour alone."""

_NAMES: Final = {
    "mark": "record mark",
    "head": "RPC header",
    "cred": "credential",
    "verf": "verifier",
    "body": "arguments",
    "pad": "padding",
}
_ENCODINGS: Final = {
    "unsigned int": ("A number of 32 bits without a sign.", "RFC 4506, 4.2"),
    "int": ("A number of 32 bits, in two's complement.", "RFC 4506, 4.1"),
    "bool": ("A truth value: 0 or 1, in four bytes.", "RFC 4506, 4.4"),
    "opaque": ("A length, so many bytes, and padding.", "RFC 4506, 4.10"),
    "string": ("A length, so many characters, and padding.", "RFC 4506, 4.11"),
    "hyper": ("A number of 64 bits.", "RFC 4506, 4.5"),
}
"""Types of the XDR language: what their bytes are, and where that is written."""

_ROW: Final = 16
_UNIT: Final = 4
_WIDE: Final = 112
_NAME: Final = 15
_VALUE: Final = 23
_MOST_UNITS: Final = 4


def plain(text: str) -> str:
    """Return a text that does nothing to a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def safe(text: object) -> str:
    """Return a text for the midst of markup, as it is."""
    return escape(plain(str(text)))


def group_of(explanation: Explanation) -> list[tuple[Part, str]]:
    """Return the parts of a message, each with the group that it belongs to: one of THEME's first six styles."""
    found: list[tuple[Part, str]] = []
    group = "head"
    for part in explanation.parts:
        if part.level == 0:
            group = {"record mark": "mark", "cred": "cred", "verf": "verf", "arguments": "body", "results": "body"}.get(
                part.name, "head"
            )
        found.append((part, "pad" if part.name == "padding" else group))
    return found


def hex_line(data: bytes) -> str:
    """Return bytes in hexadecimal, in units of four."""
    return "  ".join(data[at : at + _UNIT].hex(" ") for at in range(0, len(data), _UNIT))


def hex_dump(
    data: bytes, explanation: Explanation | None = None, *, marked: Container[int] = (), most: int = 4096
) -> Text:
    """Return a dump of bytes: offset, sixteen bytes, and what of it can be printed; coloured by group.

    Args:
        data: The bytes.
        explanation: Of just these bytes; None: no colours.
        marked: Places of bytes that are to strike the eye.
        most: Bytes that are shown.
    """
    style = ["body"] * len(data)
    for part, group in [] if explanation is None else group_of(explanation):
        style[part.offset : part.offset + part.size] = [group] * part.size
    lines = []
    for at in range(0, min(len(data), most), _ROW):
        row = data[at : at + _ROW]
        line = Text.assemble((f"{at:04x}  ", "offset"))  # a style of the whole line would dim the bytes too
        for index in range(_ROW):
            gap = "  " if index % _UNIT == _UNIT - 1 else " "
            if index < len(row):
                colour = style[at + index] if explanation is not None else ""
                line.append(f"{row[index]:02x}", style="reverse bold" if at + index in marked else colour)
            else:
                line.append("  ")
            line.append(gap)
        text = "".join(map(chr, row))
        line.append("".join(char if char.isascii() and char.isprintable() else "." for char in text), style="offset")
        lines.append(line)
    if len(data) > most:
        lines.append(Text(f"      … {len(data) - most} more bytes"))
    return Text("\n").join(lines)


def legend(explanation: Explanation) -> Text:
    """Return what the colours of a dump mean, with the bytes of each group."""
    sizes: dict[str, int] = {}
    for part, group in group_of(explanation):
        sizes[group] = sizes.get(group, 0) + part.size
    names = {**_NAMES, "body": "results"} if explanation.kind == "REPLY" else _NAMES
    parts = [Text(f"{names[group]} {size}", style=group) for group, size in sizes.items() if size]
    return Text("  ").join([Text("bytes:"), *parts])


class FieldRow:
    """One field: its place, its bytes, its name, its value, and a sentence on what it is for.

    On one line where there is room for it, else on two.

    Args:
        part: The field.
        data: The whole message.
        group: Its group.
    """

    def __init__(self, part: Part, data: bytes, group: str) -> None:
        self.part, self.group = part, group
        self._data = data[part.offset : part.offset + part.size]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out."""
        part = self.part
        units = [self._data[at : at + _UNIT].hex(" ") for at in range(0, len(self._data), _UNIT)]
        if len(units) > _MOST_UNITS:
            units = [*units[: _MOST_UNITS - 1], f"… {len(self._data)} bytes"]
        told = Text(plain(part.sentence), style="bad" if part.fault else "")
        if part.section:
            told.append(f" [{part.section}]", style="offset")
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=4, style="offset")
        grid.add_column(width=3 * _UNIT - 1)
        shown = Text("\n".join(units), style=self.group)
        name = Text("  " * part.level + plain(part.name), style=self.group)
        value = Text(plain(part.value), style="fact")
        if options.max_width >= _WIDE:
            grid.add_column(width=_NAME)
            grid.add_column(width=_VALUE, overflow="fold")
            grid.add_column()
            grid.add_row(f"{part.offset:04x}", shown, name, value, told)
        else:
            grid.add_column(overflow="fold")
            name.pad_right(max(1, _NAME + 2 - cell_len(name.plain)))
            grid.add_row(f"{part.offset:04x}", shown, Text.assemble(name, value, "\n", told))
        yield grid


def field_rows(
    explanation: Explanation,
    data: bytes,
    *,
    only: Iterable[str] = (),
    names: Container[str] | None = None,
    sentences: Mapping[str, str] | None = None,
) -> list[FieldRow]:
    """Return a row for each field of a message.

    Args:
        explanation: Of these bytes.
        data: The message.
        only: Groups that are wanted, without their headings; all with their headings, if none is named.
        names: Names of fields that are wanted; None: all.
        sentences: What fields of arguments and results are for, by name; the types say how they are encoded.
    """
    wanted = frozenset(only)
    rows = []
    for part, group in group_of(explanation):
        if (wanted and (group not in wanted or part.level == 0)) or _is_wrapper(part):
            continue
        if names is not None and part.name not in names:
            continue
        rows.append(FieldRow(_told(part, sentences or {}, flat=bool(wanted)), data, group))
    return rows


def _is_wrapper(part: Part) -> bool:
    """Return whether a part is the value of a whole argument or result, and only holds its fields."""
    return part.level == 1 and not part.size and part.name == part.sentence


def _told(part: Part, sentences: Mapping[str, str], *, flat: bool) -> Part:
    """Return a part with a sentence and a section also where it is a value of a declared type.

    Args:
        part: The part.
        sentences: As field_rows() has them.
        flat: Whether its heading is not shown: it moves to the left.
    """
    if part.name in {"arguments", "results"} and part.level == 0:
        what = "What the procedure is given" if part.name == "arguments" else "What the procedure answers"
        return replace(part, sentence=f"{what}, in the types of its .x file.", section="RFC 5531, 9")
    if part.section or part.fault or part.level == 0:
        return part
    how, section = next(
        (found for kind, found in _ENCODINGS.items() if part.sentence.startswith(kind)),
        ("A structure: its fields, one behind the other.", "RFC 4506, 4.14")
        if not part.size
        else ("An enumeration: a number that stands for a name.", "RFC 4506, 4.3"),
    )
    name = "result" if part.name == part.sentence else part.name
    level = max(0, part.level - 2) if flat else part.level - 1
    known = sentences.get(part.name)
    return replace(
        part,
        name=name,
        level=level,
        sentence=how if known is None else known,
        section=section if name == "result" else f"{part.sentence}: {section}",
    )


def bits(word: bytes) -> Text:
    """Return the bits of a record mark, the first of them apart."""
    text = f"{int.from_bytes(word, 'big'):032b}"
    line = Text()
    line.append(text[0], style="mark")
    line.append(" ")
    line.append(" ".join([text[1:8], *(text[at : at + 8] for at in range(8, 32, 8))]), style="head")
    return line


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Return names and values in two columns.

    Args:
        rows: Name and value, in markup.
    """
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, value)
    return grid


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table without lines; cells are markup."""
    made = Table(box=None, pad_edge=False, header_style="bold underline", padding=(0, 2, 0, 0))
    for head in heads:
        made.add_column(head, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def times(count: int) -> str:
    """Return how often something happened, in words: "once", "3 times"."""
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def side_by_side(left: str, right: str, events: Iterable[tuple[float, int, str]]) -> Table:
    """Return what two machines did, each in its column, by the same clock.

    Args:
        left: Name of one.
        right: Name of the other.
        events: Seconds, 0 for the left one or 1 for the right, and what happened, in markup.
    """
    made = Table(box=None, pad_edge=False, header_style="bold underline", padding=(0, 2, 0, 0))
    made.add_column("seconds", justify="right", no_wrap=True)
    made.add_column(left, ratio=1, overflow="fold")
    made.add_column(right, ratio=1, overflow="fold")
    for at, column, what in sorted(events, key=lambda event: event[0]):
        made.add_row(f"{at:.3f}", *(what if column == index else "" for index in range(2)))
    return made
