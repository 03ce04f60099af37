"""The compiler as one call: text of an .x file in, text of a Python module out."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from xdr.rpcl.emit import emit
from xdr.rpcl.errors import Diagnostic, Diagnostics
from xdr.rpcl.parser import parse
from xdr.rpcl.preprocess import preprocess
from xdr.rpcl.resolve import Options, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xdr.rpcl.model import Module
    from xdr.rpcl.nodes import Specification

__all__ = ["Compiled", "Settings", "check_text", "compile_file", "compile_text", "read_file"]

MAX_BORROWED: Final = 256
"""Files looked into for types that an .x file needs; the largest public set has 134."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run may be told, beside the file."""

    include: Sequence[str] = ()
    """Folders for ``#include``, after that of the including file."""
    defines: Mapping[str, str] = field(default_factory=dict)
    """Macros and their replacements."""
    target: str = "hdr"
    """Which of rpcgen's macros is defined: a key of `xdr.rpcl.preprocess.TARGETS`."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Types that the file does not define: name to dotted Python path."""
    stub_opaque: bool = False
    """Take all other types that it does not define as opaque data of any length."""
    modules: Mapping[str, str] = field(default_factory=dict)
    """Included files whose definitions another module has: the file's path, or its last parts, to that module."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What came out."""

    text: str
    """The Python module."""
    module: Module
    """What was understood of the file."""
    digest: str
    """SHA-256 of the file, hexadecimal."""
    warnings: tuple[Diagnostic, ...]


def check_text(text: str, name: str, settings: Settings | None = None) -> tuple[Module, tuple[Diagnostic, ...]]:
    """Understand a file, and write nothing.

    Args:
        text: The file's text.
        name: Its path, for messages, and to find what it includes.
        settings: See `Settings`.

    Raises:
        CompileError: The file has faults; all of them are in the exception.
    """
    settings = settings or Settings()
    report = Diagnostics()
    source = preprocess(text, name, report, include=settings.include, defines=settings.defines, target=settings.target)
    whole = not report.faulty
    specification = parse(source, report)
    if not whole:
        # A name that is missing because a file is missing is no second fault.
        report.check()
    options = Options(
        settings.types,
        settings.stub_opaque,
        lambda file: _module_of(file, name, settings.modules),
        borrow(specification, name, settings),
    )
    module = resolve(specification, report, options)
    module.cyclic = source.cyclic
    report.check()
    return module, tuple(report.warnings)


def compile_text(text: str, name: str, settings: Settings | None = None) -> Compiled:
    """Compile a file whose text is at hand.

    Args:
        text: The file's text.
        name: Its path, for messages, for the header of the output (the last part only), and for ``#include``.
        settings: See `Settings`.

    Raises:
        CompileError: The file has faults; all of them are in the exception.
    """
    module, warnings = check_text(text, name, settings)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return Compiled(emit(module, os.path.basename(name), digest), module, digest, warnings)  # noqa: PTH119


def read_file(path: str) -> str:
    """Read an .x file: UTF-8, and old files' Latin-1 in comments."""
    data = Path(path).read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def compile_file(path: str, settings: Settings | None = None) -> Compiled:
    """Compile a file.

    Raises:
        CompileError: The file has faults; all of them are in the exception.
        OSError: The file cannot be read.
    """
    return compile_text(read_file(path), path, settings)


def borrow(specification: Specification, name: str, settings: Settings) -> tuple[Specification, ...]:
    """Find the .x files of the C headers that a file includes with ``%#include``, and those of theirs.

    A header that rpcgen made has the types of its .x file; where that lies beside the file that needs it, or in a
    folder of -I, there is no need to ask for it. What is not there, or not right, is left out: if anything is missing
    then, that is reported where it is missing.
    """
    found: list[Specification] = []
    seen = {os.path.abspath(name)}  # noqa: PTH100
    waiting = list(specification.headers)
    while waiting and len(found) < MAX_BORROWED:
        header, origin = waiting.pop(0)
        path = _beside(header, origin, settings.include)
        if path is None or path in seen:
            continue
        seen.add(path)
        report = Diagnostics()
        source = preprocess(
            read_file(path), os.path.relpath(path), report,
            include=settings.include, defines=settings.defines, target=settings.target,
        )  # fmt: skip
        borrowed = parse(source, report)
        found.append(borrowed)
        waiting.extend(borrowed.headers)
    return tuple(found)


def _beside(header: str, origin: str, include: Sequence[str]) -> str | None:
    wanted = PurePosixPath(header).with_suffix(".x")
    for folder in (os.path.dirname(origin), *include):  # noqa: PTH120
        for candidate in dict.fromkeys((str(wanted), wanted.name)):
            path = os.path.abspath(os.path.join(folder, candidate))  # noqa: PTH100, PTH118
            if os.path.isfile(path):  # noqa: PTH113
                return path
    return None


def _module_of(file: str, main: str, modules: Mapping[str, str]) -> str:
    if file == main:
        return ""
    parts = Path(os.path.abspath(file)).parts  # noqa: PTH100 - as the preprocessor names files
    for known, module in modules.items():
        tail = Path(known).parts
        if parts[-len(tail) :] == tail:
            return module
    return ""
