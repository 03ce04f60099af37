"""What codecs promise: all types there and back, strict decoding, limits, and the buffers they take."""

# ruff: noqa: PT017 - properties: data may be refused or not, and both are looked at

from __future__ import annotations

import array
import math
import struct
import sys
import threading
import time
import tracemalloc
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xdr
from tests.xdr import declarations as d
from xdr.shapes import MAX_EMPTY
from xdr.testing import values

Ints = Annotated[list[Annotated[int, xdr.Int]], xdr.Array(max=1000)]


def linked(length: int) -> d.Node:
    node = None
    for number in range(length, 0, -1):
        node = d.Node(number, "x", node)
    assert node is not None
    return node


def array_of(element: Any) -> Any:
    return Annotated[list.__class_getitem__(element), xdr.Array()]


class TestRoundTrips:
    @pytest.mark.parametrize("annotation", d.EVERY, ids=str)
    def test_every_value_of_every_type_comes_back_from_its_bytes(self, annotation: Any) -> None:
        codec = xdr.codec(annotation)

        @settings(d.BRIEF, max_examples=25)
        @given(values(annotation))
        def check(value: Any) -> None:
            data = codec.encode(value)
            assert len(data) % 4 == 0
            assert codec.decode(data) == value
            assert codec.encode(codec.decode(data)) == data
            assert codec.decode(memoryview(data)) == value
            assert codec.decode(bytearray(data), lenient_padding=True) == value
            parts: list[bytes] = []
            codec.encode_to(value, parts.append)
            assert b"".join(parts) == data
            assert codec.decode_from(b"\xff" * 8 + data + b"\xff\xff\xff", 8) == (value, 8 + len(data))

        check()

    @pytest.mark.parametrize("annotation", d.EVERY, ids=str)
    def test_no_value_decodes_when_bytes_are_missing_or_left_over(self, annotation: Any) -> None:
        codec = xdr.codec(annotation)

        @settings(d.BRIEF, max_examples=5)
        @given(values(annotation, max_elements=2, max_bytes=8), st.integers(0, 10000))
        def check(value: Any, cut: int) -> None:
            data = codec.encode(value)
            with pytest.raises(xdr.XDRDecodeError, match=r"more than the value takes, at byte \d+$"):
                codec.decode(data + bytes(4))
            if data:
                with pytest.raises(xdr.XDRDecodeError):
                    codec.decode(data[: cut % len(data)])
                with pytest.raises(xdr.XDRDecodeError):
                    codec.decode(memoryview(data)[: cut % len(data)])

        check()

    @settings(d.BRIEF, max_examples=200)
    @given(st.sampled_from(d.EVERY), st.binary(max_size=200))
    def test_any_bytes_either_decode_and_encode_back_or_are_refused_with_a_place(
        self, annotation: Any, data: bytes
    ) -> None:
        codec = xdr.codec(annotation)
        try:
            value = codec.decode(data)
        except xdr.XDRDecodeError as error:
            assert 0 <= error.offset <= len(data)
            assert "interpreter" not in error.reason
            with pytest.raises(xdr.XDRDecodeError) as other:
                codec.decode(memoryview(data))
            assert str(other.value) == str(error)
        else:
            assert codec.encode(value) == data or any(math.isnan(x) for x in _floats(value))

    @settings(d.BRIEF, max_examples=100)
    @given(values(d.Everything, max_elements=2, max_bytes=10), st.data())
    def test_one_changed_byte_is_found_or_decodes_to_something_that_encodes(
        self, value: d.Everything, data: st.DataObject
    ) -> None:
        codec = xdr.codec(d.Everything)
        good = codec.encode(value)
        at = data.draw(st.integers(0, len(good) - 1))
        bad = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]
        try:
            again = codec.decode(bad)
        except xdr.XDRDecodeError as error:
            # A changed length may only be missed some words later.
            assert error.offset >= at - at % 4 - 4 or error.path
        else:
            codec.encode(again)


