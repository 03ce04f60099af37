"""``oncrpc explain``: a message, byte by byte, with what each field is for."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from oncrpc.capture_files import is_capture
from oncrpc.captured import read_messages
from oncrpc.cli.capture import explain_found, list_json, print_list, programs_of
from oncrpc.cli.common import EXIT_FAILED, printable
from oncrpc.cli.programs import installed_specs
from oncrpc.cli.specs import load_file, load_installed, load_text
from oncrpc.explain import Explanation, Part, Programs
from oncrpc.pasted import Form, explain_bytes, parse_hex
from xdr.rpcl.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oncrpc.cli.specs import Spec

__all__ = ["explain", "know_installed", "to_json"]

MAX_BYTES: Final = 64 << 20
"""Bytes that are read."""

_PIPE_WIDTH: Final = 160
_GZIP: Final = b"\x1f\x8b"
_HEX: Final = re.compile(r"[0-9a-fA-FxX\s:,;.\-]*")
_MOST_PROGRAMS: Final = 50
"""Programs whose specifications are looked for: a capture may name any number of them."""
_SHOWN_BYTES: Final = 8


@click.command()
@click.argument("hexadecimal", nargs=-1, metavar="[HEX... | FILE | -]")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Read a file: bytes, hex, or a capture.",
)
@click.option(
    "-s",
    "--spec",
    multiple=True,
    metavar="F.x",
    help="Tell programs of this file, or of an installed one, by name; several times if need be.",
)
@click.option("-I", "--include", multiple=True, metavar="DIR", help="A further folder for #include.")
@click.option("--stream", "form", flag_value="stream", help="It has record marks, as over TCP.  [default: guessed]")
@click.option("--message", "form", flag_value="message", help="It has none, as over UDP.  [default: guessed]")
@click.option("--call", "of", metavar="PROG.VERS.PROC", help="What replies are replies to: else results are bytes.")
@click.option(
    "-n",
    "--number",
    "numbers",
    type=click.IntRange(1),
    multiple=True,
    metavar="NO",
    help="Of a capture: take the message with this number in the list apart; several times if need be.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    hexadecimal: tuple[str, ...],
    *,
    file: Path | None,
    spec: tuple[str, ...],
    include: tuple[str, ...],
    form: Form | None,
    of: str | None,
    numbers: tuple[int, ...],
    as_json: bool,
) -> None:
    """Take an RPC message apart: every field with its bytes, its value and one sentence on what it is for.

    HEX is hexadecimal as it is found: with blanks, colons or 0x, or as xxd, hexdump -C and tshark -x print it; - (or
    nothing) reads it, or the bytes themselves, from standard input. Programs of installed .x files are known by name.
    FILE may be a capture (pcap, pcapng): its messages are listed, those chosen with --number are taken apart.

    Exit status: 0 the message is in order; 1 it is not, and the output says where; 2 the command line is wrong.

    \b
    Examples:
      oncrpc explain 800000287c5f1e2a 0000000000000002 000186a0000000020000000300000000 ...
      oncrpc explain --spec nfs.x --file datagram.bin
      oncrpc explain seen.pcapng
      oncrpc explain seen.pcapng --number 7
      xxd -p reply.bin | oncrpc explain --call 100000.2.3
    """  # noqa: D301 - click reads the backspace
    programs = Programs()
    for path in spec:
        try:
            for version in _load(path, include).versions:
                programs.add(version)
        except (CompileError, OSError) as error:
            raise click.UsageError(str(error)) from error
    try:
        data = _input(hexadecimal, file)
        if of is not None:
            know_installed(programs, of.split(".")[0], ".".join(of.split(".")[1:2]))
        call = None if of is None else programs.number(of)
        if form is None and (is_capture(data) or data[:2] == _GZIP):
            sys.exit(_explain_capture(data, programs, numbers, as_json=as_json))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    calls = [each for each in explain_bytes(data, Programs(), form=form) if each.kind == "CALL"]
    _know({(each.program, each.version) for each in calls}, programs)
    found = explain_bytes(data, programs, form=form, call=call)
    if as_json:
        click.echo(json.dumps([to_json(each) for each in found], indent=2))
    else:
        _print([(each, data) for each in found])
    sys.exit(EXIT_FAILED if not found or any(each.fault for each in found) else 0)


def _load(path: str, include: tuple[str, ...]) -> Spec:
    """Compile a file, or an installed one by its name in the list of installed ones.

    Raises:
        CompileError: The file has faults.
        OSError: The file cannot be read.
    """
    if not Path(path).exists():
        for name, installed in installed_specs():
            if name == path:
                return load_text(installed.read_text(encoding="utf-8"), str(installed))
    return load_file(path, include=include)


def _know(called: Iterable[tuple[int, int]], programs: Programs) -> None:
    """Add what was called and is installed."""
    for number, version in sorted(set(called))[:_MOST_PROGRAMS]:
        know_installed(programs, str(number), str(version))


def _explain_capture(data: bytes, programs: Programs, numbers: tuple[int, ...], *, as_json: bool) -> int:
    """List a capture's messages, or take some apart; return the exit status.

    Raises:
        CaptureError: It cannot be read.
        ValueError: There is no message of such a number.
    """
    captured = read_messages(data)
    _know(programs_of(captured), programs)
    if not numbers:
        if not as_json:
            wrong = print_list(captured, programs)
            return EXIT_FAILED if wrong or not captured.messages else 0
        listed = list_json(captured, programs)
        click.echo(json.dumps(listed))
        return EXIT_FAILED if not listed["messages"] or any(row["wrong"] for row in listed["messages"]) else 0
    if max(numbers) > len(captured.messages):
        message = f"there is no message {max(numbers)}: the capture has {len(captured.messages)}"
        raise ValueError(message)
    chosen = [captured.messages[number - 1] for number in numbers]
    found = [explain_found(each, programs) for each in chosen]
    if as_json:
        click.echo(json.dumps([to_json(each) for each in found], indent=2))
    else:
        _print([(each, of.data) for each, of in zip(found, chosen, strict=True)])
    return EXIT_FAILED if any(each.fault for each in found) else 0


def _input(hexadecimal: tuple[str, ...], file: Path | None) -> bytes:
    """Return the bytes in question.

    Raises:
        ValueError: They are not to be had.
    """
    if file is None and len(hexadecimal) == 1 and not _HEX.fullmatch(hexadecimal[0]):
        file = Path(hexadecimal[0]) if Path(hexadecimal[0]).is_file() else None
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


def _print(found: Iterable[tuple[Explanation, bytes]]) -> None:
    """Print tables for people."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    for each, data in found:
        table = Table(box=None, pad_edge=False, title_justify="left", header_style="bold")
        for name, style in (("offset", "dim"), ("bytes", "cyan"), ("field", "bold"), ("value", ""), ("", "dim")):
            table.add_column(name, style=style, overflow="fold", no_wrap=name in {"offset", "bytes"})
        for part in each.parts:
            table.add_row(*_row(part, data))
        console.print(Text(printable(f"{each.kind} {each.title}".strip()), style="bold underline"))
        console.print(table)
        if each.fault:
            console.print(Text(printable(f"wrong: {each.fault}"), style="bold red"))
        console.print()


def _row(part: Part, data: bytes) -> list[Text]:
    """Return the cells of a part."""
    shown = data[part.offset : part.offset + min(part.size, _SHOWN_BYTES)].hex(" ", 4)
    told = f"{part.sentence} [{part.section}]" if part.section else part.sentence
    style = "red" if part.fault else ""
    return [
        Text(f"{part.offset:04x}"),
        Text(shown + ("…" if part.size > _SHOWN_BYTES else "")),
        Text("  " * part.level + printable(part.name), style=style),
        Text(printable(part.value)),
        Text(printable(told), style=style),
    ]
