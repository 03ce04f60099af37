"""The rule that gives Python names."""

from __future__ import annotations

import pytest

from xdr.rpcl.names import Scope, member_name


@pytest.mark.parametrize(
    ("name", "python"),
    [("plain", "plain"), ("class", "class_"), ("held", "held_"), ("__two", "_two"), ("_one", "_one"), ("_", "__")],
)
def test_names_are_kept_unless_python_or_the_module_has_them(name: str, python: str) -> None:
    assert Scope(frozenset({"class", "held"})).take(name) == python


def test_a_name_is_given_once() -> None:
    scope = Scope(frozenset({"a"}))
    assert [scope.take("a") for _ in range(3)] == ["a_", "a__", "a___"]
    assert "a__" in scope


def test_enum_keeps_names_between_underscores_for_itself() -> None:
    assert member_name("_x_") == "x_"
    assert member_name("_x") == "_x"
