"""Figures that tortures reached, told together at the end of a run (conftest.py)."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["add", "lines"]

_sums: dict[str, Counter[str]] = {}


def add(torture: str, figures: Mapping[str, int]) -> None:
    """Add what one run of a torture counted; to the file IPC_TORTURE_REPORT names too, a line of JSON each.

    Args:
        torture: Its name, for people.
        figures: What it counted.
    """
    sums = _sums.setdefault(torture, Counter())
    for name, count in figures.items():
        sums[name] += count  # zeros are shown
    report = os.environ.get("IPC_TORTURE_REPORT")
    if report:
        with Path(report).open("a") as file:
            file.write(json.dumps([torture, dict(figures)]) + "\n")


def lines() -> Iterator[str]:
    """Yield the sums, a line for each torture."""
    for torture, figures in _sums.items():
        yield f"{torture}: " + ", ".join(f"{name} {count:,}" for name, count in figures.items())
