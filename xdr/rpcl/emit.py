"""A checked module to Python text: same input, same bytes.

What each construct becomes is said in the reference page "The xdr compiler". The order of the file is kept, but for
what Python must see earlier: a typedef stands behind the classes that it names, a union behind its enum.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from xdr.rpcl.emit_programs import ProgramEmitter
from xdr.rpcl.model import (
    Alias,
    Arm,
    ArrayType,
    ConstantDefinition,
    Enumeration,
    External,
    Field,
    Member,
    Module,
    OpaqueType,
    OptionalType,
    ProgramEntry,
    Reference,
    Scalar,
    Size,
    StringType,
    Structure,
    Type,
    TypeEntry,
    UnionType,
)
from xdr.rpcl.names import FIELD_RESERVED, MEMBER_RESERVED, MODULE_RESERVED, Scope, member_name
from xdr.rpcl.nodes import Notes
from xdr.rpcl.text import WIDTH, comments, docstring, indented, literal, wrapped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

__all__ = ["emit", "type_names"]

_SCALARS = {
    "int": "Annotated[int, xdr.Int]",
    "uint": "Annotated[int, xdr.UInt]",
    "hyper": "Annotated[int, xdr.Hyper]",
    "uhyper": "Annotated[int, xdr.UHyper]",
    "float": "Annotated[float, xdr.Float]",
    "double": "Annotated[float, xdr.Double]",
    "quadruple": "xdr.Quad",
    "bool": "bool",
    "void": "None",
}
_DISCRIMINANTS = {"int": "xdr.Int", "uint": "xdr.UInt", "bool": "bool"}


def emit(module: Module, source: str, digest: str) -> str:
    """Write a module.

    Args:
        module: What `resolve` made.
        source: The file's name for the header, without folders: text must not depend on the machine.
        digest: SHA-256 of the file, hexadecimal.
    """
    return _Emitter(module).module(source, digest)


def type_names(module: Module) -> dict[str, str]:
    """Give the Python name of every type, by its name in the file."""
    return dict(_Emitter(module).python)


def _spellings(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Write down the file's names of a class's fields or members where Python's are others."""
    other = [f"{_quoted(python)}: {_quoted(name)}" for name, python in pairs if name != python]
    return ["", *wrapped("__xdr_names__ = {", other, "}")] if other else []


def _quoted(name: str) -> str:
    return f'"{name}"'


