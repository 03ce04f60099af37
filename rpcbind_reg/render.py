"""Registrations and statistics as text for people. Pure, but for show()."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from rpcbind_reg.statistics import PROCEDURES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rpcbind_reg.mappings import Mapping
    from rpcbind_reg.statistics import Statistics

PROCEDURE_NAMES = {
    2: ("NULL", "SET", "UNSET", "GETPORT", "DUMP", "CALLIT"),
    3: ("NULL", "SET", "UNSET", "GETADDR", "DUMP", "CALLIT", "GETTIME", "UADDR2TADDR", "TADDR2UADDR"),
    4: (
        "NULL",
        "SET",
        "UNSET",
        "GETADDR",
        "DUMP",
        "BCAST",
        "GETTIME",
        "UADDR2TADDR",
        "TADDR2UADDR",
        "GETVERSADDR",
        "INDIRECT",
        "GETADDRLIST",
        "GETSTAT",
    ),
}
"""Names of the registry's procedures, by version and number (RFC 1833)."""

HEAD = ("program", "name", "version", "netid", "address", "port", "owner")


def printable(text: str) -> str:
    """Return text from the network without what could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _cells(row: Mapping, name: Callable[[int], str]) -> tuple[str, ...]:
    known = name(row.program)
    return (
        str(row.program),
        "" if known == str(row.program) else known,
        str(row.version),
        printable(row.netid),
        printable(row.uaddr),
        "" if row.port is None else str(row.port),
        printable(row.owner),
    )


def mappings_table(rows: Sequence[Mapping], name: Callable[[int], str]) -> Table:
    """Return registrations as a table for a terminal."""
    names = _cached(name)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in HEAD:
        numeric = title in ("program", "version", "port")
        table.add_column(title, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row, names))
    return table


def mappings_text(rows: Sequence[Mapping], name: Callable[[int], str]) -> str:
    """Return registrations as columns for a pipe, each line whole however long."""
    names = _cached(name)
    return columns([HEAD, *(_cells(row, names) for row in rows)])


def _cached(name: Callable[[int], str]) -> Callable[[int], str]:
    known: dict[int, str] = {}

    def look(number: int) -> str:
        if number not in known:
            known[number] = name(number)
        return known[number]

    return look


def columns(lines: Sequence[tuple[str, ...]]) -> str:
    """Return rows of cells as aligned text."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    made = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in made)


def statistics_text(counted: Statistics, name: Callable[[int], str]) -> str:
    """Return a registry's statistics as text."""
    names = _cached(name)
    parts: list[str] = []
    for version in PROCEDURES:
        row = counted.by_version[version]
        called = [
            (procedure, str(count), _granted(procedure, row.sets, row.unsets))
            for procedure, count in zip(PROCEDURE_NAMES[version], row.calls, strict=False)
            if count
        ]
        parts.append(f"version {version}" + (": not called" if not called else ""))
        if called:
            parts.append(columns([("  procedure", "calls", "granted"), *(("  " + p, c, g) for p, c, g in called)]))
        if row.lookups:
            lines = [
                ("  " + names(program), str(number), printable(netid), str(tally.success), str(tally.failure))
                for (program, number, netid), tally in row.lookups.items()
            ]
            parts.append(columns([("  asked for", "version", "netid", "found", "not found"), *lines]))
        if row.forwarded:
            passed = [
                (
                    "  " + names(program),
                    str(number),
                    str(procedure),
                    printable(netid),
                    str(tally.success),
                    str(tally.failure),
                )
                for (program, number, procedure, netid), tally in row.forwarded.items()
            ]
            head = ("  passed on to", "version", "procedure", "netid", "found", "not found")
            parts.append(columns([head, *passed]))
    return "\n".join(parts)


def _granted(procedure: str, sets: int, unsets: int) -> str:
    return {"SET": str(sets), "UNSET": str(unsets)}.get(procedure, "")


def show(table: Table, text: str) -> None:
    """Print the table on a terminal, the text elsewhere."""
    if sys.stdout.isatty():
        Console(highlight=False).print(table)
    else:
        sys.stdout.write(text + "\n")
