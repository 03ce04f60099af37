"""The packages as files: what test_layering, test_exports and test_packaging look at."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.peers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["PACKAGES", "Import", "Module", "modules"]

PACKAGES: Final = ("xdr", "oncrpc", "rpcbind_reg", "ipcserver")
"""Each may import itself and those before it."""


@dataclass(frozen=True)
class Import:
    """One import, anywhere in a module."""

    name: str
    line: int
    for_types: bool
    """It stands under ``if TYPE_CHECKING``, and so does not happen at run time."""


@dataclass(frozen=True)
class Module:
    """One Python file of a package."""

    name: str
    path: Path

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.name.partition(".")[0]

    @property
    def generated(self) -> bool:
        """Whether our compiler wrote it."""
        return "_gen" in self.path.parts

    @property
    def relative(self) -> str:
        """Its path in the checkout."""
        return self.path.relative_to(ROOT).as_posix()

    def tree(self) -> ast.Module:
        """Return its syntax tree."""
        return ast.parse(self.path.read_text(), self.relative)

    def imports(self) -> list[Import]:
        """Return all its imports, those inside functions too."""
        found: list[Import] = []

        def visit(node: ast.AST, *, for_types: bool) -> None:
            if isinstance(node, ast.Import):
                found.extend(Import(alias.name, node.lineno, for_types) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                origin = node.module or ""
                if node.level:
                    folder = self.path.relative_to(ROOT).parts[: -node.level]
                    origin = ".".join([*folder, *filter(None, [node.module])])
                found.extend(Import(f"{origin}.{alias.name}", node.lineno, for_types) for alias in node.names)
            if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
                for inside in node.body:
                    visit(inside, for_types=True)
                for inside in node.orelse:
                    visit(inside, for_types=for_types)
                return
            for child in ast.iter_child_nodes(node):
                visit(child, for_types=for_types)

        visit(self.tree(), for_types=False)
        return found


def modules(*packages: str) -> Iterator[Module]:
    """Give every module of these packages, in order."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path)
