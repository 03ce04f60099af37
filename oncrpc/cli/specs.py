"""``.x`` files compiled in memory: programs, procedures and types by name, for calls without generated code."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from oncrpc.cli.programs import declared_programs, installed_specs
from oncrpc.program import Program
from xdr import shapes as s
from xdr.codec import codec
from xdr.rpcl.compiler import Settings, compile_text, read_file
from xdr.rpcl.model import (
    Alias,
    ArrayType,
    Enumeration,
    OptionalType,
    Reference,
    Structure,
    TypeEntry,
    UnionType,
)
from xdr.source import is_list_node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oncrpc.program import Procedure
    from xdr.rpcl.model import Field, Module, ProcedureEntry, Type

__all__ = ["Spec", "SpecVersion", "example", "load_file", "load_installed", "load_text"]

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class SpecVersion:
    """One version of one program.

    Args:
        program_name: Its name in the file.
        program: Program number.
        version_name: The version's name in the file.
        version: Version number.
        procedures: As generated code has them.
        entries: As the file has them, in the same order.
    """

    program_name: str
    program: int
    version_name: str
    version: int
    procedures: tuple[Procedure, ...]
    entries: tuple[ProcedureEntry, ...]

    def procedure(self, name: str) -> Procedure | None:
        """The procedure of this number or name; case does not matter, nor does a prefix that all of them share."""
        if name.isdigit():
            return next((one for one in self.procedures if one.number == int(name)), None)
        wanted = name.lower()
        by_name = {one.name.lower(): one for one in self.procedures}
        if wanted in by_name:
            return by_name[wanted]
        endings = [one for known, one in by_name.items() if known.endswith("_" + wanted)]
        return endings[0] if len(endings) == 1 else None

    def entry(self, procedure: Procedure) -> ProcedureEntry:
        """The file's own entry of a procedure."""
        return next(entry for entry in self.entries if entry.number == procedure.number)


class Spec:
    """A compiled ``.x`` file.

    Args:
        name: What it is called in messages.
        text: Its text.
        model: What the compiler understood.
        module: The generated module.
    """

    def __init__(self, name: str, text: str, model: Module, module: ModuleType) -> None:
        self.name, self._lines, self._model = name, text.splitlines(), model
        classes = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Program) and value.__module__ == module.__name__
        ]
        self.versions: list[SpecVersion] = []
        """Everything that the file declares, in its order."""
        for program in model.programs:
            for version in program.versions:
                found = next(one for one in classes if (one.program, one.version) == (program.number, version.number))
                entries = tuple(sorted(version.procedures, key=lambda entry: entry.number))
                self.versions.append(
                    SpecVersion(program.name, program.number, version.name, version.number, found.procedures, entries)
                )

    def version(self, program: int, version: int) -> SpecVersion | None:
        """A version by its numbers."""
        return next((one for one in self.versions if (one.program, one.version) == (program, version)), None)

    def find(self, program: str, version: str) -> SpecVersion | None:
        """A version by names or numbers in any mixture; an empty version is the highest one."""
        found = [one for one in self.versions if _names(program, one.program_name, one.program)]
        if version:
            found = [one for one in found if _names(version, one.version_name, one.version)]
        return max(found, key=lambda one: one.version, default=None)

    def declarations(self, entry: ProcedureEntry) -> list[str]:
        """The file's own text of every type that a procedure uses, those that others build on first."""
        types, seen, ordered = self._model.types, set[str](), list[TypeEntry]()

        def visit(kind: Type) -> None:
            match kind:
                case Reference(name) if name not in seen and name in types:
                    seen.add(name)
                    entry = types[name]
                    for field in _fields(entry):
                        visit(field)
                    ordered.append(entry)
                case ArrayType() | OptionalType():
                    visit(kind.element)
                case _:
                    pass

        for kind in (*(argument.type for argument in entry.arguments), entry.result):
            visit(kind)
        return [text for one in ordered if (text := self._text(one))]

    def _text(self, entry: TypeEntry) -> str:
        """A definition, from its line to the semicolon that ends it."""
        if entry.module or Path(entry.place.file).name != Path(self.name).name:
            return f"/* {entry.name} comes from {entry.module or entry.place.file} */"
        lines, depth = [], 0
        for line in self._lines[entry.place.line - 1 :]:
            lines.append(line.rstrip())
            code = line.partition("/*")[0]
            depth += code.count("{") - code.count("}")
            if depth <= 0 and ";" in code:
                break
        return "\n".join(lines)


