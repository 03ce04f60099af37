"""How encoding functions are written: what is packed together, and what is not."""

from __future__ import annotations

from typing import Annotated, Any

import xdr
from tests.xdr import declarations as d
from tests.xdr.test_decoders import Line
from xdr.encoders import encoder
from xdr.shapes import shape_of


def source(annotation: Any) -> str:
    text: str = encoder(shape_of(annotation)).__xdr_source__
    return text


def test_items_of_fixed_size_are_one_pack_across_structs() -> None:
    assert source(Line).count("pack") == 1


def test_short_data_is_packed_with_its_neighbours() -> None:
    assert source(d.Pair).count("add(") == 1


def test_an_array_of_numbers_has_no_loop() -> None:
    assert "for " not in source(Annotated[list[Annotated[int, xdr.Int]], xdr.Array()])


def test_a_list_is_a_loop() -> None:
    assert "while True:" in source(d.Node)


def test_many_parts_and_long_data_come_out_in_order() -> None:
    for size in (0, 1, 255, 256, 257, 1000):
        value = d.Texts("a" * min(size, 16), "b" * min(size, 200), "c" * size, "d" * size, 7)
        data = xdr.encode(d.Texts, value)
        assert data == b"".join(
            len(text).to_bytes(4, "big") + text.encode() + bytes(-len(text) % 4)
            for text in (value.short, value.middle, value.long, value.open)
        ) + (7).to_bytes(4, "big")
        assert xdr.decode(d.Texts, data) == value


def test_a_function_is_made_once() -> None:
    assert encoder(shape_of(d.Point)) is encoder(shape_of(d.Point))
