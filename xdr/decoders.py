"""Decoding functions, written for one type and compiled when it is first used.

Functions that call each other have the signature ``(data, at, size, left) -> (value, at)``; ``left`` is what remains of
the depth limit, counted only by types that hold themselves. A codec's own functions are as its methods.
"""

from __future__ import annotations

from itertools import repeat, starmap
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xdr import shapes as s
from xdr.quad import Quad
from xdr.runtime import PAD, SHORT, ShortUnpackers, swapped, unpack_many
from xdr.source import CHAINED_ARMS, FUSED_ELEMENTS, Source, Variant, inlined, is_list_node
from xdr.types import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["decoder", "partial_decoder", "whole_decoder"]

_NEW: Final = object.__new__
_TRUTH: Final = (False, True)


class _Word(NamedTuple):
    """An item of fixed size: its format, what it is assigned to, its bytes."""

    code: str
    target: str
    size: int


class _Data(NamedTuple):
    """Data of variable size that waits to be read together with what follows.

    Attributes:
        before: The words before it that are read with it, if its length is looked at ahead of them.
        length: The local with its length.
        target: The local that it is assigned to.
        bound: Most bytes.
        peeked: Whether the length word is among what is still to be read.
    """

    before: list[_Word]
    length: str
    target: str
    bound: int
    peeked: bool


def _codes(words: Sequence[_Word]) -> str:
    return "".join(word.code for word in words)


def _total(words: Sequence[_Word]) -> int:
    return sum(word.size for word in words)


