"""What errors say: the path, the place and the reason."""

from __future__ import annotations

import time
from typing import Annotated, Any

import pytest

import xdr
from tests.xdr import declarations as d


@xdr.struct
class MsgSendArgs:
    queue_id: Annotated[int, xdr.UInt]
    mtype: Annotated[int, xdr.Hyper]
    body: Annotated[bytes, xdr.Opaque(max=8192)]


Pairs = Annotated[list[d.Pair], xdr.Array(max=100)]


class TestDecoding:
    @pytest.mark.parametrize(
        ("annotation", "data", "text"),
        [
            (
                MsgSendArgs,
                "0000000100000000000000020fffffff",
                "MsgSendArgs.body: 268435455 bytes announced, 8192 allowed, at byte 12",
            ),
            (
                MsgSendArgs,
                "000000010000000000000002ffffffff",
                "MsgSendArgs.body: 4294967295 bytes announced, 8192 allowed, at byte 12",
            ),
            (MsgSendArgs, "0000000100", "MsgSendArgs.mtype: 8 bytes needed, 1 left, at byte 4"),
            (MsgSendArgs, "", "MsgSendArgs.queue_id: 4 bytes needed, 0 left, at byte 0"),
            (
                MsgSendArgs,
                "00000001000000000000000200000004616263",
                "MsgSendArgs.body: 4 bytes announced, 3 left, at byte 12",
            ),
            (
                MsgSendArgs,
                "0000000100000000000000020000000361626301",
                "MsgSendArgs.body: padding is 01, not zero, at byte 19",
            ),
            (
                MsgSendArgs,
                "0000000100000000000000020000000000000000",
                "MsgSendArgs: 4 bytes more than the value takes, at byte 16",
            ),
            (
                MsgSendArgs,
                "00000001000000000000000200000000ff",
                "MsgSendArgs: 1 byte more than the value takes, at byte 16",
            ),
            (Pairs, "00000002000000016100000000000001", "Pair<100>: 2 elements announced, 12 bytes left, at byte 0"),
            (
                Pairs,
                "0000000200000001610000000000000100000001620000000000000f",
                "Pair<100>[1].colour: 15 is no Colour, at byte 24",
            ),
            (Pairs, "00000065", "Pair<100>: 101 elements announced, 100 allowed, at byte 0"),
            (
                d.Node,
                "0000000100000000000000010000000200000000000000ff",
                "Node[1].next: 255 is neither 0 nor 1, at byte 20",
            ),
            (d.Only, "00000001", "Only.which: 1 is no case of Only, at byte 0"),
            (d.Choice, "00000002000000ff", "Choice.text: 255 bytes announced, 12 allowed, at byte 4"),
            (d.Choice, "0000000000", "Choice.number: 4 bytes needed, 1 left, at byte 4"),
            (xdr.Int, "0000", "int: 4 bytes needed, 2 left, at byte 0"),
            (
                Annotated[list[bool], xdr.Array(max=3)],
                "000000020000000100000002",
                "bool<3>[1]: 2 is neither 0 nor 1, at byte 8",
            ),
        ],
    )
    def test_texts(self, annotation: Any, data: str, text: str) -> None:
        for form in (bytes.fromhex(data), memoryview(bytes.fromhex(data))):
            with pytest.raises(xdr.XDRDecodeError) as caught:
                xdr.decode(annotation, form)
            assert str(caught.value) == text
            assert text.startswith(caught.value.path + ": " + caught.value.reason)
            assert text.endswith(f"at byte {caught.value.offset}")

    def test_the_error_does_not_drag_along_the_one_that_led_to_it(self) -> None:
        with pytest.raises(xdr.XDRDecodeError) as caught:
            xdr.decode(MsgSendArgs, b"")
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None

    def test_offsets_count_from_the_start_of_the_data_given(self) -> None:
        with pytest.raises(xdr.XDRDecodeError, match=r"MsgSendArgs\.mtype: .* at byte 24$"):
            xdr.codec(MsgSendArgs).decode_from(bytes(28), 20)

    def test_finding_the_place_takes_no_longer_than_a_few_times_decoding(self) -> None:
        tree = d.Tree(0, None, None, [])
        codec = xdr.codec(d.Tree)
        for _ in range(120):
            tree = d.Tree(0, None, tree, [d.Tree(1, None, None, [])] * 3)
        bulk = codec.encode(tree)
        pairs = Annotated[list[d.Tree], xdr.Array()]
        data = (200).to_bytes(4, "big") + bulk * 200
        bad = data[:-4] + b"\0\0\0\x09"
        xdr.decode(pairs, data)
        began = time.process_time()
        xdr.decode(pairs, data)
        good = time.process_time() - began
        began = time.process_time()
        with pytest.raises(xdr.XDRDecodeError, match=r"^Tree<>\[199\]"):
            xdr.decode(pairs, bad)
        assert time.process_time() - began < 40 * good + 0.1


