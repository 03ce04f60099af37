"""The constants of a file: const, enumerators, program numbers, in whatever order they refer to each other."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from xdr.rpcl import nodes
from xdr.rpcl.expressions import apply_binary, apply_unary
from xdr.rpcl.model import ConstantDefinition

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from xdr.rpcl.errors import Diagnostics, Place

__all__ = ["PREDEFINED_CONSTANTS", "Constants"]

PREDEFINED_CONSTANTS: Final[Mapping[str, int]] = {
    # RFC 4506, section 4.4: bool is an enum with these; C++ spells them small.
    "TRUE": 1,
    "FALSE": 0,
    "true": 1,
    "false": 0,
    # <rpc/auth.h>, which every C file of rpcgen includes; RFC 5531, section 14.
    "AUTH_NONE": 0,
    "AUTH_NULL": 0,
    "AUTH_SYS": 1,
    "AUTH_UNIX": 1,
    "AUTH_SHORT": 2,
    "AUTH_DH": 3,
    "AUTH_DES": 3,
    "RPCSEC_GSS": 6,
    "MAX_AUTH_BYTES": 400,
    "MAXNETNAMELEN": 255,
    "MAX_MACHINE_NAME": 255,
    "NGRPS": 16,
    # <rpc/xdr.h> and <rpc/des_crypt.h>
    "MAX_NETOBJ_SZ": 1024,
    "DES_MAXDATA": 8192,
}
"""Names that stand for a number in every .x file, unless it defines them itself."""

_Source = nodes.Const | nodes.Program | nodes.Version | nodes.Procedure | tuple[nodes.EnumBody, int]
_MAX_CHAIN: Final = 200
"""Constants defined by each other in one chain. Enumerators without values do not count: they are not recursive."""


class Constants:
    """All names of a file that stand for a number."""

    def __init__(
        self, report: Diagnostics, passthrough: Mapping[str, int], broken: Collection[str] = frozenset()
    ) -> None:
        self._report = report
        self._sources: dict[str, _Source] = {}
        self._values: dict[str, int | str | None] = {}
        self._busy: list[str] = []
        self._unknown: set[str] = set()
        self._passthrough = passthrough
        self._broken = broken
        self._duplicates: dict[int, nodes.Const] = {}
        self.borrowed: dict[str, nodes.Definition] = {}
        """Constants of other files, each with the definition that has it."""
        self.wanted: list[nodes.Definition] = []
        """Definitions of other files whose constants the output names."""

    def lend(self, definition: nodes.Definition) -> None:
        """Take in the constants of another file's definition, where this file has none of the name."""
        match definition:
            case nodes.Const(name=name) if name not in self._sources:
                self._sources[name] = definition
                self.borrowed[name] = definition
            case (
                nodes.TypeDefinition(body=nodes.EnumBody() as body)
                | nodes.Typedef(declaration=nodes.Declaration(type=nodes.EnumBody() as body))
            ):
                for index, enumerator in enumerate(body.enumerators):
                    if enumerator.name not in self._sources:
                        self._sources[enumerator.name] = (body, index)
                        self.borrowed[enumerator.name] = definition

    # ---- what there is ------------------------------------------------------------------

    def add_constant(self, const: nodes.Const) -> None:
        """Take in a const; its value is found when it is asked for."""
        if const.name in self._sources:
            self._duplicates[id(const)] = const
        else:
            self._sources[const.name] = const

    def add_enum(self, body: nodes.EnumBody) -> None:
        """Take in the names of an enum: they are C's, so they belong to the whole file."""
        for index, enumerator in enumerate(body.enumerators):
            self._sources.setdefault(enumerator.name, (body, index))

    def add_program(self, program: nodes.Program) -> None:
        """Take in the names of a program: rpcgen makes constants of all of them."""
        self._sources.setdefault(program.name, program)
        for version in program.versions:
            self._sources.setdefault(version.name, version)
            for procedure in version.procedures:
                self._sources.setdefault(procedure.name, procedure)

    def has(self, name: str) -> bool:
        """Tell whether it is a constant or enumerator that the output will have by name."""
        if name in self.borrowed:
            self.wanted.append(self.borrowed[name])
        return isinstance(self._sources.get(name), (nodes.Const, tuple))

    def definition(self, const: nodes.Const) -> ConstantDefinition | None:
        """Give the value of a const; None if it repeats another or has none."""
        value = self._of(const.name, const.place)
        if id(const) in self._duplicates:
            again = self._evaluate(const.value, f"the value of {const.name!r}")
            if again is not None and again != value:
                first = self._place(const.name)
                self._report.error(
                    const.place,
                    f"{const.name!r} is defined twice, with other values",
                    f"first at {first.file}:{first.line}",
                )
            return None
        if value is None:
            return None
        spelling = const.value.spelling if isinstance(const.value, nodes.Number) else ""
        alias = const.value.name if isinstance(const.value, nodes.Name) and self.has(const.value.name) else ""
        return ConstantDefinition(const.name, value, spelling, alias, const.place, const.notes)

    def enumerator(self, body: nodes.EnumBody, index: int) -> int | None:
        """Give the value of an enumerator.

        C would not have two of a name in one file, but C++ has, and so have files that are written for it.
        """
        name = body.enumerators[index].name
        if self._sources.get(name) == (body, index):
            value = self._of(name, body.enumerators[index].place)
            return value if isinstance(value, int) else None
        return self._enumerator(body, index)

    def evaluate(self, expression: nodes.Expression, what: str) -> int | None:
        """Calculate an expression; None, and a report, if that is not possible."""
        value = self._evaluate(expression, what)
        if isinstance(value, str):
            self._report.error(expression.place, f"{what} is a number, not a text")
            return None
        return value

    # ---- calculating -------------------------------------------------------------------------

    def _place(self, name: str) -> Place:
        source = self._sources[name]
        return source[0].enumerators[source[1]].place if isinstance(source, tuple) else source.place

    def _of(self, name: str, place: Place) -> int | str | None:
        if name in self._values:
            return self._values[name]
        if name in self._busy:
            circle = " -> ".join([*self._busy[self._busy.index(name) :], name])
            self._report.error(place, f"{name!r} is defined by itself: {circle}")
            return None
        if len(self._busy) >= _MAX_CHAIN:
            self._report.error(place, f"more than {_MAX_CHAIN} constants are defined by each other in a row")
            return None
        source = self._sources[name]
        self._busy.append(name)
        try:
            if isinstance(source, tuple):
                value: int | str | None = self._enumerator(*source)
            elif isinstance(source, nodes.Const):
                value = self._evaluate(source.value, f"the value of {name!r}")
            else:
                value = self._evaluate(source.number, f"the number of {name!r}")
        finally:
            self._busy.pop()
        self._values[name] = value
        return value

    def _enumerator(self, body: nodes.EnumBody, index: int) -> int | None:
        """Find the nearest enumerator before it that says its value, and count from there."""
        start = index
        while start >= 0 and body.enumerators[start].value is None:
            known = self._values.get(body.enumerators[start].name)
            if isinstance(known, int) and self._sources.get(body.enumerators[start].name) == (body, start):
                return known + index - start
            start -= 1
        if start < 0:
            return index
        stated = body.enumerators[start]
        assert stated.value is not None
        if start != index and self._sources.get(stated.name) == (body, start):
            base = self._of(stated.name, stated.place)
        else:
            base = self.evaluate(stated.value, f"the value of {stated.name!r}")
        return base + index - start if isinstance(base, int) else None

    def _evaluate(self, expression: nodes.Expression, what: str) -> int | str | None:
        match expression:
            case nodes.Number(value=number):
                return number
            case nodes.Text(value=text):
                return text
            case nodes.Name(name=name, place=place):
                return self._name(name, place, what)
            case nodes.Unary(operator=operator, operand=operand):
                value = self.evaluate(operand, what)
                return None if value is None else apply_unary(operator, value)
            case nodes.Binary(operator=operator, left=left, right=right, place=place):
                first = self.evaluate(left, what)
                second = self.evaluate(right, what)
                if first is None or second is None:
                    return None
                try:
                    return apply_binary(operator, first, second)
                except ValueError as error:
                    self._report.error(place, f"{what} cannot be calculated: {error}")
                    return None

    def _name(self, name: str, place: Place, what: str) -> int | str | None:
        if name in self._sources:
            return self._of(name, place)
        if name in PREDEFINED_CONSTANTS:
            return PREDEFINED_CONSTANTS[name]
        if name in self._passthrough:
            return self._passthrough[name]
        if name not in self._unknown and name not in self._broken:
            self._unknown.add(name)
            close = difflib.get_close_matches(name, self._sources, n=1, cutoff=0.85)
            hint = f"did you mean {close[0]!r}?" if close else f"if a C header has it: -D {name}=VALUE"
            self._report.error(place, f"the constant {name!r} is not defined, in {what}", hint)
        return None
