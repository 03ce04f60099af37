"""``oncrpc call``: any procedure of any server, arguments and results as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.markup import escape
from rich.syntax import Syntax

from oncrpc import sync
from oncrpc.cli.common import (
    EXIT_FAILED,
    EXIT_NO_CONNECTION,
    auth_options,
    credential_of,
    explain,
    fail,
    find_server,
    out,
    server_options,
)
from oncrpc.cli.programs import installed_specs, program_number
from oncrpc.cli.specs import Spec, SpecVersion, example, load_file, load_installed, load_text
from oncrpc.errors import ArgumentsNotEncodable, MalformedMessage, NotConnected, RPCError
from oncrpc.program import Procedure
from oncrpc.stubs import ProcedureCodec
from xdr import XDRError, jsonform
from xdr.rpcl.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from oncrpc.address import Address

__all__ = ["call"]

NAME_PARTS: Final = (2, 3)
"""Parts of PROG.VERS.PROC; the version may be left out where the program is known by name."""


class _Question:
    """Which procedure, as understood from the command line."""

    def __init__(self, spec: Spec | None, version: SpecVersion | None, program: int, number: int) -> None:
        self.spec, self.known, self.program, self.version = spec, version, program, number
        self.procedure = Procedure(0, "NULL", "null", (), None)


def _split(name: str) -> tuple[str, str, str]:
    """PROG.VERS.PROC or PROG.PROC, the parts not looked at yet."""
    parts = name.split(".")
    if len(parts) not in NAME_PARTS or not all(parts):
        msg = f"{name!r} is not PROG.VERS.PROC"
        raise click.BadParameter(msg, param_hint="PROG.VERS.PROC")
    return (parts[0], "", parts[1]) if len(parts) == NAME_PARTS[0] else (parts[0], parts[1], parts[2])


def _understand(name: str, spec: Spec | None) -> _Question:
    """Find program, version and procedure by name or number; without a specification only procedure 0 is known."""
    program, version, procedure = _split(name)
    found: tuple[Spec, SpecVersion] | None
    if spec is not None:
        known = spec.find(program, version)
        if known is None:
            shown = ", ".join(f"{one.program_name}.{one.version_name}" for one in spec.versions) or "no program"
            msg = f"{spec.name} declares {shown}, not {program}.{version}"
            raise click.BadParameter(msg, param_hint="PROG.VERS.PROC")
        found = spec, known
    else:
        found = load_installed(program, version)
    if found is None:
        return _by_number(program, version, procedure)
    question = _Question(found[0], found[1], found[1].program, found[1].version)
    declared = found[1].procedure(procedure)
    if declared is not None:
        question.procedure = declared
    elif procedure not in ("0", "NULL", "null"):
        names = ", ".join(one.name for one in found[1].procedures)
        msg = f"no procedure {procedure}; there are {names}"
        raise click.BadParameter(msg, param_hint="PROG.VERS.PROC")
    return question


def _by_number(program: str, version: str, procedure: str) -> _Question:
    try:
        question = _Question(None, None, program_number(program), int(version, 0))
        number = 0 if procedure.upper() == "NULL" else int(procedure, 0)
    except ValueError as error:
        msg = f"{program}.{version}.{procedure}: no specification is known for it ({error}); give one with --spec"
        raise click.BadParameter(msg, param_hint="PROG.VERS.PROC") from error
    question.procedure = Procedure(number, str(number), "", (), None)
    return question


def _list(spec: Spec | None, *, json_output: bool) -> None:
    """Print the procedures of one specification, or of all installed ones; what an included file declares, once."""
    specs = (
        [spec] if spec else [load_text(file.read_text(encoding="utf-8"), str(file)) for _, file in installed_specs()]
    )
    seen = set[tuple[int, int]]()
    forms: list[dict[str, Any]] = []
    for one in specs:
        for version in one.versions:
            if (version.program, version.version) in seen:
                continue
            seen.add((version.program, version.version))
            forms.extend(
                {
                    "program": version.program,
                    "program_name": version.program_name,
                    "version": version.version,
                    "version_name": version.version_name,
                    "procedure": procedure.number,
                    "procedure_name": procedure.name,
                    "file": Path(one.name).name,
                }
                for procedure in version.procedures
            )
    if json_output:
        click.echo(json.dumps(forms, indent=2))
        return
    for form in forms:
        number = f"{form['program']}.{form['version']}.{form['procedure']}"
        name = f"{form['program_name']}.{form['version_name']}.{form['procedure_name']}"
        # Lines as long as they must be: they are looked through with grep.
        click.echo(f"{number:<16} {name:<42} {form['file']}")


def _describe(question: _Question, *, json_output: bool) -> None:
    """Print a procedure's declaration, its types, and arguments to start from."""
    if question.spec is None or question.known is None:
        fail("nothing is known of it: give a specification with --spec")
    console = out()
    procedure = question.procedure
    entry = question.known.entry(procedure)
    if json_output:
        shapes = {"arguments": [example(kind) for kind in procedure.arguments]}
        if procedure.result is not None:
            shapes["result"] = example(procedure.result)
        declarations = [*question.spec.declarations(entry), entry.place.line_text.strip()]
        click.echo(json.dumps({"procedure": procedure.name, "declarations": declarations, **shapes}, indent=2))
        return
    if entry.notes.doc:
        console.print(f"[italic]{escape(entry.notes.doc)}[/]\n")
    text = "\n\n".join([*question.spec.declarations(entry), entry.place.line_text.strip()])
    console.print(Syntax(text, "c", theme="ansi_dark", background_color="default") if console.is_terminal else text)
    arguments = [example(kind) for kind in procedure.arguments]
    shown = arguments[0] if len(arguments) == 1 else arguments
    known = question.known
    console.print("\n[bold]arguments to start from[/]")
    if arguments:
        console.print_json(json.dumps(shown), indent=2) if console.is_terminal else click.echo(
            json.dumps(shown, indent=2)
        )
    else:
        console.print("none")
    name = f"{known.program_name}.{known.version_name}.{procedure.name}"
    console.print(f"\n[dim]oncrpc call HOST {name}{' JSON' if arguments else ''}[/]")


