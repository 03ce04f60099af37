"""xdrlib3, another hand's work, over all types that it gets right."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import xdrlib3
from hypothesis import given, settings

import xdr
from tests.xdr import declarations as d
from xdr import shapes as s
from xdr.shapes import shape_of
from xdr.testing import values

METHODS = {"i": "int", "I": "uint", "q": "hyper", "Q": "uhyper", "f": "float", "d": "double"}

TYPES = [annotation for annotation in d.EVERY if annotation not in (d.Scalars, d.Arrays, d.Everything, xdr.Quad)]


@xdr.struct
class NoQuad:
    a: Annotated[int, xdr.Int]
    b: Annotated[int, xdr.UInt]
    c: Annotated[int, xdr.Hyper]
    unsigned: Annotated[int, xdr.UHyper]
    e: Annotated[float, xdr.Float]
    f: Annotated[float, xdr.Double]
    g: bool
    h: d.Colour
    numbers: Annotated[list[Annotated[int, xdr.Hyper]], xdr.Array(max=9)]
    fixed: Annotated[list[Annotated[float, xdr.Float]], xdr.FixedArray(3)]
    points: Annotated[list[d.Point], xdr.Array(max=9)]
    pairs: Annotated[list[d.Pair], xdr.FixedArray(2)]
    grid: Annotated[list[Annotated[list[bool], xdr.Array(max=3)]], xdr.Array(max=3)]
    nodes: d.Node | None


def pack(packer: Any, shape: s.Shape, value: Any) -> None:
    """Pack a value by the calls that one writes by hand."""
    match shape:
        case s.ScalarShape():
            getattr(packer, "pack_" + METHODS[shape.code])(value)
        case s.BoolShape():
            packer.pack_bool(value)
        case s.EnumShape():
            packer.pack_enum(value)
        case s.FixedOpaqueShape():
            packer.pack_fopaque(shape.count, value)
        case s.OpaqueShape():
            packer.pack_opaque(value)
        case s.StringShape():
            packer.pack_string(value.encode("utf-8", "surrogateescape"))
        case s.FixedArrayShape():
            packer.pack_farray(shape.count, value, lambda item: pack(packer, shape.element, item))
        case s.ArrayShape():
            packer.pack_array(value, lambda item: pack(packer, shape.element, item))
        case s.OptionalShape():
            packer.pack_bool(value is not None)
            if value is not None:
                pack(packer, shape.element, value)
        case s.StructShape():
            for name, field in shape.fields:
                pack(packer, field, getattr(value, name))
        case s.UnionShape():
            arm = next(arm for arm in shape.arms if type(value) is arm.cls)
            pack(packer, shape.kind, getattr(value, shape.discriminant))
            for name, field in arm.fields:
                pack(packer, field, getattr(value, name))


def unpack(unpacker: Any, shape: s.Shape) -> Any:
    """Unpack a value by the calls that one writes by hand."""
    match shape:
        case s.ScalarShape():
            return getattr(unpacker, "unpack_" + METHODS[shape.code])()
        case s.BoolShape():
            return unpacker.unpack_bool()
        case s.EnumShape():
            return shape.cls(unpacker.unpack_enum())
        case s.FixedOpaqueShape():
            return unpacker.unpack_fopaque(shape.count)
        case s.OpaqueShape():
            return unpacker.unpack_opaque()
        case s.StringShape():
            return unpacker.unpack_string().decode("utf-8", "surrogateescape")
        case s.FixedArrayShape():
            return unpacker.unpack_farray(shape.count, lambda: unpack(unpacker, shape.element))
        case s.ArrayShape():
            return unpacker.unpack_array(lambda: unpack(unpacker, shape.element))
        case s.OptionalShape():
            return unpack(unpacker, shape.element) if unpacker.unpack_bool() else None
        case s.StructShape():
            return shape.cls(**{name: unpack(unpacker, field) for name, field in shape.fields})
        case s.UnionShape():
            chosen = unpack(unpacker, shape.kind)
            arm = shape.by_case.get(int(chosen), shape.default)
            assert arm is not None
            fields = {name: unpack(unpacker, field) for name, field in arm.fields}
            return arm.cls(**{shape.discriminant: chosen}, **fields)
    return None


@pytest.mark.parametrize("annotation", [NoQuad, *TYPES], ids=str)
def test_both_give_the_same_bytes_and_the_same_values(annotation: Any) -> None:
    shape = shape_of(annotation)

    @settings(d.BRIEF, max_examples=40)
    @given(values(annotation))
    def check(value: Any) -> None:
        packer = xdrlib3.Packer()
        pack(packer, shape, value)
        data = packer.get_buffer()
        assert xdr.encode(annotation, value) == data
        unpacker = xdrlib3.Unpacker(data)
        assert xdr.decode(annotation, data) == unpack(unpacker, shape) == value
        unpacker.done()

    check()
