"""The documentation points at what exists and leaves nothing of the reference out."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from ipcserver._gen import ipc
from ipcserver.config import Config
from tests.peers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def without_code(page: Path) -> str:
    return re.sub(r"(?ms)^```.*?^```|^    .*?$|`[^`\n]*`", "", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", without_code(page))
    broken = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert broken == []


def test_every_page_is_reached_from_the_index() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "docs" / "index.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)#\s]+)", without_code(page)):
            path = (page.parent / target).resolve()
            if path.is_dir():
                todo.extend(path.glob("*.md"))
            elif path.suffix == ".md" and path.exists():
                todo.append(path)
    assert sorted(set((ROOT / "docs").rglob("*.md")) - seen) == []


def test_every_setting_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    assert [
        f.name for f in fields(Config) if f"| `{f.name}` |" not in text or f"IPCSERVER_{f.name.upper()}" not in text
    ] == []


def test_every_procedure_and_status_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "ipc-program.md").read_text()
    rows = {(int(number), name) for number, name in re.findall(r"\| (\d+) \| `(\w+)` \|", text)}
    procedures = {(procedure.number, procedure.name) for procedure in ipc.IPCPROG_1_Server.procedures}
    statuses = {(status.value, status.name) for status in ipc.ripc_status}
    assert rows == procedures | statuses


def test_the_c_example_knows_every_status_by_its_number() -> None:
    text = (ROOT / "examples" / "c" / "ipcdemo.c").read_text()
    block = text[text.index("names[] = {") : text.index("};", text.index("names[] = {"))]
    assert re.findall(r'"(RIPC_\w+)"', block) == [status.name for status in ipc.ripc_status]
