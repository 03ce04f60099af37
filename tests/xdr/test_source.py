"""Where code is written out and where it is called."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

import xdr
from tests.xdr import declarations as d
from xdr import jsonform
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


@pytest.mark.parametrize(("levels", "text"), [(200, False), (400, False), (1000, True), (3000, True)])
def test_types_that_hold_each_other_in_a_long_row_work_or_say_that_the_stack_is_too_small(
    levels: int, text: bool
) -> None:
    word = Annotated[int, xdr.Int]
    cls: Any = d.Point
    value: Any = d.Point(1, 2)
    for level in range(levels):
        body = {"__annotations__": {"a": word, "b": cls}, "__module__": __name__}
        cls = xdr.struct(type(f"Row{level}", (), body))
        value = cls(level, value)
    data = b"".join(level.to_bytes(4, "big") for level in [*reversed(range(levels)), 1, 2])
    if text:
        with pytest.raises(xdr.XDREncodeError, match="the interpreter's stack"):
            xdr.encode(cls, value)
        with pytest.raises(xdr.XDRDecodeError, match="the interpreter's stack"):
            xdr.decode(cls, data)
        with pytest.raises(xdr.XDREncodeError, match="the interpreter's stack"):
            jsonform.dumps(cls, value)
    else:
        assert xdr.encode(cls, value) == data
        assert xdr.encode(cls, xdr.decode(cls, data)) == data


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
