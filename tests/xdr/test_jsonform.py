"""The JSON form loses nothing, and refuses what does not fit with a path."""

from __future__ import annotations

import json
import math
import struct
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xdr
from tests.xdr import declarations as d
from xdr import jsonform
from xdr.testing import values

Ints = Annotated[list[Annotated[int, xdr.Int]], xdr.Array(max=3)]


class TestThereAndBack:
    @pytest.mark.parametrize("annotation", d.EVERY, ids=str)
    @pytest.mark.parametrize("opaque", ["hex", "base64"])
    def test_every_value_of_every_type_comes_back(self, annotation: Any, opaque: Any) -> None:
        @d.BRIEF
        @given(values(annotation, max_elements=3))
        def check(value: Any) -> None:
            text = jsonform.dumps(annotation, value, opaque=opaque)
            assert jsonform.loads(annotation, text) == value

        check()

    @given(st.binary(min_size=8, max_size=8))
    def test_doubles_come_back_to_the_bit(self, data: bytes) -> None:
        value = xdr.decode(xdr.Double, data)
        again = jsonform.loads(xdr.Double, jsonform.dumps(xdr.Double, value))
        assert struct.pack(">d", again) == struct.pack(">d", value)

    @given(st.binary(min_size=4, max_size=4))
    def test_floats_come_back_to_the_bit_the_interpreter_kept(self, data: bytes) -> None:
        value = xdr.decode(xdr.Float, data)
        again = jsonform.loads(xdr.Float, jsonform.dumps(xdr.Float, value))
        assert struct.pack(">f", again) == struct.pack(">f", value)

    @settings(deadline=None)
    @given(st.binary(min_size=16, max_size=16))
    def test_quadruples_come_back_to_the_bit(self, data: bytes) -> None:
        value = xdr.decode(xdr.Quad, data)
        assert jsonform.loads(xdr.Quad, jsonform.dumps(xdr.Quad, value)) == value

    def test_a_list_of_100000_entries_is_an_array(self) -> None:
        node = None
        for number in range(100_000):
            node = d.Node(number, "", node)
        form = jsonform.to_json(d.Node, node)
        assert len(form) == 100_000
        assert form[0] == {"value": 99_999, "name": ""}
        assert jsonform.from_json(d.Node, form) == node


