"""Hypothesis strategies from any declaration, for those who test what they built on it.

Needs Hypothesis, which is imported when the first strategy is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xdr import shapes as s
from xdr.codec import Codec, codec
from xdr.quad import Quad
from xdr.source import is_list_node

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["values"]


def values(
    annotation: Any,
    *,
    module: str | None = None,
    max_elements: int = 6,
    max_bytes: int = 40,
    max_depth: int = 4,
    allow_nan: bool = False,
) -> SearchStrategy[Any]:
    """Return a strategy for all values of a type.

    Args:
        annotation: The type, or its codec.
        module: Where names in a string annotation are looked up.
        max_elements: Most elements of an array or entries of a linked list, where the type allows more. Arrays of a
            fixed size have that size.
        max_bytes: Most bytes of a string or opaque, where the type allows more.
        max_depth: Levels that a type may nest in itself.
        allow_nan: Whether floats and doubles may be NaN, which equals nothing, itself included.

    Raises:
        XDRDeclarationError: The annotation means no XDR type.
        ImportError: Hypothesis is not installed.
    """
    of = annotation if isinstance(annotation, Codec) else codec(annotation, module=module)
    s.mark_recursive(of.shape)
    return _Maker(max_elements, max_bytes, allow_nan=allow_nan).make(of.shape, max_depth)


class _Maker:
    """Makes strategies, one for each shape."""

    def __init__(self, max_elements: int, max_bytes: int, *, allow_nan: bool) -> None:
        self._max_elements = max_elements
        self._max_bytes = max_bytes
        self._allow_nan = allow_nan
        # By identity; a shape lives as long as the codec that it was taken from.
        self._made: dict[tuple[int, int], SearchStrategy[Any]] = {}

    def make(self, shape: s.Shape, left: int) -> SearchStrategy[Any]:
        """Return the strategy for a shape that may nest in itself so many times."""
        known = self._made.get((id(shape), left))
        if known is None:
            inside = left - 1 if shape.recursive and isinstance(shape, s.StructShape | s.UnionShape) else left
            known = self._made[id(shape), left] = self._strategy(shape, inside)
        return known

    def _strategy(self, shape: s.Shape, left: int) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        match shape:
            case s.ScalarShape():
                return self._scalar(shape)
            case s.BoolShape():
                return st.booleans()
            case s.EnumShape():
                return st.sampled_from(list(shape.cls))
            case s.QuadShape():
                return st.integers(0, (1 << 128) - 1).map(Quad.from_bits) | st.floats(allow_nan=False).map(Quad)
            case s.VoidShape():
                return st.none()
            case s.FixedOpaqueShape():
                return st.binary(min_size=shape.count, max_size=shape.count)
            case s.OpaqueShape():
                return st.binary(max_size=min(shape.max, self._max_bytes))
            case s.StringShape():
                return self._string(min(shape.max, self._max_bytes))
            case s.FixedArrayShape():
                return st.lists(self.make(shape.element, left), min_size=shape.count, max_size=shape.count)
            case s.ArrayShape() | s.OptionalShape() if left <= 0 and shape.element.recursive:
                return st.just([]) if isinstance(shape, s.ArrayShape) else st.none()
            case s.ArrayShape():
                return st.lists(self.make(shape.element, left), max_size=min(shape.limit, self._max_elements))
            case s.OptionalShape():
                return st.none() | self.make(shape.element, left)
            case s.StructShape() if is_list_node(shape):
                return self._nodes(shape, left)
            case s.StructShape():
                return self._built(shape.cls, shape.fields, left)
            case s.UnionShape():
                flat = [arm for arm in shape.arms if not any(of.recursive for _name, of in arm.fields)]
                arms = flat if left <= 0 and flat else shape.arms
                return st.one_of([self._arm(shape, arm, left) for arm in arms])
        message = f"no strategy for {shape.name}, whose codec was written by hand"
        raise NotImplementedError(message)

    def _scalar(self, shape: s.ScalarShape) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        if shape.code in "fd":
            return st.floats(width=32 if shape.code == "f" else 64, allow_nan=self._allow_nan)
        bits = 8 * shape.width
        return (
            st.integers(0, (1 << bits) - 1) if shape.code in "IQ" else st.integers(-1 << bits - 1, (1 << bits - 1) - 1)
        )

    @staticmethod
    def _string(most: int) -> SearchStrategy[str]:
        from hypothesis import strategies as st

        def fits(text: str) -> bool:
            return len(text.encode("utf-8", "surrogateescape")) <= most

        ascii_text = st.text(st.characters(max_codepoint=127), max_size=most)
        text = st.text(st.characters(exclude_categories=["Cs"]), max_size=most // 4)
        anything = st.binary(max_size=most).map(lambda data: data.decode("utf-8", "surrogateescape"))
        return (ascii_text | text | anything).filter(fits)

    def _built(self, cls: type, fields: tuple[tuple[str, s.Shape], ...], left: int) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        return st.fixed_dictionaries({name: self.make(of, left) for name, of in fields}).map(lambda made: cls(**made))

    def _nodes(self, shape: s.StructShape, left: int) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        tail = shape.fields[-1][0]

        def link(entries: list[dict[str, Any]]) -> Any:
            node = None
            for entry in reversed(entries):
                node = shape.cls(**entry, **{tail: node})
            return node

        entry = st.fixed_dictionaries({name: self.make(of, left) for name, of in shape.fields[:-1]})
        return st.lists(entry, min_size=1, max_size=max(self._max_elements, 1)).map(link)

    def _arm(self, shape: s.UnionShape, arm: s.Arm, left: int) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        if not arm.of.default:
            chosen: SearchStrategy[Any] = st.sampled_from(list(arm.of.cases))
            if isinstance(shape.kind, s.BoolShape):
                chosen = chosen.map(bool)
            elif isinstance(shape.kind, s.EnumShape):
                members = shape.kind.members
                chosen = chosen.map(lambda case: members[int(case)])
        else:
            chosen = self.make(shape.kind, left).filter(lambda case: int(case) not in shape.by_case)
            if isinstance(shape.kind, s.EnumShape | s.BoolShape):
                # All values are known: a default arm for none of them has no value.
                every = [False, True] if isinstance(shape.kind, s.BoolShape) else list(shape.kind.cls)
                rest = [case for case in every if int(case) not in shape.by_case]
                chosen = st.sampled_from(rest) if rest else st.nothing()
        fields = {name: self.make(of, left) for name, of in arm.fields}
        return st.fixed_dictionaries({shape.discriminant: chosen, **fields}).map(lambda made: arm.cls(**made))
