"""``__all__`` is true: what it lists is there, and a package lists what it brings together."""

from __future__ import annotations

import ast
import importlib

import pytest

from tests.tree import PACKAGES, Module, modules

WRITTEN = [m for m in modules(*PACKAGES) if not m.generated and not m.name.endswith("__main__")]
FRONTS = [m for m in WRITTEN if m.name in PACKAGES]


@pytest.mark.parametrize("module", WRITTEN, ids=lambda module: module.name)
def test_what_a_module_exports_is_there(module: Module) -> None:
    loaded = importlib.import_module(module.name)
    exported = list(getattr(loaded, "__all__", ()))
    assert len(exported) == len(set(exported))
    assert [name for name in exported if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("module", FRONTS, ids=lambda module: module.name)
def test_a_package_exports_all_that_its_init_brings_together(module: Module) -> None:
    brought = {
        alias.asname or alias.name
        for node in module.tree().body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    exported = set(getattr(importlib.import_module(module.name), "__all__", ()))
    assert sorted(name for name in brought if not name.startswith("_") and name not in exported) == []
