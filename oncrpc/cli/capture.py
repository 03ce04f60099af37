"""``oncrpc explain FILE.pcapng``: the messages of a capture, as a list to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from oncrpc.cli.common import printable
from oncrpc.explain import Explanation, Programs, explain_message, explain_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oncrpc.captured import Captured, Found

__all__ = ["explain_found", "list_json", "print_list", "programs_of"]

_JSON_BYTES: Final = 4 << 20
"""Bytes of all messages that the list in JSON has; of those behind, it tells how many there are."""

_CHECKED_BYTES: Final = 64 << 10
"""Messages longer than this are not decoded for the list: whether they are wrong is told when they are chosen."""

_PIPE_WIDTH: Final = 200


def programs_of(found: Captured) -> set[tuple[int, int]]:
    """Return program and version of everything called."""
    return {each.numbers[:2] for each in found.messages if each.numbers is not None}


def explain_found(found: Found, programs: Programs) -> Explanation:
    """Take a message of a capture apart."""
    if found.form == "message":
        explained = explain_message(found.data, programs, call=found.numbers)
    else:
        explained = next(explain_stream(found.data, programs, call=found.numbers))
    if found.note:
        explained.fault = f"{explained.fault}; {found.note}" if explained.fault else found.note
    return explained


def _row(found: Found, start: float, programs: Programs) -> dict[str, Any]:
    """Return what a list tells of a message."""
    numbers = found.numbers
    explained = explain_found(found, programs) if len(found.data) <= _CHECKED_BYTES else None
    name = ""
    if numbers is not None:
        name = f"{programs.name(*numbers[:2])}.{numbers[1]} {programs.procedure_name(*numbers)}"
    outcome = explained.title if explained is not None and found.kind == "REPLY" else ""
    notes = [] if explained is None or not explained.fault else [explained.fault]
    if found.repeats is not None:
        notes.append(f"the same as {found.repeats}, sent again")
    if found.kind == "REPLY" and found.answers is None:
        notes.append("its call is not in the capture")
    return {
        "number": found.number,
        "at": round(found.at, 6),
        "seconds": round(found.at - start, 6),
        "packet": found.packet,
        "transport": found.transport,
        "source": _end(found.source),
        "target": _end(found.target),
        "kind": found.kind,
        "xid": found.xid,
        "title": f"{name} {outcome}".strip(),
        "call": "" if numbers is None else ".".join(map(str, numbers)),
        "answers": found.answers,
        "answered_by": found.answered_by,
        "repeats": found.repeats,
        "size": found.size,
        "form": found.form,
        "wrong": bool(explained is not None and explained.fault),
        "note": "; ".join(notes),
    }


def _end(end: tuple[str, int]) -> str:
    return f"[{end[0]}]:{end[1]}" if ":" in end[0] else f"{end[0]}:{end[1]}"


def _rows(found: Captured, programs: Programs) -> list[dict[str, Any]]:
    start = found.messages[0].at if found.messages else 0.0
    return [_row(each, start, programs) for each in found.messages]


def list_json(found: Captured, programs: Programs) -> dict[str, Any]:
    """Return the list as JSON has it: ``messages``, each with its bytes in ``hex``; ``notes``; ``left_out``."""
    rows, room = [], _JSON_BYTES
    for row, each in zip(_rows(found, programs), found.messages, strict=True):
        room -= len(each.data)
        if room < 0:
            break
        rows.append(row | {"hex": each.data.hex()})
    return {"messages": rows, "notes": found.notes, "left_out": len(found.messages) - len(rows)}


def print_list(found: Captured, programs: Programs) -> bool:
    """Print the list for people; return whether a message in it is wrong."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("no.", "seconds", "from", "to", "", "xid", "bytes", "message"):
        right = name in {"no.", "seconds", "bytes"}
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "message")
    rows = _rows(found, programs)
    for row in rows:
        style = "red" if row["wrong"] else "dim" if row["repeats"] else ""
        note = f" ({row['note']})" if row["note"] else ""
        xid = "" if row["xid"] is None else f"{row['xid']:08x}"
        told = f"{row['kind']} {row['title']}{note}".strip()
        cells = (row["number"], f"{row['seconds']:.6f}", row["source"], row["target"], row["transport"], xid)
        table.add_row(*(Text(printable(str(cell)), style=style) for cell in (*cells, row["size"], told)))
    if rows:
        console.print(table)
    _print_notes(console, found.notes)
    if rows:
        console.print(Text("\nOne of them byte by byte: --number NO.", style="dim"))
    else:
        console.print(Text("There is no RPC in this capture.", style="bold"))
    return any(row["wrong"] for row in rows)


def _print_notes(console: Console, notes: Iterable[str]) -> None:
    for note in notes:
        console.print(Text(printable(note), style="dim"))
