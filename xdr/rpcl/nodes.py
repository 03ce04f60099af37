"""Syntax of a file in the RPC language, as written (RFC 4506, section 6.3; RFC 5531, section 12.2).

Nodes know nothing of Python: names are those of the file, and nothing is looked up yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from xdr.rpcl.errors import Place

__all__ = [
    "Binary",
    "Builtin",
    "CaseArm",
    "Const",
    "Declaration",
    "Definition",
    "EnumBody",
    "Enumerator",
    "Expression",
    "Name",
    "Named",
    "Notes",
    "Number",
    "Procedure",
    "Program",
    "Specification",
    "StructBody",
    "Suffix",
    "Text",
    "TypeDefinition",
    "TypeSpecifier",
    "Typedef",
    "Unary",
    "UnionBody",
    "Version",
]


@dataclass(frozen=True, slots=True)
class Notes:
    """What people wrote about a definition."""

    doc: str = ""
    """The comment that belongs to it: right above it, or behind it on the same line."""
    remarks: tuple[str, ...] = ()
    """Lines of comments that stand by themselves above it, and of ``%`` lines, which keep their sign."""


# ---- expressions ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """Corresponds to 'constant'; `spelling` keeps hexadecimal and octal readable."""

    value: int
    spelling: str
    place: Place


@dataclass(frozen=True, slots=True)
class Text:
    """A string constant, an extension of rpcgen."""

    value: str
    place: Place


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier used as a value."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Unary:
    """``-x``, ``+x`` or ``~x``."""

    operator: str
    operand: Expression
    place: Place


@dataclass(frozen=True, slots=True)
class Binary:
    """One of ``| ^ & << >> + - * / %`` with C's precedence."""

    operator: str
    left: Expression
    right: Expression
    place: Place


Expression: TypeAlias = Number | Text | Name | Unary | Binary


# ---- types ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Builtin:
    """A type that the language has itself.

    `kind` is one of int, uint, hyper, uhyper, float, double, quadruple, bool, void, opaque, string.
    """

    kind: str
    spelling: str
    place: Place


@dataclass(frozen=True, slots=True)
class Named:
    """A type by its name, perhaps with ``struct``, ``union`` or ``enum`` before it."""

    name: str
    tag: str
    place: Place


@dataclass(frozen=True, slots=True)
class Enumerator:
    """One name of an enum; no value means one more than the last, as in C."""

    name: str
    value: Expression | None
    place: Place
    notes: Notes


@dataclass(frozen=True, slots=True)
class EnumBody:
    """Corresponds to 'enum-body'."""

    name: str
    enumerators: tuple[Enumerator, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class StructBody:
    """Corresponds to 'struct-body'; `name` is empty if it is anonymous."""

    name: str
    fields: tuple[Declaration, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class CaseArm:
    """Corresponds to 'case-spec', or to the default arm if there are no labels."""

    labels: tuple[Expression, ...]
    default: bool
    declaration: Declaration
    notes: Notes


@dataclass(frozen=True, slots=True)
class UnionBody:
    """Corresponds to 'union-body'."""

    name: str
    discriminant: Declaration
    arms: tuple[CaseArm, ...]
    place: Place


TypeSpecifier: TypeAlias = Builtin | Named | EnumBody | StructBody | UnionBody


@dataclass(frozen=True, slots=True)
class Suffix:
    """``[size]`` if fixed, else ``<size>``; no size means the language's own bound, 2**32 - 1."""

    fixed: bool
    size: Expression | None
    place: Place


@dataclass(frozen=True, slots=True)
class Declaration:
    """Corresponds to 'declaration'."""

    type: TypeSpecifier
    name: str
    pointers: int
    suffixes: tuple[Suffix, ...]
    place: Place
    notes: Notes = field(default_factory=Notes)


# ---- definitions --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Const:
    """Corresponds to 'constant-def'."""

    name: str
    value: Expression
    place: Place
    notes: Notes


@dataclass(frozen=True, slots=True)
class Typedef:
    """``typedef declaration;``."""

    declaration: Declaration
    place: Place
    notes: Notes


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """``enum``, ``struct`` or ``union`` with its name."""

    body: EnumBody | StructBody | UnionBody
    place: Place
    notes: Notes


@dataclass(frozen=True, slots=True)
class Procedure:
    """Corresponds to 'procedure-def'."""

    name: str
    result: Declaration
    arguments: tuple[Declaration, ...]
    number: Expression
    place: Place
    notes: Notes


@dataclass(frozen=True, slots=True)
class Version:
    """Corresponds to 'version-def'."""

    name: str
    procedures: tuple[Procedure, ...]
    number: Expression
    place: Place
    notes: Notes


@dataclass(frozen=True, slots=True)
class Program:
    """Corresponds to 'program-def'."""

    name: str
    versions: tuple[Version, ...]
    number: Expression
    place: Place
    notes: Notes


Definition: TypeAlias = Const | Typedef | TypeDefinition | Program


@dataclass(frozen=True, slots=True)
class Specification:
    """A whole file and what it includes, in the order of the text."""

    definitions: tuple[Definition, ...]
    header: str
    """The comment that opens the file, if it is about the file; licences stay remarks."""
    closing: tuple[str, ...]
    """Remarks after the last definition."""
    passthrough_constants: dict[str, int]
    """Numbers that ``%#define`` lines give: C code of the file knows them, so its bounds may use them."""
    headers: tuple[tuple[str, str], ...] = ()
    """Names of ``%#include`` lines, each with the file that has the line; the .x file of a header may be at hand."""
    broken: frozenset[str] = frozenset()
    """All names in the text of definitions that did not parse: what they define is not known, but not missing."""
