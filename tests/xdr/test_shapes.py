"""What annotations come to, and what they cannot mean."""

from __future__ import annotations

import sys
import types
from typing import Annotated, Any, Optional, Union

import pytest

import xdr
from tests.xdr import declarations as d
from xdr import shapes as s


def union(*arms: tuple[Any, dict[str, Any]]) -> Any:
    """Make a union of arms (kind, options); each has a discriminant d."""
    made: Any = None
    for index, (kind, options) in enumerate(arms):
        cls = type(f"Arm{index}", (), {"__annotations__": {"d": Annotated[int, xdr.Int]}, "__module__": __name__})
        arm: Any = xdr.arm(options.pop("name", "U"), "d", kind, **options)(cls)
        made = arm if made is None else made | arm
    return made


class TestReading:
    @pytest.mark.parametrize(
        ("annotation", "kind", "name", "size", "minimum"),
        [
            (xdr.Int, s.ScalarShape, "int", 4, 4),
            (Annotated[int, xdr.UHyper], s.ScalarShape, "unsigned hyper", 8, 8),
            (bool, s.BoolShape, "bool", 4, 4),
            (Annotated[bool, xdr.Bool], s.BoolShape, "bool", 4, 4),
            (None, s.VoidShape, "void", 0, 0),
            (type(None), s.VoidShape, "void", 0, 0),
            (xdr.Quad, s.QuadShape, "quadruple", 16, 16),
            (Annotated[xdr.Quad, xdr.Quadruple], s.QuadShape, "quadruple", 16, 16),
            (d.Colour, s.EnumShape, "Colour", 4, 4),
            (Annotated[bytes, xdr.FixedOpaque(5)], s.FixedOpaqueShape, "opaque[5]", 8, 8),
            (Annotated[bytes, xdr.Opaque()], s.OpaqueShape, "opaque<>", None, 4),
            (Annotated[str, xdr.String(max=3)], s.StringShape, "string<3>", None, 4),
            (Annotated[list[bool], xdr.FixedArray(3)], s.FixedArrayShape, "bool[3]", 12, 12),
            (Annotated[list[d.Pair], xdr.FixedArray(3)], s.FixedArrayShape, "Pair[3]", None, 24),
            (Annotated[list[d.Pair], xdr.Array()], s.ArrayShape, "Pair<>", None, 4),
            (d.Point, s.StructShape, "Point", 8, 8),
            (d.Node, s.StructShape, "Node", None, 12),
            (d.Point | None, s.OptionalShape, "Point", None, 4),
            (Optional[d.Point], s.OptionalShape, "Point", None, 4),  # noqa: UP045
            (d.Choice, s.UnionShape, "Choice", None, 4),
            (Union[d.Choice_RED, d.Choice_GREEN], s.UnionShape, "Choice", None, 4),  # noqa: UP007
            (d.Choice | None, s.OptionalShape, "Choice", None, 4),
            (d.Only | None, s.OptionalShape, "Only", None, 4),
            (Annotated[d.Point, "a note"], s.StructShape, "Point", 8, 8),
        ],
        ids=str,
    )
    def test_annotations_have_shapes(
        self, annotation: Any, kind: type, name: str, size: int | None, minimum: int
    ) -> None:
        shape = s.shape_of(annotation)
        assert type(shape) is kind
        assert (shape.name, shape.size, shape.minimum) == (name, size, minimum)

    def test_string_annotations_need_their_module(self) -> None:
        assert s.shape_of("alias", d.__name__).name == "Node"
        with pytest.raises(xdr.XDRDeclarationError, match="names in 'alias' need the module"):
            s.shape_of("alias")

    def test_names_come_late(self) -> None:
        module = types.ModuleType("late")
        sys.modules["late"] = module
        try:
            exec(
                "from __future__ import annotations\nimport xdr\nfrom typing import Annotated\n"
                "@xdr.struct\nclass First:\n    second: Second | None\n    third: third\n"
                "third = 'Second'\n"
                "@xdr.struct\nclass Second:\n    a: Annotated[int, xdr.Int]\n",
                vars(module),
            )
            first, second = module.First, module.Second
            assert xdr.encode(first, first(None, second(1))) == bytes(7) + b"\1"
        finally:
            del sys.modules["late"]

    def test_recursion_is_known(self) -> None:
        shape = s.shape_of(d.Everything)
        s.mark_recursive(shape)
        fields = dict(shape.fields)  # type: ignore[attr-defined]
        assert not shape.recursive
        assert not fields["arrays"].recursive
        assert fields["tree"].element.recursive
        assert fields["ping"].recursive
        assert fields["nodes"].element.recursive

    def test_a_struct_that_holds_itself_outright_has_no_values(self) -> None:
        @xdr.struct
        class Endless:
            inner: Endless

        codec = xdr.codec(Endless)
        with pytest.raises(xdr.XDRDecodeError, match="nested more than 128 levels deep"):
            codec.decode(bytes(100))


