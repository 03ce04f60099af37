"""docs/reference/conformance.toml leaves no section out and names tests that are there."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from typing import Any, Final

import pytest

from tests.peers import ROOT

DATA: Final[dict[str, Any]] = tomllib.loads((ROOT / "docs" / "reference" / "conformance.toml").read_text())

CONTENTS: Final = {
    "rfc4506": """
        1, 2, 3, 4, 4.1, 4.2, 4.3, 4.4, 4.5, 4.6, 4.7, 4.8, 4.9, 4.10, 4.11, 4.12, 4.13, 4.14, 4.15, 4.16, 4.17, 4.18,
        4.19, 4.20, 5, 6, 6.1, 6.2, 6.3, 6.4, 7, 8, 9, 10, 11, 12, 13, 14""",
    "rfc5531": """
        1, 1.1, 2, 3, 4, 5, 6, 7, 8, 8.1, 8.2, 8.3, 8.4, 8.4.1, 8.4.2, 9, 10, 10.1, 11, 12, 12.1, 12.2, 12.3, 13, 13.1,
        13.2, 13.3, 13.3.1, 13.3.2, 13.3.3, 13.3.4, 13.3.5, 13.4, 13.4.1, 13.4.2, 13.5, 13.5.1, 14, Appendix A,
        Appendix B, Appendix C""",
    "rfc1833": "1, 2, 2.1, 2.2, 2.2.1, 2.2.2, 3, 3.1, 3.2",
}
"""As the tables of contents have them."""

SECTIONS: Final = {rfc: [section.strip() for section in text.split(",")] for rfc, text in CONTENTS.items()}

REQUIREMENTS: Final = [(rfc, row) for rfc in SECTIONS for row in DATA[rfc]["requirement"]]


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the tests in a file, with their classes."""
    found: set[str] = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {prefix + each.name for each in inside if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    return frozenset(found)


def test_there_is_no_other_standard() -> None:
    assert set(DATA) == set(SECTIONS)


@pytest.mark.parametrize("rfc", SECTIONS)
def test_every_section_has_a_requirement_or_a_reason_why_not(rfc: str) -> None:
    required = [row["section"] for row in DATA[rfc]["requirement"]]
    empty = [row["section"] for row in DATA[rfc]["nothing_required"]]
    assert set(required).isdisjoint(empty)
    assert sorted({*required, *empty}) == sorted(SECTIONS[rfc])
    assert required == sorted(required, key=SECTIONS[rfc].index)


@pytest.mark.parametrize("rfc", SECTIONS)
def test_a_sentence_is_listed_once_in_its_section(rfc: str) -> None:
    quotes = [(row["section"], row["quote"]) for row in DATA[rfc]["requirement"]]
    assert len(set(quotes)) == len(quotes)


def test_what_is_kept_has_a_test_and_what_is_not_has_a_reason() -> None:
    for rfc, row in REQUIREMENTS:
        place = f"{rfc}, section {row['section']}: {row['quote']}"
        assert row["status"] in {"kept", "note", "no", "absent"}, place
        assert row.get("tests") or row["status"] in {"no", "absent"}, place
        assert row.get("note") or row["status"] == "kept", place
        assert set(row) <= {"section", "status", "quote", "note", "tests"}, place


def test_every_test_that_is_named_is_there() -> None:
    missing = []
    for _, row in REQUIREMENTS:
        for named in row.get("tests", ()):
            path, _, name = named.partition("::")
            if not (ROOT / path).exists() or (name and name not in names_in(path)):
                missing.append(named)
    assert missing == []
