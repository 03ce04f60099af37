"""Short names in signatures and docstrings mean what they mean in the module that has them.

Autodoc writes an annotation as it stands in the source, ``Call``, and Sphinx would look for any ``Call``. Here the
imports of the module decide, those for type checkers included, and names that a package hands on (``xdr.Enum``) lead
to where they are defined. What is not documented here is plain text: there is no inventory of other packages without
the network.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sphinx import addnodes

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

OURS: Final = ("xdr", "oncrpc", "rpcbind_reg", "ipcserver")


@cache
def imports(module: str) -> dict[str, str]:
    """The names that a module imports or gives to something, with what they stand for."""
    loaded = importlib.import_module(module)
    package = loaded.__package__ or module
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(Path(loaded.__file__ or "").read_text())):
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            found.update({alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names})
        elif isinstance(node, ast.Import):
            found.update({alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names})
        elif isinstance(node, ast.ClassDef):
            found.setdefault(node.name, f"{module}.{node.name}")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.setdefault(node.id, f"{module}.{node.id}")
    return found


@cache
def home(name: str) -> str:
    """Where a dotted name of ours is defined: follows packages that hand it on."""
    module, _, attribute = name.rpartition(".")
    if not module:
        return name
    try:
        known = imports(module)
    except (ImportError, OSError):  # the outer part is a class
        return f"{home(module)}.{attribute}"
    found = known.get(attribute, name)
    return home(found) if found != name and found.startswith(OURS) else found


def full(target: str, module: str | None) -> str:
    """A reference's target, spelled out."""
    first, dot, rest = target.partition(".")
    if module and first in (known := imports(module)) and known[first] != first:
        target = known[first] + dot + rest
    elif module and not dot:
        try:
            if hasattr(importlib.import_module(module), target):
                return f"{module}.{target}"
        except ImportError:
            pass
    return home(target) if target.startswith(tuple(f"{name}." for name in OURS)) else target


def spell_out(app: Sphinx, doctree: nodes.document) -> None:
    """Do it for every reference to Python of a page."""
    del app
    for node in doctree.findall(addnodes.pending_xref):
        if node.get("refdomain") == "py":
            target = full(node["reftarget"], node.get("py:module"))
            if target != node["reftarget"]:
                node["reftarget"] = target
                node["refspecific"] = False


@cache
def exists(name: str) -> bool:
    """Whether a dotted name is in the code, documented or not; fields of classes count."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                bound = imports(".".join(parts[:cut])) if cut == len(parts) - 1 else {}
                return part in getattr(found, "__annotations__", {}) or part in bound
            found = getattr(found, part)
        return True
    return False


def leave(app: Sphinx, env: BuildEnvironment, node: Any, shown: nodes.Element) -> nodes.Element | None:
    """Show what is documented nowhere here as it is written; names of ours that do not exist stay a warning."""
    del app, env
    target = str(node.get("reftarget", ""))
    if node.get("refdomain") == "py" and (not target.startswith(tuple(f"{name}." for name in OURS)) or exists(target)):
        return shown
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it."""
    app.connect("doctree-read", spell_out)
    app.connect("missing-reference", leave)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