def _arguments(procedure: Procedure, text: str | None) -> tuple[Any, ...]:
    """The values that JSON text stands for: one value for one argument, an array for several."""
    kinds = procedure.arguments
    if text == "-":
        text = sys.stdin.read()
    elif text is not None and text.startswith("@"):
        text = Path(text[1:]).read_text(encoding="utf-8")
    if not kinds:
        if text is not None and json.loads(text) not in (None, [], {}):
            msg = f"{procedure.name} takes no arguments"
            raise click.BadParameter(msg, param_hint="JSON")
        return ()
    if text is None:
        msg = f"{procedure.name} needs arguments; --describe shows them"
        raise click.UsageError(msg)
    if len(kinds) == 1:
        return (jsonform.loads(kinds[0], text),)
    forms = json.loads(text)
    if not isinstance(forms, list) or len(forms) != len(kinds):
        msg = f"{procedure.name} takes {len(kinds)} arguments: give an array of {len(kinds)}"
        raise click.BadParameter(msg, param_hint="JSON")
    return tuple(jsonform.from_json(kind, form) for kind, form in zip(kinds, forms, strict=True))


@click.command(short_help="Call a procedure with JSON and see JSON.")
@click.argument("host", required=False)
@click.argument("name", required=False, metavar="[PROG.VERS.PROC]")
@click.argument("arguments", required=False, metavar="[JSON]")
@server_options
@auth_options
@click.option("--spec", type=click.Path(exists=True, dir_okay=False), help="The .x file; else the installed ones.")
@click.option("-I", "include", multiple=True, metavar="DIR", help="Look for files that --spec includes here too.")
@click.option("-D", "defines", multiple=True, metavar="NAME[=VALUE]", help="Define a macro for --spec.")
@click.option("--hex", "hex_arguments", metavar="BYTES", help="Encoded arguments as hex, instead of JSON.")
@click.option("--base64", is_flag=True, help="Show opaque data in base64 instead of hex.")
@click.option("--timeout", default=25.0, show_default=True, metavar="SECONDS", help="For the whole call.")
@click.option("--json", "json_output", is_flag=True, help="Failures, --list and --describe too print JSON.")
@click.option("--list", "list_only", is_flag=True, help="List the procedures known and exit.")
@click.option("--describe", is_flag=True, help="Show the procedure's types and an example, call nothing.")
def call(
    host: str | None,
    name: str | None,
    arguments: str | None,
    *,
    transport: str | None,
    port: int | None,
    auth: str,
    uid: int | None,
    gid: int | None,
    machine: str | None,
    spec: str | None,
    include: tuple[str, ...],
    defines: tuple[str, ...],
    hex_arguments: str | None,
    base64: bool,
    timeout: float,
    json_output: bool,
    list_only: bool,
    describe: bool,
) -> None:
    """Call a procedure on HOST, with its arguments as JSON, and print its result as JSON.

    Program, version and procedure are given by name, as in the .x file, or by number; the version may be left out
    (the highest one), and so may the prefix that the names of procedures share. JSON is the argument, an array of
    them if there are several, @FILE, or - for standard input. A procedure that no .x file is known for can be
    called if it takes nothing, or with --hex; its result is shown as hex.

    \b
    Examples:
      oncrpc call --list
      oncrpc call --describe IPCPROG.IPCVERS.RIPC_MSGGET
      oncrpc call localhost IPCPROG.1.msgget '{"ctx": ...}' --auth sys
      oncrpc call 192.0.2.7 --spec nfs.x NFS_PROGRAM.3.GETATTR @handle.json
      oncrpc call tcp:127.0.0.1:2049 100003.3.0
    """  # noqa: D301 - click reads the backspace
    loaded = _load(spec, include, defines)
    if list_only:
        _list(loaded, json_output=json_output)
        return
    if describe and name is None:
        host, name = None, host
    if name is None or (host is None and not describe):
        msg = "HOST and PROG.VERS.PROC are needed (or --list)"
        raise click.UsageError(msg)
    question = _understand(name, loaded)
    if describe:
        _describe(question, json_output=json_output)
        return
    assert host is not None
    codec, data = _encoded(question.procedure, arguments, hex_arguments)
    address = find_server(host, question.program, question.version, transport, port, min(timeout, 5.0))
    credential = credential_of(auth, uid, gid, machine)
    result = _guarded(lambda: _call(address, question, data, credential, timeout), json_output=json_output)
    _show(question, codec, result, base64=base64, json_output=json_output)


