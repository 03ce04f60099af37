"""Data taken apart for a reader: every item with its place, its bytes, its type and its value.

``walk`` hands the items over one by one, so that of faulty data all that was in order is shown before the error.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xdr import shapes as s
from xdr.codec import MAX_DEPTH, Codec, codec
from xdr.decoders import decoder
from xdr.errors import XDRDecodeError
from xdr.explain import Decoding, allowance, deeper, explain_decode, trailing
from xdr.source import DECODE_FAULTS, Variant, is_list_node
from xdr.structs import Enum, spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Item", "render", "walk"]

_FLAG: Final = s.BoolShape()
"""What says whether an optional is there."""
_SHOWN_BYTES: Final = 16
"""Bytes of an item that a line shows; more would push its name out of sight."""
_SHOWN_CHARACTERS: Final = 64
"""Characters of a value that a line shows."""


class Item(NamedTuple):
    """One item of some data.

    Attributes:
        level: How deep it lies; the value itself is at 0.
        name: Its field's name in the ``.x`` file, ``[3]`` for an element, or the type's name for the value itself.
        type: Its type in the XDR language.
        offset: Its first byte.
        data: Its bytes; for what is made of other items only its own: an array's count, a union's nothing.
        value: Its value in Python; None for what is made of other items.
        whole: Whether it is not made of other items.
    """

    level: int
    name: str
    type: str
    offset: int
    data: bytes
    value: Any
    whole: bool


def walk(
    annotation: Any,
    data: bytes | bytearray | memoryview,
    *,
    lenient_padding: bool = False,
    max_depth: int = MAX_DEPTH,
    module: str | None = None,
) -> Iterator[Item]:
    """Yield the items of a value in the order of its bytes.

    A linked list is yielded like an array: its entries are not nested.

    Args:
        annotation: The type, or its codec.
        data: The whole encoding and nothing else.
        lenient_padding: Accept padding that is not zero.
        max_depth: Levels that a type may nest in itself.
        module: Where names in a string annotation are looked up.

    Raises:
        XDRDecodeError: After the last item that was in order: the data is not an encoding of a value of the type, or
            bytes follow it.
        XDRDeclarationError: The annotation means no XDR type.
    """
    shape = (annotation if isinstance(annotation, Codec) else codec(annotation, module=module)).shape
    walker = _Walker(memoryview(data).cast("B"), lenient_padding=lenient_padding, max_depth=max_depth)
    yield from walker.walk(shape, 0, shape.name, shape.name, allowance(shape, max_depth))
    if walker.at < len(data):
        raise trailing(shape, walker.at, len(data))


def render(items: Iterable[Item]) -> Iterator[str]:
    """Yield a line for each item: offset, bytes in hex, indented name, type and value."""
    for item in items:
        shown = item.data[:_SHOWN_BYTES].hex(" ", 4)
        if len(item.data) > _SHOWN_BYTES:
            shown += " …"
        line = f"{item.offset:6}  {shown:37}  {'  ' * item.level}{item.name}: {item.type}"
        if item.whole:
            line += f" = {_shown(item.value)}"
        elif item.value is not None:
            line += f", {item.value}"
        yield line


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return f"{spellings(type(value)).get(value.name, value.name)} ({int(value)})"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


class _Walker:
    """A walk over bytes.

    Args:
        data: The bytes.
        lenient_padding: Whether padding may be other than zero.
        max_depth: Levels that a type may nest in itself.
    """

    def __init__(self, data: memoryview, *, lenient_padding: bool, max_depth: int) -> None:
        self._data = data
        self._variant = Variant(lenient=lenient_padding, view=True)
        self._max_depth = max_depth
        self.at = 0

    def walk(self, shape: s.Shape, level: int, name: str, path: str, left: int) -> Iterator[Item]:
        """Yield the items of a value and pass over it."""
        match shape:
            case s.FixedArrayShape():
                yield self._made_of(shape, level, name, 0, None)
                yield from self._elements(shape.element, shape.count, level, path, left)
            case s.ArrayShape():
                number = self._count(shape, path)
                yield self._made_of(shape, level, name, 4, f"{number} element{'' if number == 1 else 's'}")
                yield from self._elements(shape.element, number, level, path, left)
            case s.OptionalShape():
                start = self.at
                if self._leaf(_FLAG, path):
                    yield Item(level, name, f"{shape.name} *", start, self._since(start), "present", whole=False)
                    yield from self.walk(shape.element, level + 1, shape.name, path, left)
                else:
                    yield Item(level, name, f"{shape.name} *", start, self._since(start), "absent", whole=False)
            case s.StructShape():
                yield from self._struct(shape, level, name, path, self._deeper(shape, path, left))
            case s.UnionShape():
                yield from self._union(shape, level, name, path, self._deeper(shape, path, left))
            case _:
                start = self.at
                value = self._leaf(shape, path)
                yield Item(level, name, shape.name, start, self._since(start), value, whole=True)

    def _deeper(self, shape: s.Shape, path: str, left: int) -> int:
        left = deeper(shape, left)
        if left < 0:
            raise XDRDecodeError(path, self.at, f"nested more than {self._max_depth} levels deep")
        return left

    def _since(self, start: int) -> bytes:
        return bytes(self._data[start : self.at])

    def _leaf(self, shape: s.Shape, path: str) -> Any:
        """Decode a value that is shown as one item."""
        # The specialised function knows how, and the walk that explains knows the words if it cannot.
        try:
            value, self.at = decoder(shape, self._variant)(self._data, self.at, len(self._data), self._max_depth)
        except DECODE_FAULTS:
            error = explain_decode(shape, self._data, self.at, self._variant, self._max_depth)
            raise XDRDecodeError(path + error.path[len(shape.name) :], error.offset, error.reason) from None
        return value

    def _count(self, shape: s.ArrayShape, path: str) -> int:
        return Decoding(self._data, self._variant, self._max_depth).count(shape, path, self.at)

    def _made_of(self, shape: s.Shape, level: int, name: str, size: int, note: str | None) -> Item:
        start = self.at
        self.at += size
        return Item(level, name, shape.name, start, self._since(start), note, whole=False)

    def _elements(self, element: s.Shape, number: int, level: int, path: str, left: int) -> Iterator[Item]:
        for index in range(number):
            yield from self.walk(element, level + 1, f"[{index}]", f"{path}[{index}]", left)

    def _struct(self, shape: s.StructShape, level: int, name: str, path: str, left: int) -> Iterator[Item]:
        yield self._made_of(shape, level, name, 0, "struct")
        if not is_list_node(shape):
            for field, of in shape.fields:
                yield from self.walk(of, level + 1, shape.spelled.get(field, field), f"{path}.{field}", left)
            return
        tail = shape.fields[-1][0]
        for index in count():
            place = f"{path}[{index}]" if index else path
            for field, of in shape.fields[:-1]:
                yield from self.walk(of, level + 1, shape.spelled.get(field, field), f"{place}.{field}", left)
            start = self.at
            more = self._leaf(_FLAG, f"{place}.{tail}")
            note = "present" if more else "absent"
            spelled = shape.spelled.get(tail, tail)
            yield Item(level + 1, spelled, f"{shape.name} *", start, self._since(start), note, whole=False)
            if not more:
                return
            yield self._made_of(shape, level, f"{name}[{index + 1}]", 0, "struct")

    def _union(self, shape: s.UnionShape, level: int, name: str, path: str, left: int) -> Iterator[Item]:
        yield self._made_of(shape, level, name, 0, "union")
        place = f"{path}.{shape.discriminant}"
        start = self.at
        chosen = self._leaf(shape.kind, place)
        arm = shape.by_case.get(int(chosen), shape.default)
        if arm is None:
            case = chosen.name if isinstance(chosen, Enum) else int(chosen)
            raise XDRDecodeError(place, start, f"{case} is no case of {shape.name}")
        tag = arm.spelled.get(shape.discriminant, shape.discriminant)
        yield Item(level + 1, tag, shape.kind.name, start, self._since(start), chosen, whole=True)
        for field, of in arm.fields:
            yield from self.walk(of, level + 1, arm.spelled.get(field, field), f"{path}.{field}", left)
