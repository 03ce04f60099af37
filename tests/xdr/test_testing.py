"""The strategies keep to what they were asked for."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Annotated, Any

import pytest
from hypothesis import find, given, settings

import xdr
from tests.xdr import declarations as d
from xdr.bridge import Bridge
from xdr.testing import values


@d.BRIEF
@given(values(Annotated[list[Annotated[str, xdr.String()]], xdr.Array()], max_elements=3, max_bytes=5))
def test_sizes_are_kept(value: list[str]) -> None:
    assert len(value) <= 3
    assert all(len(text.encode("utf-8", "surrogateescape")) <= 5 for text in value)


def nesting(tree: d.Tree | None) -> int:
    return 0 if tree is None else 1 + max(map(nesting, (tree.left, tree.right, *tree.more)))


@settings(d.BRIEF, max_examples=50)
@given(values(d.Tree, max_depth=2))
def test_depth_is_kept(value: d.Tree) -> None:
    assert nesting(value) <= 3


def test_every_arm_and_both_options_are_found() -> None:
    for arm in (d.Choice_RED, d.Choice_GREEN, d.Choice_default):
        find(values(d.Choice | None), lambda value, arm=arm: isinstance(value, arm))  # type: ignore[misc]
    find(values(d.Choice | None), lambda value: value is None)
    find(values(d.Node | None), lambda value: value is not None and value.next is not None)


def test_nan_comes_only_when_asked_for() -> None:
    find(values(xdr.Double, allow_nan=True), math.isnan)


def test_a_union_whose_arms_all_recurse_is_made_too() -> None:
    @xdr.struct
    class Holder:
        inner: Inner | None

    @xdr.arm("Inner", "kind", bool, cases=(True, False))
    class Inner:
        kind: bool
        holder: Holder

    @d.BRIEF
    @given(values(Holder))
    def check(value: Holder) -> None:
        assert xdr.decode(Holder, xdr.encode(Holder, value)) == value

    check()


def test_a_default_arm_that_no_value_can_choose_is_never_made() -> None:
    @xdr.arm("Full", "on", bool, cases=(True, False))
    class Full_some:  # noqa: N801
        on: bool

    @xdr.arm("Full", "on", bool, default=True)
    class Full_default:  # noqa: N801
        on: bool

    @d.BRIEF
    @given(values(Full_some | Full_default))
    def check(value: Any) -> None:
        assert isinstance(value, Full_some)

    check()


def test_types_with_hand_written_codecs_are_told_apart() -> None:
    of = Annotated[int, Bridge(lambda p, v: p.pack_int(v), lambda u: u.unpack_int(), name="odd")]
    with pytest.raises(NotImplementedError, match="no strategy for odd"):
        values(of)


def test_hypothesis_is_imported_only_when_a_strategy_is_made() -> None:
    code = "import sys, xdr, xdr.testing; sys.exit('hypothesis' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
