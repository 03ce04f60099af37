"""The XDR types as annotations (RFC 4506, section 4).

A field says what it is in Python and, by ``Annotated``, what it is on the wire::

    queue_id: Annotated[int, xdr.UInt]
    body: Annotated[bytes, xdr.Opaque(max=8192)]

``bool``, a subclass of ``xdr.Enum``, an ``@xdr.struct`` class, a union of ``@xdr.arm`` classes and ``xdr.Quad`` stand
for themselves, ``T | None`` is optional-data and ``None`` is void.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xdr.errors import XDRDeclarationError

__all__ = [
    "UNBOUNDED",
    "Array",
    "Bool",
    "Descriptor",
    "Double",
    "FixedArray",
    "FixedOpaque",
    "Float",
    "Hyper",
    "Int",
    "Opaque",
    "Quadruple",
    "Scalar",
    "String",
    "UHyper",
    "UInt",
    "Void",
]

UNBOUNDED: Final = 0xFFFFFFFF
"""Elements or bytes: what ``<>`` without a number allows, all that a length word can say (RFC 4506, section 4.10)."""


class Descriptor:
    """What an ``Annotated`` carries to say how a value looks on the wire."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Scalar(Descriptor):
    """A value of a fixed size that fills whole words."""

    name: str
    """Its name in the XDR language."""
    code: str
    """Its format character in the ``struct`` module; empty where that has none."""


Int: Final = Scalar("int", "i")
"""32 bits, two's complement (RFC 4506, section 4.1)."""
UInt: Final = Scalar("unsigned int", "I")
"""32 bits (RFC 4506, section 4.2)."""
Hyper: Final = Scalar("hyper", "q")
"""64 bits, two's complement (RFC 4506, section 4.5)."""
UHyper: Final = Scalar("unsigned hyper", "Q")
"""64 bits (RFC 4506, section 4.5)."""
Float: Final = Scalar("float", "f")
"""IEEE 754 single precision (RFC 4506, section 4.6)."""
Double: Final = Scalar("double", "d")
"""IEEE 754 double precision (RFC 4506, section 4.7)."""
Quadruple: Final = Scalar("quadruple", "")
"""IEEE 754 quadruple precision, a :class:`xdr.Quad` in Python (RFC 4506, section 4.8)."""
Bool: Final = Scalar("bool", "")
"""A word that is 0 or 1 (RFC 4506, section 4.4); plain ``bool`` means the same."""
Void: Final = Scalar("void", "")
"""No bytes at all (RFC 4506, section 4.16); plain ``None`` means the same."""


def _check_bound(what: str, bound: int) -> None:
    if not isinstance(bound, int) or not 0 <= bound <= UNBOUNDED:
        message = f"{what} must be 0..{UNBOUNDED}, not {bound!r}"
        raise XDRDeclarationError(message)


@dataclass(frozen=True, slots=True)
class FixedOpaque(Descriptor):
    """Exactly so many bytes, padded to whole words (RFC 4506, section 4.9)."""

    size: int
    """Bytes."""

    def __post_init__(self) -> None:
        _check_bound("the size of an opaque", self.size)


@dataclass(frozen=True, slots=True)
class Opaque(Descriptor):
    """Up to so many bytes behind a length word (RFC 4506, section 4.10)."""

    max: int = UNBOUNDED
    """Most bytes."""

    def __post_init__(self) -> None:
        _check_bound("the bound of an opaque", self.max)


@dataclass(frozen=True, slots=True)
class String(Descriptor):
    """Text of up to so many bytes behind a length word (RFC 4506, section 4.11).

    In Python a ``str``: UTF-8, and bytes that are no UTF-8 as surrogate escapes, so that every byte sequence survives.
    """

    max: int = UNBOUNDED
    """Most bytes; not characters."""

    def __post_init__(self) -> None:
        _check_bound("the bound of a string", self.max)


@dataclass(frozen=True, slots=True)
class FixedArray(Descriptor):
    """Exactly so many elements (RFC 4506, section 4.12)."""

    size: int
    """Elements."""

    def __post_init__(self) -> None:
        _check_bound("the size of an array", self.size)


@dataclass(frozen=True, slots=True)
class Array(Descriptor):
    """Up to so many elements behind a count (RFC 4506, section 4.13)."""

    max: int = UNBOUNDED
    """Most elements."""

    def __post_init__(self) -> None:
        _check_bound("the bound of an array", self.max)
