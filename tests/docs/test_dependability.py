"""docs/reference/dependability.md names tests that are there."""

from __future__ import annotations

import re

from tests.docs.test_conformance import names_in
from tests.peers import ROOT


def test_every_test_that_the_tables_name_is_there() -> None:
    text = (ROOT / "docs" / "reference" / "dependability.md").read_text()
    named = re.findall(r"`(tests/\S+?\.py)::(\w+)`", text)
    assert len(named) > 20
    assert [f"{path}::{name}" for path, name in named if name not in names_in(path)] == []
