"""Where code is written out and where it is called."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

import xdr
from tests.xdr import declarations as d
from xdr import shapes as s
from xdr.source import Source, inlined, is_list_node


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (d.Point, True),
        (d.Pair, True),
        (d.Choice, True),
        (d.Many, False),
        (d.Tree, False),
        (d.Node, False),
        (d.Arrays, False),
    ],
)
def test_small_types_are_inlined_and_those_that_hold_themselves_never(annotation: Any, expected: bool) -> None:
    shape = s.shape_of(annotation)
    s.mark_recursive(shape)
    assert inlined(shape) is expected


def test_structs_that_double_at_every_level_are_weighed_quickly() -> None:
    cls: Any = d.Point
    for level in range(60):
        cls = xdr.struct(type(f"Double{level}", (), {"__annotations__": {"a": cls, "b": cls}, "__module__": __name__}))
    shape = s.shape_of(cls)
    s.mark_recursive(shape)
    assert not inlined(shape)
    with pytest.raises(xdr.XDRDecodeError, match="bytes needed"):
        xdr.decode(cls, bytes(8))


def test_list_nodes_are_known() -> None:
    assert is_list_node(s.shape_of(d.Node))
    assert not is_list_node(s.shape_of(d.Tree))
    assert not is_list_node(s.shape_of(d.Ping))
    assert not is_list_node(s.shape_of(Annotated[int, xdr.Int]))


def test_equal_constants_of_different_types_keep_their_own_names() -> None:
    source = Source()
    one, true = source.constant("c", 1), source.constant("c", True)
    assert source.names[one] is not source.names[true]
    assert source.constant("c", True) == true