class _Emitter:
    def __init__(self, module: Module) -> None:
        self._module = module
        self._scope = Scope(MODULE_RESERVED)
        self._types = module.types
        self.python: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        self._members: dict[str, dict[str, str]] = {}
        self._enumerator_of: dict[str, str] = {}
        self._imported_constants: dict[str, str] = {}
        self._imports: dict[str, set[str]] = {}
        self._aliased: dict[str, str] = {}
        self._late: dict[str, str] = {}
        self._lazy = False
        self._exports: list[str] = []
        self._typing: set[str] = set()
        self._done: set[str] = set()
        self._uses_xdr = False
        self._name_all()

    # ---- names -----------------------------------------------------------------------------

    def _name_all(self) -> None:
        """Give every definition its name first: those of the file come before those that we make up."""
        for entry in self._module.entries:
            if isinstance(entry, ConstantDefinition):
                self._constants[entry.name] = self._scope.take(entry.name)
                if entry.module:
                    self._imported_constants[entry.name] = entry.module
            elif not isinstance(entry, ProgramEntry):
                self.python[entry.name] = self._scope.take(entry.name)
        for entry in self._module.entries:
            if isinstance(entry, Enumeration):
                self._name_members(entry)

    def _name_members(self, entry: Enumeration) -> None:
        inner = Scope(frozenset(MEMBER_RESERVED))
        self._members[entry.name] = {m.name: inner.take(member_name(m.name)) for m in entry.members}
        for member in entry.members:
            if member.name not in self._constants:
                self._constants[member.name] = self._scope.take(member.name)
                self._enumerator_of[member.name] = entry.name
                if entry.module:
                    self._imported_constants[member.name] = entry.module

    def type_name(self, name: str, shadowed: Collection[str] = ()) -> str:
        """Give the Python name of a type, by another name if a class has an attribute that is called so."""
        entry = self._types[name]
        python = self.python[name]
        if entry.module:
            if self._lazy and self._module.cyclic:
                return f"{self._late_module(entry.module)}.{python}"
            self._imports.setdefault(entry.module, set()).add(python)
        if python not in shadowed:
            return python
        if name not in self._aliased:
            self._aliased[name] = self._scope.take(f"_{python.lstrip('_')}")
        return self._aliased[name]

    def _constant(self, name: str) -> str:
        python = self._constants[name]
        if name in self._imported_constants:
            if self._lazy and self._module.cyclic:
                return f"{self._late_module(self._imported_constants[name])}.{python}"
            self._imports.setdefault(self._imported_constants[name], set()).add(python)
        return python

    def _late_module(self, module: str) -> str:
        """Give the name of a module that imports this one, and so is imported when all here is defined.

        Annotations of fields are read later still. What Python needs at once (the enum that a union switches on, the
        class in a typedef) is imported at the top; two files that need that of each other are one file.
        """
        if module not in self._late:
            self._late[module] = self._scope.take("_" + module.rpartition(".")[2])
        return self._late[module]

    @contextmanager
    def _later(self) -> Iterator[None]:
        """Write annotations that are read when the module is complete."""
        before, self._lazy = self._lazy, True
        try:
            yield
        finally:
            self._lazy = before

    def _use(self, *names: str) -> None:
        self._typing.update(names)

    # ---- types --------------------------------------------------------------------------------

    def annotation(self, type_: Type, shadowed: Collection[str] = ()) -> str:
        """Write a type as an annotation."""
        match type_:
            case Scalar(kind=kind):
                text = _SCALARS[kind]
            case OpaqueType(size=size, fixed=True):
                assert size is not None
                text = f"Annotated[bytes, xdr.FixedOpaque({self._size(size)})]"
            case OpaqueType(size=size):
                text = f"Annotated[bytes, xdr.Opaque({self._bound(size)})]"
            case StringType(size=size):
                text = f"Annotated[str, xdr.String({self._bound(size)})]"
            case ArrayType(element=element, size=size, fixed=fixed):
                inner = self.annotation(element, shadowed)
                shape = (
                    f"FixedArray({self._size(size)})" if fixed and size is not None else f"Array({self._bound(size)})"
                )
                text = f"Annotated[list[{inner}], xdr.{shape}]"
            case OptionalType(element=element):
                text = self._optional(element, shadowed)
            case Reference(name=name):
                text = self.type_name(name, shadowed)
        self._uses_xdr |= "xdr." in text
        if "Annotated[" in text:
            self._use("Annotated")
        return text

    def _optional(self, element: Type, shadowed: Collection[str]) -> str:
        inner = self.annotation(element, shadowed)
        if self._can_be_none(element):
            # None | None is None in Python. On the wire optional-data is an array of at most one (RFC 4506, 4.19).
            return f"Annotated[list[{inner}], xdr.Array(max=1)]"
        return f"{inner} | None"

    def _can_be_none(self, type_: Type) -> bool:
        seen: set[str] = set()
        while isinstance(type_, Reference) and type_.name not in seen:
            seen.add(type_.name)
            entry = self._types[type_.name]
            if not isinstance(entry, Alias):
                return isinstance(entry, External)
            type_ = entry.type
        return isinstance(type_, OptionalType) or type_ == Scalar("void")

    def _size(self, size: Size) -> str:
        return self._constant(size.constant) if size.constant else str(size.value)

    def _bound(self, size: Size | None) -> str:
        return f"max={self._size(size)}" if size is not None else ""

    # ---- the whole --------------------------------------------------------------------------------

    def module(self, source: str, digest: str) -> str:
        body: list[str] = []
        local = [entry for entry in self._module.entries if not entry.module]
        for entry in local:
            if not isinstance(entry, ProgramEntry):
                body += self._entry(entry)
        programs = [entry for entry in local if isinstance(entry, ProgramEntry)]
        if programs:
            body += self._program_constants(programs)
        classes: list[str] = []
        for program in programs:
            classes += ProgramEmitter(self, self._scope, self._exports).program(program)
        aliases = self._alias_lines()
        closing = ["", *comments(self._module.closing)] if self._module.closing else []
        head = self._head(source, digest, programs)
        return (
            "\n".join([*head, *body, *aliases, *classes, *self._late_lines(), *self._all(), *closing]).rstrip() + "\n"
        )

    def _head(self, source: str, digest: str, programs: list[ProgramEntry]) -> list[str]:
        names = [f"{program.name}" for program in programs]
        what = "Types"
        if names:
            word = "Program" if len(names) == 1 else "Programs"
            listed = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
            what = f"{word} {listed} and {'its' if len(names) == 1 else 'their'} types"
        lines = [
            f"{what}, compiled from {source}.",
            "",
            f"Generated by ``xdr compile`` from {source}, sha256 {digest}; do not edit.",
        ]
        if self._module.header:
            lines += ["", *self._module.header.split("\n")]
        typing = set(self._typing)
        out = [*docstring("\n".join(lines)), "", "from __future__ import annotations", ""]
        if programs:
            typing |= {"TYPE_CHECKING", "ClassVar"}
            out.append("from abc import abstractmethod")
        if typing:
            ordered = sorted(typing, key=lambda name: (not name.isupper(), name))
            out += [f"from typing import {', '.join(ordered)}"]
        out += [""] if out[-1] else []
        if self._uses_xdr:
            out.append("import xdr")
        for name in sorted(self._imports):
            items = sorted(self._imports[name])
            out += (
                wrapped(f"from {name} import (", items, ")")
                if len(", ".join(items)) > WIDTH - 20
                else [f"from {name} import {', '.join(items)}"]
            )
        if programs:
            out.append("from oncrpc import program as _rpc")
        for entry in self._module.entries:
            if isinstance(entry, External):
                where, _, name = entry.target.rpartition(".")
                out.append(f"from {where} import {name} as {self.python[entry.name]}")
        if programs:
            out += ["", "if TYPE_CHECKING:", "    from twisted.internet.defer import Deferred"]
        return out

    def _all(self) -> list[str]:
        """List what the file defines, so that ``import *`` and a type checker's re-exports are exact."""
        if not self._exports:
            return ["", "__all__: list[str] = []"]
        return ["", "", "__all__ = [", *(f'    "{name}",' for name in self._exports), "]"]

    def _alias_lines(self) -> list[str]:
        if not self._aliased:
            return []
        self._use("TypeAlias")
        lines = ["", "# Second names of types, for classes that have an attribute of the first name."]
        return lines + [f"{alias}: TypeAlias = {self.python[name]}" for name, alias in sorted(self._aliased.items())]

    def _late_lines(self) -> list[str]:
        if not self._late:
            return []
        lines = ["", "", "# Files that include each other import each other last."]
        for module, name in sorted(self._late.items()):
            package, _, last = module.rpartition(".")
            lines.append(f"from {package} import {last} as {name}" if package else f"import {last} as {name}")
        return lines

    # ---- entries --------------------------------------------------------------------------------------

    def _entry(self, entry: ConstantDefinition | TypeEntry) -> list[str]:
        """Write a definition, after those that Python must know before it."""
        out: list[str] = []
        # A stack of our own: typedefs of typedefs of ... must not meet Python's recursion limit.
        stack: list[ConstantDefinition | TypeEntry] = [entry]
        while stack:
            current = stack[-1]
            if current.name in self._done or current.module:
                stack.pop()
                continue
            needed = [e for e in self._needs(current) if e.name not in self._done and not e.module and e not in stack]
            if needed:
                stack.append(needed[0])
                continue
            stack.pop()
            self._done.add(current.name)
            out += self._write(current)
        return out

    def _needs(self, entry: ConstantDefinition | TypeEntry) -> Iterable[ConstantDefinition | TypeEntry]:
        match entry:
            case Alias(type=type_):
                yield from self._eager(type_)
            case UnionType(enumeration=enumeration) if enumeration:
                yield self._types[enumeration]
            case ConstantDefinition(alias=alias) if alias:
                yield from self._constant_entry(alias)

    def _eager(self, type_: Type) -> Iterable[ConstantDefinition | TypeEntry]:
        match type_:
            case Reference(name=name):
                yield self._types[name]
            case OptionalType(element=element):
                yield from self._eager(element)
            case ArrayType(element=element, size=size):
                yield from self._eager(element)
                if size is not None:
                    yield from self._constant_entry(size.constant)
            case OpaqueType(size=Size(constant=constant)) | StringType(size=Size(constant=constant)):
                yield from self._constant_entry(constant)

    def _constant_entry(self, name: str) -> Iterable[ConstantDefinition | TypeEntry]:
        if name in self._enumerator_of:
            yield self._types[self._enumerator_of[name]]
        elif name:
            yield from (e for e in self._module.entries if isinstance(e, ConstantDefinition) and e.name == name)

    def _write(self, entry: ConstantDefinition | TypeEntry) -> list[str]:
        match entry:
            case ConstantDefinition():
                lines = self._const(entry)
            case Enumeration():
                lines = self._enum(entry)
            case Structure():
                lines = self._struct(entry)
            case UnionType():
                lines = self._union(entry)
            case Alias():
                lines = self._typedef(entry)
            case External():
                self._exports.append(self.python[entry.name])
                return []
        remarks = comments(entry.notes.remarks)
        if remarks:
            blanks = next(index for index, line in enumerate(lines) if line)
            lines = [*[""] * max(blanks, 1), *remarks, "", *lines[blanks:]]
        return lines

    def _const(self, entry: ConstantDefinition) -> list[str]:
        self._use("Final")
        name = self._constants[entry.name]
        self._exports.append(name)
        value = self._constant(entry.alias) if entry.alias else literal(entry.value, entry.spelling)
        gap = [""] if not self._last_was_const() else []
        self._last_const = True
        return [*gap, f"{name}: Final = {value}", *(docstring(entry.notes.doc) if entry.notes.doc else [])]

    _last_const = False

    def _last_was_const(self) -> bool:
        return self._last_const

    def _enum(self, entry: Enumeration) -> list[str]:
        self._last_const = False
        self._uses_xdr = True
        name = self.python[entry.name]
        self._exports.append(name)
        body: list[str] = []
        if entry.notes.doc:
            body += [*docstring(entry.notes.doc), ""]
        members = self._members[entry.name]
        for member in entry.members:
            body += self._member(member, members[member.name])
        body += _spellings((member.name, members[member.name]) for member in entry.members)
        out = ["", "", f"class {name}(xdr.Enum):", *indented(body), "", ""]
        for member in entry.members:
            if self._enumerator_of.get(member.name) == entry.name:
                constant = self._constants[member.name]
                self._exports.append(constant)
                self._use("Final")
                out.append(f"{constant}: Final = {name}.{members[member.name]}")
        return out

    @staticmethod
    def _member(member: Member, name: str) -> list[str]:
        line = f"{name} = {literal(member.value, member.spelling)}"
        doc = docstring(member.notes.doc) if member.notes.doc else []
        return [*comments(member.notes.remarks), line, *doc]

    def _struct(self, entry: Structure) -> list[str]:
        self._last_const = False
        self._uses_xdr = True
        name = self.python[entry.name]
        self._exports.append(name)
        scope = Scope(frozenset(FIELD_RESERVED))
        names = [scope.take(field.name) for field in entry.fields]
        body: list[str] = []
        if entry.notes.doc:
            body += [*docstring(entry.notes.doc), ""]
        for field, python in zip(entry.fields, names, strict=True):
            with self._later():
                body += self._field(field, python, names)
        body += _spellings((field.name, python) for field, python in zip(entry.fields, names, strict=True))
        if not body:
            body = [*docstring("No fields: nothing on the wire.")]
        while body and not body[-1]:
            body.pop()
        return ["", "", "@xdr.struct", f"class {name}:", *indented(body)]

    def _field(self, field: Field, python: str, names: Collection[str]) -> list[str]:
        line = f"{python}: {self.annotation(field.type, names)}"
        lines = [*comments(field.notes.remarks), line]
        if len(line) > WIDTH - 4:
            # An array of arrays with long names: the checker takes the brackets' line breaks as they are.
            lines[-1] = f"{python}: (\n        {self.annotation(field.type, names)}\n    )"
        if field.notes.doc:
            lines += docstring(field.notes.doc)
        return lines

    # ---- unions ---------------------------------------------------------------------------------------------

    def _union(self, entry: UnionType) -> list[str]:
        self._last_const = False
        self._uses_xdr = True
        self._use("TypeAlias")
        union = self.python[entry.name]
        out: list[str] = []
        classes: list[str] = []
        for arm in entry.arms:
            class_name = self._scope.take(f"{union}_{self._arm_suffix(entry, arm)}")
            classes.append(class_name)
            self._exports.append(class_name)
            out += self._arm(entry, arm, class_name)
        self._exports.append(union)
        joined = " | ".join(classes)
        line = f"{union}: TypeAlias = {joined}"
        if len(line) <= WIDTH:
            out += ["", "", line]
        else:
            first, *rest = classes
            out += ["", "", f"{union}: TypeAlias = (", f"    {first}", *(f"    | {name}" for name in rest), ")"]
        if entry.notes.doc:
            out += docstring(entry.notes.doc)
        return out

    def _arm_suffix(self, union: UnionType, arm: Arm) -> str:
        if not arm.labels:
            return "default"
        value, name = arm.labels[0]
        if union.kind == "bool":
            return "TRUE" if value else "FALSE"
        if union.kind == "enum":
            return name or self._member_of(union.enumeration, value).name
        return name or (f"m{-value}" if value < 0 else str(value))

    def _member_of(self, enumeration: str, value: int) -> Member:
        entry = self._types[enumeration]
        assert isinstance(entry, Enumeration)
        return next(member for member in entry.members if member.value == value)

    def _arm(self, union: UnionType, arm: Arm, class_name: str) -> list[str]:
        scope = Scope(frozenset(FIELD_RESERVED))
        tag = scope.take(union.discriminant.name)
        names = [tag]
        payload = None
        if arm.field is not None:
            payload = scope.take(arm.field.name)
            names.append(payload)
        kind = self.type_name(union.enumeration) if union.kind == "enum" else _DISCRIMINANTS[union.kind]
        values = [self._label(union, value) for value, _ in arm.labels]
        # A default that also has labels stands for them too.
        chosen = "default=True" if arm.default else f"cases=({', '.join(values)}{',' if len(values) == 1 else ''})"
        decorator = [f'@xdr.arm("{union.name}", "{tag}", {kind}, {chosen})']
        if len(decorator[0]) > WIDTH and len(values) > 1 and not arm.default:
            decorator = [
                f'@xdr.arm("{union.name}", "{tag}", {kind}, cases=(',
                *(f"    {value}," for value in values),
                "))",
            ]
        default = self._label(union, arm.labels[0][0], names) if len(arm.labels) == 1 and not arm.default else ""
        with self._later():
            discriminant = self._discriminant(union, arm, tag, names) + (f" = {default}" if default else "")
            field = "" if arm.field is None else self.annotation(arm.field.type, names)
        body = [f"{payload}: {field}"] if field else []
        if " = " in discriminant:
            body.append(discriminant)
        else:
            body.insert(0, discriminant)
        pairs = [(union.discriminant.name, tag)]
        if arm.field is not None and payload is not None:
            pairs.append((arm.field.name, payload))
        body += _spellings(pairs)
        if arm.notes.doc:
            body = [*docstring(arm.notes.doc), "", *body]
        lead = comments(arm.notes.remarks)
        return ["", "", *lead, *decorator, f"class {class_name}:", *indented(body)]

    def _discriminant(self, union: UnionType, arm: Arm, tag: str, names: Collection[str]) -> str:
        if arm.default:
            return f"{tag}: {self.annotation(union.discriminant.type, names)}"
        self._use("Literal")
        if union.kind == "enum":
            enum = self.type_name(union.enumeration, names)
            members = self._members[union.enumeration]
            literals = [f"{enum}.{members[self._member_of(union.enumeration, v).name]}" for v, _ in arm.labels]
        elif union.kind == "bool":
            literals = [str(bool(value)) for value, _ in arm.labels]
        else:
            literals = [str(value) for value, _ in arm.labels]
        return f"{tag}: Literal[{', '.join(literals)}]"

    def _label(self, union: UnionType, value: int, shadowed: Collection[str] = ()) -> str:
        if union.kind == "bool":
            return str(bool(value))
        if union.kind != "enum":
            return str(value)
        member = self._member_of(union.enumeration, value)
        if self._enumerator_of.get(member.name) == union.enumeration and self._constants[member.name] not in shadowed:
            return self._constant(member.name)
        return f"{self.type_name(union.enumeration, ())}.{self._members[union.enumeration][member.name]}"

    # ---- the rest ---------------------------------------------------------------------------------------------

    def _typedef(self, entry: Alias) -> list[str]:
        self._use("TypeAlias")
        name = self.python[entry.name]
        self._exports.append(name)
        gap = [""] if self._last_const else ["", ""]
        self._last_const = True
        return [
            *gap,
            f"{name}: TypeAlias = {self.annotation(entry.type)}",
            *(docstring(entry.notes.doc) if entry.notes.doc else []),
        ]

    def _program_constants(self, programs: list[ProgramEntry]) -> list[str]:
        """Write the numbers that rpcgen puts into the header; a name with two numbers has none."""
        found: dict[str, tuple[set[int], str, Notes]] = {}
        order: list[str] = []
        for program in programs:
            entries: list[tuple[str, int, str, Notes]] = [
                (program.name, program.number, program.spelling, program.notes)
            ]
            for version in program.versions:
                entries.append((version.name, version.number, "", Notes()))
                entries += [(p.name, p.number, "", Notes()) for p in version.procedures]
            for name, number, spelling, notes in entries:
                if name not in found:
                    found[name] = ({number}, spelling, notes)
                    order.append(name)
                found[name][0].add(number)
        self._use("Final")
        out = [""]
        for name in order:
            numbers, spelling, _ = found[name]
            if len(numbers) > 1 or name in self._scope or name in self._constants:
                continue
            python = self._scope.take(name)
            self._exports.append(python)
            out.append(f"{python}: Final = {literal(next(iter(numbers)), spelling)}")
        return out if len(out) > 1 else []