class _Writer:
    """Writes the body of one decoding function.

    Words are gathered in ``_run`` until something needs the position after them; then one ``unpack_from`` reads them
    all, and the lines that only need their values (``_after``) follow. Short data is read in the same way, by an
    ``unpack_from`` for its length. The position is ``at`` (or 0 at first in a function for whole values) plus
    ``_ahead``, so that passing fixed data costs no instruction.

    Args:
        variant: The way of decoding.
        whole: Whether the value begins at byte 0.
        exactly: Bytes that the data must have, if that is known.
        left: The name of what remains of the depth limit.
    """

    def __init__(
        self, variant: Variant, *, whole: bool = False, exactly: int | None = None, left: str = "left"
    ) -> None:
        self.source = Source()
        self.variant = variant
        self._run: list[_Word] = []
        self._after: list[str] = []
        self._data: _Data | None = None
        self._base = "" if whole else "at"
        self._left = left
        self._exactly = exactly
        self.padded = False
        """Whether there is padding to be looked at."""
        self.checked = False
        """Whether one unpack took all the data, and so saw its length."""
        self._ahead = 0

    # Positions.

    def read(self, code: str, size: int, target: str) -> str:
        """Read an item of fixed size with the words around it; return its target."""
        self._run.append(_Word(code, target, size))
        return target

    def local(self, stem: str) -> str:
        """Return a local that was not used before."""
        return self.source.fresh(stem)

    def after(self, *lines: str) -> None:
        """Add lines that need values but no position."""
        self._after.extend(lines)

    def position(self, more: int = 0) -> str:
        """Return the position, plus some bytes, as an expression."""
        ahead = self._ahead + more
        if not self._base:
            return str(ahead)
        return f"at + {ahead}" if ahead else "at"

    def _move(self, by: str) -> None:
        """Write the line that makes ``at`` the position plus an expression."""
        start = self.position()
        self.source.line(f"at += {by}" if start == "at" else f"at = {start} + {by}")
        self._base, self._ahead = "at", 0

    def flush(self) -> None:
        """Read what was gathered."""
        data, self._data = self._data, None
        words, self._run = self._run, []
        if data is not None:
            self._read_data(data, words)
        elif words:
            self._unpack(words)
        for line in self._after:
            self.source.line(line)
        self._after = []

    def settle(self) -> None:
        """Flush, and make ``at`` the position, as branches and loops need it."""
        self.flush()
        if self.position() != "at":
            self.source.line(f"at = {self.position()}" if not self._base else f"at += {self._ahead}")
            self._base, self._ahead = "at", 0

    def _unpack(self, words: list[_Word]) -> None:
        packed = Struct(">" + _codes(words))
        targets = ", ".join(word.target for word in words)
        if self.position() == "0" and packed.size == self._exactly:
            self.source.line(f"{targets}, = {self.source.constant('unpack', packed.unpack)}(data)")
            self.checked = True
        else:
            unpack = self.source.constant("unpack", packed.unpack_from)
            self.source.line(f"{targets}, = {unpack}(data, {self.position()})")
        self._ahead += packed.size

    def _read_data(self, data: _Data, words: list[_Word]) -> None:
        """Read data of variable size and the words after it."""
        line = self.source.line
        if not data.peeked and not words:
            self._slice(data)
            return
        unpack, step, pad, zero = (self.local(stem) for stem in ("u", "step", "pad", "zero"))
        before = [*data.before, _Word("I", self.local("m"), 4)] if data.peeked else []
        table = ShortUnpackers(_codes(before), _codes(words), min(data.bound, SHORT - 1))
        targets = ", ".join(word.target for word in [*before, _Word("", data.target, 0), _Word("", pad, 0), *words])
        long = data.bound >= SHORT
        start = self.position()
        base, ahead = self._base, self._ahead
        if long:
            line(f"if {data.length} < {SHORT}:")
            self.source.indent()
        line(f"{unpack}, {step}, {zero} = {self.source.constant('short', table.quick())}[{data.length}]")
        line(f"{targets} = {unpack}(data, {start})")
        # The length was looked at by its last byte alone; the whole word must agree.
        checks = [f"{before[-1].target} != {data.length}"] if data.peeked else []
        if not self.variant.lenient:
            checks.append(f"{pad} != {zero}")
        if checks:
            line(f"if {' or '.join(checks)}: raise Unfit")
        self._move(step)
        if long:
            self.source.dedent()
            line("else:")
            self.source.indent()
            self._base, self._ahead = base, ahead
            self._slice(data)
            self._unpack(words)
            self.source.line(f"at += {self._ahead}")
            self.source.dedent()
            self._base, self._ahead = "at", 0

    def _slice(self, data: _Data, *, view: bool = False) -> None:
        """Read data of any size, its length being known and the position being its start."""
        line = self.source.line
        count = data.length
        if data.bound != UNBOUNDED:
            line(f"if {count} > {data.bound}: raise Unfit")
        start = self.position()
        begin = self.local("i")
        line(f"{begin} = {start}")
        line(f"at = {begin} + {count}")
        self._base, self._ahead = "at", 0
        if view:
            line(f"{data.target} = memoryview(data)[{begin}:at]")
        elif self.variant.view:
            line(f"{data.target} = bytes(data[{begin}:at])")
        else:
            line(f"{data.target} = data[{begin}:at]")
        line(f"if {count} & 3:")
        if self.variant.lenient:
            line(f"    at += -{count} & 3")
            line("if at > size: raise Unfit")
        else:
            end = self.local("e")
            line(f"    {end} = at")
            line(f"    at += -{count} & 3")
            # Padding that is cut short differs as well.
            line(f"    if data[{end}:at] != {self.source.constant('PAD', PAD)}[{count} & 3]: raise Unfit")
            line("elif at > size: raise Unfit")

    # Shapes. Each assigns the value to the target once everything before was flushed.

    def value(self, shape: s.Shape, target: str) -> None:
        """Decode one value."""
        match shape:
            case s.ScalarShape():
                self.read(shape.code, shape.width, target)
            case s.BoolShape():
                word = self.read("I", 4, self.local("w"))
                # The index of anything but 0 and 1 is out of range.
                self.after(f"{target} = {self.source.constant('truth', _TRUTH)}[{word}]")
            case s.EnumShape():
                word = self.read("I" if shape.dense else "i", 4, self.local("w"))
                self.after(f"{target} = {self.source.constant('members', shape.dense or shape.members)}[{word}]")
            case s.QuadShape():
                word = self.read("16s", 16, self.local("w"))
                self.after(f"{target} = {self.source.constant('quad', Quad.from_bytes)}({word})")
            case s.VoidShape():
                self.after(f"{target} = None")
            case s.FixedOpaqueShape():
                self._fixed_opaque(shape, target)
            case s.OpaqueShape():
                self._opaque(shape, target)
            case s.StringShape():
                data = self.local("t")
                self._bytes(shape.max, data)
                self.after(
                    "try:",
                    f"    {target} = {data}.decode()",
                    "except UnicodeDecodeError:",
                    f"    {target} = {data}.decode('utf-8', 'surrogateescape')",
                )
            case s.FixedArrayShape():
                self._fixed_array(shape, target)
            case s.ArrayShape():
                self._array(shape, target)
            case s.OptionalShape():
                self._optional(shape, target)
            case s.BridgeShape():
                self.settle()
                unpack = self.source.constant("unpack", shape.bridge.unpack_at)
                self.source.line(f"{target}, at = {unpack}(data, at, size)")
            case s.StructShape() if inlined(shape):
                made = self.local("o")
                self.new(shape.cls, made)
                self.fields(shape.fields, made)
                self.after(f"{target} = {made}")
            case s.UnionShape() if inlined(shape):
                self.union(shape, target)
            case _:
                self._call(shape, target)

    def _call(self, shape: s.Shape, target: str) -> None:
        """Leave a value to its own function."""
        self.flush()
        callee = _link(shape, self.variant, self.source)
        left = f"{self._left} - 1" if shape.recursive else self._left
        self.source.line(f"{target}, at = {callee}(data, {self.position()}, size, {left})")
        self._base, self._ahead = "at", 0

    def _fixed_opaque(self, shape: s.FixedOpaqueShape, target: str) -> None:
        count = shape.count
        view = shape.host is memoryview
        if not count:
            self.after(f"{target} = memoryview(b'')" if view else f"{target} = b''")
            return
        data = self.read(f"{count}s", count, self.local("x") if view else target)
        if count & 3:
            self.padded = True
            pad = self.read(f"{-count & 3}s", -count & 3, self.local("pad"))
            if not self.variant.lenient:
                self.after(f"if {pad} != {PAD[count & 3]!r}: raise Unfit")
        if view:
            self.after(f"{target} = memoryview({data})")

    def _opaque(self, shape: s.OpaqueShape, target: str) -> None:
        if shape.host is not memoryview:
            self._bytes(shape.max, target)
            return
        count = self.read("I", 4, self.local("n"))
        self.flush()
        self._slice(_Data([], count, target, shape.max, peeked=False), view=True)

    def _bytes(self, bound: int, target: str) -> None:
        """Decode a length word and so many bytes; they are read when what follows them is."""
        count = self.local("n")
        if bound < SHORT and self._data is None:
            # The last byte of the length says which Struct reads everything up to and after the data at once.
            self.source.line(f"{count} = data[{self.position(_total(self._run) + 3)}]")
            self._data = _Data(self._run, count, target, bound, peeked=True)
            self._run = []
            return
        self.read("I", 4, count)
        self.flush()
        self._data = _Data([], count, target, bound, peeked=False)

    def _fixed_array(self, shape: s.FixedArrayShape, target: str) -> None:
        element, count = shape.element, shape.count
        if not count:
            self.after(f"{target} = []")
        elif _plain(element) and count <= FUSED_ELEMENTS and self.variant.arrays is list:
            names = [self.local("x") for _ in range(count)]
            for name in names:
                self.value(element, name)
            self.after(f"{target} = [{', '.join(names)}]")
        else:
            self.flush()
            # So many elements are declared, but that they are there must be seen before any is made.
            if element.minimum:
                self.source.line(f"if {count * element.minimum} > size - {self._bracketed()}: raise Unfit")
            self._elements(element, target, str(count))

    def _array(self, shape: s.ArrayShape, target: str) -> None:
        count = self.read("I", 4, self.local("n"))
        self.flush()
        if shape.limit != UNBOUNDED:
            self.source.line(f"if {count} > {shape.limit}: raise Unfit")
        # What is announced must be there, before anything is made for it.
        if minimum := shape.element.minimum:
            self.source.line(f"if {count} * {minimum} > size - {self._bracketed()}: raise Unfit")
        self._elements(shape.element, target, count)

    def _bracketed(self) -> str:
        position = self.position()
        return f"({position})" if "+" in position else position

    def _elements(self, element: s.Shape, target: str, count: str) -> None:
        """Decode so many elements; nothing may be gathered."""
        line = self.source.line
        match element:
            case s.ScalarShape() | s.BoolShape() | s.EnumShape():
                self._scalars(element, target, count)
                return
            case s.VoidShape():
                line(f"{target} = [None] * {count}")
                return
        self.settle()
        # Targets may be attributes; the elements go by a local.
        items = self.local("items")
        again = self.source.constant("repeat", repeat)
        if isinstance(element, s.StructShape) and inlined(element):
            # All objects first, in one sweep without the interpreter; their bytes were seen to be there. Of the ways
            # to do that, starmap needs no new tuple for each call.
            made = self.local("o")
            one = self.source.constant("one", (element.cls,))
            new, sweep = self.source.constant("new", _NEW), self.source.constant("starmap", starmap)
            line(f"{target} = {items} = list({sweep}({new}, {again}({one}, {count})))")
            line(f"for {made} in {items}:")
            self.source.indent()
            if not element.fields:
                line("pass")
            self.fields(element.fields, made)
            self.settle()
            self.source.dedent()
            return
        add, item = self.local("add"), self.local("x")
        line(f"{target} = {items} = []")
        line(f"{add} = {items}.append")
        line(f"for _ in {again}(None, {count}):")
        self.source.indent()
        self.value(element, item)
        self.settle()
        line(f"{add}({item})")
        self.source.dedent()

    def _scalars(self, element: s.Shape, target: str, count: str) -> None:
        """Decode neighbouring scalars without a loop in Python."""
        line = self.source.line
        unpack = self.source.constant("unpack_many", unpack_many)
        place = self.position()
        width = element.minimum
        match element:
            case s.ScalarShape() if self.variant.arrays is not list:
                swap = self.source.constant("swapped", swapped)
                made = f"{swap}({element.code!r}, data[{place}:{place} + {count} * {width}])"
                line(f"{target} = memoryview({made})" if self.variant.arrays is memoryview else f"{target} = {made}")
            case s.ScalarShape():
                line(f"{target} = list({unpack}({element.code!r}, {count})(data, {place}))")
            case s.BoolShape():
                words = self.local("words")
                line(f"{words} = {unpack}('I', {count})(data, {place})")
                line(f"if {words} and max({words}) > 1: raise Unfit")
                line(f"{target} = list(map(bool, {words}))")
            case s.EnumShape():
                find = self.source.constant("member", element.members.__getitem__)
                line(f"{target} = list(map({find}, {unpack}('i', {count})(data, {place})))")
        if count.isdigit():
            self._ahead += int(count) * width
        else:
            self._move(f"{count} * {width}")

    def _optional(self, shape: s.OptionalShape, target: str) -> None:
        line = self.source.line
        flag = self.read("I", 4, self.local("more"))
        self.settle()
        line(f"if {flag} == 1:")
        self.source.indent()
        self.value(shape.element, target)
        self.settle()
        self.source.dedent()
        line(f"elif {flag}: raise Unfit")
        line(f"else: {target} = None")

    def new(self, cls: type, target: str) -> None:
        """Make an object whose fields are assigned later."""
        self.source.line(f"{target} = {self.source.constant('new', _NEW)}({self.source.constant('cls', cls)})")

    def fields(self, fields: Sequence[tuple[str, s.Shape]], made: str) -> None:
        """Decode fields into an object."""
        for name, shape in fields:
            self.value(shape, f"{made}.{name}")

    def union(self, shape: s.UnionShape, target: str) -> None:
        """Decode a discriminant and the arm that it chooses."""
        line = self.source.line
        word = self.local("d")
        self.read("I" if isinstance(shape.kind, s.BoolShape) else getattr(shape.kind, "code", "i"), 4, word)
        if isinstance(shape.kind, s.BoolShape):
            self.after(f"if {word} > 1: raise Unfit")
        self.settle()
        if len(shape.arms) > CHAINED_ARMS:
            links = {arm.cls: _ArmLink(shape, arm, self.variant) for arm in shape.arms}
            arms = self.source.constant("arms", {case: links[arm.cls] for case, arm in shape.by_case.items()})
            if shape.default is None:
                chosen = f"{arms}[{word}]"
            else:
                chosen = f"{arms}.get({word}, {self.source.constant('other', links[shape.default.cls])})"
            line(f"{target}, at = {chosen}(data, at, size, {self._left}, {word})")
            return
        keyword = "if"
        for arm in shape.arms:
            if arm is shape.default:
                continue
            cases = [int(case) for case in arm.of.cases]
            test = f"== {cases[0]}" if len(cases) == 1 else f"in {tuple(cases)!r}"
            line(f"{keyword} {word} {test}:")
            self._block(shape, arm, word, target)
            keyword = "elif"
        if shape.default is None:
            line("else: raise Unfit")
        else:
            line("if True:" if keyword == "if" else "else:")
            self._block(shape, shape.default, word, target)

    def _block(self, shape: s.UnionShape, arm: s.Arm, word: str, target: str) -> None:
        self.source.indent()
        self.arm(shape, arm, word, target)
        self.settle()
        self.source.dedent()

    def arm(self, shape: s.UnionShape, arm: s.Arm, word: str, target: str) -> None:
        """Decode the declaration of one arm and make the arm's object."""
        made = self.local("o")
        self.new(arm.cls, made)
        if isinstance(shape.kind, s.EnumShape):
            chosen = f"{self.source.constant('members', shape.kind.members)}[{word}]"
        elif isinstance(shape.kind, s.BoolShape):
            chosen = f"{word} == 1"
        else:
            chosen = word
        self.source.line(f"{made}.{shape.discriminant} = {chosen}")
        self.fields(arm.fields, made)
        self.after(f"{target} = {made}")

    def list_nodes(self, shape: s.StructShape, target: str) -> None:
        """Decode a linked list, each entry in one turn of a loop."""
        line = self.source.line
        tail = shape.fields[-1][0]
        node, previous, more = self.local("o"), self.local("previous"), self.local("more")
        self.settle()
        self.new(shape.cls, node)
        line(f"{target} = {node}")
        line("while True:")
        self.source.indent()
        self.fields(shape.fields[:-1], node)
        self.read("I", 4, more)
        self.settle()
        line(f"if not {more}: break")
        line(f"if {more} != 1: raise Unfit")
        line(f"{previous} = {node}")
        self.new(shape.cls, node)
        line(f"{previous}.{tail} = {node}")
        self.source.dedent()
        line(f"{node}.{tail} = None")

    def root(self, shape: s.Shape, target: str) -> None:
        """Decode the value that the function is for."""
        if isinstance(shape, s.StructShape):
            if is_list_node(shape):
                self.list_nodes(shape, target)
            else:
                self.new(shape.cls, target)
                self.fields(shape.fields, target)
        elif isinstance(shape, s.UnionShape):
            self.union(shape, target)
        else:
            self.value(shape, target)
        self.flush()