def _floats(value: Any) -> list[float]:
    return [x for x in (getattr(value, "e", None), getattr(value, "f", None), value) if isinstance(x, float)] + [
        x for x in getattr(value, "doubles", []) if isinstance(x, float)
    ]


class TestBytes:
    """What RFC 4506 says the bytes are."""

    @pytest.mark.parametrize(
        ("annotation", "value", "data"),
        [
            (Annotated[int, xdr.Int], -2, "fffffffe"),
            (Annotated[int, xdr.UInt], 0xFFFFFFFE, "fffffffe"),
            (Annotated[int, xdr.Hyper], -2, "fffffffffffffffe"),
            (Annotated[int, xdr.UHyper], (1 << 64) - 2, "fffffffffffffffe"),
            (Annotated[float, xdr.Float], 1.5, "3fc00000"),
            (Annotated[float, xdr.Double], -0.0, "8000000000000000"),
            (xdr.Quad, xdr.Quad(-2), "c0000000000000000000000000000000"),
            (bool, True, "00000001"),
            (d.Sparse, d.Sparse.LOW, "fffffffb"),
            (None, None, ""),
            (Annotated[bytes, xdr.FixedOpaque(5)], b"hello", "68656c6c6f000000"),
            (Annotated[bytes, xdr.Opaque(max=9)], b"hello", "0000000568656c6c6f000000"),
            (Annotated[str, xdr.String(max=9)], "hé", "0000000368c3a900"),
            (Annotated[str, xdr.String(max=9)], "\udcff", "00000001ff000000"),
            (Ints, [1, -1], "0000000200000001ffffffff"),
            (Annotated[list[bool], xdr.FixedArray(2)], [True, False], "0000000100000000"),
            (d.Point | None, None, "00000000"),
            (d.Point | None, d.Point(1, 2), "000000010000000100000002"),
            (d.Choice, d.Choice_RED(7), "0000000000000007"),
            (d.Choice, d.Choice_GREEN(), "00000001"),
            (d.Choice, d.Choice_default(d.Colour.BLUE, "a"), "000000020000000161000000"),
            (d.Switch, d.Switch_TRUE(5), "0000000100000005"),
            (d.Number, d.Number_default(-7), "fffffff9"),
            (d.Only, d.Only_4000000000(), "ee6b2800"),
            (d.Node, d.Node(1, "a", d.Node(2, "", None)), "00000001000000016100000000000001000000020000000000000000"),
        ],
        ids=str,
    )
    def test_bytes_are_those_of_the_standard(self, annotation: Any, value: Any, data: str) -> None:
        assert xdr.encode(annotation, value).hex() == data
        assert xdr.decode(annotation, bytes.fromhex(data)) == value

    @pytest.mark.parametrize(
        ("annotation", "value", "data"),
        [
            (Annotated[int, xdr.Int], -(1 << 31), "80000000"),
            (Annotated[int, xdr.Int], (1 << 31) - 1, "7fffffff"),
            (Annotated[int, xdr.UInt], (1 << 32) - 1, "ffffffff"),
            (Annotated[int, xdr.Hyper], -(1 << 63), "8000000000000000"),
            (Annotated[int, xdr.UHyper], (1 << 64) - 1, "ffffffffffffffff"),
            (Annotated[float, xdr.Float], -0.0, "80000000"),
            (Annotated[float, xdr.Float], math.inf, "7f800000"),
            (Annotated[float, xdr.Float], 2.0**-149, "00000001"),
            (Annotated[float, xdr.Double], -math.inf, "fff0000000000000"),
            (Annotated[float, xdr.Double], 5e-324, "0000000000000001"),
            (xdr.Quad, xdr.Quad("-inf"), "ffff0000000000000000000000000000"),
            (xdr.Quad, xdr.Quad(-0.0), "80000000000000000000000000000000"),
        ],
        ids=str,
    )
    def test_the_ends_of_each_range_are_those_of_the_standard(self, annotation: Any, value: Any, data: str) -> None:
        assert xdr.encode(annotation, value).hex() == data
        assert xdr.encode(annotation, xdr.decode(annotation, bytes.fromhex(data))).hex() == data

    @pytest.mark.parametrize(("kind", "data"), [(xdr.Float, "7fc00000"), (xdr.Double, "7ff8000000000000")])
    def test_nan_is_not_a_number_both_ways(self, kind: Any, data: str) -> None:
        of = Annotated[float, kind]
        assert xdr.encode(of, math.nan).hex() == data
        assert math.isnan(xdr.decode(of, bytes.fromhex(data)))

    def test_a_scalar_type_stands_for_itself(self) -> None:
        assert xdr.codec(xdr.Int).decode(xdr.codec(xdr.Int).encode(5)) == 5
        assert xdr.codec(xdr.Void).encode(None) == b""


