"""The ``xdr`` command: what people do with an .x file at a prompt."""

from __future__ import annotations

import difflib
import os
import re
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from xdr import jsonform, tree
from xdr.codec import codec as codec_of
from xdr.errors import XDRError
from xdr.rpcl.compiler import Compiled, Settings, compile_file
from xdr.rpcl.errors import CompileError
from xdr.rpcl.load import load, types_in
from xdr.rpcl.preprocess import TARGETS
from xdr.rpcl.wireshark import emit_dissector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xdr.codec import Codec

__all__ = ["main"]


def _pairs(what: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], dict[str, str]]:
    """Give a callback that takes NAME=VALUE apart."""

    def split(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
        pairs: dict[str, str] = {}
        for value in values:
            name, equals, rest = value.partition("=")
            if not name or (not equals and what != "macro"):
                message = f"{value!r} is not NAME=VALUE"
                raise click.BadParameter(message)
            if not name.isidentifier() and what != "module":
                message = f"{name!r} is no name"
                raise click.BadParameter(message)
            if what != "macro" and not all(part.isidentifier() for part in rest.split(".")):
                message = f"{rest!r} is no name of Python"
                raise click.BadParameter(message)
            # As in every C compiler, a macro without a value is 1.
            pairs[name] = rest if equals else "1"
        return pairs

    return split


def spec_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how an .x file is read, the same in every subcommand."""
    for option in reversed(
        [
            click.option(
                "-I",
                "include",
                multiple=True,
                metavar="DIR",
                help="Look for included files here, after the file's own folder.",
            ),
            click.option(
                "-D", "defines", multiple=True, metavar="NAME[=VALUE]", callback=_pairs("macro"), help="Define a macro."
            ),
            click.option(
                "--target",
                type=click.Choice(list(TARGETS)),
                default="hdr",
                show_default=True,
                help="Which of rpcgen's macros is defined: RPC_HDR, RPC_XDR, RPC_SVC, RPC_CLNT, RPC_TBL, or none.",
            ),
            click.option(
                "--stub-opaque", is_flag=True, help="Take all other types that it does not define as opaque<>."
            ),
        ]
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Compile .x files (RFC 4506, RFC 5531), and look at XDR data with them."""


@main.command("compile")
@click.argument("files", nargs=-1, required=True, metavar="FILE.x...", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "-o", "output", metavar="OUT", help="A .py file, '-' for standard output, or a folder. Default: beside the .x file."
)
@click.option(
    "--package",
    metavar="PACKAGE",
    help="The package that OUT, a folder, is. The files given then import from each other what they include.",
)
@click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="FILE.x=MODULE",
    callback=_pairs("module"),
    help="An included file whose definitions are in this module, and shall be imported from there.",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="NAME=MODULE.TYPE",
    callback=_pairs("type"),
    help="Where Python has a type that the file uses and does not define.",
)
@click.option("--check", is_flag=True, help="Write nothing; fail if a file's output is not what it should be.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
@spec_options
def compile_command(  # noqa: PLR0917 - click passes by name
    files: tuple[str, ...],
    output: str | None,
    package: str | None,
    modules: dict[str, str],
    check: bool,  # noqa: FBT001
    diff: bool,  # noqa: FBT001
    include: tuple[str, ...],
    defines: dict[str, str],
    target: str,
    types: dict[str, str],
    stub_opaque: bool,  # noqa: FBT001
) -> None:
    """Compile .x files into Python modules."""
    if package:
        modules = {**{os.path.abspath(f): f"{package}.{module_name(f)}" for f in files}, **modules}  # noqa: PTH100
    settings = Settings(include, defines, target, types, stub_opaque, modules)
    failed = False
    for file in files:
        path = _output(file, output, several=len(files) > 1 or package is not None)
        try:
            compiled = compile_file(file, settings)
        except CompileError as error:
            click.echo(str(error), err=True)
            failed = True
            continue
        for warning in compiled.warnings:
            click.echo(str(warning), err=True)
        failed |= not _deliver(compiled, path, check=check, diff=diff)
    if failed:
        sys.exit(1)


def module_name(file: str) -> str:
    """Give the name of the module that a file becomes: its stem, fit for ``import``."""
    stem = "".join(c if c.isalnum() else "_" for c in Path(file).stem)
    return f"_{stem}" if stem[:1].isdigit() else stem


def _output(file: str, output: str | None, *, several: bool) -> Path | None:
    if output == "-":
        return None
    name = f"{module_name(file)}.py"
    if output is None:
        return Path(file).with_name(name)
    path = Path(output)
    return path / name if several or path.is_dir() else path


def _deliver(compiled: Compiled, path: Path | None, *, check: bool, diff: bool) -> bool:
    """Write the module, or compare it with what is there; tell whether all is well."""
    if path is None:
        click.echo(compiled.text, nl=False)
        return True
    if not check and not diff:
        _replace(path, compiled.text)
        return True
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    if there == compiled.text:
        return True
    if diff:
        lines: Sequence[str] = list(
            difflib.unified_diff(
                there.splitlines(keepends=True), compiled.text.splitlines(keepends=True), str(path), "new"
            )
        )
        click.echo("".join(lines), nl=False)
    else:
        click.echo(f"{path}: not what its .x file compiles to", err=True)
    return not check


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all: an editor or an import never sees half of it."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise click.FileError(str(path), error.strerror or str(error)) from error


@main.command("wireshark")
@click.argument("file", metavar="FILE.x", type=click.Path(exists=True, dir_okay=False))
@click.option("-o", "output", metavar="OUT.lua", default="-", help="Default: standard output.")
@click.option("--name", metavar="NAME", help="What display filters begin with. Default: rpc_ and the file's stem.")
@spec_options
def wireshark_command(file: str, output: str, name: str | None, **how: object) -> None:
    """Write a Wireshark dissector, in Lua, for the programs of an .x file."""
    if name is not None and not re.fullmatch(r"[a-z][a-z0-9_.-]*", name):
        message = "a filter name is small letters, digits, '_', '-' and '.'"
        raise click.BadParameter(message, param_hint="--name")
    compiled = _understood(file, how)
    if not compiled.module.programs:
        click.echo(f"{file}: defines no program, so there is nothing to dissect", err=True)
        sys.exit(1)
    text = emit_dissector(compiled.module, Path(file).name, compiled.digest, name)
    if output == "-":
        click.echo(text, nl=False)
    else:
        _replace(Path(output), text)


@main.command("decode")
@click.argument("data", metavar="[DATA]", default="-", type=click.File("rb"))
@click.option(
    "--spec", required=True, metavar="FILE.x", type=click.Path(exists=True, dir_okay=False), help="The .x file."
)
@click.option(
    "--type", "wanted", required=True, metavar="TYPE", help="A type of the file, or PROCEDURE.args or PROCEDURE.result."
)
@click.option(
    "--input",
    "form",
    type=click.Choice(["auto", "hex", "binary"]),
    default="auto",
    show_default=True,
    help="What DATA is; auto takes what is nothing but hex digits and blanks as hex.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON rather than a tree.")
@click.option("--base64", is_flag=True, help="In JSON, opaque data as base64 rather than hex.")
@click.option("--lenient-padding", is_flag=True, help="Accept padding that is not zero.")
@spec_options
def decode_command(  # noqa: PLR0917 - click passes by name
    data: IO[bytes],
    spec: str,
    wanted: str,
    form: str,
    as_json: bool,  # noqa: FBT001
    base64: bool,  # noqa: FBT001
    lenient_padding: bool,  # noqa: FBT001
    **how: object,
) -> None:
    """Show XDR data, from a file or standard input, field by field.

    Of data that is not right all that was in order is shown before the error.
    """
    codec = _codec(spec, wanted, how)
    raw = _bytes(data.read(), form)
    try:
        if as_json:
            value = codec.decode(raw, lenient_padding=lenient_padding)
            click.echo(jsonform.dumps(codec, value, opaque="base64" if base64 else "hex", indent=2))
        else:
            for line in tree.render(tree.walk(codec, raw, lenient_padding=lenient_padding)):
                click.echo(line)
    except XDRError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


@main.command("encode")
@click.argument("data", metavar="[JSON]", default="-", type=click.File("rb"))
@click.option(
    "--spec", required=True, metavar="FILE.x", type=click.Path(exists=True, dir_okay=False), help="The .x file."
)
@click.option(
    "--type", "wanted", required=True, metavar="TYPE", help="A type of the file, or PROCEDURE.args or PROCEDURE.result."
)
@click.option("--binary", is_flag=True, help="Write bytes rather than hex.")
@spec_options
def encode_command(data: IO[bytes], spec: str, wanted: str, binary: bool, **how: object) -> None:  # noqa: FBT001
    """Encode JSON, from a file or standard input, as XDR."""
    codec = _codec(spec, wanted, how)
    try:
        raw = codec.encode(jsonform.loads(codec, data.read()))
    except XDRError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    if binary:
        sys.stdout.buffer.write(raw)
    else:
        click.echo(raw.hex())


def _understood(file: str, how: Mapping[str, object]) -> Compiled:
    """Compile a file that serves a command; its faults end the command."""
    try:
        compiled = compile_file(file, Settings(**how))  # type: ignore[arg-type]  # spec_options gives just these
    except CompileError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    for warning in compiled.warnings:
        click.echo(str(warning), err=True)
    return compiled


def _codec(spec: str, wanted: str, how: Mapping[str, object]) -> Codec[Any]:
    compiled = _understood(spec, how)
    module = load(compiled)
    types = types_in(module, compiled)
    if wanted not in types:
        close = difflib.get_close_matches(wanted, types, n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        click.echo(f"{spec}: has no type {wanted}{hint}", err=True)
        sys.exit(1)
    return codec_of(types[wanted], module=module.__name__)


def _bytes(data: bytes, form: str) -> bytes:
    """Take hex as it comes out of dumps: with blanks, colons, line ends, 0x."""
    digits = re.sub(rb"0[xX]|[\s:,]", b"", data)
    is_hex = re.fullmatch(rb"(?:[0-9a-fA-F]{2})*", digits) is not None
    if form == "binary" or (form == "auto" and not is_hex):
        return data
    if not is_hex:
        click.echo("error: the data is no hex: pairs of 0-9 and a-f, with blanks as you like", err=True)
        sys.exit(1)
    return bytes.fromhex(digits.decode())