def _plain(shape: s.Shape) -> bool:
    return isinstance(shape, s.ScalarShape | s.BoolShape | s.EnumShape | s.QuadShape)


class _ArmLink:
    """The decoding function of one arm, compiled at its first call."""

    __slots__ = ("_made", "_of")

    def __init__(self, shape: s.UnionShape, arm: s.Arm, variant: Variant) -> None:
        self._made: Any = None
        self._of = (shape, arm, variant)

    def __call__(self, data: Any, at: int, size: int, left: int, word: int) -> Any:
        if self._made is None:
            shape, arm, variant = self._of
            writer = _Writer(variant)
            writer.arm(shape, arm, "word", "value")
            writer.flush()
            writer.source.line(f"return value, {writer.position()}")
            self._made = writer.source.function("def decode_arm(data, at, size, left, word):", arm.cls.__name__)
        return self._made(data, at, size, left, word)


def decoder(shape: s.Shape, variant: Variant) -> Any:
    """Return the decoding function of a shape: ``(data, at, size, left) -> (value, at)``."""
    made = shape.compiled.get(variant)
    if made is None:
        s.mark_recursive(shape)
        writer = _Writer(variant)
        if shape.recursive and isinstance(shape, s.StructShape | s.UnionShape):
            writer.source.line("if left < 0: raise Unfit")
        writer.root(shape, "value")
        writer.source.line(f"return value, {writer.position()}")
        made = shape.compiled[variant] = writer.source.function("def decode(data, at, size, left):", shape.name)
    return made