class TestStrictness:
    @pytest.mark.parametrize("size", [1, 2, 3, 255, 257, 1001])
    def test_padding_that_is_not_zero_is_refused_unless_lenient(self, size: int) -> None:
        codec = xdr.codec(Annotated[bytes, xdr.Opaque()])
        good = codec.encode(b"a" * size)
        for at in range(4 + size, len(good)):
            bad = good[:at] + b"\x01" + good[at + 1 :]
            for data in (bad, memoryview(bad)):
                with pytest.raises(xdr.XDRDecodeError, match=r"padding is 0[01]"):
                    codec.decode(data)
                assert codec.decode(data, lenient_padding=True) == b"a" * size

    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (d.Texts, d.Texts("abcde", "b", "c", "d", 1)),
            (d.Bytes, d.Bytes(b"abcdef", b"", b"12345678", b"x" * 301, b"abc", b"b", b"c")),
        ],
    )
    def test_padding_inside_structs_is_looked_at_too(self, annotation: Any, value: Any) -> None:
        codec = xdr.codec(annotation)
        data = bytearray(codec.encode(value))
        wrong = 0
        for at in range(len(data)):
            if data[at] == 0:
                data[at] = 1
                try:
                    codec.decode(data)
                except xdr.XDRDecodeError as error:
                    if error.reason.startswith("padding"):
                        wrong += 1
                        assert codec.decode(data, lenient_padding=True) == value
                data[at] = 0
        assert wrong == (3 + 3 + 3 + 3 if annotation is d.Texts else 2 + 3 + 1 + 3 + 3)

    @pytest.mark.parametrize("word", [2, 0x100, 0xFFFFFFFF])
    @pytest.mark.parametrize("annotation", [bool, d.Point | None, Annotated[list[bool], xdr.FixedArray(1)], d.Switch])
    def test_bools_and_options_are_0_or_1(self, annotation: Any, word: int) -> None:
        with pytest.raises(xdr.XDRDecodeError, match=f"{word} is neither 0 nor 1, at byte 0"):
            xdr.decode(annotation, word.to_bytes(4, "big") + bytes(8))

    @pytest.mark.parametrize("annotation", [d.Colour, d.Sparse, Annotated[list[d.Colour], xdr.FixedArray(30)]])
    @pytest.mark.parametrize("word", [3, -1, 2**31 - 1])
    def test_enums_have_known_values(self, annotation: Any, word: int) -> None:
        with pytest.raises(xdr.XDRDecodeError, match=rf"{word} is no (Colour|Sparse)"):
            xdr.decode(annotation, word.to_bytes(4, "big", signed=True) * 30)

    def test_a_discriminant_without_an_arm_is_refused(self) -> None:
        with pytest.raises(xdr.XDRDecodeError, match=r"^Only\.which: 1 is no case of Only, at byte 0$"):
            xdr.decode(d.Only, b"\0\0\0\1")
        with pytest.raises(xdr.XDRDecodeError, match=r"^Many\.which: 9 is no case of Many, at byte 0$"):
            xdr.decode(d.Many, b"\0\0\0\x09\0\0\0\1")

    def test_bounds_hold_both_ways(self) -> None:
        cases: list[tuple[Any, Any]] = [(Annotated[bytes, xdr.Opaque(max=5)], b"abcde"), (Ints, [0] * 1000)]
        for annotation, most in cases:
            data = xdr.encode(annotation, most)
            assert xdr.decode(annotation, data) == most
            with pytest.raises(xdr.XDREncodeError, match=r"given, (5|1000) allowed"):
                xdr.encode(annotation, most + most[:1])
            longer = (len(most) + 1).to_bytes(4, "big") + data[4:] + bytes(8)
            with pytest.raises(xdr.XDRDecodeError, match=r"announced, (5|1000) allowed, at byte 0"):
                xdr.decode(annotation, longer)

    def test_bounds_of_strings_count_bytes(self) -> None:
        of = Annotated[str, xdr.String(max=4)]
        assert xdr.encode(of, "éé")[4:] == b"\xc3\xa9\xc3\xa9"
        with pytest.raises(xdr.XDREncodeError, match="6 bytes given, 4 allowed"):
            xdr.encode(of, "ééé")


