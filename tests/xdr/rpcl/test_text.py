"""Pieces of Python text."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdr.rpcl.text import comments, docstring, indented, literal, wrapped


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1))
def test_a_docstring_says_what_it_should(text: str) -> None:
    assert ast.literal_eval("\n".join(docstring(text))) == text


@pytest.mark.parametrize(
    ("value", "spelling", "written"),
    [
        (16, "0x10", "0x10"),
        (16, "0X10", "0x10"),
        (8, "010", "0o10"),
        (0, "00", "0o0"),
        (5, "5", "5"),
        (-1, "0xffffffff", "-1"),
        ("a'b", "", '"a\'b"'),
    ],
)
def test_numbers_keep_their_base_where_python_has_it(value: int | str, spelling: str, written: str) -> None:
    assert literal(value, spelling) == written
    assert ast.literal_eval(written) == value


def test_lists_wrap_when_they_must() -> None:
    assert wrapped("f(", ["a", "b"], ")") == ["f(a, b)"]
    assert wrapped("f(", ["a" * 100, "b" * 100], ")") == ["f(", f"    {'a' * 100},", f"    {'b' * 100},", ")"]


def test_empty_lines_stay_empty() -> None:
    assert indented(["a", ""]) == ["    a", ""]
    assert comments(["a", ""]) == ["# a", "#"]