class TestRefused:
    @pytest.mark.parametrize(
        ("annotation", "text"),
        [
            (int, r"is no XDR type; say which, as in Annotated\[int, xdr.Int\]"),
            (float, r"Annotated\[float, xdr.Double\]"),
            (str, r"Annotated\[str, xdr.String\(max=...\)\]"),
            (bytes, r"Annotated\[bytes, xdr.Opaque\(max=...\)\]"),
            (list[bool], r"Annotated\[list, xdr.Array\(max=...\)\]"),
            (dict, "is no XDR type$"),
            (Annotated[int, "a note"], "is no XDR type"),
            (Annotated[bytes, xdr.Array()], r"an array is a list\[...\] in Python"),
            (Annotated[int, xdr.types.Descriptor()], "an array is a list"),
            (Annotated[list[bool], xdr.types.Descriptor()], "is no XDR type"),
            (d.Point | d.Pair, "only arms of one union can be alternatives"),
            (d.Point | d.Choice_RED, "only arms of one union can be alternatives"),
            (d.Choice_RED | d.Switch_TRUE, "Switch_TRUE is an arm of Switch"),
        ],
        ids=lambda value: str(value).partition(" object at ")[0],
    )
    def test_annotations_that_mean_nothing(self, annotation: Any, text: str) -> None:
        with pytest.raises(xdr.XDRDeclarationError, match=text):
            s.shape_of(annotation)

    @pytest.mark.parametrize(
        ("arms", "text"),
        [
            ([(xdr.Int, {"cases": (1,)}), (xdr.Int, {"cases": (2, 1)})], "two arms for case 1"),
            ([(xdr.Int, {"default": True}), (xdr.Int, {"default": True})], "two default arms"),
            ([(xdr.Hyper, {"cases": (1,)})], r"a hyper cannot choose an arm \(RFC 4506, section 4.15\)"),
            ([(xdr.Int, {"cases": (1 << 31,)})], "case 2147483648 is no int"),
            ([(xdr.UInt, {"cases": (-1,)})], "case -1 is no unsigned int"),
            ([(bool, {"cases": (2,)})], "case 2 is no bool"),
            ([(d.Colour, {"cases": (9,)})], "case 9 is no Colour"),
            ([(xdr.Int, {"cases": (1,)}), (xdr.Int, {"cases": (2,), "name": "V"})], "Arm1 is an arm of V"),
        ],
    )
    def test_unions_that_contradict_themselves(self, arms: Any, text: str) -> None:
        of = union(*[(kind, dict(options)) for kind, options in arms])
        for _ in range(2):  # a failed reading leaves nothing half-read behind
            with pytest.raises(xdr.XDRDeclarationError, match=text):
                s.shape_of(of)

    def test_a_name_that_does_not_exist_is_told_with_its_field(self) -> None:
        @xdr.struct
        class Lost:
            a: Nowhere  # type: ignore[name-defined] # noqa: F821

        for _ in range(2):
            with pytest.raises(xdr.XDRDeclarationError, match=r"Lost\.a: name 'Nowhere' is not defined in 'Nowhere'"):
                s.shape_of(Lost)

    def test_an_annotation_that_cannot_be_evaluated_is_told_with_its_field(self) -> None:
        @xdr.struct
        class Odd:
            a: 1 | None  # type: ignore[valid-type]

        with pytest.raises(xdr.XDRDeclarationError, match=r"Odd\.a: '1 \| None': unsupported operand"):
            s.shape_of(Odd)
