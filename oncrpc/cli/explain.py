"""``oncrpc explain``: a message, byte by byte, with what each field is for."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from oncrpc.cli.common import EXIT_FAILED
from oncrpc.cli.specs import load_file, load_installed
from oncrpc.explain import Explanation, Part, Programs
from oncrpc.pasted import Form, explain_bytes, parse_hex
from xdr.rpcl.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["explain", "know_installed", "to_json"]

MAX_BYTES: Final = 64 << 20
"""Bytes that are read."""

_PIPE_WIDTH: Final = 160
_SHOWN_BYTES: Final = 8


@click.command()
@click.argument("hexadecimal", nargs=-1, metavar="[HEX... | -]")
@click.option(
    "-f", "--file", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Read a file: bytes, or hex."
)
@click.option(
    "-s", "--spec", multiple=True, metavar="F.x", help="Tell programs of this file by name; several times if need be."
)
@click.option("-I", "--include", multiple=True, metavar="DIR", help="A further folder for #include.")
@click.option("--stream", "form", flag_value="stream", help="It has record marks, as over TCP.  [default: guessed]")
@click.option("--message", "form", flag_value="message", help="It has none, as over UDP.  [default: guessed]")
@click.option("--call", "of", metavar="PROG.VERS.PROC", help="What replies are replies to: else results are bytes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    hexadecimal: tuple[str, ...],
    *,
    file: Path | None,
    spec: tuple[str, ...],
    include: tuple[str, ...],
    form: Form | None,
    of: str | None,
    as_json: bool,
) -> None:
    """Take an RPC message apart: every field with its bytes, its value and one sentence on what it is for.

    HEX is hexadecimal as it is found: with blanks, colons or 0x, or as xxd, hexdump -C and tshark -x print it; - (or
    nothing) reads it, or the bytes themselves, from standard input. Programs of installed .x files are known by name.

    Exit status: 0 the message is in order; 1 it is not, and the output says where; 2 the command line is wrong.

    \b
    Examples:
      oncrpc explain 800000287c5f1e2a 0000000000000002 000186a0000000020000000300000000 ...
      oncrpc explain --spec nfs.x --file datagram.bin
      xxd -p reply.bin | oncrpc explain --call 100000.2.3
    """  # noqa: D301 - click reads the backspace
    programs = Programs()
    for path in spec:
        try:
            for version in load_file(path, include=include).versions:
                programs.add(version)
        except (CompileError, OSError) as error:
            raise click.UsageError(str(error)) from error
    try:
        data = _input(hexadecimal, file)
        if of is not None:
            know_installed(programs, of.split(".")[0], ".".join(of.split(".")[1:2]))
        call = None if of is None else programs.number(of)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    calls = [each for each in explain_bytes(data, Programs(), form=form) if each.kind == "CALL"]
    for number, vers in sorted({(each.program, each.version) for each in calls}):
        know_installed(programs, str(number), str(vers))
    found = explain_bytes(data, programs, form=form, call=call)
    if as_json:
        click.echo(json.dumps([to_json(each) for each in found], indent=2))
    else:
        _print(found, data)
    sys.exit(EXIT_FAILED if not found or any(each.fault for each in found) else 0)


def _input(hexadecimal: tuple[str, ...], file: Path | None) -> bytes:
    """Return the bytes in question.

    Raises:
        ValueError: They are not to be had.
    """
    if file is None and hexadecimal not in {(), ("-",)}:
        return parse_hex(" ".join(hexadecimal))
    if file is not None:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    else:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        message = f"more than {MAX_BYTES >> 20} MiB"
        raise ValueError(message)
    # Messages have zeros and bytes above 127 in them, text has not.
    if data.isascii() and b"\0" not in data:
        return parse_hex(data.decode())
    return data


def know_installed(programs: Programs, program: str, version: str) -> None:
    """Add a version of a program from an installed ``.x`` file, if it is not known yet and such a file is there."""
    if program.isdigit() and version.isdigit() and programs.knows(int(program), int(version)):
        return
    loaded = load_installed(program, version)
    if loaded is not None and not programs.knows(loaded[1].program, loaded[1].version):
        programs.add(loaded[1])


def to_json(found: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON has it: its fields, and those of its parts."""
    return asdict(found)


def _print(found: Iterable[Explanation], data: bytes) -> None:
    """Print tables for people."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    for each in found:
        table = Table(box=None, pad_edge=False, title_justify="left", header_style="bold")
        for name, style in (("offset", "dim"), ("bytes", "cyan"), ("field", "bold"), ("value", ""), ("", "dim")):
            table.add_column(name, style=style, overflow="fold", no_wrap=name in {"offset", "bytes"})
        for part in each.parts:
            table.add_row(*_row(part, data))
        console.print(Text(_printable(f"{each.kind} {each.title}".strip()), style="bold underline"))
        console.print(table)
        if each.fault:
            console.print(Text(_printable(f"wrong: {each.fault}"), style="bold red"))
        console.print()


def _row(part: Part, data: bytes) -> list[Text]:
    """Return the cells of a part."""
    shown = data[part.offset : part.offset + min(part.size, _SHOWN_BYTES)].hex(" ", 4)
    told = f"{part.sentence} [{part.section}]" if part.section else part.sentence
    style = "red" if part.fault else ""
    return [
        Text(f"{part.offset:04x}"),
        Text(shown + ("…" if part.size > _SHOWN_BYTES else "")),
        Text("  " * part.level + _printable(part.name), style=style),
        Text(_printable(part.value)),
        Text(_printable(told), style=style),
    ]


def _printable(text: str) -> str:
    """Return a text that does nothing to a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
