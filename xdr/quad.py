"""Quadruple precision, exactly (RFC 4506, section 4.8).

Python has no number of 113 significant bits, so :class:`Quad` keeps the sixteen bytes and converts where asked to.
All arithmetic here is on whole numbers; nothing is rounded but where the text says so, and then to nearest, ties to
even.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Final

__all__ = ["Quad"]

_FRACTION_BITS: Final = 112
_EXPONENT_MAX: Final = 0x7FFF
_BIAS: Final = 16383
_SIGN: Final = 1 << 127
_FRACTION: Final = (1 << _FRACTION_BITS) - 1
_MIN_POWER: Final = 1 - _BIAS - _FRACTION_BITS
"""The power of two of the last bit of a subnormal."""
_SAFE_DIGITS: Final = 33
"""Any decimal number of so many digits survives a quadruple."""
_FULL_DIGITS: Final = 36
"""So many digits tell any two quadruples apart."""
_MAX_DECIMAL_POWER: Final = 20000
"""Decimal exponents beyond this are infinite or zero in any quadruple; they are never raised to."""


class Quad:
    """A quadruple-precision number: immutable, hashable, exact.

    Two are equal when all their bits are: a NaN equals itself, and 0.0 is not -0.0. For arithmetic take
    :meth:`as_fraction` or ``float()``.

    Args:
        value: A ``float`` or ``int``, a ``Fraction`` or ``Decimal``, or decimal text (also ``inf``, ``nan``, with a
            sign). A float is taken exactly; what has more than 113 bits is rounded to nearest, ties to even.

    Raises:
        ValueError: Text that is no number.
    """

    __slots__ = ("_bits",)

    _bits: int

    def __init__(self, value: float | str | Fraction | Decimal = 0) -> None:
        object.__setattr__(self, "_bits", _bits_of(value))

    @classmethod
    def from_bits(cls, bits: int) -> Quad:
        """Make one of its 128 bits, sign first.

        Raises:
            OverflowError: More than 128 bits, or a negative number.
        """
        if not 0 <= bits < 1 << 128:
            message = "a quadruple has 128 bits"
            raise OverflowError(message)
        quad = cls.__new__(cls)
        object.__setattr__(quad, "_bits", bits)
        return quad

    @classmethod
    def from_bytes(cls, data: bytes) -> Quad:
        """Make one of its sixteen bytes on the wire.

        Raises:
            ValueError: Not sixteen bytes.
        """
        if len(data) != 16:  # noqa: PLR2004 - the size of the type
            message = f"a quadruple has 16 bytes, not {len(data)}"
            raise ValueError(message)
        return cls.from_bits(int.from_bytes(data, "big"))

    @property
    def bits(self) -> int:
        """The 128 bits as a number: sign, 15 of exponent, 112 of fraction."""
        return self._bits

    def to_bytes(self) -> bytes:
        """Return the sixteen bytes on the wire."""
        return self._bits.to_bytes(16, "big")

    def is_nan(self) -> bool:
        """Whether it is not a number."""
        return self._exponent == _EXPONENT_MAX and self._bits & _FRACTION != 0

    def is_infinite(self) -> bool:
        """Whether it is an infinity of either sign."""
        return self._exponent == _EXPONENT_MAX and self._bits & _FRACTION == 0

    @property
    def _exponent(self) -> int:
        return self._bits >> _FRACTION_BITS & _EXPONENT_MAX

    def _parts(self) -> tuple[int, int]:
        """Return the magnitude of a finite one as (whole number, power of two)."""
        fraction = self._bits & _FRACTION
        exponent = self._exponent
        if exponent == 0:
            return fraction, _MIN_POWER
        return fraction | 1 << _FRACTION_BITS, exponent - _BIAS - _FRACTION_BITS

    def as_fraction(self) -> Fraction:
        """Return the exact value.

        Raises:
            OverflowError: An infinity.
            ValueError: A NaN.
        """
        if self.is_nan():
            message = "a NaN has no value"
            raise ValueError(message)
        if self.is_infinite():
            message = "an infinity has no value"
            raise OverflowError(message)
        whole, power = self._parts()
        if self._bits & _SIGN:
            whole = -whole
        return Fraction(whole << power) if power >= 0 else Fraction(whole, 1 << -power)

    def __float__(self) -> float:
        """Return the nearest double; beyond its range an infinity of the same sign."""
        sign = -1.0 if self._bits & _SIGN else 1.0
        if self.is_nan():
            return math.copysign(math.nan, sign)
        if self.is_infinite():
            return sign * math.inf
        whole, power = self._parts()
        try:
            # The division of whole numbers rounds once, to nearest and even, subnormals included.
            return sign * (float(whole << power) if power >= 0 else whole / (1 << -power))
        except OverflowError:
            return sign * math.inf

    def __str__(self) -> str:
        """Return decimal text that reads back as this number: at most 36 digits, as few as 33 allow."""
        sign = "-" if self._bits & _SIGN else ""
        if self.is_nan():
            return sign + "nan"
        if self.is_infinite():
            return sign + "inf"
        whole, power = self._parts()
        if whole == 0:
            return sign + "0.0"
        magnitude = self._bits & ~_SIGN
        for digits in range(_SAFE_DIGITS, _FULL_DIGITS):
            text = _decimal_text(whole, power, digits)
            if _bits_of(text) == magnitude:
                return sign + text
        return sign + _decimal_text(whole, power, _FULL_DIGITS)

    def __repr__(self) -> str:
        return f"Quad('{self}')"

    def __eq__(self, other: object) -> bool:
        return self._bits == other._bits if isinstance(other, Quad) else NotImplemented

    def __hash__(self) -> int:
        return hash((Quad, self._bits))

    def __setattr__(self, name: str, value: object) -> None:
        message = f"a Quad does not change ({name})"
        raise AttributeError(message)

    def __reduce__(self) -> tuple[object, tuple[int]]:
        # Not the class method itself: Twisted's persisted.styles teaches pickle another way with bound methods.
        return _restore, (self._bits,)


def _bits_of(value: float | str | Fraction | Decimal) -> int:
    if isinstance(value, str):
        value = Decimal(_checked_text(value))
    if isinstance(value, float):
        negative = math.copysign(1.0, value) < 0
        if math.isnan(value):
            bits = _EXPONENT_MAX << _FRACTION_BITS | 1 << _FRACTION_BITS - 1
        elif math.isinf(value):
            bits = _EXPONENT_MAX << _FRACTION_BITS
        else:
            bits = _round(*abs(value).as_integer_ratio())
    elif isinstance(value, Decimal):
        negative = value.is_signed()
        if value.is_nan():
            bits = _EXPONENT_MAX << _FRACTION_BITS | 1 << _FRACTION_BITS - 1
        elif value.is_infinite():
            bits = _EXPONENT_MAX << _FRACTION_BITS
        else:
            bits = _round_decimal(value)
    else:
        fraction = Fraction(value)
        negative = fraction < 0
        bits = _round(abs(fraction.numerator), fraction.denominator)
    return bits | _SIGN if negative else bits


def _checked_text(text: str) -> str:
    try:
        Decimal(text)
    except ArithmeticError:
        message = f"not a number: {text!r}"
        raise ValueError(message) from None
    return text


def _round_decimal(value: Decimal) -> int:
    """Return the bits of a finite decimal's magnitude without ever raising ten to a hostile exponent."""
    adjusted = value.adjusted()
    if not value or adjusted < -_MAX_DECIMAL_POWER:
        return 0
    if adjusted > _MAX_DECIMAL_POWER:
        return _EXPONENT_MAX << _FRACTION_BITS
    # abs() would round to the precision of the caller's decimal context; copy_abs() does not.
    return _round(*value.copy_abs().as_integer_ratio())