def whole_decoder(shape: s.Shape, variant: Variant, names: dict[str, Any], max_depth: int) -> Any:
    """Return the function that a codec's ``decode`` becomes.

    Args:
        shape: What the data should be.
        variant: The way of decoding ``bytes`` without leniency.
        names: ``otherwise(data, lenient_padding, max_depth)``, called for other data; ``explain(data, max_depth)``,
            which returns the error; ``faults``.
        max_depth: The default.
    """
    s.mark_recursive(shape)
    writer = _Writer(variant, whole=True, exactly=shape.size, left="max_depth")
    source = writer.source
    source.names |= names
    source.line("try:")
    source.indent()
    writer.root(shape, "value")
    if writer.checked:
        source.line("return value")
    else:
        source.line(f"if {writer.position()} == size: return value")
        source.line("error = explain(data, max_depth)")
    source.dedent()
    source.line("except faults:")
    source.line("    error = explain(data, max_depth)")
    source.line("raise error")
    opening = [
        "if data.__class__ is not bytes or lenient_padding:",
        "    return otherwise(data, lenient_padding, max_depth)",
    ]
    if not writer.checked:
        opening.append("size = len(data)")
    elif not writer.padded:
        # One unpack takes any buffer, and there is nothing to be lenient about.
        opening = []
    # The two settings are keywords in the signature of the method; as such they would cost each call more.
    head = f"def decode(data, lenient_padding=False, max_depth={max_depth}):"
    return source.function("\n    ".join([head, *opening]), shape.name)


