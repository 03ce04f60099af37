"""Programs by name: what installed ``.x`` files and /etc/rpc call them."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

__all__ = ["declared_programs", "installed_specs", "program_name", "program_number"]

ETC_RPC: Final = Path("/etc/rpc")
_PROGRAM: Final = re.compile(r"\bprogram\s+(\w+)\s*\{")
_END: Final = re.compile(r"\}\s*=\s*(0[xX][0-9a-fA-F]+|[0-9]+)\s*;")


def installed_specs() -> Iterator[tuple[str, Traversable]]:
    """The ``.x`` files that came with installed packages: those of the entry-point group ``oncrpc.specs``.

    An entry names a package; its folder ``spec`` holds the files.

    Yields:
        The name shown (``ipcserver/ipc.x``) and the file.
    """
    for entry in sorted(entry_points(group="oncrpc.specs"), key=lambda entry: entry.name):
        folder = files(entry.module) / "spec"
        if not folder.is_dir():
            continue
        for file in sorted(folder.iterdir(), key=lambda file: file.name):
            if file.name.endswith(".x"):
                yield f"{entry.name}/{file.name}", file


def declared_programs(text: str) -> Iterator[tuple[str, int]]:
    """Names and numbers of a specification's programs, without compiling it.

    A program ends with ``} = NUMBER;`` behind that of its last version.
    """
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    starts = [*_PROGRAM.finditer(text)]
    for number, start in enumerate(starts):
        following = starts[number + 1].start() if number + 1 < len(starts) else len(text)
        if ends := _END.findall(text, start.end(), following):
            yield start[1], int(ends[-1], 0)


def _spec_programs() -> Iterator[tuple[str, int]]:
    for _, file in installed_specs():
        yield from declared_programs(file.read_bytes().decode(errors="replace"))


def _etc_rpc() -> Iterator[tuple[str, int]]:
    try:
        lines = ETC_RPC.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.partition("#")[0].split()
        if len(words) > 1 and words[1].isdigit():
            for name in (words[0], *words[2:]):
                yield name, int(words[1])


def program_number(text: str) -> int:
    """A program's number.

    Args:
        text: A number, decimal or with 0x, or a name in any case.

    Raises:
        ValueError: It is neither a number of 32 bits nor a name known here.
    """
    try:
        number = int(text, 0)
    except ValueError:
        for names in (_spec_programs, _etc_rpc):
            for name, number in names():
                if name.lower() == text.lower():
                    return number
        msg = f"{text!r} is neither a number nor a program known to {ETC_RPC} or an installed .x file"
        raise ValueError(msg) from None
    if not 0 <= number <= 0xFFFFFFFF:  # noqa: PLR2004, 32 bits
        msg = f"{text} is no program number: 32 bits, unsigned"
        raise ValueError(msg)
    return number


def program_name(number: int) -> str:
    """A program's name, or its number as text."""
    for names in (_etc_rpc, _spec_programs):
        for name, known in names():
            if known == number:
                return name
    return str(number)
