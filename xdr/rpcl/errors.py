"""What the compiler says about a bad file: every fault of a run, each with its place.

::

    CompileError        a run failed; holds every Diagnostic
    `- Diagnostic       one fault: file, line, column, the line itself, what was expected
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from xdr.errors import XDRError

__all__ = ["MAX_DIAGNOSTICS", "CompileError", "Diagnostic", "Diagnostics", "Place"]

MAX_DIAGNOSTICS: Final = 100
"""Faults kept of one run. A file that has more is not an .x file; rpcgen stops at the first, gcc at none."""

_TAB: Final = 8
_MAX_SHOWN_LINE: Final = 200


class Place(NamedTuple):
    """Where something stands in the source.

    Lines and columns count from 1. `line_text` is the whole source line, so that a message needs no second look
    at a file, which may have changed or be a pipe.
    """

    file: str
    line: int
    column: int
    length: int
    line_text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault, and where it is."""

    place: Place
    message: str
    hint: str = ""
    """What would make it right, in one sentence; may be empty."""
    warning: bool = False
    """The run goes on and its output is whole."""

    def __str__(self) -> str:
        """Give ``file:line:column: error: message``, then the line with a caret below, then the hint."""
        place = self.place
        kind = "warning" if self.warning else "error"
        shown = f"{place.file}:{place.line}:{place.column}: {kind}: {self.message}"
        text = place.line_text.rstrip()
        # A line of many kilobytes would bury the message, and its caret would be off the screen.
        if text and len(text) <= _MAX_SHOWN_LINE:
            before = text[: place.column - 1].expandtabs(_TAB)
            marks = "^" + "~" * (min(place.length, max(len(text) - place.column + 1, 1)) - 1)
            shown += f"\n    {text.expandtabs(_TAB)}\n    {' ' * len(before)}{marks}"
        if self.hint:
            shown += f"\n    hint: {self.hint}"
        return shown


class CompileError(XDRError):
    """The file cannot be compiled.

    Attributes:
        diagnostics: Every fault found, at least one: file by file, in the order of the text.
    """

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        """Give all diagnostics, one after the other."""
        count = len(self.diagnostics)
        tail = f"\n{count} errors" if count > 1 else ""
        return "\n".join(map(str, self.diagnostics)) + tail


class Diagnostics:
    """Collects the faults of one run, so that every stage can go on after one."""

    def __init__(self) -> None:
        self._errors: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []
        self._seen: set[tuple[str, int, int, str]] = set()

    def error(self, place: Place, message: str, hint: str = "") -> None:
        """Record a fault; the same message at the same place counts once."""
        key = (place.file, place.line, place.column, message)
        if key not in self._seen and len(self._errors) < MAX_DIAGNOSTICS:
            self._seen.add(key)
            self._errors.append(Diagnostic(place, message, hint))

    def warn(self, place: Place, message: str, hint: str = "") -> None:
        """Record something odd that does not stop the run."""
        if len(self.warnings) < MAX_DIAGNOSTICS:
            self.warnings.append(Diagnostic(place, message, hint, warning=True))

    @property
    def faulty(self) -> bool:
        """Whether any fault was found."""
        return bool(self._errors)

    @property
    def count(self) -> int:
        """How many faults were found."""
        return len(self._errors)

    @property
    def full(self) -> bool:
        """Whether no more faults are kept."""
        return len(self._errors) >= MAX_DIAGNOSTICS

    def check(self) -> None:
        """Stop the run if anything was wrong.

        Raises:
            CompileError: At least one error was recorded.
        """
        if self._errors:
            files = {error.place.file: index for index, error in reversed(list(enumerate(self._errors)))}
            order = sorted(self._errors, key=lambda e: (files[e.place.file], e.place.line, e.place.column))
            raise CompileError(tuple(order))
