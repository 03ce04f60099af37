"""What the tortures reached, at the end of the run."""

from __future__ import annotations

from typing import Any

from tests.adversity import summary


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show the sums."""
    found = list(summary.lines())
    if found:
        terminalreporter.section("what was done and what it cost")
        for line in found:
            terminalreporter.line(line)