class TestForm:
    @pytest.mark.parametrize(
        ("annotation", "value", "form"),
        [
            (xdr.Int, -5, -5),
            (xdr.Hyper, -(1 << 63), "-9223372036854775808"),
            (xdr.UHyper, (1 << 64) - 1, "18446744073709551615"),
            (xdr.Double, 0.1, 0.1),
            (xdr.Float, 0.1, 0.10000000149011612),
            (xdr.Double, math.inf, "Infinity"),
            (xdr.Float, -math.inf, "-Infinity"),
            (xdr.Double, math.nan, "NaN"),
            (xdr.Float, math.nan, "NaN"),
            (xdr.Double, struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0], "NaN:fff8000000000001"),
            (xdr.Quad, xdr.Quad("0.1"), "0.1"),
            (xdr.Quad, xdr.Quad("-inf"), "-Infinity"),
            (xdr.Quad, xdr.Quad("nan"), "NaN"),
            (bool, True, True),
            (d.Colour, d.RED, "RED"),
            (None, None, None),
            (Annotated[bytes, xdr.Opaque()], b"\x01\xff", "01ff"),
            (Annotated[bytes, xdr.FixedOpaque(2)], b"\x01\xff", "01ff"),
            (Annotated[str, xdr.String()], "é\udcff", "é\udcff"),
            (Ints, [1, 2], [1, 2]),
            (d.Point, d.Point(1, 2), {"x": 1, "y": 2}),
            (d.Point | None, None, None),
            (d.Node | None, None, []),
            (
                d.Node | None,
                d.Node(1, "a", d.Node(2, "b", None)),
                [{"value": 1, "name": "a"}, {"value": 2, "name": "b"}],
            ),
            (d.Choice, d.Choice_RED(3), {"colour": "RED", "number": 3}),
            (d.Choice, d.Choice_GREEN(), {"colour": "GREEN"}),
            (d.Switch, d.Switch_FALSE(), {"on": False}),
        ],
        ids=str,
    )
    def test_forms(self, annotation: Any, value: Any, form: Any) -> None:
        made = jsonform.to_json(annotation, value)
        assert made == form
        assert type(made) is type(form)
        again = jsonform.from_json(annotation, json.loads(json.dumps(form)))
        assert xdr.encode(annotation, again) == xdr.encode(annotation, value)

    def test_the_discriminant_comes_first(self) -> None:
        assert list(jsonform.to_json(d.Choice, d.Choice_RED(3))) == ["colour", "number"]

    def test_base64_says_so(self) -> None:
        of = Annotated[bytes, xdr.Opaque()]
        assert jsonform.dumps(of, b"\x01\xff", opaque="base64") == '"base64:Af8="'
        assert jsonform.loads(of, '"base64:Af8="') == b"\x01\xff"

    def test_reading_takes_numbers_for_hypers_and_enums_and_spaced_hex(self) -> None:
        assert jsonform.from_json(xdr.Hyper, 5) == 5
        assert jsonform.from_json(d.Colour, 1) is d.GREEN
        assert jsonform.from_json(Annotated[bytes, xdr.Opaque()], "01 FF") == b"\x01\xff"
        assert jsonform.from_json(xdr.Double, 1) == 1
        assert jsonform.from_json(xdr.Quad, 1.5) == xdr.Quad(1.5)
        assert math.isnan(jsonform.loads(xdr.Double, "NaN"))
        assert jsonform.from_json(d.Node | None, None) is None

    def test_text_can_be_indented(self) -> None:
        assert jsonform.dumps(d.Point, d.Point(1, 2), indent=1) == '{\n "x": 1,\n "y": 2\n}'

    def test_string_annotations_take_their_module(self) -> None:
        assert jsonform.dumps("alias", None, module=d.__name__) == "[]"
        assert jsonform.loads(xdr.codec(d.Point), '{"y": 1, "x": 2}') == d.Point(2, 1)