class TestHostileCounts:
    """A count is four bytes; what it announces must be there before it costs anything."""

    @pytest.mark.parametrize(
        "element",
        [
            Annotated[int, xdr.Int],
            bool,
            d.Colour,
            xdr.Quad,
            None,
            d.Empty,
            Annotated[bytes, xdr.FixedOpaque(0)],
            Annotated[list[Annotated[int, xdr.Int]], xdr.FixedArray(0)],
            Annotated[list[d.Empty], xdr.FixedArray(5)],
            d.Point,
            d.Pair,
            d.Node,
            d.Tree,
            d.Choice,
            d.Many,
            d.Point | None,
            Annotated[bytes, xdr.Opaque()],
            Annotated[list[Annotated[int, xdr.Int]], xdr.Array()],
        ],
        ids=str,
    )
    @pytest.mark.parametrize("count", [0xFFFFFFFF, 0x7FFFFFFF, 1 << 20])
    def test_a_huge_count_costs_neither_memory_nor_time(self, element: Any, count: int) -> None:
        codec = xdr.codec(array_of(element))
        codec.decode(bytes(4))
        data = count.to_bytes(4, "big") + bytes(64)
        tracemalloc.start()
        try:
            began = time.process_time()
            for form in (data, memoryview(data)):
                with pytest.raises(xdr.XDRDecodeError, match=rf"^.*: {count} elements announced, "):
                    codec.decode(form)
            assert time.process_time() - began < 1
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()

    def test_a_huge_length_costs_neither(self) -> None:
        for of in (xdr.Opaque(), xdr.String()):
            with pytest.raises(xdr.XDRDecodeError, match="4294967295 bytes announced, 4 left, at byte 0"):
                xdr.decode(Annotated[bytes, of], b"\xff" * 4 + bytes(4))

    def test_a_huge_fixed_array_is_not_made_before_its_bytes_are_seen(self) -> None:
        of = Annotated[list[d.Point], xdr.FixedArray(0xFFFFFFFF)]
        with pytest.raises(xdr.XDRDecodeError, match=r"\[2\]"):
            xdr.decode(of, bytes(16))

    def test_elements_without_bytes_are_few_both_ways(self) -> None:
        for element, value in ((None, None), (d.Empty, d.Empty())):
            codec = xdr.codec(array_of(element))
            data = codec.encode([value] * MAX_EMPTY)
            assert data == MAX_EMPTY.to_bytes(4, "big")
            assert codec.decode(data) == [value] * MAX_EMPTY
            with pytest.raises(xdr.XDREncodeError, match=f"{MAX_EMPTY + 1} elements given, {MAX_EMPTY} allowed"):
                codec.encode([value] * (MAX_EMPTY + 1))

    def test_objects_made_of_few_bytes_are_not_shared(self) -> None:
        made = xdr.decode(Annotated[list[d.Empty], xdr.Array()], b"\0\0\0\2")
        assert made[0] is not made[1]


