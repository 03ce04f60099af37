"""What specialised code calls: the few things that are no plain Python expression."""

from __future__ import annotations

import array
import sys
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from xdr.types import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "PAD",
    "SHORT",
    "ShortPackers",
    "ShortUnpackers",
    "Unfit",
    "arm_class",
    "member",
    "numbers",
    "octets",
    "pack_many",
    "sequence",
    "swapped",
    "text",
    "unpack_many",
]

PAD: Final = tuple(bytes(4)[: -size & 3] for size in range(4))
"""The zero bytes after data, by its length modulo 4."""
SHORT: Final = 256
"""Bytes: data below this is packed and unpacked together with its neighbours, by a ``Struct`` for each length."""
_LISTED: Final = 33
"""Bytes: for data bounded below this the structs of all lengths are made at once."""
_MANY: Final = 1024
"""Structs kept for arrays; peers choose the lengths, so there must be a bound."""


class Unfit(Exception):
    """A check failed; ``xdr.explain`` finds out which."""


class ShortUnpackers(dict[int, tuple["Callable[[Any, int], tuple[Any, ...]]", int, bytes]]):
    """By the length of some data: what unpacks it with its neighbours, the bytes that takes, and the padding due.

    Args:
        before: Format of the items before the data.
        after: Format of the items after the padding.
        bound: Most bytes of data.
    """

    def __init__(self, before: str, after: str, bound: int) -> None:
        super().__init__()
        self._before = before
        self._after = after
        self._bound = bound

    def __missing__(self, size: int) -> tuple[Callable[[Any, int], tuple[Any, ...]], int, bytes]:
        if size > self._bound:
            raise Unfit
        packed = Struct(f">{self._before}{size}s{-size & 3}s{self._after}")
        made = self[size] = (packed.unpack_from, packed.size, PAD[size & 3])
        return made

    def quick(self) -> ShortUnpackers | list[tuple[Callable[[Any, int], tuple[Any, ...]], int, bytes]]:
        """Return a list instead, which the interpreter is faster with, where the bound is low."""
        return [self[size] for size in range(self._bound + 1)] if self._bound < _LISTED else self


class ShortPackers(dict[int, "Callable[..., bytes]"]):
    """By the length of some data: what packs it with its neighbours and its padding.

    Args:
        before: Format of the items before the data.
        after: Format of the items after the padding.
        bound: Most bytes of data.
    """

    def __init__(self, before: str, after: str, bound: int) -> None:
        super().__init__()
        self._before = before
        self._after = after
        self._bound = bound

    def __missing__(self, size: int) -> Callable[..., bytes]:
        if size > self._bound:
            raise Unfit
        made = self[size] = Struct(f">{self._before}{size}s{-size & 3}x{self._after}").pack
        return made


@lru_cache(maxsize=_MANY)
def unpack_many(code: str, count: int) -> Callable[[Any, int], tuple[Any, ...]]:
    """Return what unpacks so many scalars."""
    return Struct(f">{count}{code}").unpack_from


@lru_cache(maxsize=_MANY)
def pack_many(code: str, count: int) -> Callable[..., bytes]:
    """Return what packs so many scalars."""
    return Struct(f">{count}{code}").pack


def swapped(code: str, data: Any) -> array.array[Any]:
    """Return numbers in network byte order as an array in ours; also the other way round."""
    # The letters of `array` are those of `struct`, and on every machine that CPython runs on the sizes agree too.
    made = array.array(code, bytes(data))
    if sys.byteorder == "little":
        made.byteswap()
    return made


def octets(value: Any) -> bytes | memoryview:
    """Return any bytes-like value as something whose length is in bytes."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, bytearray | memoryview | array.array):
        raise Unfit
    view = memoryview(value)
    if view.nbytes < SHORT or not view.c_contiguous:
        return view.tobytes()
    return view.cast("B")


def text(value: str) -> bytes:
    """Return the bytes of a string that has characters outside of UTF-8."""
    return value.encode("utf-8", "surrogateescape")


def member(cls: Any, members: dict[int, Any], value: Any) -> Any:
    """Return a plain number as the enum's member; another enum's member is refused, whatever its number."""
    if value.__class__ is int:
        return members[value]
    if isinstance(value, cls):
        return value
    raise Unfit


def sequence(value: Any) -> Any:
    """Let any sequence but text and bytes pass as a list."""
    if isinstance(value, str | bytes | bytearray | dict | set | frozenset) or not hasattr(value, "__len__"):
        raise Unfit
    if len(value) > UNBOUNDED:
        raise Unfit
    return value


def numbers(code: str, value: Any) -> bytes:
    """Pack a sequence of scalars that is no list: an array of the right kind at once, any other one by one."""
    if isinstance(value, memoryview) and value.format == code and value.ndim == 1:
        value = array.array(code, value.tobytes())
    if isinstance(value, array.array) and value.typecode == code:
        return swapped(code, value).tobytes()
    return pack_many(code, len(value))(*value)


def arm_class(value: Any, classes: frozenset[type]) -> type:
    """Return the arm that an instance of a subclass of one belongs to."""
    for cls in type(value).__mro__:
        if cls in classes:
            return cls
    raise Unfit
