"""Dependencies point one way, and Twisted stays at the edge (docs/explanation/architecture.md)."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from tests.tree import PACKAGES, Module, modules

TWISTED_FILES: Final = {
    "ipcserver/bind.py",
    "ipcserver/logs.py",
    "ipcserver/replica.py",
    "ipcserver/service.py",
    "ipcserver/tap.py",
}
"""Where ipcserver may import Twisted, besides folders called tx and console."""

LAZY_FILES: Final = {
    "ipcserver/cli/serve.py",
    "oncrpc/cli/serve_faults.py",
    "rpcbind_reg/cli.py",
}
"""Command lines that run a reactor once they know that one is needed: they import it inside a function."""


def at_the_edge(module: Module) -> bool:
    """Whether a module may import Twisted."""
    folders = module.path.parent.parts
    return "tx" in folders or "console" in folders or module.relative in TWISTED_FILES


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_none_that_builds_on_it(package: str) -> None:
    above = set(PACKAGES[PACKAGES.index(package) + 1 :])
    wrong = [
        f"{module.relative}:{found.line}: {found.name}"
        for module in modules(package)
        for found in module.imports()
        if found.name.partition(".")[0] in above
    ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_twisted_is_imported_at_the_edge_only(package: str) -> None:
    wrong = [
        f"{module.relative}:{found.line}: {found.name}"
        for module in modules(package)
        for found in module.imports()
        if not (at_the_edge(module) or module.relative in LAZY_FILES or found.for_types)
        and (found.name.partition(".")[0] == "twisted" or ".tx." in f"{found.name}.")
    ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_its_tests(package: str) -> None:
    wrong = [m.relative for m in modules(package) for found in m.imports() if found.name.startswith("tests.")]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_the_cores_run_without_twisted(package: str) -> None:
    """Every module away from the edge, each imported in turn in one fresh interpreter."""
    names = [m.name for m in modules(package) if not at_the_edge(m) and not m.name.endswith("__main__")]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    if 'twisted' in sys.modules: sys.exit(f'{name} imports twisted')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_list_of_exceptions_is_true() -> None:
    relative = {module.relative for module in modules(*PACKAGES)}
    assert relative >= TWISTED_FILES | LAZY_FILES
