"""What both kinds of specialised code have in common: source under construction, ways to decode, where to inline.

A specialised function does what a careful programmer would write by hand: neighbouring items of fixed size, nested
structs and length words included, are one precompiled ``struct.Struct``; values are plain locals; every check of RFC
4506 is one comparison. It does not say what was wrong: it raises anything from ``DECODE_FAULTS`` or ``ENCODE_FAULTS``,
and ``xdr.explain`` then walks the data again to find the place. So good data pays nothing for good messages.
"""

from __future__ import annotations

from struct import error as StructError  # noqa: N812 - it is an exception class
from typing import Any, Final, NamedTuple

from xdr import shapes as s
from xdr.runtime import Unfit

__all__ = [
    "CHAINED_ARMS",
    "DECODE_FAULTS",
    "ENCODE_FAULTS",
    "FUSED_ELEMENTS",
    "Source",
    "Variant",
    "inlined",
    "is_list_node",
]

FUSED_ELEMENTS: Final = 16
"""A fixed array of scalars up to this long is read as single values, together with its neighbours."""
INLINE_WEIGHT: Final = 24
"""A nested struct with at most so many items is written into its user's function instead of called."""
CHAINED_ARMS: Final = 6
"""A union of more arms gets a function for each, chosen by a dict, instead of a chain of comparisons."""

DECODE_FAULTS: Final = (Unfit, StructError, LookupError, OverflowError, RecursionError)
"""What a decoding function raises when the data is not as it should be."""
ENCODE_FAULTS: Final = (Exception,)
"""What an encoding function raises when the value is not as it should be: whatever its attributes do."""

_WEIGHT: Final = "weight"


class Variant(NamedTuple):
    """A way of decoding that gets functions of its own.

    Attributes:
        lenient: Bytes of padding may be other than zero.
        view: The data is a ``memoryview`` rather than ``bytes``.
        arrays: What arrays of numbers become: ``list``, ``array.array`` or ``memoryview``.
    """

    lenient: bool = False
    view: bool = False
    arrays: type = list


class Source:
    """The body of a function under construction, and the objects that it names."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"Unfit": Unfit, "__name__": __name__}
        self._lines: list[str] = []
        self._indent = 1
        self._counter = 0
        # By identity: constants need not be hashable. The objects are kept by `names`, so no identity comes twice.
        self._known: dict[tuple[int, str], str] = {}

    def fresh(self, stem: str) -> str:
        """Return a name that was not used before."""
        self._counter += 1
        return f"{stem}{self._counter}"

    def constant(self, stem: str, value: Any) -> str:
        """Return the name under which an object can be used."""
        key = (id(value), stem)
        name = self._known.get(key)
        if name is None:
            name = self._known[key] = self.fresh(stem + "_")
            self.names[name] = value
        return name

    def line(self, text: str) -> None:
        """Add a line at the present indentation."""
        self._lines.append("    " * self._indent + text)

    def indent(self) -> None:
        """Begin a block."""
        self._indent += 1

    def dedent(self) -> None:
        """End a block."""
        self._indent -= 1

    @property
    def depth(self) -> int:
        """How many blocks are open."""
        return self._indent

    def function(self, head: str, of: str) -> Any:
        """Compile the lines under a ``def``; return the function.

        Args:
            head: The ``def`` with its parameters.
            of: The name of the type, for tracebacks.
        """
        source = "\n".join([head, *self._lines, ""])
        exec(compile(source, f"<xdr {of}>", "exec"), self.names)  # noqa: S102 - our own text
        function = self.names[head[4 : head.index("(")]]
        function.__xdr_source__ = source
        return function


def is_list_node(shape: s.Shape) -> bool:
    """Whether a struct ends in an optional of itself: a linked list, walked in a loop."""
    if not isinstance(shape, s.StructShape) or not shape.fields:
        return False
    last = shape.fields[-1][1]
    return isinstance(last, s.OptionalShape) and last.element is shape


def inlined(shape: s.Shape) -> bool:
    """Whether a value's code is written into the function of what it is part of, instead of called."""
    if isinstance(shape, s.UnionShape) and len(shape.arms) > CHAINED_ARMS:
        return False
    return not shape.recursive and _weight(shape) <= INLINE_WEIGHT


def _weight(shape: s.Shape) -> int:
    """Count the items that a shape would write into a function that inlines it, as far as it matters."""
    known: int | None = shape.compiled.get(_WEIGHT)
    if known is None:
        known = 0
        waiting = [shape]
        # Not by recursion: types may be nested as deeply as anyone likes. Beyond the limit it is all the same.
        while waiting and known <= INLINE_WEIGHT:
            one = waiting.pop()
            if one.recursive:
                known = INLINE_WEIGHT
            known += 1 + (2 * len(one.arms) if isinstance(one, s.UnionShape) else 0)
            waiting += one.children()
        shape.compiled[_WEIGHT] = known
    return known