def partial_decoder(shape: s.Shape, variant: Variant, names: dict[str, Any], max_depth: int) -> Any:
    """Return the function that a codec's ``decode_from`` becomes.

    Args:
        shape: What the data should have at the offset.
        variant: The way of decoding ``bytes`` without leniency.
        names: ``otherwise(data, offset, lenient_padding, max_depth)``, called for other data and negative offsets;
            ``explain(data, offset, max_depth)``, which returns the error; ``faults``.
        max_depth: The default.
    """
    s.mark_recursive(shape)
    writer = _Writer(variant, left="max_depth")
    source = writer.source
    source.names |= names
    source.line("if data.__class__ is not bytes or lenient_padding or offset < 0:")
    source.line("    return otherwise(data, offset, lenient_padding, max_depth)")
    source.line("at = offset")
    source.line("size = len(data)")
    source.line("try:")
    source.indent()
    writer.root(shape, "value")
    if shape.size == 0:
        # Nothing is read that would notice.
        source.line("if at > size: raise Unfit")
    source.line(f"return value, {writer.position()}")
    source.dedent()
    source.line("except faults:")
    source.line("    error = explain(data, offset, max_depth)")
    source.line("raise error")
    head = f"def decode_from(data, offset=0, lenient_padding=False, max_depth={max_depth}):"
    return source.function(head, shape.name)


def _link(shape: s.Shape, variant: Variant, source: Source) -> str:
    """Return the name of another shape's decoding function, which is compiled at its first call."""
    name = source.fresh("decode_")

    def first(data: Any, at: int, size: int, left: int) -> Any:
        source.names[name] = made = decoder(shape, variant)
        return made(data, at, size, left)

    source.names[name] = shape.compiled.get(variant, first)
    return name
