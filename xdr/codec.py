"""Encoding and decoding values of declared types.

``codec(T)`` gives the codec of any type; it is made once and kept. Its functions are written for the type when they
are first called (``xdr.decoders``, ``xdr.encoders``).
"""

from __future__ import annotations

import array
import threading
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from xdr import decoders, encoders, explain, shapes
from xdr.errors import XDRDeclarationError
from xdr.source import DECODE_FAULTS, ENCODE_FAULTS, Variant

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

__all__ = ["MAX_DEPTH", "Codec", "codec", "decode", "encode"]

_T = TypeVar("_T")

MAX_DEPTH: Final = 128
"""Levels: how deeply values of a type that holds itself may nest, if the caller does not say otherwise.

The entries of a linked list (a struct that ends in an optional of itself) are not levels. Of the formats that people
nest by hand, JSON readers allow 128 (serde) to 1,000 levels and protobuf 100; a level here takes one or two frames of
the interpreter's 1,000.
"""

_lock: Final = threading.RLock()
"""Held while types are read and functions written; never while they run."""


class Codec(Generic[_T]):
    """Encodes and decodes the values of one type. Made by :func:`codec`."""

    def __init__(self, shape: shapes.Shape, arrays: type = list) -> None:
        self.shape = shape
        """What the type comes to; for those who walk types as ``xdr.tree`` does."""
        self._arrays = arrays
        # What decodes leniently, or from a view: (variant, function) by (lenient, view).
        self._otherwise: dict[tuple[bool, bool], tuple[Variant, Any]] = {}

    def __repr__(self) -> str:
        return f"<codec of {self.shape.name}>"

    # The methods that are called for every message replace themselves by functions made for the type.

    def prepared(self) -> Self:
        """Make these functions now. A method that is taken from the codec after that is the function itself.

        Returns:
            This codec.
        """
        with _lock:
            for name in ("encode", "encode_to", "decode", "decode_from"):
                if name not in self.__dict__:
                    self.__dict__[name] = getattr(self, f"_make_{name}")()
        return self

    def encode(self, value: _T, *, max_depth: int = MAX_DEPTH) -> bytes:
        """Return a value's bytes.

        Args:
            value: A value of the type.
            max_depth: Levels that a type may nest in itself.

        Raises:
            XDREncodeError: The value does not fit the type; nothing was encoded.
        """
        with _lock:
            # A caller may have kept this very method: the function is made once all the same.
            function = self.__dict__.get("encode") or self.__dict__.setdefault("encode", self._make_encode())
        made: bytes = function(value, max_depth=max_depth)
        return made

    def encode_to(self, value: _T, add: Callable[[bytes], object], *, max_depth: int = MAX_DEPTH) -> None:
        """Hand a value's bytes to a function, in parts, such as the ``append`` of a list that is joined later.

        If the value does not fit, parts of it may have been handed over before the error.

        Args:
            value: A value of the type.
            add: Called with each part; opaque data is handed over as it is, without a copy.
            max_depth: Levels that a type may nest in itself.

        Raises:
            XDREncodeError: The value does not fit the type.
        """
        with _lock:
            # A caller may have kept this very method: the function is made once all the same.
            function = self.__dict__.get("encode_to") or self.__dict__.setdefault("encode_to", self._make_encode_to())
        function(value, add, max_depth=max_depth)

    def decode(
        self,
        data: bytes | bytearray | memoryview,
        *,
        lenient_padding: bool = False,
        max_depth: int = MAX_DEPTH,
    ) -> _T:
        """Return the value that some bytes are.

        Args:
            data: The whole encoding and nothing else.
            lenient_padding: Accept padding that is not zero, as some real instruments send it.
            max_depth: Levels that a type may nest in itself.

        Raises:
            XDRDecodeError: The data is not an encoding of a value of the type, or bytes follow it.
        """
        with _lock:
            # A caller may have kept this very method: the function is made once all the same.
            function = self.__dict__.get("decode") or self.__dict__.setdefault("decode", self._make_decode())
        value: _T = function(data, lenient_padding=lenient_padding, max_depth=max_depth)
        return value

    def decode_from(
        self,
        data: bytes | bytearray | memoryview,
        offset: int = 0,
        *,
        lenient_padding: bool = False,
        max_depth: int = MAX_DEPTH,
    ) -> tuple[_T, int]:
        """Return the value that begins at an offset, and the offset after it.

        Args:
            data: Bytes that the value must lie within.
            offset: Where it begins.
            lenient_padding: Accept padding that is not zero.
            max_depth: Levels that a type may nest in itself.

        Raises:
            XDRDecodeError: No value of the type begins there; the error's offset counts from the start of the data.
            ValueError: The offset is negative.
        """
        with _lock:
            # A caller may have kept this very method: the function is made once all the same.
            function = self.__dict__.get("decode_from")
            if function is None:
                function = self.__dict__["decode_from"] = self._make_decode_from()
        made: tuple[_T, int] = function(data, offset, lenient_padding=lenient_padding, max_depth=max_depth)
        return made

    def _make_encode(self) -> Any:
        return encoders.whole_encoder(self.shape, self._encoding(), MAX_DEPTH)

    def _make_encode_to(self) -> Any:
        return encoders.partial_encoder(self.shape, self._encoding(), MAX_DEPTH)

    def _encoding(self) -> dict[str, Any]:
        shape = self.shape

        def explained(value: Any, fault: Exception, max_depth: int) -> Exception:
            return explain.explain_encode(shape, value, fault, max_depth)

        return {"explain": explained, "faults": ENCODE_FAULTS}

    def _make_decode(self) -> Any:
        shape = self.shape
        plain = Variant(arrays=self._arrays)

        def explained(data: bytes, max_depth: int) -> Exception:
            return explain.explain_decode(shape, data, 0, plain, max_depth, whole=True)

        names = {"explain": explained, "otherwise": self._decode_otherwise, "faults": DECODE_FAULTS}
        return decoders.whole_decoder(shape, plain, names, MAX_DEPTH)

    def _make_decode_from(self) -> Any:
        shape = self.shape
        plain = Variant(arrays=self._arrays)

        def explained(data: bytes, offset: int, max_depth: int) -> Exception:
            return explain.explain_decode(shape, data, offset, plain, max_depth)

        names = {"explain": explained, "otherwise": self._decode_from_otherwise, "faults": DECODE_FAULTS}
        return decoders.partial_decoder(shape, plain, names, MAX_DEPTH)

    def _decode_otherwise(self, data: Any, lenient_padding: bool, max_depth: int) -> Any:  # noqa: FBT001
        view = memoryview(data).cast("B")
        value, end = self._decode_from_otherwise(view, 0, lenient_padding, max_depth)
        if end != len(view):
            raise explain.trailing(self.shape, end, len(view))
        return value

    def _decode_from_otherwise(self, data: Any, offset: int, lenient_padding: bool, max_depth: int) -> Any:  # noqa: FBT001
        """Decode what is no ``bytes``, or leniently; the functions for that are rarer, and made when needed."""
        if offset < 0:
            message = f"the offset must not be negative: {offset}"
            raise ValueError(message)
        view = data.__class__ is not bytes
        if view:
            data = memoryview(data).cast("B")
        variant, run = self._otherwise.get((lenient_padding, view)) or self._make_otherwise(lenient_padding, view)
        try:
            made = run(data, offset, len(data), max_depth)
        except DECODE_FAULTS:
            error = explain.explain_decode(self.shape, data, offset, variant, max_depth)
        else:
            return made
        raise error

    def _make_otherwise(self, lenient: bool, view: bool) -> tuple[Variant, Any]:  # noqa: FBT001
        variant = Variant(bool(lenient), view, self._arrays)
        with _lock:
            made = self._otherwise[lenient, view] = (variant, decoders.decoder(self.shape, variant))
        return made


