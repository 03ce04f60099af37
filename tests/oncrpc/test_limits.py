from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest

from oncrpc import limits
from oncrpc.limits import Limits


def test_the_defaults_are_valid_and_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().max_record = 1  # type: ignore[misc]


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Limits)])
def test_no_bound_may_be_negative(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Limits(**{field: -1})


def test_a_bound_that_would_stop_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="max_record"):
        Limits(max_record=0)
    assert Limits(fragment_size=0, idle_timeout=0).idle_timeout == 0


def test_every_bound_says_what_it_is_for() -> None:
    tree = ast.parse(Path(inspect.getfile(limits)).read_text())
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
    for place, node in enumerate(body):
        if isinstance(node, ast.AnnAssign):
            after = body[place + 1]
            assert isinstance(after, ast.Expr), f"{ast.unparse(node.target)} has no docstring"
            assert isinstance(after.value, ast.Constant)
