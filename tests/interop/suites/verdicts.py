"""What test programs say of themselves, read out of what they print."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Reader", "Verdict", "Verdicts", "lines", "status", "tap", "unittests"]

Verdict: TypeAlias = Literal["pass", "fail", "skip"]
Verdicts: TypeAlias = "Mapping[str, Verdict]"
Reader: TypeAlias = "Callable[[str, int], Verdicts]"
"""From the output and the exit status to the verdicts by the names of the tests."""


def tap(output: str, exit_status: int) -> Verdicts:
    """Read the Test Anything Protocol, in which tests have numbers; the program's end counts as one more."""
    found: dict[str, Verdict] = {}
    for failed, number, directive in re.findall(
        r"^(not )?ok (\d+)\b.*?(# (?:skip|todo)\b.*)?$", output, re.MULTILINE | re.IGNORECASE
    ):
        found[number] = "skip" if directive else "fail" if failed else "pass"
    if re.search(r"^1\.\.0\b", output, re.MULTILINE):
        found["all"] = "skip"
    return {**found, **status(output, exit_status)}


def status(_output: str, exit_status: int) -> Verdicts:
    """Read a program that says nothing but its exit status; 77 is that of a test that cannot be made here."""
    return {"end": "pass" if exit_status == 0 else "skip" if exit_status == 77 else "fail"}


def unittests(output: str, exit_status: int) -> Verdicts:
    """Read what ``python -m unittest -v`` prints."""
    words: Mapping[str, Verdict] = {"ok": "pass", "skipped": "skip", "FAIL": "fail", "ERROR": "fail"}
    pattern = r"^(\w+) \(([\w.]+)\)(?:\n.*?)? \.\.\. (ok|skipped|FAIL|ERROR)\b"
    found = {
        f"{where.removesuffix('.' + name)}.{name}": words[word]
        for name, where, word in re.findall(pattern, output, re.MULTILINE)
    }
    return {**found, **status(output, exit_status)}


def lines(pattern: str, words: Mapping[str, Verdict]) -> Reader:
    """Return a reader of lines of the suite's own.

    Args:
        pattern: With the groups ``name`` and ``word``.
        words: The verdict for each word.
    """

    def read(output: str, exit_status: int) -> Verdicts:
        found = {match["name"]: words[match["word"]] for match in re.finditer(pattern, output, re.MULTILINE)}
        return {**found, **status(output, exit_status)}

    return read