_codecs: Final[dict[Any, Codec[Any]]] = {}


@overload
def codec(annotation: type[_T], *, module: str | None = None, arrays: type = list) -> Codec[_T]: ...
@overload
def codec(annotation: Any, *, module: str | None = None, arrays: type = list) -> Codec[Any]: ...
def codec(annotation: Any, *, module: str | None = None, arrays: type = list) -> Codec[Any]:
    """Return the codec of a type.

    Args:
        annotation: A class made by ``@xdr.struct``, a union of arm classes, an ``xdr.Enum``, or any annotation of
            ``xdr.types``.
        module: The name of the module where names in string annotations are looked up; classes know their own.
        arrays: What arrays of numbers decode to: ``list``; ``array.array``, which takes no work for each element; or
            ``memoryview`` of such an array. Encoding takes any sequence of numbers, whatever this is.

    Raises:
        XDRDeclarationError: The annotation means no XDR type.
    """
    key = (annotation, module, arrays)
    try:
        return _codecs[key]
    except KeyError:
        pass
    except TypeError:
        message = f"{annotation!r} is no XDR type"
        raise XDRDeclarationError(message) from None
    if arrays not in {list, array.array, memoryview}:
        message = f"arrays decode to list, array.array or memoryview, not to {arrays!r}"
        raise XDRDeclarationError(message)
    with _lock:
        shape = shapes.shape_of(annotation, module)
        return _codecs.setdefault(key, Codec(shape, arrays))


@overload
def encode(annotation: type[_T], value: _T) -> bytes: ...
@overload
def encode(annotation: Any, value: Any) -> bytes: ...
def encode(annotation: Any, value: Any) -> bytes:
    """Return the bytes of a value of a type; see :meth:`Codec.encode`."""
    return codec(annotation).encode(value)


@overload
def decode(annotation: type[_T], data: bytes | bytearray | memoryview, *, lenient_padding: bool = False) -> _T: ...
@overload
def decode(annotation: Any, data: bytes | bytearray | memoryview, *, lenient_padding: bool = False) -> Any: ...
def decode(annotation: Any, data: bytes | bytearray | memoryview, *, lenient_padding: bool = False) -> Any:
    """Return the value of a type that some bytes are; see :meth:`Codec.decode`."""
    return codec(annotation).decode(data, lenient_padding=lenient_padding)
