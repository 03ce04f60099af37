"""What was wrong, and where: the walk that follows when a specialised codec gave up.

The walk uses the specialised functions themselves to pass over what is in order, and goes down only into what is not,
so that finding the place costs about as much as decoding did, whatever the data.
"""

from __future__ import annotations

import array
from itertools import count
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is an exception class
from typing import TYPE_CHECKING, Any, Final, TypeVar

from xdr import decoders, encoders, runtime
from xdr import shapes as s
from xdr.errors import XDRDecodeError, XDREncodeError
from xdr.quad import Quad
from xdr.source import DECODE_FAULTS, ENCODE_FAULTS, Variant, is_list_node

if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["Decoding", "allowance", "deeper", "explain_decode", "explain_encode", "trailing"]

_INT: Final = Struct(">i")
_UINT: Final = Struct(">I")
_RANGES: Final = {"i": (-1 << 31, (1 << 31) - 1), "I": (0, (1 << 32) - 1), "q": (-1 << 63, (1 << 63) - 1)}
_RANGES["Q"] = (0, (1 << 64) - 1)


_COMPOSITE: Final = (s.ArrayShape, s.FixedArrayShape, s.StructShape, s.UnionShape)
"""Shapes that are tried at once; to look at any other takes no longer than to try it."""


def allowance(shape: s.Shape, max_depth: int) -> int:
    """Return the levels with which a walk begins: the value itself is none."""
    s.mark_recursive(shape)
    return max_depth + (max_depth - deeper(shape, max_depth))


def deeper(shape: s.Shape, left: int) -> int:
    """Return the levels that are left inside of a value: structs and unions that can hold themselves are levels."""
    return left - 1 if shape.recursive and isinstance(shape, s.StructShape | s.UnionShape) else left


