"""Tokens to syntax nodes, one method for each production of RFC 4506, section 6.3, and RFC 5531, section 12.2.

More is taken than the RFCs allow, because public files have more: C's spellings of integers, ``struct`` before a type
name, expressions for constants, enumerators without values, several declarators' oddities, namespaces, pragmas. What
is no more than a slip (a comma before ``}``, a second ``;``) is passed over. Everything else is reported, and parsing
goes on behind it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from xdr.rpcl.cursor import Cursor, ParseError, notes_of, remarks_of, split_comments
from xdr.rpcl.expressions import parse_expression
from xdr.rpcl.nodes import (
    Builtin,
    CaseArm,
    Const,
    Declaration,
    Definition,
    EnumBody,
    Enumerator,
    Expression,
    Named,
    Notes,
    Procedure,
    Program,
    Specification,
    StructBody,
    Suffix,
    Typedef,
    TypeDefinition,
    TypeSpecifier,
    UnionBody,
    Version,
)
from xdr.rpcl.preprocess import Passed, Preprocessed
from xdr.rpcl.tokens import Token, comment_text

if TYPE_CHECKING:
    from xdr.rpcl.errors import Diagnostics, Place

__all__ = ["MAX_NESTING", "parse"]

MAX_NESTING: Final = 32
"""Types defined within each other. The corpus has 3; each level takes a few frames of Python's stack."""

_INTEGER_WORDS: Final = frozenset({"unsigned", "signed", "int", "long", "short", "char", "hyper"})
_SIMPLE: Final = {
    "float": "float",
    "double": "double",
    "quadruple": "quadruple",
    "bool": "bool",
    "void": "void",
    "opaque": "opaque",
    "string": "string",
}
_SIZED: Final = frozenset({"opaque", "string"})
_LICENCE_WORDS: Final = ("@(#)", "$id", "copyright", "(c)", "licen", "all rights reserved", "spdx", "warrant")


def parse(source: Preprocessed, report: Diagnostics) -> Specification:
    """Parse a whole file; what is wrong goes to `report`, the rest into the result."""
    return _Parser(source, report).specification()


