"""Tables from the code: ``{procedures} module:Class``, ``{enumerators} module:Enum``, ``{fields} module:Dataclass``.

Sentences are those that stand in the code: the docstrings of procedures, the strings under enumerators and fields.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import sys
import textwrap
import typing
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sphinx.application import Sphinx


def load(name: str) -> Any:
    """Import module:attribute."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def told(kind: type) -> dict[str, str]:
    """The strings under the names of a class, by name; those of its docstring's Attributes section too."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    last = ""
    for statement in body.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            last = statement.targets[0].id
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            last = statement.target.id
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and last:
            found[last] = " ".join(str(statement.value.value).split())
            last = ""
    return found


def shown(annotation: Any) -> str:
    """A type as its .x file calls it."""
    if annotation is None:
        return "void"
    if isinstance(annotation, str):
        return annotation
    name = getattr(annotation, "__name__", None) or str(annotation)
    return str(name).removeprefix("typing.")


def argument(cls: type, method: str) -> tuple[str, str]:
    """The types of a procedure as its generated method declares them, which has the file's names."""
    function = getattr(cls, method)
    signature = inspect.signature(function)
    taken = [str(p.annotation) for name, p in signature.parameters.items() if name not in {"self", "call"}]
    result = str(signature.return_annotation).removeprefix("_rpc.Result[").removesuffix("]")
    return ", ".join(taken) or "void", "void" if result == "None" else result


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], literal: Sequence[int], widths: Sequence[int]
) -> nodes.table:
    """A table of text; the columns named in `literal` are set as code."""

    def cell(text: str, *, code: bool) -> nodes.entry:
        inside = nodes.literal("", text) if code and text else nodes.Text(text)
        return nodes.entry("", nodes.paragraph("", "", inside))

    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths]
    group += nodes.thead("", nodes.row("", *[cell(text, code=False) for text in head]))
    group += nodes.tbody(
        "", *[nodes.row("", *[cell(text, code=number in literal) for number, text in enumerate(row)]) for row in rows]
    )
    return nodes.table("", group)


class FromCode(SphinxDirective, ABC):
    """A directive whose argument is module:name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table, which is made again when the module changes."""
        found = load(self.arguments[0])
        self.env.note_dependency(str(sys.modules[self.arguments[0].partition(":")[0]].__file__))
        return [self.make(found)]

    @abstractmethod
    def make(self, found: Any) -> nodes.Node:
        """Make it from the object."""


class Procedures(FromCode):
    """The procedures of one version of a program."""

    def make(self, found: Any) -> nodes.Node:
        """Number, name, argument, result, and the sentence in the .x file."""
        rows = []
        for procedure in found.procedures:
            takes, gives = argument(found, procedure.method)
            sentence = inspect.getdoc(getattr(found, procedure.method)) or ""
            rows.append([str(procedure.number), procedure.name, takes, gives, " ".join(sentence.split())])
        return table(["number", "procedure", "takes", "gives", "does"], rows, (1, 2, 3), (6, 22, 24, 20, 40))


class Enumerators(FromCode):
    """The values of an enum."""

    def make(self, found: Any) -> nodes.Node:
        """Number, name and sentence."""
        sentences = told(found)
        rows = [[str(int(member)), member.name, sentences.get(member.name, "")] for member in found]
        return table(["number", "name", "meaning"], rows, (1,), (8, 30, 62))


class Fields(FromCode):
    """The fields of a dataclass."""

    def make(self, found: Any) -> nodes.Node:
        """Name, type, default and sentence."""
        sentences = told(found)
        hints = typing.get_type_hints(found)
        rows = []
        for field in dataclasses.fields(found):
            default = "" if field.default is dataclasses.MISSING else repr(field.default)
            if default.isdigit():
                default = f"{int(default):,}"
            rows.append([field.name, shown(hints[field.name]), default, sentences.get(field.name, "")])
        return table(["field", "type", "default", "meaning"], rows, (0, 1), (24, 10, 14, 52))


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect them."""
    app.add_directive("procedures", Procedures)
    app.add_directive("enumerators", Enumerators)
    app.add_directive("fields", Fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