class TestDepth:
    def test_a_linked_list_of_100000_entries_is_no_nesting(self) -> None:
        codec = xdr.codec(d.Node)
        node = linked(100_000)
        data = codec.encode(node)
        assert len(data) == 100_000 * 16
        again = codec.decode(data)
        assert again == node
        assert codec.decode(memoryview(data)) == node
        assert xdr.codec(d.Node | None).decode(b"\0\0\0\1" + data) == node
        codec.encode(again, max_depth=0)

    def test_a_fault_far_down_a_list_is_found(self) -> None:
        codec = xdr.codec(d.Node)
        data = bytearray(codec.encode(linked(50_000)))
        data[40_000 * 16 + 15] = 7
        with pytest.raises(xdr.XDRDecodeError, match=r"^Node\[40000\]\.next: 7 is neither 0 nor 1, at byte 640012$"):
            codec.decode(data)

    @pytest.mark.parametrize("levels", [0, 5, 128])
    def test_nesting_up_to_the_limit_passes_and_one_more_does_not(self, levels: int) -> None:
        codec = xdr.codec(d.Tree)
        tree = None
        for _ in range(levels + 1):
            tree = d.Tree(0, tree, None, [])
        assert tree is not None
        data = codec.encode(tree, max_depth=levels)
        assert codec.decode(data, max_depth=levels) == tree
        deeper = d.Tree(0, tree, None, [])
        with pytest.raises(xdr.XDREncodeError, match=rf"nested more than {levels} levels? deep"):
            codec.encode(deeper, max_depth=levels)
        with pytest.raises(xdr.XDRDecodeError, match=rf"nested more than {levels} levels? deep"):
            codec.decode(codec.encode(deeper, max_depth=levels + 1), max_depth=levels)

    @pytest.mark.parametrize("levels", [200, 100_000])
    def test_a_depth_bomb_is_refused(self, levels: int) -> None:
        bomb = b"\0\0\0\0\0\0\0\1" * levels
        for data in (bomb, memoryview(bomb)):
            with pytest.raises(xdr.XDRDecodeError, match=r"^Tree(\.left){129}: nested more than 128 levels deep"):
                xdr.codec(d.Tree).decode(data)

    def test_a_limit_beyond_the_interpreters_ends_in_an_error_of_ours(self) -> None:
        bomb = b"\0\0\0\0\0\0\0\1" * 10 * sys.getrecursionlimit()
        with pytest.raises(xdr.XDRDecodeError, match="interpreter's stack"):
            xdr.codec(d.Tree).decode(bomb, max_depth=1_000_000)

    def test_mutual_recursion_counts_each_type(self) -> None:
        value = d.Ping(d.Pong(1, d.Ping(None, 2)), 3)
        codec = xdr.codec(d.Ping)
        assert codec.decode(codec.encode(value, max_depth=2), max_depth=2) == value
        with pytest.raises(xdr.XDREncodeError):
            codec.encode(value, max_depth=1)

    def test_a_list_that_bites_its_tail_is_refused(self) -> None:
        for length in (1, 2, 3, 1000):
            node = last = linked(length)
            while last.next is not None:
                last = last.next
            last.next = node
            with pytest.raises(xdr.XDREncodeError, match="leads back into itself"):
                xdr.codec(d.Node).encode(node)

    def test_an_object_inside_itself_is_refused(self) -> None:
        tree = d.Tree(0, None, None, [])
        tree.left = tree
        with pytest.raises(xdr.XDREncodeError, match="nested more than 128 levels deep"):
            xdr.codec(d.Tree).encode(tree)