class TestRefused:
    @pytest.mark.parametrize(
        ("annotation", "text", "error"),
        [
            (xdr.Int, "1.5", "int: a whole number expected, 1.5 given"),
            (xdr.Int, "true", "int: a whole number expected, a bool given"),
            (xdr.Int, '"5"', "int: a whole number expected, text given"),
            (xdr.Int, "4294967296", "int: 4294967296 is not in -2147483648..2147483647"),
            (xdr.Hyper, '"x"', "hyper: 'x' is no whole number"),
            (xdr.Hyper, "null", "hyper: a whole number or text of one expected, null given"),
            (xdr.Double, '"1"', "double: '1' is no double"),
            (xdr.Double, '"NaN:00"', "double: 'NaN:00' is no double"),
            (xdr.Double, '"NaN:xx"', "double: 'NaN:xx' is no double"),
            (xdr.Double, '"NaN:3ff0000000000000"', "double: 'NaN:3ff0000000000000' is no double"),
            (xdr.Double, "[]", "double: a number expected, an array given"),
            (xdr.Float, "1e300", "float: 1e+300 does not fit a float"),
            (xdr.Quad, '"x"', "quadruple: not a number: 'x'"),
            (xdr.Quad, '"NaN:00"', "quadruple: 'NaN:00' is no quadruple"),
            (xdr.Quad, "true", "quadruple: a number or text of one expected, a bool given"),
            (bool, "1", "bool: a bool expected, a number given"),
            (None, "0", "void: null expected, a number given"),
            (d.Colour, '"red"', "Colour: 'red' is no Colour"),
            (d.Colour, "9", "Colour: 9 is no Colour"),
            (Annotated[bytes, xdr.Opaque()], '"0"', "opaque<>: neither hex nor base64 behind 'base64:'"),
            (Annotated[bytes, xdr.Opaque()], '"base64:?"', "opaque<>: neither hex nor base64 behind 'base64:'"),
            (Annotated[bytes, xdr.Opaque()], "5", "opaque<>: hex or base64 expected, a number given"),
            (Annotated[str, xdr.String(max=2)], '"abc"', "string<2>: 3 bytes given, 2 allowed"),
            (Annotated[str, xdr.String(max=2)], "{}", "string<2>: text expected, an object given"),
            (Ints, '[1, "2"]', "int<3>[1]: a whole number expected, text given"),
            (Ints, "[1, 2, 3, 4]", "int<3>: 4 elements given, 3 allowed"),
            (d.Point, '{"x": 1}', "Point: field 'y' is missing"),
            (d.Point, '{"x": 1, "y": 2, "z": 3}', "Point: no field 'z'"),
            (d.Point, "[1, 2]", "Point: an object expected, an array given"),
            (d.Node, "[]", "Node: a list with at least one entry expected"),
            (d.Node, '[{"value": 1, "name": "a"}, 5]', "Node[1]: an object expected, a number given"),
            (d.Choice, "{}", "Choice: field 'colour' is missing"),
            (d.Choice, '{"colour": "RED"}', "Choice: field 'number' is missing"),
            (d.Only, '{"which": 1}', "Only.which: 1 is no case of Only"),
            (d.Point, '{"x": 1, "x": 1, "y": 2}', "JSON: 'x' comes twice in one object"),
            (d.Point, "{", "JSON: Expecting property name"),
        ],
    )
    def test_texts(self, annotation: Any, text: str, error: str) -> None:
        with pytest.raises(xdr.XDREncodeError) as caught:
            jsonform.loads(annotation, text)
        assert str(caught.value).startswith(error)

    @pytest.mark.parametrize("levels", [2_000, 200_000])
    def test_deep_json_ends_in_an_error_of_ours(self, levels: int) -> None:
        text = '{"label": 0, "right": null, "more": [], "left": ' * levels + "null" + "}" * levels
        with pytest.raises(xdr.XDREncodeError, match="nested more"):
            jsonform.loads(d.Tree, text)

    def test_values_that_do_not_fit_are_not_written(self) -> None:
        with pytest.raises(xdr.XDREncodeError, match=r"Point\.y: int expected, str given"):
            jsonform.dumps(d.Point, d.Point(1, "2"))  # type: ignore[arg-type]


@xdr.struct
class Renamed:
    from_: Annotated[int, xdr.Int]
    to: Annotated[int, xdr.Int]

    __xdr_names__ = {"from_": "from"}  # noqa: RUF012 - as generated modules have it


class Mood(xdr.Enum):
    None_ = 0
    GLAD = 1

    __xdr_names__ = {"None_": "None"}  # noqa: RUF012


@xdr.arm("Which", "list_", Mood, cases=(Mood.None_,))
class WhichNone:
    list_: Mood

    __xdr_names__ = {"list_": "list"}  # noqa: RUF012


@pytest.mark.parametrize(
    ("kind", "value", "form", "python"),
    [
        (Renamed, Renamed(1, 2), {"from": 1, "to": 2}, {"from_": 1, "to": 2}),
        (Mood, Mood.None_, "None", "None_"),
        (WhichNone, WhichNone(Mood.None_), {"list": "None"}, {"list_": "None_"}),
    ],
)
def test_names_are_those_of_the_file_and_pythons_are_taken_too(kind: Any, value: Any, form: Any, python: Any) -> None:
    assert jsonform.to_json(kind, value) == form
    assert jsonform.from_json(kind, form) == value
    assert jsonform.from_json(kind, python) == value


def test_a_field_under_both_of_its_names_is_refused() -> None:
    with pytest.raises(xdr.XDREncodeError, match="'from' comes twice"):
        jsonform.from_json(Renamed, {"from": 1, "from_": 1, "to": 2})