def _names(text: str, name: str, number: int) -> bool:
    if text.lower() == name.lower():
        return True
    try:
        return int(text, 0) == number
    except ValueError:
        return False


def _fields(entry: TypeEntry) -> Iterator[Type]:
    match entry:
        case Structure():
            yield from (field.type for field in entry.fields)
        case UnionType():
            if entry.enumeration:
                yield Reference(entry.enumeration)
            arms: list[Field | None] = [arm.field for arm in entry.arms]
            yield from (field.type for field in arms if field is not None)
        case Alias():
            yield entry.type
        case Enumeration() | _:
            return


def load_text(text: str, name: str, *, include: Sequence[str] = (), defines: dict[str, str] | None = None) -> Spec:
    """Compile a specification and load what came out.

    Args:
        text: The file's text.
        name: Its path, for messages and for #include.
        include: Further folders for #include.
        defines: Macros.

    Raises:
        CompileError: The file has faults; all of them are in the exception.
    """
    compiled = compile_text(text, name, Settings(include=include, defines=defines or {}))
    module = ModuleType(f"oncrpc.cli._spec{next(_numbers)}")
    # The declarations look names up in their module when codecs are made.
    sys.modules[module.__name__] = module
    exec(compile(compiled.text, f"<compiled from {name}>", "exec"), vars(module))  # noqa: S102, our own output
    return Spec(name, text, compiled.module, module)


def load_file(path: str, *, include: Sequence[str] = (), defines: dict[str, str] | None = None) -> Spec:
    """Compile a file and load what came out; for the rest see load_text().

    Raises:
        CompileError: The file has faults.
        OSError: The file cannot be read.
    """
    return load_text(read_file(path), path, include=include, defines=defines)


def load_installed(program: str, version: str) -> tuple[Spec, SpecVersion] | None:
    """The first installed specification that declares a program's version; see Spec.find()."""
    for _, file in installed_specs():
        text = file.read_text(encoding="utf-8")
        if not any(_names(program, name, number) for name, number in declared_programs(text)):
            continue
        spec = load_text(text, str(file))
        if (found := spec.find(program, version)) is not None:
            return spec, found
    return None


def example(kind: Any) -> Any:
    """A value of a type as JSON has it, to show people what to write: zeros, empty texts, one element in arrays."""
    return _example(codec(kind).shape, ())


class _HoldsItself(Exception):
    """A type was met inside itself: the array or union around it goes another way."""


def _example(shape: s.Shape, path: tuple[s.Shape, ...]) -> Any:
    match shape:
        case s.ScalarShape():
            return "0" if shape.code in "qQ" else 0
        case s.BoolShape():
            return False
        case s.EnumShape():
            name = next(iter(shape.members.values())).name
            return shape.spelled.get(name, name)
        case s.QuadShape():
            return "0"
        case s.FixedOpaqueShape():
            return "00" * shape.count
        case s.OpaqueShape() | s.StringShape():
            return ""
        case s.FixedArrayShape():
            return [_example(shape.element, path)] * shape.count
        case s.ArrayShape():
            try:
                return [_example(shape.element, path)]
            except _HoldsItself:
                return []
        case s.OptionalShape():
            return [] if is_list_node(shape.element) else None
        case s.StructShape() | s.UnionShape() if shape in path:
            raise _HoldsItself
        case s.StructShape() if is_list_node(shape):
            return [{shape.spelled.get(name, name): _example(of, (*path, shape)) for name, of in shape.fields[:-1]}]
        case s.StructShape():
            return {shape.spelled.get(name, name): _example(of, (*path, shape)) for name, of in shape.fields}
        case s.UnionShape():
            return _example_union(shape, (*path, shape))
        case _:
            return None


def _example_union(shape: s.UnionShape, path: tuple[s.Shape, ...]) -> dict[str, Any]:
    """The first arm that does not hold the union itself."""
    for case, arm in shape.by_case.items():
        value: Any = case
        if isinstance(shape.kind, s.EnumShape):
            name = shape.kind.members[case].name
            value = shape.kind.spelled.get(name, name)
        elif isinstance(shape.kind, s.BoolShape):
            value = bool(case)
        try:
            made = {shape.discriminant: value, **{name: _example(of, path) for name, of in arm.fields}}
            return {arm.spelled.get(name, name): item for name, item in made.items()}
        except _HoldsItself:
            continue
    tag = shape.arms[0].spelled.get(shape.discriminant, shape.discriminant)
    return {tag: _example(shape.kind, path)}
