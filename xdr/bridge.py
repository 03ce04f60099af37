"""A bridge to code written for the standard library's ``xdrlib``, by way of xdrlib3.

Such code has a pair of functions for each type, ``pack_x(packer, value)`` and ``unpack_x(unpacker)``. A pair becomes a
type here::

    Thing = Annotated[dict[str, int], xdr.bridge.Bridge(pack_thing, unpack_thing)]

and the codec of one of our types becomes such a pair (:func:`pack_function`, :func:`unpack_function`), so that a
project can move over one type at a time.

The packer and unpacker that bridged code gets are xdrlib3's but for their known faults: numbers that do not fit are
refused rather than cut, padding must be zero and bools 0 or 1, the end of the data is an :class:`xdrlib3.Error`, and
no count can make work that is not backed by bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import xdrlib3

from xdr.codec import codec
from xdr.runtime import Unfit
from xdr.shapes import MAX_EMPTY, WORD, BridgeShape, padded

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Bridge", "Packer", "Unpacker", "pack_function", "unpack_function"]

_T = TypeVar("_T")

_HYPER: Final = range(-1 << 63, 1 << 63)
_UHYPER: Final = range(1 << 64)


class Packer(xdrlib3.Packer):
    """xdrlib3's packer without its faults.

    Every method that refuses a value raises ``xdrlib3.ConversionError``.
    """

    def pack_hyper(self, x: int) -> None:
        """Pack a signed 64-bit number; xdrlib3 cuts what does not fit."""
        if not isinstance(x, int) or x not in _HYPER:
            message = f"{x!r} is no hyper"
            raise xdrlib3.ConversionError(message)
        super().pack_uhyper(x & _UHYPER[-1])

    def pack_uhyper(self, x: int) -> None:
        """Pack an unsigned 64-bit number; xdrlib3 cuts what does not fit."""
        if not isinstance(x, int) or x not in _UHYPER:
            message = f"{x!r} is no unsigned hyper"
            raise xdrlib3.ConversionError(message)
        super().pack_uhyper(x)

    def pack_float(self, x: float) -> None:
        """Pack a float; xdrlib3 raises ``OverflowError`` for one that does not fit."""
        try:
            super().pack_float(x)
        except OverflowError as error:
            raise xdrlib3.ConversionError(str(error)) from None

    def pack_fstring(self, n: int, s: bytes) -> None:
        """Pack exactly n bytes; xdrlib3 cuts or fills what has another length."""
        if not isinstance(s, bytes | bytearray):
            message = f"bytes expected, {type(s).__name__} given"
            raise xdrlib3.ConversionError(message)
        if len(s) != n:
            message = f"{len(s)} bytes given, exactly {n} needed"
            raise xdrlib3.ConversionError(message)
        super().pack_fstring(n, bytes(s))

    pack_fopaque = pack_fstring

    def pack_string(self, s: bytes) -> None:
        """Pack a length and so many bytes."""
        if not isinstance(s, bytes | bytearray):
            message = f"bytes expected, {type(s).__name__} given"
            raise xdrlib3.ConversionError(message)
        self.pack_uint(len(s))
        self.pack_fstring(len(s), s)

    pack_opaque = pack_string
    pack_bytes = pack_string


class Unpacker(xdrlib3.Unpacker):
    """xdrlib3's unpacker without its faults.

    Every method that refuses data raises ``xdrlib3.Error``.
    """

    def _left(self) -> int:
        left: int = len(self.get_buffer()) - self.get_position()
        return left

    def _need(self, size: int) -> None:
        if self._left() < size:
            message = f"{size} bytes needed, {self._left()} left"
            raise xdrlib3.Error(message)

    def unpack_uint(self) -> int:
        """Unpack an unsigned 32-bit number."""
        self._need(4)
        value: int = super().unpack_uint()
        return value

    def unpack_int(self) -> int:
        """Unpack a signed 32-bit number."""
        self._need(4)
        value: int = super().unpack_int()
        return value

    unpack_enum = unpack_int

    def unpack_bool(self) -> bool:
        """Unpack a bool; xdrlib3 takes any number for true."""
        value = self.unpack_uint()
        if value > 1:
            message = f"{value} is neither 0 nor 1"
            raise xdrlib3.ConversionError(message)
        return value == 1

    def unpack_float(self) -> float:
        """Unpack a float."""
        self._need(4)
        value: float = super().unpack_float()
        return value

    def unpack_double(self) -> float:
        """Unpack a double."""
        self._need(8)
        value: float = super().unpack_double()
        return value

    def unpack_fstring(self, n: int) -> bytes:
        """Unpack exactly n bytes; xdrlib3 takes any padding."""
        self._need(padded(n))
        start = self.get_position()
        value: bytes = super().unpack_fstring(n)
        if any(self.get_buffer()[start + n : start + padded(n)]):
            message = "padding is not zero"
            raise xdrlib3.ConversionError(message)
        return value

    unpack_fopaque = unpack_fstring

    def unpack_string(self) -> bytes:
        """Unpack a length and so many bytes."""
        return self.unpack_fstring(self.unpack_uint())

    unpack_opaque = unpack_string
    unpack_bytes = unpack_string

    def unpack_farray(self, n: int, unpack_item: Callable[[], _T]) -> list[_T]:
        """Unpack exactly n elements; xdrlib3 would make thousands of millions of those that take no bytes."""
        start = self.get_position()
        made: list[_T] = []
        for index in range(n):
            if index == MAX_EMPTY and self.get_position() == start:
                message = f"{n} elements without a byte announced, {MAX_EMPTY} allowed"
                raise xdrlib3.Error(message)
            made.append(unpack_item())
        return made

    def unpack_array(self, unpack_item: Callable[[], _T]) -> list[_T]:
        """Unpack a count and so many elements."""
        return self.unpack_farray(self.unpack_uint(), unpack_item)


class Bridge:
    """A type whose codec is a pair of functions written for ``xdrlib``. For use in ``Annotated``.

    What the functions raise becomes an ``XDREncodeError`` or ``XDRDecodeError`` with the path and offset of the value.

    Args:
        pack: Writes a value to a packer.
        unpack: Reads a value from an unpacker.
        name: The type's name in messages; by default that of ``pack`` without a leading ``pack_``.
        minimum: Bytes that any value takes at least. A value that may take none must not be an element of an array:
            counts are checked by this.
    """

    def __init__(
        self,
        pack: Callable[[Any, Any], object],
        unpack: Callable[[Any], Any],
        *,
        name: str | None = None,
        minimum: int = WORD,
    ) -> None:
        self._pack = pack
        self._unpack = unpack
        self.name = name or getattr(pack, "__name__", "bridged").removeprefix("pack_")
        self.minimum = minimum

    def xdr_shape(self) -> BridgeShape:
        """Return the shape; this makes it a descriptor."""
        return BridgeShape(self)

    def pack_into(self, value: Any, add: Callable[[bytes], object]) -> None:
        """Encode a value, as specialised code does.

        Raises:
            Unfit: Whatever the function raised, as text.
        """
        packer = Packer()
        try:
            self._pack(packer, value)
        except Exception as error:
            raise Unfit(_said(error)) from error
        add(packer.get_buffer())

    def unpack_at(self, data: bytes | memoryview, at: int, size: int) -> tuple[Any, int]:
        """Decode the value at an offset, as specialised code does; return it and the offset after it.

        Raises:
            Unfit: Whatever the function raised, as text, or that it went beyond the size.
        """
        if isinstance(data, memoryview):
            # xdrlib's functions slice, and are used to get bytes from that.
            whole = data.obj
            data = whole if isinstance(whole, bytes) and len(whole) == data.nbytes else data.tobytes()
        unpacker = Unpacker(data)
        unpacker.set_position(at)
        try:
            value = self._unpack(unpacker)
        except Exception as error:
            raise Unfit(_said(error)) from error
        end: int = unpacker.get_position()
        if not at <= end <= size:
            message = f"the function for {self.name} left the data"
            raise Unfit(message)
        return value, end


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def pack_function(annotation: Any) -> Callable[[Any, Any], None]:
    """Return ``pack_x(packer, value)`` for one of our types, for use in code that still has an ``xdrlib`` packer.

    The function works with the packers of ``xdrlib`` and of its successors, and raises ``XDREncodeError``.
    """
    of = codec(annotation)

    def pack(packer: Any, value: Any) -> None:
        data = of.encode(value)
        packer.pack_fopaque(len(data), data)

    return pack


def unpack_function(annotation: Any) -> Callable[[Any], Any]:
    """Return ``unpack_x(unpacker)`` for one of our types, for use in code that still has an ``xdrlib`` unpacker.

    The function works with the unpackers of ``xdrlib`` and of its successors, and raises ``XDRDecodeError``.
    """
    of = codec(annotation)

    def unpack(unpacker: Any) -> Any:
        value, end = of.decode_from(unpacker.get_buffer(), unpacker.get_position())
        unpacker.set_position(end)
        return value

    return unpack
