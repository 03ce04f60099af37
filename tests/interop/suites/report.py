"""The counts at the end of a run: what passed by the kernel, what through the library, and why they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["write"]


def write(reporter: pytest.TerminalReporter) -> None:
    """Write a line for each suite that was run, wherever it was run."""
    reports = [report for key in ("passed", "failed") for report in reporter.getreports(key)]
    rows = [
        value
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
        if name == "suite"
    ]
    if not rows:
        return
    reporter.section("System V suites: by the kernel | through librpcipc.so")
    reporter.line(f"{'passed, failed, skipped':40} {'kernel':>14} | {'library':>14}")
    for suite, origin, *counts, reasons in sorted(rows):
        kernel, library = (" ".join(f"{count:4}" for count in three) for three in (counts[:3], counts[3:]))
        reporter.line(f"{suite:40} {kernel} | {library}  {origin}")
        for reason in reasons:
            reporter.line(f"    differs: {reason}")
