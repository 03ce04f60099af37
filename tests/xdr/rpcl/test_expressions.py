"""Constant expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.xdr.rpcl.snippets import check, fault
from xdr.rpcl.model import ConstantDefinition


def value(expression: str) -> int | str:
    """Calculate an expression."""
    (entry,) = check(f"const A = {expression};").entries
    assert isinstance(entry, ConstantDefinition)
    return entry.value


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("1 << 4 | 3", 19),
        ("0xff & ~0xf", 0xF0),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7 - 2 - 1", 4),
        ("0777", 0o777),
        ("-0x10", -16),
        ("--5", 5),
        ("+5", 5),
        ("6 ^ 3", 5),
        ("'A'", 65),
        ("'NFS4'", 0x4E465334),
        ("1 >> 1", 0),
        ("TRUE", 1),
        ('"text\\n"', "text\n"),
    ],
)
def test_it_means_what_c_means(expression: str, result: int | str) -> None:
    assert value(expression) == result


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("1 / 0", "division by zero"),
        ("1 << 4000000000", "cannot shift by"),
        ("1 >> -1", "cannot shift by"),
        ("1 << 128 << 128 << 128", "too large"),
        ('1 + "text"', "is a number, not a text"),
        ("(" * 500 + "1" + ")" * 500, "nested more than"),
        ("-" * 499 + "1", "nested more than"),
        ("1" + "+1" * 5000, "too many operators"),
        ("9" * 70, "too long"),
        ("''", "empty character"),
        ("(1", "to close the parenthesis"),
    ],
)
def test_what_cannot_be_calculated_is_a_fault(expression: str, said: str) -> None:
    assert said in fault(f"const A = {expression};")


@given(st.integers(0, 2**63), st.integers(0, 2**63), st.sampled_from(["+", "-", "*", "|", "^", "&"]))
def test_numbers_of_any_size_are_exact(left: int, right: int, operator: str) -> None:
    assert value(f"{left} {operator} {right:#x}") == eval(f"{left} {operator} {right}")