def _plural(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def explain_decode(
    shape: s.Shape,
    data: Any,
    at: int,
    variant: Variant,
    max_depth: int,
    *,
    whole: bool = False,
) -> XDRDecodeError:
    """Return the error for data that a decoding function refused.

    Args:
        shape: What the data should be.
        data: ``bytes``, or a ``memoryview`` of bytes.
        at: Where the value begins.
        variant: The variant that refused it.
        max_depth: The depth limit that it was given.
        whole: Whether the value must be all of the data.
    """
    try:
        end = Decoding(data, variant, max_depth).walk(shape, shape.name, at, allowance(shape, max_depth))
    except XDRDecodeError as error:
        return _bare(error)
    except RecursionError:
        pass
    else:
        if whole and end < len(data):
            return trailing(shape, end, len(data))
    return XDRDecodeError(shape.name, at, "nested more deeply than the interpreter's stack allows")


_E = TypeVar("_E", bound=Exception)


def _bare(error: _E) -> _E:
    """Return an error without the walk that found it, which says nothing a user could want."""
    error.__context__ = None
    return error.with_traceback(None)


def trailing(shape: s.Shape, end: int, size: int) -> XDRDecodeError:
    """Return the error for data that goes on after its value."""
    return XDRDecodeError(shape.name, end, f"{_plural(size - end, 'byte')} more than the value takes")


class Decoding:
    """A walk over bytes.

    Args:
        data: The bytes.
        variant: How they are decoded.
        max_depth: The depth limit, for the message.
    """

    def __init__(self, data: Any, variant: Variant, max_depth: int) -> None:
        self._data = data
        self._size = len(data)
        self._variant = variant
        self._max_depth = max_depth

    def walk(self, shape: s.Shape, path: str, at: int, left: int) -> int:
        """Return the position after a value, or raise what is wrong with it."""
        while isinstance(shape, s.OptionalShape):
            if not self._flag(path, at):
                return at + 4
            at += 4
            shape = shape.element
        if shape.recursive:
            # To try each level of a nested value before going down would look at the innermost once for each of them.
            left = deeper(shape, left)
            if left < 0:
                raise XDRDecodeError(path, at, f"nested more than {_plural(self._max_depth, 'level')} deep")
        elif isinstance(shape, _COMPOSITE):
            try:
                passed: int = decoders.decoder(shape, self._variant)(self._data, at, self._size, left)[1]
            except DECODE_FAULTS:
                pass
            else:
                return passed
        match shape:
            case s.BoolShape():
                self._flag(path, at)
            case s.EnumShape():
                number = self._int(path, at)
                if number not in shape.members:
                    raise XDRDecodeError(path, at, f"{number} is no {shape.name}")
            case s.FixedOpaqueShape():
                self._need(path, at, s.padded(shape.count))
                self._padding(path, at + shape.count, shape.count)
            case s.OpaqueShape() | s.StringShape():
                return self._bytes(shape, path, at)
            case s.FixedArrayShape():
                return self._elements(shape.element, shape.count, path, at, left)
            case s.ArrayShape():
                return self._elements(shape.element, self.count(shape, path, at), path, at + 4, left)
            case s.StructShape():
                return self._struct(shape, path, at, left)
            case s.UnionShape():
                return self._union(shape, path, at, left)
            case s.BridgeShape():
                try:
                    end: int = shape.bridge.unpack_at(self._data, at, self._size)[1]
                except runtime.Unfit as error:
                    raise XDRDecodeError(path, at, str(error)) from error.__cause__
                return end
            case _:
                self._need(path, at, shape.minimum)
        return at + shape.minimum

    def _need(self, path: str, at: int, size: int) -> None:
        if self._size - at < size:
            raise XDRDecodeError(path, at, f"{_plural(size, 'byte')} needed, {max(self._size - at, 0)} left")

    def _int(self, path: str, at: int) -> int:
        self._need(path, at, 4)
        number: int = _INT.unpack_from(self._data, at)[0]
        return number

    def _uint(self, path: str, at: int) -> int:
        self._need(path, at, 4)
        number: int = _UINT.unpack_from(self._data, at)[0]
        return number

    def _flag(self, path: str, at: int) -> bool:
        number = self._uint(path, at)
        if number > 1:
            raise XDRDecodeError(path, at, f"{number} is neither 0 nor 1")
        return number == 1

    def _padding(self, path: str, at: int, size: int) -> None:
        pad = bytes(self._data[at : at + (-size & 3)])
        if any(pad) and not self._variant.lenient:
            raise XDRDecodeError(path, at, f"padding is {pad.hex()}, not zero")

    def _bytes(self, shape: s.OpaqueShape | s.StringShape, path: str, at: int) -> int:
        size = self._uint(path, at)
        if size > shape.max:
            raise XDRDecodeError(path, at, f"{_plural(size, 'byte')} announced, {shape.max} allowed")
        start = at + 4
        if s.padded(size) > self._size - start:
            raise XDRDecodeError(path, at, f"{_plural(size, 'byte')} announced, {self._size - start} left")
        self._padding(path, start + size, size)
        return start + s.padded(size)

    def count(self, shape: s.ArrayShape, path: str, at: int) -> int:
        """Return an array's count, or raise what is wrong with it."""
        number = self._uint(path, at)
        if number > shape.limit:
            raise XDRDecodeError(path, at, f"{_plural(number, 'element')} announced, {shape.limit} allowed")
        left = self._size - at - 4
        if number * shape.element.minimum > left:
            reason = f"{_plural(number, 'element')} announced, {_plural(left, 'byte')} left"
            raise XDRDecodeError(path, at, reason)
        return number

    def _elements(self, element: s.Shape, number: int, path: str, at: int, left: int) -> int:
        for index in range(number):
            at = self.walk(element, f"{path}[{index}]", at, left)
        return at

    def _struct(self, shape: s.StructShape, path: str, at: int, left: int) -> int:
        if not is_list_node(shape):
            for name, field in shape.fields:
                at = self.walk(field, f"{path}.{name}", at, left)
            return at
        tail = shape.fields[-1][0]
        for index in count():
            place = f"{path}[{index}]" if index else path
            for name, field in shape.fields[:-1]:
                at = self.walk(field, f"{place}.{name}", at, left)
            more = self._flag(f"{place}.{tail}", at)
            at += 4
            if not more:
                break
        return at

    def _union(self, shape: s.UnionShape, path: str, at: int, left: int) -> int:
        place = f"{path}.{shape.discriminant}"
        unsigned = isinstance(shape.kind, s.ScalarShape) and shape.kind.code == "I"
        self.walk(shape.kind, place, at, left)
        number = self._uint(place, at) if unsigned else self._int(place, at)
        arm = shape.by_case.get(number, shape.default)
        if arm is None:
            case = shape.kind.members[number].name if isinstance(shape.kind, s.EnumShape) else number
            raise XDRDecodeError(place, at, f"{case} is no case of {shape.name}")
        at += 4
        for name, field in arm.fields:
            at = self.walk(field, f"{path}.{name}", at, left)
        return at


def explain_encode(shape: s.Shape, value: Any, fault: Exception, max_depth: int) -> XDREncodeError:
    """Return the error for a value that an encoding function refused.

    Args:
        shape: What the value should be.
        value: The value.
        fault: What the encoding function raised.
        max_depth: The depth limit that it was given.
    """
    try:
        _Encoding(max_depth).walk(shape, shape.name, value, allowance(shape, max_depth))
    except XDREncodeError as error:
        return _bare(error)
    except RecursionError:
        return XDREncodeError(shape.name, "nested more deeply than the interpreter's stack allows")
    if isinstance(fault, RecursionError):
        # What it called is compiled by now, which had needed more of the stack than the walk just did.
        return XDREncodeError(shape.name, "nested more deeply than the interpreter's stack allows")
    # An object whose attributes raise, or change while they are looked at.
    return XDREncodeError(shape.name, f"{type(fault).__name__}: {fault}")


def _nothing(_part: object) -> None:
    """Take a part of an encoding that nobody wants."""


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


class _Encoding:
    """A walk over a value.

    Args:
        max_depth: The depth limit, for the message.
    """

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth

    def walk(self, shape: s.Shape, path: str, value: Any, left: int) -> None:
        """Raise what is wrong with a value."""
        while isinstance(shape, s.OptionalShape):
            if value is None:
                return
            shape = shape.element
        if shape.recursive:
            left = deeper(shape, left)
            if left < 0:
                raise XDREncodeError(path, f"nested more than {_plural(self._max_depth, 'level')} deep")
        elif isinstance(shape, _COMPOSITE):
            try:
                encoders.encoder(shape)(value, _nothing, left)
            except ENCODE_FAULTS:
                pass
            else:
                return
        match shape:
            case s.ScalarShape():
                self._scalar(shape, path, value)
            case s.BoolShape():
                if not isinstance(value, bool):
                    raise XDREncodeError(path, f"bool expected, {_kind(value)} given")
            case s.EnumShape():
                self._enum(shape, path, value)
            case s.QuadShape():
                if not isinstance(value, Quad):
                    raise XDREncodeError(path, f"Quad expected, {_kind(value)} given")
            case s.VoidShape():
                if value is not None:
                    raise XDREncodeError(path, f"None expected, {_kind(value)} given")
            case s.FixedOpaqueShape():
                size = self._octets(path, value)
                if size != shape.count:
                    raise XDREncodeError(path, f"{_plural(size, 'byte')} given, exactly {shape.count} needed")
            case s.OpaqueShape():
                self._bound(path, self._octets(path, value), shape.max, "byte")
            case s.StringShape():
                self._string(shape, path, value)
            case s.FixedArrayShape():
                number = self._sequence(path, value)
                if number != shape.count:
                    raise XDREncodeError(path, f"{_plural(number, 'element')} given, exactly {shape.count} needed")
                self._elements(shape.element, path, value, left)
            case s.ArrayShape():
                self._bound(path, self._sequence(path, value), shape.limit, "element")
                self._elements(shape.element, path, value, left)
            case s.StructShape():
                self._struct(shape, path, value, left)
            case s.UnionShape():
                self._union(shape, path, value, left)
            case s.BridgeShape():
                try:
                    shape.bridge.pack_into(value, _nothing)
                except runtime.Unfit as error:
                    raise XDREncodeError(path, str(error)) from error.__cause__

    @staticmethod
    def _bound(path: str, number: int, bound: int, thing: str) -> None:
        if number > bound:
            raise XDREncodeError(path, f"{_plural(number, thing)} given, {bound} allowed")

    @staticmethod
    def _scalar(shape: s.ScalarShape, path: str, value: Any) -> None:
        try:
            Struct(">" + shape.code).pack(value)
        except (StructError, OverflowError, TypeError, ValueError) as error:
            if shape.code in _RANGES and isinstance(value, int):
                low, high = _RANGES[shape.code]
                raise XDREncodeError(path, f"{value} is not in {low}..{high}") from None
            if isinstance(error, OverflowError):
                raise XDREncodeError(path, f"{value!r} does not fit a {shape.name}") from None
            expected = "int" if shape.code in _RANGES else "float"
            raise XDREncodeError(path, f"{expected} expected, {_kind(value)} given") from None

    @staticmethod
    def _enum(shape: s.EnumShape, path: str, value: Any) -> None:
        if isinstance(value, shape.cls):
            return
        if type(value) is int:
            if value not in shape.members:
                raise XDREncodeError(path, f"{value} is no {shape.name}")
            return
        raise XDREncodeError(path, f"{shape.name} expected, {_kind(value)} given")

    @staticmethod
    def _octets(path: str, value: Any) -> int:
        try:
            return len(runtime.octets(value))
        except runtime.Unfit:
            raise XDREncodeError(path, f"bytes expected, {_kind(value)} given") from None

    def _string(self, shape: s.StringShape, path: str, value: Any) -> None:
        if not isinstance(value, str):
            raise XDREncodeError(path, f"str expected, {_kind(value)} given")
        try:
            size = len(value.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError as error:
            reason = f"character {error.start}, U+{ord(value[error.start]):04X}, has no bytes in UTF-8"
            raise XDREncodeError(path, reason) from None
        self._bound(path, size, shape.max, "byte")

    @staticmethod
    def _sequence(path: str, value: Any) -> int:
        try:
            return len(runtime.sequence(value))
        except runtime.Unfit:
            raise XDREncodeError(path, f"list expected, {_kind(value)} given") from None

    def _elements(self, element: s.Shape, path: str, value: Iterable[Any], left: int) -> None:
        if isinstance(value, memoryview | array.array):
            value = value.tolist()
        for index, item in enumerate(value):
            self.walk(element, f"{path}[{index}]", item, left)

    def _fields(self, fields: tuple[tuple[str, s.Shape], ...], path: str, value: Any, left: int) -> None:
        for name, field in fields:
            try:
                item = getattr(value, name)
            except AttributeError:
                place = f"{path}.{name}"
                raise XDREncodeError(place, "not set") from None
            self.walk(field, f"{path}.{name}", item, left)

    def _struct(self, shape: s.StructShape, path: str, value: Any, left: int) -> None:
        if not is_list_node(shape):
            self._instance(shape.cls, path, value)
            self._fields(shape.fields, path, value, left)
            return
        tail = shape.fields[-1][0]
        seen: set[int] = set()
        for index in count():
            place = f"{path}[{index}]" if index else path
            self._instance(shape.cls, place, value)
            self._fields(shape.fields[:-1], place, value, left)
            seen.add(id(value))
            value = getattr(value, tail, ...)
            place = f"{place}.{tail}"
            if value is ...:
                raise XDREncodeError(place, "not set")
            if value is None:
                return
            if id(value) in seen:
                raise XDREncodeError(place, "the list leads back into itself")

    @staticmethod
    def _instance(wanted: type, path: str, value: Any) -> None:
        if not isinstance(value, wanted):
            raise XDREncodeError(path, f"{wanted.__name__} expected, {_kind(value)} given")

    def _union(self, shape: s.UnionShape, path: str, value: Any, left: int) -> None:
        arm = next((arm for arm in shape.arms if isinstance(value, arm.cls)), None)
        if arm is None:
            expected = " or ".join(arm.cls.__name__ for arm in shape.arms)
            raise XDREncodeError(path, f"{expected} expected, {_kind(value)} given")
        self._fields(((shape.discriminant, shape.kind),), path, value, left)
        word = getattr(value, shape.discriminant)
        fits = word not in shape.by_case if arm.of.default else word in arm.of.cases
        if not fits:
            place = f"{path}.{shape.discriminant}"
            raise XDREncodeError(place, f"{word!r} does not choose {arm.cls.__name__}")
        self._fields(arm.fields, path, value, left)
