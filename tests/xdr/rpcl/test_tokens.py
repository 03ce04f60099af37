"""Comments as text."""

from __future__ import annotations

import pytest

from xdr.rpcl.tokens import comment_text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("/* one */", "one"),
        ("/** one */", "one"),
        ("// one", "one"),
        ("/// one", "one"),
        ("/*\n * one\n * two\n */", "one\ntwo"),
        ("/*\n * one\n *\n *   two\n */", "one\n\n  two"),
        ("/* one\n   two */", "one\ntwo"),
        ("/*****\n * one *\n *****/", "one *"),
        ("/* ---- one ---- */", "one"),
        ("/* -5 is a number */", "-5 is a number"),
        ("/**/", ""),
        ("/* a\x07b */", "a b"),
    ],
)
def test_signs_stars_and_rules_are_taken_off(raw: str, text: str) -> None:
    assert comment_text(raw) == text