class TestBuffers:
    def test_any_bytes_like_object_encodes_as_opaque(self) -> None:
        codec = xdr.codec(Annotated[bytes, xdr.Opaque()])
        for size in (0, 5, 300):
            want = codec.encode(b"a" * size)
            for form in (bytearray(b"a" * size), memoryview(b"a" * size), array.array("B", b"a" * size)):
                assert codec.encode(form) == want
        assert codec.encode(memoryview(b"abcdef")[::2]) == codec.encode(b"ace")
        assert codec.encode(array.array("H", [1] * 200)) == codec.encode(array.array("H", [1] * 200).tobytes())

    def test_fixed_opaque_takes_them_too(self) -> None:
        for size in (6, 301):
            codec = xdr.codec(Annotated[bytes, xdr.FixedOpaque(size)])
            assert codec.encode(memoryview(b"a" * size)) == codec.encode(b"a" * size)

    def test_large_opaque_data_is_handed_on_without_a_copy(self) -> None:
        data = b"x" * 100_000
        parts: list[Any] = []
        xdr.codec(Annotated[bytes, xdr.Opaque()]).encode_to(data, parts.append)
        assert any(part is data for part in parts)

    def test_opaque_declared_as_memoryview_is_a_view_of_the_data(self) -> None:
        for size in (5, 1000):
            of = Annotated[memoryview, xdr.Opaque()]
            data = xdr.encode(of, b"a" * size)
            view = xdr.decode(of, data)
            assert isinstance(view, memoryview)
            assert view.obj is data
            assert view == b"a" * size
            assert xdr.decode(of, memoryview(data)) == b"a" * size
        assert xdr.decode(Annotated[memoryview, xdr.FixedOpaque(3)], b"abc\0") == b"abc"
        assert xdr.decode(Annotated[memoryview, xdr.FixedOpaque(0)], b"") == b""

    def test_opaque_from_a_bytearray_does_not_change_with_it(self) -> None:
        data = bytearray(xdr.encode(Annotated[bytes, xdr.Opaque()], b"a" * 300))
        value = xdr.decode(Annotated[bytes, xdr.Opaque()], data)
        data[10:20] = b"b" * 10
        assert value == b"a" * 300

    @pytest.mark.parametrize("code", ["i", "I", "q", "Q", "f", "d"])
    @pytest.mark.parametrize("kind", [xdr.Array(max=500), xdr.FixedArray(300), xdr.FixedArray(3)])
    def test_arrays_of_numbers_decode_to_arrays_on_request(self, code: str, kind: Any) -> None:
        scalars = {"i": xdr.Int, "I": xdr.UInt, "q": xdr.Hyper, "Q": xdr.UHyper, "f": xdr.Float, "d": xdr.Double}
        size = getattr(kind, "size", 300)
        of = Annotated[list[Annotated[int, scalars[code]]], kind]
        numbers = list(range(size))
        data = xdr.encode(of, numbers)
        assert data[-size * struct.calcsize(">" + code) :] == struct.pack(f">{size}{code}", *numbers)
        made = xdr.codec(of, arrays=array.array).decode(data)
        assert isinstance(made, array.array)
        assert made.typecode == code
        assert made.tolist() == numbers
        view = xdr.codec(of, arrays=memoryview).decode(memoryview(data))
        assert isinstance(view, memoryview)
        assert view.tolist() == numbers
        for form in (made, view, tuple(numbers), range(size), array.array("d", numbers)):
            if code in "fd" or not (isinstance(form, array.array) and form.typecode == "d"):
                assert xdr.encode(of, form) == data
        with pytest.raises(xdr.XDRDecodeError):
            xdr.codec(of, arrays=array.array).decode(data[:-4])

    def test_arrays_inside_of_structs_follow_the_request(self) -> None:
        value = d.Arrays(**{name: [] for name in d.Arrays.__match_args__})
        value.doubles, value.many, value.fixed_flags = [1.0] * 3, [7] * 20, [True] * 17
        value.pair_of_colours, value.two_points = [d.RED] * 2, [d.Point(1, 2)] * 2
        value.blobs, value.ints = [b"abc"] * 3, [1, 2, 3]
        data = xdr.encode(d.Arrays, value)
        made = xdr.codec(d.Arrays, arrays=array.array).decode(data)
        assert made.ints == array.array("i", [1, 2, 3])
        assert made.fixed_flags == [True] * 17
        assert xdr.encode(d.Arrays, made) == data

    def test_an_unknown_kind_of_array_is_refused(self) -> None:
        with pytest.raises(xdr.XDRDeclarationError, match=r"list, array\.array or memoryview"):
            xdr.codec(Ints, arrays=tuple)

    def test_decode_from_refuses_a_negative_offset(self) -> None:
        with pytest.raises(ValueError, match="must not be negative: -4"):
            xdr.codec(Ints).decode_from(bytes(8), -4)

    def test_decode_from_stays_within_the_data(self) -> None:
        with pytest.raises(xdr.XDRDecodeError, match="4 bytes needed, 0 left, at byte 9"):
            xdr.codec(Ints).decode_from(bytes(8), 9)


