"""Syntax to a checked module: names, constants, types, union arms, programs; all faults, not just the first.

What is checked: RFC 4506, section 6.4 (unique names, unsigned sizes, legal discriminants and case values), RFC 5531,
section 12.3 (numbers unique in their scope), and that no type contains itself without a way to end.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from xdr.rpcl import nodes
from xdr.rpcl.evaluate import Constants
from xdr.rpcl.finite import check_finite
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
    ProcedureEntry,
    ProgramEntry,
    Reference,
    Scalar,
    Size,
    StringType,
    Structure,
    Type,
    TypeEntry,
    UnionType,
    VersionEntry,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xdr.rpcl.errors import Diagnostics, Place

__all__ = ["PREDEFINED", "Options", "resolve"]

MAX_WORD: Final = 0xFFFFFFFF
"""The largest size, discriminant, program, version or procedure number: one unsigned word."""
_SIGN: Final = 0x80000000

_INT: Final = Scalar("int")
_UINT: Final = Scalar("uint")
_HYPER: Final = Scalar("hyper")
_UHYPER: Final = Scalar("uhyper")

MAX_NETOBJ: Final = 1024
"""Bytes in a netobj of <rpc/xdr.h> (MAX_NETOBJ_SZ)."""

PREDEFINED: Final[Mapping[str, Type]] = {
    **dict.fromkeys(("int8_t", "int16_t", "int32_t", "int8", "int16", "int32", "enum_t", "quad_long"), _INT),
    **dict.fromkeys(("u_char", "u_short", "u_int", "u_long", "uchar", "ushort", "uint", "ulong", "uchar_t"), _UINT),
    **dict.fromkeys(
        ("uint8_t", "uint16_t", "uint32_t", "u_int8_t", "u_int16_t", "u_int32_t", "uint8", "uint16"), _UINT
    ),
    **dict.fromkeys(("uint32", "ushort_t", "uint_t", "ulong_t", "rpcprog_t", "rpcvers_t", "rpcproc_t"), _UINT),
    **dict.fromkeys(("rpcprot_t", "rpcport_t"), _UINT),
    **dict.fromkeys(("int64_t", "int64", "quad_t", "longlong_t", "long_long", "longlong"), _HYPER),
    **dict.fromkeys(("uint64_t", "u_int64_t", "uint64", "u_quad_t", "u_longlong_t", "u_hyper", "u_long_long"), _UHYPER),
    **dict.fromkeys(("bool_t", "boolean", "boolean_t"), Scalar("bool")),
    "netobj": OpaqueType(Size(MAX_NETOBJ), fixed=False),
    "des_block": OpaqueType(Size(8), fixed=True),
}
"""Types that C's headers give to every .x file; a file that defines one itself has its own."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller says about names that the file does not define."""

    types: Mapping[str, str] = field(default_factory=dict)
    """Name in the file to dotted Python path."""
    stub_opaque: bool = False
    """Take a type that nothing defines as opaque data of any length."""
    module_of: Callable[[str], str] = lambda _file: ""
    """The Python module that has the definitions of an included file, or empty if this module shall have them."""
    borrowed: tuple[nodes.Specification, ...] = ()
    """Files whose definitions are taken in as far as this file needs them."""


def resolve(specification: nodes.Specification, report: Diagnostics, options: Options | None = None) -> Module:
    """Check a parsed file. Faults go to `report`; the result is of use only if there were none."""
    return _Resolver(specification, report, options or Options()).module()


