"""Pieces of Python text: docstrings, comments, lists that wrap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["WIDTH", "comments", "docstring", "indented", "literal", "wrapped"]

WIDTH: Final = 120
"""Columns of a line in generated text, where a line can be broken."""


def docstring(text: str, indent: str = "") -> list[str]:
    """Give the lines of a docstring that says `text`."""
    safe = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if safe.endswith('"'):
        safe = safe[:-1] + '\\"'
    lines = safe.split("\n")
    if len(lines) == 1:
        return [f'{indent}"""{safe}"""']
    body = [f"{indent}{line}".rstrip() for line in lines[1:]]
    return [f'{indent}"""{lines[0]}', *body, f'{indent}"""']


def comments(lines: Iterable[str], indent: str = "") -> list[str]:
    """Give the lines as comments."""
    return [f"{indent}# {line}".rstrip() for line in lines]


def indented(lines: Iterable[str], indent: str = "    ") -> list[str]:
    """Move lines to the right; empty ones stay empty."""
    return [f"{indent}{line}" if line else "" for line in lines]


def wrapped(opening: str, items: list[str], closing: str, indent: str = "") -> list[str]:
    """Give a bracketed list on one line if it fits, else one item a line."""
    one = f"{indent}{opening}{', '.join(items)}{closing}"
    if len(one) <= WIDTH:
        return [one]
    return [f"{indent}{opening}", *(f"{indent}    {item}," for item in items), f"{indent}{closing}"]


def literal(value: int | str, spelling: str) -> str:
    """Write a number as the file did, if Python reads that as the same."""
    if isinstance(value, str):
        return repr(value)
    if spelling[:2] in ("0x", "0X") and int(spelling, 16) == value:
        return "0x" + spelling[2:]
    if len(spelling) > 1 and spelling[0] == "0" and spelling[1:].isdigit():
        digits = spelling.lstrip("0") or "0"
        if not set(digits) - set("01234567") and int(digits, 8) == value:
            return f"0o{digits}"
    return str(value)