class _Parser(Cursor):
    def __init__(self, source: Preprocessed, report: Diagnostics) -> None:
        super().__init__(source.tokens, report)
        self._constants = source.passthrough_constants
        self._imports = list(source.passthrough_includes)
        self._nesting = 0
        self._broken: set[str] = set()

    # ---- files ----------------------------------------------------------------

    def specification(self) -> Specification:
        header, skip = self._header()
        definitions: list[Definition] = []
        while not self.at_end and not self.report.full:
            self._attempt(definitions, skip)
            skip = 0
        return Specification(
            tuple(definitions),
            header,
            remarks_of(self.next.before[skip:]),
            self._constants,
            tuple(self._imports),
            frozenset(self._broken),
        )

    def _header(self) -> tuple[str, int]:
        """Give the comment that opens the file and describes it, and how many comments that takes."""
        alone, _ = split_comments(self.next)
        if self.at_end:
            alone = self.next.before
        if not alone or alone[0].passthrough:
            return "", 0
        text = comment_text(alone[0].text)
        if any(word in text.lower() for word in _LICENCE_WORDS):
            return "", 0
        return text, 1

    def _attempt(self, into: list[Definition], skip: int) -> None:
        """Parse a definition. One with a fault is left out, for half of it would give rise to others."""
        start, known, faults = self.position, len(into), self.report.count
        namespace = self.sees("namespace")
        try:
            self._definition(into, skip)
        except ParseError:
            self.skip_definition(start)
        else:
            if namespace or self.report.count == faults:
                return
        if not namespace:
            del into[known:]
        self._broken |= self.names_since(start)

    def _definition(self, into: list[Definition], skip: int) -> None:
        first = self.next
        if self.accept(";", "}"):
            if first.text == "}":
                self.fail("this '}' closes nothing", token=first)
            return
        match first.text if first.kind == "name" else "":
            case "typedef":
                into.append(self._typedef(first, skip))
            case "const":
                into.append(self._const(first, skip))
            case "struct" | "union" | "enum":
                self._tagged_definition(into, first, skip)
            case "program":
                into.append(self._program(first, skip))
            case "namespace":
                self._namespace(into, skip)
            case "package" | "import" if self.peek().kind == "string" and self.peek(2).text == ";":
                # bb-go-xdr: package "example.org/go/path"; import "other.x";
                self.take()
                path = self.take()
                self.take()
                if first.text == "import":
                    self._imports.append(Passed(path.text[1:-1], os.path.abspath(path.place.file)))  # noqa: PTH100
            case "pragma":
                # Linux's xdrgen: pragma header NAME; and others, which are about its C output.
                while not self.at_end and not self.accept(";"):
                    self.take()
            case _:
                hint = ""
                if first.kind == "#":
                    hint = "a directive must begin its line"
                elif first.kind == "name":
                    hint = "a field or procedure belongs between the braces of a struct, union or version"
                self.fail("expected const, typedef, struct, union, enum or program", hint)

    def _namespace(self, into: list[Definition], skip: int) -> None:
        """``namespace NAME { ... }`` of xdrpp and goxdr; Python's module is the namespace."""
        self.take()
        self.expect_name("the name of the namespace")
        while self.accept(":"):
            self.accept(":")
            self.expect_name("the name of the namespace")
        opening = self.expect("{", "after the name of the namespace")
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self.fail("namespaces are nested too deeply", token=opening)
        while not self.sees("}"):
            if self.at_end:
                self.fail("expected '}' to close the namespace")
            self._attempt(into, skip)
            skip = 0
        self.take()
        self.accept(";")
        self._nesting -= 1

    # ---- definitions -------------------------------------------------------------

    def _end(self, what: str) -> Token:
        return self.expect(";", f"after {what}")

    def _const(self, first: Token, skip: int) -> Const:
        self.take()
        name = self.expect_name("the name of the constant")
        self.expect("=", f"after the constant's name {name.text!r}")
        value = parse_expression(self, f"the value of {name.text!r}")
        last = self.last
        end = self._end(f"the constant {name.text!r}")
        return Const(name.text, value, name.place, notes_of(first, last, end, skip=skip))

    def _typedef(self, first: Token, skip: int) -> Typedef:
        self.take()
        declaration = self._declaration("the new type")
        if not declaration.name:
            self.fail("expected the name of the new type")
        last = self.last
        end = self._end(f"the typedef of {declaration.name!r}")
        return Typedef(declaration, declaration.place, notes_of(first, last, end, skip=skip))

    def _tagged_definition(self, into: list[Definition], first: Token, skip: int) -> None:
        if self.peek().kind == "name" and self.peek(2).text == ";":
            # struct foo; tells C that there will be one.
            self.take()
            self.take()
            self.take()
            return
        body = self._type_specifier(named=True)
        if isinstance(body, (Builtin, Named)):
            self.fail(f"expected '{{' after {first.text} {body.name if isinstance(body, Named) else ''}".rstrip())
        opening = self._opening
        end = self.expect(";", f"after the '}}' of {first.text} {body.name!r}")
        notes = notes_of(first, opening, end, skip=skip) if opening is not None else notes_of(first, end, skip=skip)
        into.append(TypeDefinition(body, body.place, notes))

    # ---- types --------------------------------------------------------------------

    _opening: Token | None = None
    """The brace that opened the body parsed last; a comment behind it is about the type."""

    def _type_specifier(self, *, named: bool = False) -> TypeSpecifier:
        """Parse a type; with `named` a body must have a name."""
        token = self.next
        if token.kind != "name" and not (self.sees(":") and self.peek().text == ":" and self.peek(2).kind == "name"):
            self.fail("expected a type")
        if token.text in _INTEGER_WORDS:
            return self._integer()
        if token.text in ("struct", "union", "enum"):
            return self._tagged(named=named)
        if token.text in _SIMPLE:
            self.take()
            return Builtin(_SIMPLE[token.text], token.text, token.place)
        token = self.take_qualified()
        return Named(token.text, "", token.place)

    def _integer(self) -> Builtin:
        """C's spellings: their order is free, and ``int`` may be left out."""
        first = self.next
        words: list[str] = []
        while self.next.kind == "name" and self.next.text in _INTEGER_WORDS:
            # "unsigned hyper" in an argument list is a type; "int long;" is a field of that name.
            ends = self.peek().text in (";", "[", "<", "=", ",", ")")
            if words and ends and self._complete(words) and not self._extends(words, self.next.text):
                break
            words.append(self.take().text)
        if words[0] == "unsigned" and len(words) == 1 and self.next.text in ("long_long", "longlong"):
            words += ["long", "long"]
            self.take()
        spelling = " ".join(words)
        wide = "hyper" in words or words.count("long") > 1
        if "signed" in words and "unsigned" in words:
            self.fail("a type is signed or unsigned, not both", token=first)
        kind = "hyper" if wide else "int"
        return Builtin("u" + kind if "unsigned" in words else kind, spelling, first.place)

    @staticmethod
    def _complete(words: list[str]) -> bool:
        return words[-1] not in ("unsigned", "signed")

    @staticmethod
    def _extends(words: list[str], word: str) -> bool:
        """Tell whether C takes the word into the type that stands already."""
        if word == "int":
            return "int" not in words and "char" not in words
        return word == "long" and words.count("long") == 1 and "int" not in words

    def _tagged(self, *, named: bool) -> TypeSpecifier:
        tag = self.take()
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self.fail(f"types are nested more than {MAX_NESTING} deep", token=tag)
        try:
            name = ""
            place = tag.place
            if self.next.kind == "name" and not (tag.text == "union" and self._at_switch()):
                token = self.take()
                name, place = token.text, token.place
                if not self.sees("{") and not (tag.text == "union" and self.sees("switch")):
                    return Named(name, tag.text, place)
            elif named:
                self.fail(f"expected the name of the {tag.text}")
            match tag.text:
                case "enum":
                    return self._enum_body(name, place)
                case "struct":
                    return self._struct_body(name, place)
                case _:
                    return self._union_body(name, place)
        finally:
            self._nesting -= 1

    def _at_switch(self) -> bool:
        return self.sees("switch") and self.peek().text == "("

    def _enum_body(self, name: str, place: Place) -> EnumBody:
        opening = self.expect("{", f"to open enum {name}".rstrip())
        enumerators: list[Enumerator] = []
        faulty = False
        while not self.sees("}"):
            first = self.next
            try:
                token = self.expect_name("the name of an enumerator or '}'")
                value = None
                if self.accept("="):
                    value = parse_expression(self, f"the value of {token.text!r}")
                last = self.last
                comma = self.accept(",")
                if comma is None and not self.sees("}"):
                    self.fail(f"expected ',' or '}}' after the enumerator {token.text!r}")
            except ParseError:
                faulty = True
                self._skip_enumerator()
                continue
            ends = (last, comma) if comma is not None else (last,)
            enumerators.append(Enumerator(token.text, value, token.place, notes_of(first, *ends)))
        self.take()
        self._opening = opening
        if not enumerators and not faulty:
            self.report.error(place, f"enum {name} has no enumerators".replace("  ", " "))
        return EnumBody(name, tuple(enumerators), place)

    def _skip_enumerator(self) -> None:
        while not self.sees("}"):
            if self.at_end or self.sees(";", "{"):
                raise ParseError
            if self.accept(","):
                return
            self.take()

    def _struct_body(self, name: str, place: Place) -> StructBody:
        opening = self.expect("{", f"to open struct {name}".rstrip())
        fields: list[Declaration] = []
        while not self.sees("}"):
            if self.accept(";"):
                continue
            first = self.next
            try:
                self._check_open(f"struct {name}", place)
                field = self._declaration("a field")
                last = self.last
                end = self._end(f"the field {field.name!r}" if field.name else "'void'")
            except ParseError:
                self._recover(f"struct {name}", place)
                continue
            if field.type.__class__ is Builtin and field.type.kind == "void":
                continue
            if not field.name:
                self.report.error(field.place, "this field has no name")
                continue
            fields.append(_with_notes(field, notes_of(first, last, end)))
        self.take()
        self._opening = opening
        return StructBody(name, tuple(fields), place)

    def _check_open(self, what: str, place: Place) -> None:
        # No type is called so: what begins here is the next definition.
        if self.at_end or self.sees("const", "typedef"):
            self.report.error(place, f"{what.strip()} is never closed", "end it with '};'")
            raise ParseError

    def _recover(self, what: str, place: Place) -> None:
        """Go on with the next item of the same body, or give the body up if there is none."""
        self.skip_item()
        if self.at_end or self._starts_definition():
            self.report.error(place, f"{what.strip()} is never closed", "end it with '};'")
            raise ParseError

    def _union_body(self, name: str, place: Place) -> UnionBody:
        self.expect("switch", f"after union {name}".rstrip())
        self.expect("(", "after 'switch'")
        discriminant = self._declaration("the discriminant")
        if not discriminant.name:
            self.fail("expected the name of the discriminant")
        self.expect(")", "after the discriminant")
        opening = self.expect("{", f"to open union {name}".rstrip())
        arms: list[CaseArm] = []
        while not self.sees("}"):
            if self.accept(";"):
                continue
            try:
                self._check_open(f"union {name}", place)
                arms.append(self._arm())
            except ParseError:
                self._recover(f"union {name}", place)
        self.take()
        self._opening = opening
        return UnionBody(name, discriminant, tuple(arms), place)

    def _arm(self) -> CaseArm:
        first = self.next
        labels: list[Expression] = []
        default = False
        ends: list[Token] = []
        while self.sees("case", "default"):
            if self.take().text == "default":
                default = True
            else:
                labels.append(parse_expression(self, "the label of a case"))
            ends.append(self.expect(":", "after the label of a case"))
        if not ends:
            self.fail("expected 'case', 'default' or '}'")
        start = self.next
        if self.sees(";", "}"):
            # case A: ; and case A: } are void to the eye, and to a few compilers.
            declaration = Declaration(Builtin("void", "void", start.place), "", 0, (), start.place)
            end = self.accept(";") or start
        else:
            declaration = self._declaration("the arm of a union")
            end = self._end(f"the arm {declaration.name!r}" if declaration.name else "the arm")
        notes = notes_of(first, *ends, end)
        inner = notes_of(start, end) if start.before else Notes()
        doc = "\n".join(dict.fromkeys(text for text in (notes.doc, inner.doc) if text))
        return CaseArm(tuple(labels), default, declaration, Notes(doc, notes.remarks))

    # ---- declarations -----------------------------------------------------------------

    def _declaration(self, what: str) -> Declaration:
        """Parse a type, its stars, perhaps a name, and the sizes behind it."""
        specifier = self._type_specifier()
        pointers = self._stars()
        name = self.next if self.next.kind == "name" else None
        place = specifier.place
        if name is not None:
            self.take()
            place = name.place
        elif not self.sees(";", ",", ")", "<", "[") and not (
            isinstance(specifier, Builtin) and specifier.kind == "void"
        ):
            self.fail(f"expected the name of {what} after its type")
        suffixes = self._suffixes(name.text if name is not None else what)
        if isinstance(specifier, Builtin):
            self._check_builtin(specifier, suffixes, pointers, name)
        return Declaration(specifier, name.text if name is not None else "", pointers, suffixes, place)

    def _stars(self) -> int:
        pointers = 0
        while self.accept("*"):
            pointers += 1
            if pointers > MAX_NESTING:
                self.fail("too many '*'", token=self.last)
        return pointers

    def _suffixes(self, name: str) -> tuple[Suffix, ...]:
        suffixes: list[Suffix] = []
        while (token := self.accept("<", "[")) is not None:
            if len(suffixes) >= MAX_NESTING:
                self.fail("too many sizes", token=token)
            size = None
            if not self.sees(">", "]"):
                size = parse_expression(self, f"the size of {name!r}")
            elif token.text == "[":
                self.fail(f"expected the size of {name!r}", "a size is left out only between < and >")
            self.expect(">" if token.text == "<" else "]", f"after the size of {name!r}")
            suffixes.append(Suffix(token.text == "[", size, token.place))
        return tuple(suffixes)

    def _check_builtin(self, type_: Builtin, suffixes: tuple[Suffix, ...], pointers: int, name: Token | None) -> None:
        if type_.kind == "opaque" and not suffixes:
            self.report.error(type_.place, "opaque data needs a size", "write opaque NAME[SIZE], NAME<MAX> or NAME<>")
        elif type_.kind == "void" and (suffixes or pointers):
            self.report.error(type_.place, "void has no size")
        elif type_.kind == "string" and suffixes and suffixes[-1].fixed:
            shown = name.text if name is not None else "NAME"
            self.report.error(
                suffixes[-1].place, "a string has no fixed size", f"write string {shown}<MAX>, or opaque {shown}[SIZE]"
            )

    # ---- programs ------------------------------------------------------------------------

    def _program(self, first: Token, skip: int) -> Program:
        self.take()
        name = self.expect_name("the name of the program")
        what = f"program {name.text}"
        opening = self.expect("{", f"to open {what}")
        versions: list[Version] = []
        while not self.sees("}"):
            if self.accept(";"):
                continue
            try:
                self._check_open(what, name.place)
                versions.append(self._version())
            except ParseError:
                self._recover(what, name.place)
        self.take()
        self.expect("=", f"and the program's number after the '}}' of {what}")
        number = parse_expression(self, f"the number of {what}")
        end = self._end(f"the number of {what}")
        return Program(name.text, tuple(versions), number, name.place, notes_of(first, opening, end, skip=skip))

    def _version(self) -> Version:
        first = self.expect("version", "in a program")
        name = self.expect_name("the name of the version")
        what = f"version {name.text}"
        opening = self.expect("{", f"to open {what}")
        procedures: list[Procedure] = []
        while not self.sees("}"):
            if self.accept(";"):
                continue
            try:
                self._check_open(what, name.place)
                procedures.append(self._procedure())
            except ParseError:
                self._recover(what, name.place)
        self.take()
        self.expect("=", f"and the version's number after the '}}' of {what}")
        number = parse_expression(self, f"the number of {what}")
        end = self._end(f"the number of {what}")
        return Version(name.text, tuple(procedures), number, name.place, notes_of(first, opening, end))

    def _procedure(self) -> Procedure:
        first = self.next
        result = self._bare_type()
        name = self.expect_name("the name of the procedure")
        self.expect("(", f"after the procedure's name {name.text!r}")
        arguments: list[Declaration] = []
        while not self.sees(")"):
            arguments.append(self._argument())
            if not self.accept(","):
                break
        self.expect(")", f"or ',' after the arguments of {name.text!r}")
        self.expect("=", f"and the procedure's number after {name.text!r}")
        number = parse_expression(self, f"the number of {name.text!r}")
        last = self.last
        end = self._end(f"the number of {name.text!r}")
        kept = tuple(a for a in arguments if not (isinstance(a.type, Builtin) and a.type.kind == "void"))
        if len(arguments) > 1 and len(kept) < len(arguments):
            self.report.error(name.place, f"{name.text!r} has void among other arguments")
        return Procedure(name.text, result, kept, number, name.place, notes_of(first, last, end))

    def _bare_type(self) -> Declaration:
        """Parse a result: a type without a name; ``string`` alone is a string of any length."""
        specifier = self._type_specifier()
        pointers = self._stars()
        suffixes = self._suffixes("the result")
        return Declaration(specifier, "", pointers, suffixes, specifier.place)

    def _argument(self) -> Declaration:
        return self._declaration("the argument")


def _with_notes(declaration: Declaration, notes: Notes) -> Declaration:
    return Declaration(
        declaration.type, declaration.name, declaration.pointers, declaration.suffixes, declaration.place, notes
    )
