"""What is committed under _gen/ is what the compiler makes of spec/ today."""

from __future__ import annotations

from pathlib import Path

import pytest

from xdr.rpcl.compiler import Settings, compile_file

ROOT = Path(__file__).resolve().parent.parent
SPECS = sorted(ROOT.glob("*/spec/*.x"))


def _settings(spec: Path) -> Settings:
    package = spec.parent.parent
    siblings = package.glob("spec/*.x")
    return Settings(modules={str(sibling): f"{package.name}._gen.{sibling.stem}" for sibling in siblings})


def test_every_package_that_speaks_on_the_wire_has_a_spec() -> None:
    assert {spec.parent.parent.name for spec in SPECS} >= {"oncrpc", "rpcbind_reg", "ipcserver"}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.parent.parent.name}/{spec.name}")
def test_committed_module_is_what_the_spec_compiles_to(spec: Path) -> None:
    committed = spec.parent.parent / "_gen" / f"{spec.stem}.py"
    assert committed.read_text(encoding="utf-8") == compile_file(str(spec), _settings(spec)).text, "run: make generate"


@pytest.mark.parametrize("folder", sorted(ROOT.glob("*/_gen")), ids=lambda folder: folder.parent.name)
def test_no_committed_module_is_without_its_spec(folder: Path) -> None:
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert modules == {spec.stem for spec in folder.parent.glob("spec/*.x")}
