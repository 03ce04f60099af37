"""The code on the pages about XDR runs as it is printed."""

from __future__ import annotations

import re
import sys
import types
from typing import TYPE_CHECKING, Any

import xdrlib3

from tests.peers import ROOT
from tests.xdr import declarations as d

if TYPE_CHECKING:
    import pytest


def run(monkeypatch: pytest.MonkeyPatch, page: str, **names: Any) -> dict[str, Any]:
    """Run all Python blocks of a page, one after the other, as one module; return its names."""
    text = (ROOT / "docs" / page).read_text()
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    monkeypatch.setitem(sys.modules, "xdrlib", xdrlib3)
    vars(module).update(names)
    future = ""
    for block in re.findall(r"(?ms)^```python\n(.*?)^```", text):
        found = re.search(r"(?m)^from __future__ import annotations$", block)
        future = found[0] + "\n" if found else future
        exec(compile(future + block, page, "exec", dont_inherit=True), vars(module))
    return vars(module)


def test_the_page_about_types(monkeypatch: pytest.MonkeyPatch) -> None:
    names = run(monkeypatch, "reference/xdr-types.md")
    names["test_every_message_comes_back"]()


def test_the_page_about_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "reference/xdr-json.md", Point=d.Point)["text"] == '{"x": 1, "y": 2}'


def test_the_way_from_xdrlib(monkeypatch: pytest.MonkeyPatch) -> None:
    names = run(monkeypatch, "howto/leave-xdrlib.md")
    first = re.search(r"(?ms)^```python\n(.*?)^```", (ROOT / "docs" / "howto" / "leave-xdrlib.md").read_text())
    assert first is not None
    old: dict[str, Any] = {}
    exec(first[1], old)
    names["old_pack_device"] = old["pack_device"]
    names["test_the_bytes_are_the_old_ones"]()