class _Resolver:
    def __init__(self, specification: nodes.Specification, report: Diagnostics, options: Options) -> None:
        self._specification = specification
        self._report = report
        self._options = options
        self._types: dict[str, TypeEntry] = {}
        self._entries: list[ConstantDefinition | TypeEntry | ProgramEntry] = []
        self._constants = Constants(report, specification.passthrough_constants, specification.broken)
        self._named: set[str] = set()
        self._missing: set[str] = set()
        self._stubs: set[str] = set()
        self._foreign: set[int] = set()
        self._lent: dict[str, nodes.Definition] = {}
        self._wanted: list[str] = []
        self._open: list[tuple[UnionType, nodes.UnionBody]] = []

    def module(self) -> Module:
        for definition in self._specification.definitions:
            self._collect(definition)
        for borrowed in self._options.borrowed:
            for definition in borrowed.definitions:
                self._lend(definition)
        for definition in self._specification.definitions:
            self._definition(definition)
        self._settle()
        check_finite(self._types, self._report)
        local = [entry for entry in self._entries if id(entry) not in self._foreign]
        foreign = [entry for entry in self._entries if id(entry) in self._foreign]
        return Module([*foreign, *local], self._specification.header, self._specification.closing)

    # ---- definitions of other files ------------------------------------------------------

    def _lend(self, definition: nodes.Definition) -> None:
        """Know a definition of a file whose C header this file includes; it is taken in if something needs it."""
        self._constants.lend(definition)
        match definition:
            case nodes.Typedef(declaration=declaration) if not _is_own_name(declaration):
                self._lent.setdefault(declaration.name, definition)
                if isinstance(declaration.type, (nodes.EnumBody, nodes.StructBody, nodes.UnionBody)):
                    self._lent.setdefault(declaration.type.name, definition)
            case nodes.TypeDefinition(body=body):
                self._lent.setdefault(body.name, definition)

    def _settle(self) -> None:
        """Finish unions, and take in what others define, until nothing is missing that can be had."""
        taken: set[int] = set()
        first_foreign = len(self._entries)
        while self._open or self._wanted or self._constants.wanted:
            while self._wanted or self._constants.wanted:
                definition = self._lent[self._wanted.pop()] if self._wanted else self._constants.wanted.pop()
                if id(definition) not in taken:
                    taken.add(id(definition))
                    self._definition(definition)
            opened, self._open = self._open, []
            for union, body in opened:
                self._finish_union(union, body)
        self._foreign = {id(entry) for entry in self._entries[first_foreign:]}

    # ---- first pass: what names there are ---------------------------------------------

    def _collect(self, definition: nodes.Definition) -> None:
        match definition:
            case nodes.Const():
                self._constants.add_constant(definition)
            case nodes.Typedef(declaration=declaration):
                # typedef struct foo foo; says what the language takes for granted.
                if not _is_own_name(declaration):
                    self._named.add(declaration.name)
                self._collect_inner(declaration.type, declaration.name)
            case nodes.TypeDefinition(body=body):
                self._named.add(body.name)
                self._collect_body(body)
            case nodes.Program():
                self._constants.add_program(definition)

    def _collect_body(self, body: nodes.EnumBody | nodes.StructBody | nodes.UnionBody) -> None:
        match body:
            case nodes.EnumBody():
                self._constants.add_enum(body)
            case nodes.StructBody(fields=fields):
                for declaration in fields:
                    self._collect_inner(declaration.type, "")
            case nodes.UnionBody(discriminant=discriminant, arms=arms):
                self._collect_inner(discriminant.type, "")
                for arm in arms:
                    self._collect_inner(arm.declaration.type, "")

    def _collect_inner(self, specifier: nodes.TypeSpecifier, name: str) -> None:
        if isinstance(specifier, (nodes.EnumBody, nodes.StructBody, nodes.UnionBody)):
            if specifier.name and specifier.name != name:
                self._named.add(specifier.name)
            self._collect_body(specifier)

    # ---- second pass: definitions ---------------------------------------------------------

    def _add(self, entry: TypeEntry) -> None:
        entry.module = self._options.module_of(entry.place.file)
        known = self._types.get(entry.name)
        if known is not None:
            if not _same(known, entry):
                first = known.place
                self._report.error(
                    entry.place, f"{entry.name!r} is defined twice", f"first at {first.file}:{first.line}"
                )
            return
        self._named.add(entry.name)
        self._types[entry.name] = entry
        self._entries.append(entry)

    def _definition(self, definition: nodes.Definition) -> None:
        match definition:
            case nodes.Const():
                constant = self._constants.definition(definition)
                if constant is not None:
                    constant.module = self._options.module_of(definition.place.file)
                    self._entries.append(constant)
            case nodes.Typedef():
                self._typedef(definition)
            case nodes.TypeDefinition(body=body):
                self._body(body, body.name, definition.notes)
            case nodes.Program():
                self._program(definition)

    def _typedef(self, definition: nodes.Typedef) -> None:
        declaration = definition.declaration
        inner = declaration.type
        if _is_own_name(declaration):
            return
        if isinstance(inner, (nodes.EnumBody, nodes.StructBody, nodes.UnionBody)):
            plain = not declaration.pointers and not declaration.suffixes
            if plain and inner.name in ("", declaration.name):
                self._body(inner, declaration.name, definition.notes)
                return
            name = inner.name or self._fresh(f"{declaration.name}_type")
            self._body(inner, name, definition.notes)
            type_ = self._shape(Reference(name), declaration)
        else:
            type_ = self._type(declaration, declaration.name)
        self._add(Alias(declaration.name, type_, definition.place, definition.notes))

    def _fresh(self, name: str) -> str:
        while name in self._named:
            name += "_"
        self._named.add(name)
        return name

    def _body(self, body: nodes.EnumBody | nodes.StructBody | nodes.UnionBody, name: str, notes: nodes.Notes) -> None:
        match body:
            case nodes.EnumBody():
                self._add(Enumeration(name, self._members(body), body.place, notes))
            case nodes.StructBody():
                self._add(Structure(name, self._fields(body.fields, name, "struct"), body.place, notes))
            case nodes.UnionBody():
                self._union(body, name, notes)

    def _members(self, body: nodes.EnumBody) -> list[Member]:
        members: list[Member] = []
        seen: set[str] = set()
        for index, enumerator in enumerate(body.enumerators):
            value = self._constants.enumerator(body, index)
            if value is None:
                continue
            if enumerator.name in seen:
                self._report.error(enumerator.place, f"this enum has two enumerators called {enumerator.name!r}")
                continue
            seen.add(enumerator.name)
            spelling = enumerator.value.spelling if isinstance(enumerator.value, nodes.Number) else ""
            word = self._word(value, f"the enumerator {enumerator.name!r}", enumerator.place)
            members.append(Member(enumerator.name, word, spelling, enumerator.place, enumerator.notes))
        return members

    def _word(self, value: int, what: str, place: Place) -> int:
        """Take a number as the signed word that C would keep it in."""
        if not -_SIGN <= value <= MAX_WORD:
            self._report.error(place, f"{what} is {value}, which does not fit 32 bits")
            return 0
        return value - (MAX_WORD + 1) if value >= _SIGN else value

    def _fields(self, declarations: tuple[nodes.Declaration, ...], owner: str, kind: str) -> list[Field]:
        fields: list[Field] = []
        seen: dict[str, Place] = {}
        for declaration in declarations:
            if declaration.name in seen:
                self._report.error(
                    declaration.place,
                    f"{kind} {owner} has two fields called {declaration.name!r}",
                    f"the first is on line {seen[declaration.name].line}",
                )
                continue
            seen[declaration.name] = declaration.place
            type_ = self._type(declaration, f"{owner}_{declaration.name}")
            fields.append(Field(declaration.name, type_, declaration.place, declaration.notes))
        return fields

    # ---- unions ------------------------------------------------------------------------------

    def _union(self, body: nodes.UnionBody, name: str, notes: nodes.Notes) -> None:
        declared = self._type(body.discriminant, f"{name}_{body.discriminant.name}")
        discriminant = Field(body.discriminant.name, declared, body.discriminant.place, body.discriminant.notes)
        entry = UnionType(name, discriminant, "", "", [], body.place, notes)
        self._add(entry)
        default: Place | None = None
        for arm in body.arms:
            place = arm.labels[0].place if arm.labels else arm.declaration.place
            if arm.default:
                if default is not None:
                    self._report.error(place, f"union {name} has two defaults")
                default = place
            entry.arms.append(Arm([], arm.default, self._arm_field(arm, name), place, arm.notes))
        if not body.arms:
            self._report.error(body.place, f"union {name} has no arms")
        self._open.append((entry, body))

    def _arm_field(self, arm: nodes.CaseArm, name: str) -> Field | None:
        declaration = arm.declaration
        if isinstance(declaration.type, nodes.Builtin) and declaration.type.kind == "void":
            return None
        if not declaration.name:
            self._report.error(declaration.place, f"this arm of union {name} has no name")
            return None
        type_ = self._type(declaration, f"{name}_{declaration.name}")
        return Field(declaration.name, type_, declaration.place, declaration.notes)

    def _finish_union(self, union: UnionType, body: nodes.UnionBody) -> None:
        """Find out what the discriminant is and what the labels say, once all types are known."""
        place = union.discriminant.place
        type_ = self._follow(union.discriminant.type)
        legal: set[int] | None = None
        members: dict[str, int] = {}
        match type_:
            case Scalar(kind="int" | "uint"):
                union.kind = type_.kind
            case Scalar(kind="bool"):
                union.kind = "bool"
                legal = {0, 1}
            case Reference(name=name) if isinstance(enum := self._types.get(name), Enumeration):
                union.kind, union.enumeration = "enum", name
                members = {member.name: member.value for member in enum.members}
                legal = set(members.values())
            case Reference(name=name) if name in self._stubs:
                # An enum of a C header, no doubt. Its numbers are those of the case labels, which must be known.
                union.kind = "int"
                union.discriminant = Field(union.discriminant.name, _INT, place, union.discriminant.notes)
            case Reference(name=name) if isinstance(self._types.get(name), External):
                self._report.error(
                    place,
                    f"the discriminant of union {union.name} has the type {name!r}, which this file does not define",
                    "include the file that does",
                )
                return
            case None:
                return
            case _:
                self._report.error(
                    place,
                    f"the discriminant of union {union.name} is no integer",
                    "int, unsigned int, bool and enums may be one (RFC 4506, section 6.4)",
                )
                return
        seen: dict[int, Place] = {}
        for arm, written in zip(union.arms, body.arms, strict=True):
            for label in written.labels:
                named = label.name if isinstance(label, nodes.Name) else ""
                value = members.get(named)
                if value is None:
                    value = self._constants.evaluate(label, "the label of a case")
                if value is None:
                    continue
                value = self._label(union, value, label.place)
                if legal is not None and value not in legal:
                    owner = "bool" if union.kind == "bool" else f"enum {union.enumeration}"
                    self._report.warn(
                        label.place, f"union {union.name} has an arm for {value}, which {owner} does not have: left out"
                    )
                    continue
                if value in seen:
                    shown = f"{named} ({value})" if named else str(value)
                    self._report.error(
                        label.place,
                        f"union {union.name} has two arms for {shown}",
                        f"the first is on line {seen[value].line}",
                    )
                    continue
                seen[value] = label.place
                arm.labels.append((value, named))
        union.arms = [arm for arm in union.arms if arm.labels or arm.default]

    def _label(self, union: UnionType, value: int, place: Place) -> int:
        if union.kind != "uint":
            return self._word(value, "the label of a case", place)
        if not -_SIGN <= value <= MAX_WORD:
            self._report.error(place, f"case {value} does not fit the discriminant of union {union.name}")
        return value & MAX_WORD

    # ---- types ----------------------------------------------------------------------------------

    def _type(self, declaration: nodes.Declaration, inner_name: str) -> Type:
        """Lay out a declaration; a type defined in it gets `inner_name` if it has none."""
        specifier = declaration.type
        match specifier:
            case nodes.Builtin(kind=kind):
                return self._builtin(kind, declaration)
            case nodes.Named():
                base: Type = self._named_type(specifier)
            case _:
                name = specifier.name or self._fresh(inner_name)
                self._body(specifier, name, nodes.Notes())
                base = Reference(name)
        return self._shape(base, declaration)

    def _named_type(self, named: nodes.Named) -> Type:
        name = named.name
        if name in self._named:
            return Reference(name)
        if name in self._options.types:
            target = self._options.types[name]
            if "." not in target or not all(part.isidentifier() for part in target.split(".")):
                self._report.error(named.place, f"the type {name!r} shall be {target!r}, which is no MODULE.TYPE")
            elif name not in self._types:
                self._add(External(name, target, named.place))
            return Reference(name)
        if name in self._lent:
            self._named.add(name)
            self._wanted.append(name)
            return Reference(name)
        if name in PREDEFINED:
            return PREDEFINED[name]
        if self._options.stub_opaque:
            self._stubs.add(name)
            notes = nodes.Notes(f"Defined outside {named.place.file}: taken as opaque data.")
            if name not in self._types:
                self._add(Alias(name, OpaqueType(None, fixed=False), named.place, notes))
            return Reference(name)
        if name not in self._missing and name not in self._specification.broken:
            self._missing.add(name)
            what = f"{named.tag} {name}" if named.tag else name
            close = difflib.get_close_matches(name, self._named, n=1, cutoff=0.85)
            hint = (
                f"did you mean {close[0]!r}?"
                if close
                else (f"if a C header has it: --type {name}=MODULE.TYPE, or --stub-opaque to take it as opaque data")
            )
            self._report.error(named.place, f"the type {what!r} is not defined", hint)
        return Reference(name)

    def _builtin(self, kind: str, declaration: nodes.Declaration) -> Type:
        suffixes = declaration.suffixes
        if kind not in ("opaque", "string"):
            return self._shape(Scalar(kind), declaration)
        size = self._size(suffixes[0]) if suffixes else None
        base: Type
        base = OpaqueType(size, fixed=bool(suffixes) and suffixes[0].fixed) if kind == "opaque" else StringType(size)
        return self._wrap(base, declaration.pointers, suffixes[1:])

    def _shape(self, base: Type, declaration: nodes.Declaration) -> Type:
        return self._wrap(base, declaration.pointers, declaration.suffixes)

    def _wrap(self, base: Type, pointers: int, suffixes: tuple[nodes.Suffix, ...]) -> Type:
        for _ in range(pointers):
            base = OptionalType(base)
        for suffix in reversed(suffixes):
            base = ArrayType(base, self._size(suffix), suffix.fixed)
        return base

    def _size(self, suffix: nodes.Suffix) -> Size | None:
        if suffix.size is None:
            return None
        value = self._constants.evaluate(suffix.size, "a size")
        if value is None:
            return Size(0)
        if not 0 <= value <= MAX_WORD:
            self._report.error(suffix.size.place, f"a size is 0 to {MAX_WORD}, not {value}")
            return Size(0)
        known = isinstance(suffix.size, nodes.Name) and self._constants.has(suffix.size.name)
        return Size(value, suffix.size.name if known and isinstance(suffix.size, nodes.Name) else "")

    def _follow(self, type_: Type) -> Type | None:
        """Go through typedefs to what is behind them; None if they go in a circle or nowhere."""
        seen: set[str] = set()
        while isinstance(type_, Reference):
            entry = self._types.get(type_.name)
            if not isinstance(entry, Alias) or type_.name in self._stubs:
                return type_ if entry is not None else None
            if type_.name in seen:
                return None
            seen.add(type_.name)
            type_ = entry.type
        return type_

    # ---- programs ----------------------------------------------------------------------------------

    def _program(self, program: nodes.Program) -> None:
        number = self._program_number(program.number, f"the number of program {program.name}")
        spelling = program.number.spelling if isinstance(program.number, nodes.Number) else str(number)
        versions: list[VersionEntry] = []
        names: set[str] = set()
        numbers: dict[int, str] = {}
        for version in program.versions:
            value = self._program_number(version.number, f"the number of version {version.name}")
            if version.name in names:
                self._report.error(version.place, f"program {program.name} has two versions called {version.name!r}")
            elif value in numbers:
                self._report.error(
                    version.place, f"version {version.name} has the number {value}, as {numbers[value]} has"
                )
            names.add(version.name)
            numbers.setdefault(value, version.name)
            versions.append(VersionEntry(version.name, value, self._procedures(version), version.place, version.notes))
        entry = ProgramEntry(program.name, number, spelling, versions, program.place, program.notes)
        entry.module = self._options.module_of(program.place.file)
        self._entries.append(entry)

    def _procedures(self, version: nodes.Version) -> list[ProcedureEntry]:
        procedures: list[ProcedureEntry] = []
        names: set[str] = set()
        numbers: dict[int, str] = {}
        for procedure in version.procedures:
            number = self._program_number(procedure.number, f"the number of {procedure.name!r}")
            if procedure.name in names:
                self._report.error(
                    procedure.place, f"version {version.name} has two procedures called {procedure.name!r}"
                )
            elif number in numbers:
                self._report.error(
                    procedure.place, f"{procedure.name!r} has the number {number}, as {numbers[number]!r} has"
                )
            names.add(procedure.name)
            numbers.setdefault(number, procedure.name)
            arguments = [
                Field(a.name, self._type(a, f"{procedure.name}_{a.name or 'arg'}"), a.place)
                for a in procedure.arguments
            ]
            result = self._type(procedure.result, f"{procedure.name}_res")
            procedures.append(
                ProcedureEntry(procedure.name, number, arguments, result, procedure.place, procedure.notes)
            )
        return procedures

    def _program_number(self, expression: nodes.Expression, what: str) -> int:
        value = self._constants.evaluate(expression, what)
        if value is None:
            return 0
        if not 0 <= value <= MAX_WORD:
            self._report.error(expression.place, f"{what} is {value}; only 0 to {MAX_WORD} can be called")
            return 0
        return value


def _is_own_name(declaration: nodes.Declaration) -> bool:
    return (
        isinstance(declaration.type, nodes.Named)
        and declaration.type.name == declaration.name
        and not declaration.pointers
        and not declaration.suffixes
    )


def _same(left: TypeEntry, right: TypeEntry) -> bool:
    """Tell whether two definitions of a name say the same, as when a file is included twice."""
    match left, right:
        case Alias(), Alias():
            return left.type == right.type
        case Structure(), Structure():
            return [(f.name, f.type) for f in left.fields] == [(f.name, f.type) for f in right.fields]
        case Enumeration(), Enumeration():
            return [(m.name, m.value) for m in left.members] == [(m.name, m.value) for m in right.members]
        case _:
            return False