class TestFirstUse:
    def test_a_codec_is_made_once(self) -> None:
        assert xdr.codec(d.Point) is xdr.codec(d.Point)
        assert xdr.codec(Annotated[int, xdr.Int]) is xdr.codec(Annotated[int, xdr.Int])
        assert repr(xdr.codec(d.Point)) == "<codec of Point>"

    def test_the_settings_work_at_the_first_call_as_at_later_ones(self) -> None:
        @xdr.struct
        class Fresh:
            a: Annotated[bytes, xdr.Opaque()]

        bad = b"\0\0\0\1a\0\0\1"
        for _ in range(2):
            codec: xdr.Codec[Fresh] = xdr.Codec(xdr.codec(Fresh).shape)
            assert codec.decode(bad, lenient_padding=True, max_depth=1).a == b"a"
            assert codec.decode(bad, lenient_padding=True, max_depth=1).a == b"a"
            assert codec.encode(Fresh(b"a"), max_depth=1) == bad[:-1] + b"\0"
            assert codec.decode_from(bad, lenient_padding=True)[1] == 8
            assert codec.decode_from(bad, 0, lenient_padding=True)[1] == 8

    def test_what_is_taken_from_a_prepared_codec_is_final(self) -> None:
        codec: xdr.Codec[d.Point] = xdr.Codec(xdr.codec(d.Point).shape)
        assert codec.prepared() is codec
        taken = codec.encode, codec.encode_to, codec.decode, codec.decode_from
        assert codec.decode(codec.encode(d.Point(1, 2))) == d.Point(1, 2)
        assert codec.decode_from(codec.encode(d.Point(1, 2)))[0] == d.Point(1, 2)
        assert (codec.encode, codec.encode_to, codec.decode, codec.decode_from) == taken

    def test_threads_may_use_a_type_for_the_first_time_together(self) -> None:
        classes: list[Any] = []
        for number in range(20):
            body = {"__annotations__": {"a": d.Everything, "b": d.Tree, "c": Annotated[int, xdr.Int]}}
            classes.append(xdr.struct(type(f"Threaded{number}", (), {**body, "__module__": __name__})))
        failures: list[BaseException] = []
        ready = threading.Barrier(4)

        def use() -> None:
            ready.wait()
            try:
                for cls in classes:
                    with pytest.raises(xdr.XDRDecodeError):
                        xdr.decode(cls, bytes(10))
            except BaseException as error:  # noqa: BLE001 - told to the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures

    def test_an_annotation_that_cannot_be_a_key_is_refused(self) -> None:
        with pytest.raises(xdr.XDRDeclarationError, match="is no XDR type"):
            xdr.codec([])
