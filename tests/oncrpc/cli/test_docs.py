"""The reference of the command lists every check and every word of rules."""

from __future__ import annotations

from oncrpc.check.groups import all_cases
from oncrpc.faults.rules import FAULTS, SELECTORS
from tests.peers import ROOT

TEXT = (ROOT / "docs" / "reference" / "oncrpc-tools.md").read_text()


def test_every_check_is_in_the_reference_with_its_title_and_section() -> None:
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in TEXT.splitlines() if line.startswith("| ")}
    assert [
        case.code
        for case in all_cases()
        if case.title not in rows.get(case.code, "") or case.section not in rows.get(case.code, "")
    ] == []


def test_every_word_of_rules_is_in_the_reference() -> None:
    words = [f"`{name}=`" for name in SELECTORS] + [f"`{name}`" for name in FAULTS]
    assert [word for word in words if word not in TEXT] == []
