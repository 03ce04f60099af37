"""How decoding functions are written: what is read together, and what is not."""

from __future__ import annotations

from typing import Annotated, Any

import xdr
from tests.xdr import declarations as d
from xdr.decoders import decoder
from xdr.shapes import shape_of
from xdr.source import Variant


def source(annotation: Any, variant: Variant | None = None) -> str:
    text: str = decoder(shape_of(annotation), variant or Variant()).__xdr_source__
    return text


@xdr.struct
class Line:
    start: d.Point
    end: d.Point
    width: Annotated[float, xdr.Float]
    dashes: Annotated[list[Annotated[int, xdr.Int]], xdr.FixedArray(4)]


def test_items_of_fixed_size_are_one_unpack_across_structs() -> None:
    assert source(Line).count("unpack") == 1


def test_short_data_is_read_with_its_neighbours() -> None:
    assert source(d.Pair).count("unpack") == 0
    assert source(d.Pair).count("(data, at)") == 1


def test_an_array_of_structs_is_one_loop_without_calls() -> None:
    assert source(Annotated[list[d.Pair], xdr.Array(max=9)]).count("for ") == 1
    assert "decode_" not in source(Annotated[list[d.Pair], xdr.Array(max=9)])


def test_an_array_of_numbers_has_no_loop() -> None:
    assert "for " not in source(Annotated[list[Annotated[int, xdr.Int]], xdr.Array()])


def test_a_list_is_a_loop() -> None:
    assert "while True:" in source(d.Node)
    assert "left - 1" not in source(d.Node)


def test_lenient_functions_compare_no_padding() -> None:
    assert "PAD" not in source(d.Texts, Variant(lenient=True))


def test_a_function_is_made_once() -> None:
    shape = shape_of(d.Point)
    assert decoder(shape, Variant()) is decoder(shape, Variant())
    assert decoder(shape, Variant()) is not decoder(shape, Variant(view=True))
