"""Quadruple precision against arithmetic on fractions."""

from __future__ import annotations

import copy
import importlib
import math
import pickle
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xdr
from xdr import Quad

bits = st.integers(0, (1 << 128) - 1)
LARGEST = Fraction(2**113 - 1) * 2 ** (16383 - 112)
SMALLEST = Fraction(1, 2 ** (16382 + 112))


def neighbour(quad: Quad, step: int) -> Quad:
    return Quad.from_bits(quad.bits + step)


class TestConversions:
    @given(bits)
    def test_bytes_come_back_whatever_they_are(self, number: int) -> None:
        quad = Quad.from_bits(number)
        assert Quad.from_bytes(quad.to_bytes()) == quad
        assert xdr.decode(Quad, xdr.encode(Quad, quad)) == quad
        assert quad.bits == number

    @given(st.floats())
    def test_every_float_is_kept_exactly(self, number: float) -> None:
        again = float(Quad(number))
        assert again == number or (math.isnan(again) and math.isnan(number))
        assert math.copysign(1, again) == math.copysign(1, number)

    @settings(deadline=None)
    @given(bits)
    def test_text_reads_back_as_the_same_number(self, number: int) -> None:
        quad = Quad.from_bits(number)
        if quad.is_nan():
            assert Quad(str(quad)).is_nan()
        else:
            assert Quad(str(quad)) == quad
            assert str(eval(repr(quad))) == str(quad)

    def test_negative_text_keeps_all_its_digits(self) -> None:
        text = "-6.9248524883263709697111529377224145e+75"
        assert str(Quad(text)) == text
        assert Quad(Decimal(text)).bits == Quad(text[1:]).bits | 1 << 127

    @settings(deadline=None)
    @given(st.fractions() | st.builds(lambda a, b: a * Fraction(2) ** b, st.fractions(), st.integers(-16500, 16500)))
    def test_a_fraction_becomes_its_nearest_neighbour(self, number: Fraction) -> None:
        quad = Quad(number)
        if quad.is_infinite():
            assert abs(number) >= LARGEST
            return
        distance = abs(quad.as_fraction() - number)
        for step in (-1, 1):
            if quad.bits & ~(1 << 127):
                other = neighbour(quad, step)
                if not other.is_infinite() and not other.is_nan():
                    there = abs(other.as_fraction() - number)
                    assert distance < there or (distance == there and quad.bits % 2 == 0)

    @settings(deadline=None)
    @given(bits.map(Quad.from_bits).filter(lambda quad: not quad.is_nan() and not quad.is_infinite()))
    def test_a_float_of_it_is_the_nearest_double(self, quad: Quad) -> None:
        exact = quad.as_fraction()
        if abs(exact) > Fraction(1.7976931348623157e308):
            assert abs(float(quad)) >= 1.7976931348623157e308
        else:
            assert float(quad) == exact.numerator / exact.denominator

    @pytest.mark.parametrize(
        ("text", "hexadecimal"),
        [
            ("1", "3fff0000000000000000000000000000"),
            ("-2", "c0000000000000000000000000000000"),
            ("0.1", "3ffb999999999999999999999999999a"),
            ("inf", "7fff0000000000000000000000000000"),
            ("-inf", "ffff0000000000000000000000000000"),
            ("nan", "7fff8000000000000000000000000000"),
            ("-0", "80000000000000000000000000000000"),
            ("1e-5000", "00000000000000000000000000000000"),
            ("1e999999999999", "7fff0000000000000000000000000000"),
            ("-1e-999999999999", "80000000000000000000000000000000"),
            ("6.475175119438025110924438958227646552e-4966", "00000000000000000000000000000001"),
        ],
    )
    def test_known_numbers_have_known_bits(self, text: str, hexadecimal: str) -> None:
        assert Quad(text).to_bytes().hex() == hexadecimal

    def test_the_edges_of_the_range(self) -> None:
        assert Quad(LARGEST).as_fraction() == LARGEST
        assert Quad(LARGEST * 2).is_infinite()
        assert Quad(SMALLEST).bits == 1
        assert Quad(SMALLEST / 2).bits == 0, "a tie goes to even"
        assert Quad(SMALLEST * 3 / 2).bits == 2
        assert Quad(SMALLEST * (2**112) - SMALLEST / 4).bits == 1 << 112, "a subnormal rounds up to a normal number"

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0, "0.0"),
            (1, "1.0"),
            (-1.5, "-1.5"),
            ("0.1", "0.1"),
            ("1e30", "1.0e+30"),
            ("123456", "123456.0"),
            ("1.25e-7", "1.25e-7"),
            ("0.001", "0.001"),
            (Decimal("3.25"), "3.25"),
            (Decimal("-Infinity"), "-inf"),
            (Decimal("NaN"), "nan"),
            (-0.0, "-0.0"),
            (Fraction(1, 3), "0.3333333333333333333333333333333333"),
        ],
    )
    def test_text_is_short_where_that_says_it_all(self, value: float | str | Decimal | Fraction, text: str) -> None:
        assert str(Quad(value)) == text

    def test_1_and_its_neighbour_have_different_text(self) -> None:
        one = Quad(1)
        assert str(neighbour(one, 1)) != str(one)
        assert Quad(str(neighbour(one, 1))) == neighbour(one, 1)


class TestObject:
    def test_equality_is_that_of_bits(self) -> None:
        assert Quad(0.0) != Quad(-0.0)
        assert Quad("nan") == Quad("nan")
        assert Quad(1) != 1
        assert len({Quad(1), Quad("1"), Quad(1.0)}) == 1

    def test_it_does_not_change(self) -> None:
        with pytest.raises(AttributeError, match="does not change"):
            Quad(1)._bits = 5

    def test_it_is_copied_and_pickled(self) -> None:
        quad = Quad("1.1")
        assert copy.deepcopy(quad) == quad
        assert pickle.loads(pickle.dumps(quad)) == quad

    def test_it_is_pickled_too_where_twisted_changed_how_methods_are(self) -> None:
        importlib.import_module("twisted.persisted.styles")
        assert pickle.loads(pickle.dumps(Quad("1.1"))) == Quad("1.1")

    def test_what_is_no_number_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not a number: 'x'"):
            Quad("x")
        with pytest.raises(OverflowError, match="128 bits"):
            Quad.from_bits(1 << 128)
        with pytest.raises(ValueError, match="16 bytes, not 3"):
            Quad.from_bytes(b"abc")

    def test_what_has_no_value_says_so(self) -> None:
        with pytest.raises(ValueError, match="NaN"):
            Quad("nan").as_fraction()
        with pytest.raises(OverflowError, match="infinity"):
            Quad("inf").as_fraction()