def _load(path: str | None, include: tuple[str, ...], defines: tuple[str, ...]) -> Spec | None:
    if path is None:
        return None
    macros = {name: value if equals else "1" for name, equals, value in (one.partition("=") for one in defines)}
    try:
        return load_file(path, include=include, defines=macros)
    except CompileError as error:
        fail(str(error), 2)


def _encoded(procedure: Procedure, arguments: str | None, in_hex: str | None) -> tuple[ProcedureCodec, bytes]:
    codec = ProcedureCodec(procedure)
    try:
        if in_hex is not None:
            return codec, bytes.fromhex(in_hex)
        return codec, codec.encode(_arguments(procedure, arguments))
    except (XDRError, ArgumentsNotEncodable) as error:
        raise click.BadParameter(str(error), param_hint="JSON") from error
    except (ValueError, OSError) as error:
        hint = "--hex" if in_hex is not None else "JSON"
        raise click.BadParameter(str(error), param_hint=hint) from error


def _call(address: Address, question: _Question, data: bytes, credential: Any, timeout: float) -> bytes:
    caller = sync.open_caller(address, credential=credential, timeout=timeout)
    try:
        return caller.call_raw(question.program, question.version, question.procedure.number, data)
    finally:
        caller.close()


def _guarded(make_call: Callable[[], bytes], *, json_output: bool) -> bytes:
    try:
        return make_call()
    except NotConnected as error:
        fail(explain(error), EXIT_NO_CONNECTION, as_json=json_output, outcome=type(error).__name__)
    except RPCError as error:
        fail(explain(error), EXIT_FAILED, as_json=json_output, outcome=type(error).__name__)


def _show(question: _Question, codec: ProcedureCodec, result: bytes, *, base64: bool, json_output: bool) -> None:
    kind = question.procedure.result
    if question.known is None and result:
        form: Any = result.hex()
    elif kind is None:
        form = None
    else:
        try:
            form = jsonform.to_json(kind, codec.decode(result), opaque="base64" if base64 else "hex")
        except MalformedMessage as error:
            fail(f"{error}; the bytes are {result[:64].hex()}", as_json=json_output, outcome="MalformedMessage")
    console = out()
    if console.is_terminal:
        console.print_json(json.dumps(form), indent=2)
    else:
        click.echo(json.dumps(form, indent=2))