def _round(numerator: int, denominator: int) -> int:
    """Return the bits of the quadruple nearest to a ratio that is not negative."""
    if numerator == 0:
        return 0
    # A first guess of the power of two that leaves 113 bits before the point; it is at most one too high.
    power = max(numerator.bit_length() - denominator.bit_length() - _FRACTION_BITS, _MIN_POWER)
    whole, rest, divisor = _divide(numerator, denominator, power)
    if whole < 1 << _FRACTION_BITS and power > _MIN_POWER:
        power -= 1
        whole, rest, divisor = _divide(numerator, denominator, power)
    if 2 * rest > divisor or (2 * rest == divisor and whole & 1):
        whole += 1
    # Adding instead of masking lets a carry of the rounding walk into the exponent, and a subnormal become normal.
    exponent = power - _MIN_POWER
    bits = whole + (exponent << _FRACTION_BITS)
    return min(bits, _EXPONENT_MAX << _FRACTION_BITS)


def _divide(numerator: int, denominator: int, power: int) -> tuple[int, int, int]:
    """Divide by the denominator times a power of two; return quotient, rest and divisor."""
    if power >= 0:
        denominator <<= power
    else:
        numerator <<= -power
    return *divmod(numerator, denominator), denominator


def _decimal_text(whole: int, power: int, digits: int) -> str:
    """Return a positive number with so many significant decimal digits, trailing zeros left out."""
    # log10(2) to 16 digits puts the first guess of the decimal exponent at most one off.
    exponent = math.floor((whole.bit_length() - 1 + power) * 0.30102999566398120)
    while True:
        scale = digits - 1 - exponent
        numerator = whole << power if power >= 0 else whole
        denominator = 1 if power >= 0 else 1 << -power
        if scale >= 0:
            numerator *= 10**scale
        else:
            denominator *= 10**-scale
        quotient, rest = divmod(numerator, denominator)
        if 2 * rest > denominator or (2 * rest == denominator and quotient & 1):
            quotient += 1
        if quotient >= 10**digits:
            exponent += 1
        elif quotient < 10 ** (digits - 1):
            exponent -= 1
        else:
            break
    text = str(quotient).rstrip("0")
    if -5 < exponent < len(text) + 5:  # noqa: PLR2004 - where plain notation reads better than an exponent
        if exponent < 0:
            return "0." + "0" * (-exponent - 1) + text
        text = text.ljust(exponent + 1, "0")
        return f"{text[: exponent + 1]}.{text[exponent + 1 :] or '0'}"
    return f"{text[0]}.{text[1:] or '0'}e{exponent:+d}"


def _restore(bits: int) -> Quad:
    """Return a pickled value."""
    return Quad.from_bits(bits)
