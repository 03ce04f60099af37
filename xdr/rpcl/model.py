"""A checked module: every name found, every constant calculated, every type laid out (RFC 4506, sections 4 and 6).

Emitters read this and nothing else. Names are still those of the file; anonymous types have got theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from xdr.rpcl.nodes import Notes

if TYPE_CHECKING:
    from xdr.rpcl.errors import Place

__all__ = [
    "Alias",
    "Arm",
    "ArrayType",
    "ConstantDefinition",
    "Enumeration",
    "External",
    "Field",
    "Member",
    "Module",
    "OpaqueType",
    "OptionalType",
    "ProcedureEntry",
    "ProgramEntry",
    "Reference",
    "Scalar",
    "Size",
    "StringType",
    "Structure",
    "Type",
    "TypeEntry",
    "UnionType",
    "VersionEntry",
]


@dataclass(frozen=True, slots=True)
class Size:
    """A bound or size, and how the file said it: the name of one constant, or a number."""

    value: int
    constant: str = ""


@dataclass(frozen=True, slots=True)
class Scalar:
    """`kind`: int, uint, hyper, uhyper, float, double, quadruple, bool or void."""

    kind: str


@dataclass(frozen=True, slots=True)
class OpaqueType:
    """Bytes, a fixed number or up to a bound; no size is no bound but the language's."""

    size: Size | None
    fixed: bool


@dataclass(frozen=True, slots=True)
class StringType:
    """Text up to a bound."""

    size: Size | None


@dataclass(frozen=True, slots=True)
class ArrayType:
    """Elements, a fixed number or up to a bound."""

    element: Type
    size: Size | None
    fixed: bool


@dataclass(frozen=True, slots=True)
class OptionalType:
    """Optional-data."""

    element: Type


@dataclass(frozen=True, slots=True)
class Reference:
    """A type of the module by name."""

    name: str


Type: TypeAlias = Scalar | OpaqueType | StringType | ArrayType | OptionalType | Reference


@dataclass(slots=True)
class ConstantDefinition:
    """A const: a number or a text; `alias` is the constant that it repeats, if that is all it does."""

    name: str
    value: int | str
    spelling: str
    alias: str
    place: Place
    notes: Notes
    module: str = ""
    """Where it is imported from; empty if it belongs to this module. So in all definitions."""


@dataclass(slots=True)
class Member:
    """One enumerator."""

    name: str
    value: int
    spelling: str
    place: Place
    notes: Notes


@dataclass(slots=True)
class Enumeration:
    """An enum."""

    name: str
    members: list[Member]
    place: Place
    notes: Notes
    module: str = ""


@dataclass(slots=True)
class Field:
    """One field of a struct, or argument of a procedure."""

    name: str
    type: Type
    place: Place
    notes: Notes = field(default_factory=Notes)


@dataclass(slots=True)
class Structure:
    """A struct."""

    name: str
    fields: list[Field]
    place: Place
    notes: Notes
    module: str = ""


@dataclass(slots=True)
class Arm:
    """One arm of a union; no field is void."""

    labels: list[tuple[int, str]]
    """Values of the discriminant, each with the enumerator or constant that the file names, or empty."""
    default: bool
    field: Field | None
    place: Place
    notes: Notes


@dataclass(slots=True)
class UnionType:
    """A discriminated union."""

    name: str
    discriminant: Field
    kind: str
    """What the discriminant evaluates to: int, uint, bool or enum."""
    enumeration: str
    """The enum, if it is one."""
    arms: list[Arm]
    place: Place
    notes: Notes
    module: str = ""


@dataclass(slots=True)
class Alias:
    """A typedef."""

    name: str
    type: Type
    place: Place
    notes: Notes
    module: str = ""


@dataclass(slots=True)
class External:
    """A type that the file uses and something else declares; `target` is its dotted path in Python."""

    name: str
    target: str
    place: Place
    notes: Notes = field(default_factory=Notes)
    module: str = ""


TypeEntry: TypeAlias = Enumeration | Structure | UnionType | Alias | External


@dataclass(slots=True)
class ProcedureEntry:
    """One procedure of a version."""

    name: str
    number: int
    arguments: list[Field]
    """Names are empty where the file gives none."""
    result: Type
    place: Place
    notes: Notes


@dataclass(slots=True)
class VersionEntry:
    """One version of a program."""

    name: str
    number: int
    procedures: list[ProcedureEntry]
    place: Place
    notes: Notes


@dataclass(slots=True)
class ProgramEntry:
    """One program."""

    name: str
    number: int
    spelling: str
    versions: list[VersionEntry]
    place: Place
    notes: Notes
    module: str = ""


@dataclass(slots=True)
class Module:
    """All of a file."""

    entries: list[ConstantDefinition | TypeEntry | ProgramEntry]
    """In the order of the file; nested types come before the type they stand in."""
    header: str
    closing: tuple[str, ...]
    cyclic: bool = False
    """Whether a file that this one includes includes this one: their modules then import each other."""

    @property
    def types(self) -> dict[str, TypeEntry]:
        """The types by name."""
        return {e.name: e for e in self.entries if isinstance(e, (Enumeration, Structure, UnionType, Alias, External))}

    @property
    def programs(self) -> list[ProgramEntry]:
        """The programs, in the order of the file, without imported ones."""
        return [entry for entry in self.entries if isinstance(entry, ProgramEntry) and not entry.module]