class TestEncoding:
    @pytest.mark.parametrize(
        ("annotation", "value", "text"),
        [
            (xdr.Int, 1 << 31, "int: 2147483648 is not in -2147483648..2147483647"),
            (xdr.UInt, -1, "unsigned int: -1 is not in 0..4294967295"),
            (xdr.Hyper, 1 << 63, "hyper: 9223372036854775808 is not in -9223372036854775808..9223372036854775807"),
            (xdr.UHyper, 1 << 64, "unsigned hyper: 18446744073709551616 is not in 0..18446744073709551615"),
            (xdr.Int, 1.0, "int: int expected, float given"),
            (xdr.Int, None, "int: int expected, None given"),
            (xdr.Float, 1e300, "float: 1e+300 does not fit a float"),
            (xdr.Double, "1", "double: float expected, str given"),
            (bool, 1, "bool: bool expected, int given"),
            (xdr.Quad, 1.5, "quadruple: Quad expected, float given"),
            (xdr.Quad, 1, "quadruple: Quad expected, int given"),
            (None, 0, "void: None expected, int given"),
            (d.Colour, 7, "Colour: 7 is no Colour"),
            (d.Colour, d.Sparse.NONE, "Colour: Colour expected, Sparse given"),
            (d.Colour, "RED", "Colour: Colour expected, str given"),
            (Annotated[bytes, xdr.FixedOpaque(4)], b"abc", "opaque[4]: 3 bytes given, exactly 4 needed"),
            (Annotated[bytes, xdr.FixedOpaque(4)], "abcd", "opaque[4]: bytes expected, str given"),
            (Annotated[bytes, xdr.Opaque(max=4)], [1], "opaque<4>: bytes expected, list given"),
            (Annotated[bytes, xdr.Opaque(max=400)], b"a" * 401, "opaque<400>: 401 bytes given, 400 allowed"),
            (Annotated[str, xdr.String(max=4)], b"abcd", "string<4>: str expected, bytes given"),
            (Annotated[str, xdr.String(max=4)], "\ud800", "string<4>: character 0, U+D800, has no bytes in UTF-8"),
            (Annotated[list[bool], xdr.FixedArray(2)], [True], "bool[2]: 1 element given, exactly 2 needed"),
            (Annotated[list[bool], xdr.FixedArray(2)], [True, 0], "bool[2][1]: bool expected, int given"),
            (Annotated[list[bool], xdr.Array(max=2)], "ab", "bool<2>: list expected, str given"),
            (Annotated[list[bool], xdr.Array(max=2)], {True}, "bool<2>: list expected, set given"),
            (Annotated[list[bool], xdr.Array(max=2)], 5, "bool<2>: list expected, int given"),
            (d.Point, d.Pair("", d.RED), "Point: Point expected, Pair given"),
            (d.Point | None, 5, "Point: Point expected, int given"),
            (d.Point, d.Point(1, "2"), "Point.y: int expected, str given"),  # type: ignore[arg-type]
            (d.Point, d.Point.__new__(d.Point), "Point.x: not set"),
            (Pairs, [d.Pair("a", d.RED), d.Pair("a" * 9, d.RED)], "Pair<100>[1].name: 9 bytes given, 8 allowed"),
            (d.Node, d.Node(1, "", d.Node(2, 3, None)), "Node[1].name: str expected, int given"),  # type: ignore[arg-type]
            (d.Node, d.Node(1, "", d.Point(1, 2)), "Node[1]: Node expected, Point given"),  # type: ignore[arg-type]
            (d.Choice, d.Point(1, 2), "Choice: Choice_RED or Choice_GREEN or Choice_default expected, Point given"),
            (d.Choice, d.Choice_default(d.RED, ""), "Choice.colour: <Colour.RED: 0> does not choose Choice_default"),
            (
                d.Choice,
                d.Choice_RED(1, d.GREEN),  # type: ignore[arg-type]
                "Choice.colour: <Colour.GREEN: 1> does not choose Choice_RED",
            ),
            (d.Number, d.Number_some(3, 1.0), "Number.which: 3 does not choose Number_some"),
            (d.Choice, d.Choice_RED("x"), "Choice.number: int expected, str given"),  # type: ignore[arg-type]
            (d.Switch, d.Switch_TRUE(1, 1), "Switch.on: bool expected, int given"),  # type: ignore[arg-type]
        ],
    )
    def test_texts(self, annotation: Any, value: Any, text: str) -> None:
        with pytest.raises(xdr.XDREncodeError) as caught:
            xdr.encode(annotation, value)
        assert str(caught.value) == text
        with pytest.raises(xdr.XDREncodeError) as caught:
            xdr.codec(annotation).encode_to(value, lambda _part: None)
        assert str(caught.value) == text

    def test_an_object_whose_attributes_fail_is_reported_too(self) -> None:
        class Moody(d.Point):
            __slots__ = ("asked",)

            @property
            def x(self) -> int:  # type: ignore[override]
                self.asked = getattr(self, "asked", 0) + 1
                if self.asked == 1:
                    message = "not now"
                    raise RuntimeError(message)
                return 1

        point = Moody.__new__(Moody)
        point.y = 1
        with pytest.raises(xdr.XDREncodeError, match="Point: RuntimeError: not now"):
            xdr.encode(d.Point, point)

    def test_numbers_may_be_plain_where_an_enum_is_wanted(self) -> None:
        assert xdr.encode(d.Colour, 1) == b"\0\0\0\1"
