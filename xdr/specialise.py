"""Codecs as Python source, written for one type and compiled when it is first used.

A specialised function does what a careful programmer would write by hand: neighbouring items of fixed size, nested
structs and length words included, are one precompiled ``struct.Struct``; values are plain locals; every check of RFC
4506 is one comparison. It does not say what was wrong: it raises anything from ``DECODE_FAULTS`` or ``ENCODE_FAULTS``,
and ``xdr.explain`` then walks the data again to find the place. So good data pays nothing for good messages.

Functions have one signature for decoding, ``(data, at, size, left) -> (value, at)``, and one for encoding,
``(value, add, left) -> None``; ``left`` is what remains of the depth limit, counted only by types that hold themselves.
"""

from __future__ import annotations

import array
from functools import lru_cache
from itertools import repeat
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is an exception class
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xdr import shapes as s
from xdr.quad import Quad
from xdr.types import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DECODE_FAULTS", "ENCODE_FAULTS", "Unfit", "Variant", "decoder", "encoder"]

PAD: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
"""The zero bytes after data, by its length modulo 4."""
FUSED_ELEMENTS: Final = 16
"""A fixed array of scalars up to this long is read as single values, together with its neighbours."""
INLINE_FIELDS: Final = 24
"""A nested struct with at most so many items is written into its user's function instead of called."""
CHAINED_ARMS: Final = 6
"""A union of more arms gets a function for each, chosen by a dict, instead of a chain of comparisons."""
NATIVE: Final = {"i": "i", "I": "I", "q": "q", "Q": "Q", "f": "f", "d": "d"}
"""Type codes of ``array.array`` for those of ``struct``; the same letters, and the same sizes where we run."""


class Unfit(Exception):  # noqa: N818 - says what is, never leaves the package
    """A check failed; ``xdr.explain`` finds out which."""


DECODE_FAULTS: Final = (Unfit, StructError, KeyError, IndexError, OverflowError, RecursionError)
ENCODE_FAULTS: Final = (Exception,)


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


@lru_cache(maxsize=1024)
def unpack_many(code: str, count: int) -> Callable[[Any, int], tuple[Any, ...]]:
    """Return what unpacks so many scalars; the cache is bounded because peers choose the count."""
    return Struct(f">{count}{code}").unpack_from


@lru_cache(maxsize=1024)
def pack_many(code: str, count: int) -> Callable[..., bytes]:
    """Return what packs so many scalars."""
    return Struct(f">{count}{code}").pack


def swapped(code: str, data: Any) -> array.array[Any]:  # noqa: ANN401 - any buffer
    """Return numbers in network byte order as an array in ours."""
    numbers = array.array(NATIVE[code], bytes(data))
    if array.array("H", b"\0\1")[0] != 1:
        numbers.byteswap()
    return numbers


def octets(value: Any) -> bytes | memoryview:  # noqa: ANN401 - checked here
    """Return any bytes-like value as something whose length is in bytes."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, memoryview | array.array):
        view = memoryview(value)
        return view.cast("B") if view.c_contiguous else view.tobytes()
    raise Unfit


def text(value: Any) -> bytes:  # noqa: ANN401 - checked here
    """Return the bytes of a string that has characters outside of UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    raise Unfit


def member(cls: Any, members: dict[int, Any], value: Any) -> Any:  # noqa: ANN401 - any enum
    """Return a plain number as the enum's member; another enum's member is refused, whatever its number."""
    if value.__class__ is int:
        return members[value]
    if isinstance(value, cls):
        return value
    raise Unfit


def numbers(code: str, value: Any) -> bytes:  # noqa: ANN401 - checked here
    """Pack a sequence of scalars that is no list: an array of the right kind at once, any other one by one."""
    if isinstance(value, memoryview) and value.format == NATIVE[code] and value.ndim == 1:
        value = array.array(NATIVE[code], value.tobytes())
    if isinstance(value, array.array) and value.typecode == NATIVE[code]:
        return swapped(code, value).tobytes()
    if isinstance(value, str | bytes | dict | set):
        raise Unfit
    return pack_many(code, len(value))(*value)


def items(value: Any) -> Any:  # noqa: ANN401 - checked here
    """Let any sequence but text and bytes pass as a list."""
    if isinstance(value, str | bytes | bytearray | dict | set | memoryview) or not hasattr(value, "__len__"):
        raise Unfit
    return value


def arm_class(value: Any, classes: frozenset[type]) -> type:  # noqa: ANN401 - any object
    """Return the arm that an instance of a subclass of one belongs to."""
    for cls in type(value).__mro__:
        if cls in classes:
            return cls
    raise Unfit


class _Source:
    """Python source under construction, with the constants that it refers to."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"Unfit": Unfit}
        self._lines: list[str] = []
        self._indent = 1
        self._counter = 0
        self._by_value: dict[tuple[int, str], str] = {}
        self._keep: list[Any] = []

    def fresh(self, stem: str) -> str:
        self._counter += 1
        return f"{stem}{self._counter}"

    def constant(self, stem: str, value: Any) -> str:  # noqa: ANN401 - any object
        """Return the global name of an object."""
        key = (id(value), stem)
        name = self._by_value.get(key)
        if name is None:
            name = self._by_value[key] = self.fresh(stem + "_")
            self.names[name] = value
            self._keep.append(value)
        return name

    def line(self, text: str) -> None:
        self._lines.append("    " * self._indent + text)

    def indent(self) -> None:
        self._indent += 1

    def dedent(self) -> None:
        self._indent -= 1

    def function(self, head: str, name: str) -> Any:  # noqa: ANN401 - the function
        """Compile the lines under a head; return the function."""
        source = "\n".join([head, *self._lines, ""])
        self.names["__name__"] = __name__
        exec(compile(source, f"<xdr {name}>", "exec"), self.names)  # noqa: S102 - our own text
        function = self.names[head[4 : head.index("(")]]
        function.__xdr_source__ = source
        return function


def is_list_node(shape: s.Shape) -> bool:
    """Whether a struct ends in an optional of itself: a linked list, walked in a loop."""
    if not isinstance(shape, s.StructShape) or not shape.fields:
        return False
    last = shape.fields[-1][1]
    return isinstance(last, s.OptionalShape) and last.element is shape


def weight(shape: s.Shape) -> int:
    """Count the items that a shape would write into a function that inlines it; recursion weighs too much."""
    if shape.recursive:
        return INLINE_FIELDS + 1
    match shape:
        case s.StructShape():
            return sum(weight(field) for _name, field in shape.fields)
        case s.UnionShape():
            return sum(1 + sum(weight(field) for _name, field in arm.fields) for arm in shape.arms) + 2
        case s.ArrayShape() | s.FixedArrayShape() | s.OptionalShape():
            return 2 + weight(shape.element)
        case s.BridgeShape():
            return 2
        case _:
            return 1


def _inlined(shape: s.Shape) -> bool:
    return not shape.recursive and weight(shape) <= INLINE_FIELDS


# --- decoding ---------------------------------------------------------------------------------------------------------


class _DecoderWriter:
    """Writes the body of one decoding function.

    Words are gathered in ``_run`` until something needs the position after them; then one ``unpack_from`` reads them
    all, and the lines that only need their values (``_after``) follow. The position is ``at`` plus ``_ahead``, so that
    passing fixed data costs no instruction.
    """

    def __init__(self, variant: Variant) -> None:
        self.source = _Source()
        self.variant = variant
        self._run: list[tuple[str, str, int]] = []
        self._after: list[str] = []
        self._ahead = 0

    # Positions.

    def read(self, code: str, size: int, stem: str = "x") -> str:
        """Read an item of fixed size with the words around it; return the local that gets it."""
        name = self.source.fresh(stem)
        self._run.append((code, name, size))
        return name

    def after(self, line: str) -> None:
        """Add a line that needs values but no position."""
        self._after.append(line)

    def flush(self) -> None:
        """Read what was gathered."""
        if self._run:
            codes = [code for code, _name, _size in self._run]
            names = ", ".join(name for _code, name, _size in self._run)
            packed = Struct(">" + "".join(codes))
            unpack = self.source.constant("unpack", packed.unpack_from)
            self.source.line(f"{names}, = {unpack}(b, {self.position()})")
            self._ahead += sum(size for _code, _name, size in self._run)
            self._run = []
        for line in self._after:
            self.source.line(line)
        self._after = []

    def position(self) -> str:
        """Return the position as an expression; nothing may be gathered."""
        return f"at + {self._ahead}" if self._ahead else "at"

    def settle(self) -> None:
        """Flush, and make ``at`` the position, as branches and loops need it."""
        self.flush()
        if self._ahead:
            self.source.line(f"at += {self._ahead}")
            self._ahead = 0

    # Shapes. Each returns an expression that holds the value once everything before was flushed.

    def value(self, shape: s.Shape) -> str:  # noqa: C901, PLR0911, PLR0912 - one case each
        """Decode one value."""
        match shape:
            case s.ScalarShape():
                return self.read(shape.code, shape.size)
            case s.BoolShape():
                word = self.read("I", 4)
                self.after(f"if {word} > 1: raise Unfit")
                return f"({word} == 1)"
            case s.EnumShape():
                return f"{self.source.constant('members', shape.members)}[{self.read('i', 4)}]"
            case s.QuadShape():
                return f"{self.source.constant('quad', Quad.from_bytes)}({self.read('16s', 16)})"
            case s.VoidShape():
                return "None"
            case s.FixedOpaqueShape():
                return self._fixed_opaque(shape)
            case s.OpaqueShape():
                return self._opaque(shape.max, shape.host)
            case s.StringShape():
                return self._string(shape)
            case s.FixedArrayShape():
                return self._fixed_array(shape)
            case s.ArrayShape():
                return self._array(shape)
            case s.OptionalShape():
                return self._optional(shape)
            case s.StructShape() if _inlined(shape):
                return self.struct(shape)
            case s.UnionShape() if _inlined(shape) and len(shape.arms) <= CHAINED_ARMS:
                return self.union(shape)
            case s.BridgeShape():
                self.settle()
                name = self.source.fresh("x")
                unpack = self.source.constant("unpack", shape.bridge.unpack_at)
                self.source.line(f"{name}, at = {unpack}(b, at, size)")
                return name
        return self._call(shape)

    def _call(self, shape: s.Shape) -> str:
        """Leave a value to its own function."""
        self.flush()
        name = self.source.fresh("x")
        callee = _link(shape, self.variant, self.source)
        left = "left - 1" if shape.recursive else "left"
        self.source.line(f"{name}, at = {callee}(b, {self.position()}, size, {left})")
        self._ahead = 0
        return name

    def _fixed_opaque(self, shape: s.FixedOpaqueShape) -> str:
        count = shape.count
        if not count:
            return "b''" if shape.host is not memoryview else "memoryview(b'')"
        name = self.read(f"{count}s", count)
        if count & 3:
            pad = self.read(f"{-count & 3}s", -count & 3, "pad")
            if not self.variant.lenient:
                self.after(f"if {pad} != {PAD[count & 3]!r}: raise Unfit")
        return name if shape.host is not memoryview else f"memoryview({name})"

    def _opaque(self, bound: int, host: type) -> str:
        """Decode a length word, so many bytes and their padding."""
        source = self.source
        count = self.read("I", 4, "n")
        if bound != UNBOUNDED:
            self.after(f"if {count} > {bound}: raise Unfit")
        self.flush()
        start, name = source.fresh("i"), source.fresh("x")
        source.line(f"{start} = {self.position()}")
        self._ahead = 0
        source.line(f"at = {start} + {count}")
        if host is memoryview:
            source.line(f"{name} = memoryview(b)[{start}:at]")
        else:
            source.line(f"{name} = bytes(b[{start}:at])" if self.variant.view else f"{name} = b[{start}:at]")
        source.line(f"if {count} & 3:")
        if self.variant.lenient:
            source.line(f"    at += -{count} & 3")
            source.line("if at > size: raise Unfit")
        else:
            end = source.fresh("e")
            source.line(f"    {end} = at")
            source.line(f"    at += -{count} & 3")
            source.line(f"    if b[{end}:at] != {source.constant('PAD', PAD)}[{count} & 3]: raise Unfit")
            source.line("elif at > size: raise Unfit")
        return name

    def _string(self, shape: s.StringShape) -> str:
        name = self._opaque(shape.max, bytes)
        self.source.line("try:")
        self.source.line(f"    {name} = {name}.decode()")
        self.source.line("except UnicodeDecodeError:")
        self.source.line(f"    {name} = {name}.decode('utf-8', 'surrogateescape')")
        return name

    def _fixed_array(self, shape: s.FixedArrayShape) -> str:
        element, count = shape.element, shape.count
        if not count:
            return "[]"
        plain = isinstance(element, s.ScalarShape | s.BoolShape | s.EnumShape | s.QuadShape)
        if plain and count <= FUSED_ELEMENTS and self.variant.arrays is list:
            return f"[{', '.join([self.value(element) for _ in range(count)])}]"
        self.flush()
        name = self.source.fresh("x")
        if isinstance(element, s.ScalarShape | s.BoolShape | s.EnumShape):
            self._scalars(name, element, str(count))
            return name
        self._elements(name, element, str(count))
        return name

    def _array(self, shape: s.ArrayShape) -> str:
        element = shape.element
        count = self.read("I", 4, "n")
        self.flush()
        minimum = element.minimum
        if shape.limit != UNBOUNDED:
            self.source.line(f"if {count} > {shape.limit}: raise Unfit")
        # What is announced must be there, before anything is made for it.
        if minimum:
            self.source.line(f"if {count} * {minimum} > size - {self._bracketed()}: raise Unfit")
        name = self.source.fresh("x")
        if isinstance(element, s.ScalarShape | s.BoolShape | s.EnumShape):
            self._scalars(name, element, count)
        else:
            self._elements(name, element, count)
        return name

    def _bracketed(self) -> str:
        return f"({self.position()})" if self._ahead else "at"

    def _scalars(self, name: str, element: s.Shape, count: str) -> None:
        """Decode neighbouring scalars without a loop in Python."""
        line = self.source.line
        size = element.size or 0
        unpack = self.source.constant("unpack_many", unpack_many)
        place = self.position()
        match element:
            case s.ScalarShape() if self.variant.arrays is not list:
                end = f"{place} + {count} * {size}"
                line(f"if {end} > size: raise Unfit")
                swap = self.source.constant("swapped", swapped)
                line(f"{name} = {swap}({element.code!r}, b[{place}:{end}])")
                if self.variant.arrays is memoryview:
                    line(f"{name} = memoryview({name})")
            case s.ScalarShape():
                line(f"{name} = list({unpack}({element.code!r}, {count})(b, {place}))")
            case s.BoolShape():
                line(f"{name} = {unpack}('I', {count})(b, {place})")
                line(f"if {count} and max({name}) > 1: raise Unfit")
                line(f"{name} = list(map(bool, {name}))")
            case s.EnumShape():
                find = self.source.constant("member", shape_lookup(element))
                line(f"{name} = list(map({find}, {unpack}('i', {count})(b, {place})))")
        if count.isdigit():
            self._ahead += int(count) * size
        else:
            line(f"at = {place} + {count} * {size}")
            self._ahead = 0

    def _elements(self, name: str, element: s.Shape, count: str) -> None:
        """Decode the elements of an array in a loop."""
        line = self.source.line
        if isinstance(element, s.VoidShape):
            line(f"{name} = [None] * {count}")
            return
        add = self.source.fresh("add")
        self.settle()
        line(f"{name} = []")
        line(f"{add} = {name}.append")
        line(f"for _ in {self.source.constant('repeat', repeat)}(None, {count}):")
        self.source.indent()
        value = self.value(element)
        self.settle()
        line(f"{add}({value})")
        self.source.dedent()

    def _optional(self, shape: s.OptionalShape) -> str:
        line = self.source.line
        flag = self.read("I", 4, "more")
        self.settle()
        name = self.source.fresh("x")
        line(f"if {flag} == 1:")
        self.source.indent()
        value = self.value(shape.element)
        self.settle()
        line(f"{name} = {value}")
        self.source.dedent()
        line(f"elif {flag}: raise Unfit")
        line(f"else: {name} = None")
        return name

    def struct(self, shape: s.StructShape) -> str:
        """Decode the fields of a struct and make it."""
        values = [(name, self.value(field)) for name, field in shape.fields]
        return self._make(shape.cls, values)

    def _make(self, cls: type, values: list[tuple[str, str]]) -> str:
        new, made = self.source.constant("new", object.__new__), self.source.fresh("o")
        self.after(f"{made} = {new}({self.source.constant('cls', cls)})")
        for name, value in values:
            self.after(f"{made}.{name} = {value}")
        return made

    def union(self, shape: s.UnionShape) -> str:
        """Decode a discriminant and the arm that it chooses."""
        line = self.source.line
        word = self._discriminant(shape)
        self.settle()
        name = self.source.fresh("x")
        if len(shape.arms) > CHAINED_ARMS:
            arms = {case: _ArmLink(shape, arm, self.variant) for case, arm in shape.by_case.items()}
            other = _ArmLink(shape, shape.default, self.variant) if shape.default is not None else None
            chosen = f"{self.source.constant('arms', arms)}"
            if other is None:
                line(f"{name}, at = {chosen}[{word}](b, at, size, left, {word})")
            else:
                fallback = self.source.constant("other", other)
                line(f"{name}, at = {chosen}.get({word}, {fallback})(b, at, size, left, {word})")
            return name
        keyword = "if"
        for arm in shape.arms:
            if arm is shape.default:
                continue
            cases = [int(case) for case in arm.of.cases]
            test = f"== {cases[0]}" if len(cases) == 1 else f"in {tuple(cases)!r}"
            line(f"{keyword} {word} {test}:")
            self._arm(shape, arm, word, name)
            keyword = "elif"
        if keyword == "if":
            line("if True:")
        else:
            line("else:")
        if shape.default is None:
            line("    raise Unfit")
        else:
            self._arm(shape, shape.default, word, name)
        return name

    def _discriminant(self, shape: s.UnionShape) -> str:
        unsigned = isinstance(shape.kind, s.ScalarShape) and shape.kind.code == "I"
        word = self.read("I" if unsigned or isinstance(shape.kind, s.BoolShape) else "i", 4, "d")
        if isinstance(shape.kind, s.BoolShape):
            self.after(f"if {word} > 1: raise Unfit")
        return word

    def _arm(self, shape: s.UnionShape, arm: s.Arm, word: str, name: str) -> None:
        self.source.indent()
        self.arm(shape, arm, word, name)
        self.source.dedent()

    def arm(self, shape: s.UnionShape, arm: s.Arm, word: str, name: str) -> None:
        """Decode the declaration of one arm and make the arm's object."""
        values = [(field, self.value(of)) for field, of in arm.fields]
        if isinstance(shape.kind, s.EnumShape):
            chosen = f"{self.source.constant('members', shape.kind.members)}[{word}]"
        elif isinstance(shape.kind, s.BoolShape):
            chosen = f"({word} == 1)"
        else:
            chosen = word
        values.append((shape.discriminant, chosen))
        made = self._make(arm.cls, values)
        self.settle()
        self.source.line(f"{name} = {made}")

    def list_nodes(self, shape: s.StructShape) -> None:
        """Decode a linked list, each entry in one turn of a loop."""
        line = self.source.line
        tail = shape.fields[-1][0]
        line("head = previous = None")
        line("while True:")
        self.source.indent()
        values = [(name, self.value(field)) for name, field in shape.fields[:-1]]
        more = self.read("I", 4, "more")
        node = self._make(shape.cls, values)
        self.settle()
        line(f"if previous is None: head = {node}")
        line(f"else: previous.{tail} = {node}")
        line(f"if not {more}:")
        line(f"    {node}.{tail} = None")
        line("    return head, at")
        line(f"if {more} != 1: raise Unfit")
        line(f"previous = {node}")
        self.source.dedent()


def shape_lookup(shape: s.EnumShape) -> Callable[[int], Any]:
    """Return the function from a number to the member."""
    return shape.members.__getitem__


class _ArmLink:
    """The decoding function of one arm, compiled at its first call."""

    __slots__ = ("_function", "_made")

    def __init__(self, shape: s.UnionShape, arm: s.Arm, variant: Variant) -> None:
        self._made: Any = None
        self._function = (shape, arm, variant)

    def __call__(self, b: Any, at: int, size: int, left: int, word: int) -> Any:  # noqa: ANN401, PLR0913, PLR0917
        if self._made is None:
            shape, arm, variant = self._function
            writer = _DecoderWriter(variant)
            writer.arm(shape, arm, "word", "x")
            writer.source.line("return x, at")
            self._made = writer.source.function("def decode_arm(b, at, size, left, word):", arm.cls.__name__)
        return self._made(b, at, size, left, word)


def decoder(shape: s.Shape, variant: Variant) -> Any:  # noqa: ANN401 - a function
    """Return the decoding function of a shape: ``(data, at, size, left) -> (value, at)``."""
    made = shape.compiled.get(variant)
    if made is None:
        s.mark_recursive(shape)
        writer = _DecoderWriter(variant)
        if shape.recursive and isinstance(shape, s.StructShape | s.UnionShape):
            writer.source.line("if left < 0: raise Unfit")
        if is_list_node(shape):
            writer.list_nodes(shape)  # type: ignore[arg-type]
        else:
            match shape:
                case s.StructShape():
                    value = writer.struct(shape)
                case s.UnionShape():
                    value = writer.union(shape)
                case _:
                    value = writer.value(shape)
            writer.settle()
            writer.source.line(f"return {value}, at")
        made = shape.compiled[variant] = writer.source.function("def decode(b, at, size, left):", shape.name)
    return made


def _link(shape: s.Shape, variant: Variant, source: _Source) -> str:
    """Return the global name of another shape's decoding function, which is compiled at its first call."""
    name = source.fresh("decode_")

    def first(b: Any, at: int, size: int, left: int) -> Any:  # noqa: ANN401
        source.names[name] = made = decoder(shape, variant)
        return made(b, at, size, left)

    source.names[name] = shape.compiled.get(variant, first)
    return name


# --- encoding ---------------------------------------------------------------------------------------------------------


class _EncoderWriter:
    """Writes the body of one encoding function.

    Expressions are gathered in ``_run`` until something of variable size follows; then one ``pack`` writes them all.
    """

    def __init__(self) -> None:
        self.source = _Source()
        self._run: list[tuple[str, str]] = []

    def write(self, code: str, *values: str) -> None:
        """Write an item of fixed size with the words around it."""
        self._run.append((code, ", ".join(values)))

    def packed(self) -> str:
        """Return what was gathered as an expression of bytes."""
        if not self._run:
            return "b''"
        codes = ">" + "".join(code for code, _value in self._run)
        values = ", ".join(value for _code, value in self._run if value)
        self._run = []
        return f"{self.source.constant('pack', Struct(codes).pack)}({values})"

    def flush(self) -> None:
        """Write what was gathered."""
        if self._run:
            self.source.line(f"add({self.packed()})")

    def local(self, expression: str, stem: str = "v") -> str:
        """Return a local that holds an expression's value."""
        if expression.isidentifier():
            return expression
        name = self.source.fresh(stem)
        self.source.line(f"{name} = {expression}")
        return name

    def value(self, shape: s.Shape, expression: str) -> None:  # noqa: C901, PLR0912 - one case each
        """Encode one value."""
        line = self.source.line
        match shape:
            case s.ScalarShape():
                self.write(shape.code, expression)
            case s.BoolShape():
                name = self.local(expression)
                line(f"if {name} is not True and {name} is not False: raise Unfit")
                self.write("I", name)
            case s.EnumShape():
                self.write("i", self._enum(shape, expression))
            case s.QuadShape():
                self.write("16s", f"{expression}.to_bytes()")
            case s.VoidShape():
                line(f"if {expression} is not None: raise Unfit")
            case s.FixedOpaqueShape():
                name = self._octets(expression)
                line(f"if len({name}) != {shape.count}: raise Unfit")
                self.write(f"{shape.count}s{-shape.count & 3}x", f"bytes({name})")
            case s.OpaqueShape():
                self._bytes(self._octets(expression), shape.max)
            case s.StringShape():
                self._string(shape, expression)
            case s.FixedArrayShape():
                self._fixed_array(shape, expression)
            case s.ArrayShape():
                self._array(shape, expression)
            case s.OptionalShape():
                self._optional(shape, expression)
            case s.StructShape() if _inlined(shape):
                self.struct(shape, expression)
            case s.UnionShape() if _inlined(shape) and len(shape.arms) <= CHAINED_ARMS:
                self.union(shape, expression)
            case s.BridgeShape():
                self.flush()
                line(f"{self.source.constant('pack', shape.bridge.pack_into)}({expression}, add)")
            case _:
                self.flush()
                left = "left - 1" if shape.recursive else "left"
                line(f"{_encode_link(shape, self.source)}({expression}, add, {left})")

    def _enum(self, shape: s.EnumShape, expression: str) -> str:
        name = self.local(expression)
        cls = self.source.constant("enum", shape.cls)
        find = self.source.constant("member", member)
        members = self.source.constant("members", shape.members)
        self.source.line(f"if {name}.__class__ is not {cls}: {name} = {find}({cls}, {members}, {name})")
        return name

    def _octets(self, expression: str) -> str:
        name = self.local(expression)
        self.source.line(f"if {name}.__class__ is not bytes: {name} = {self.source.constant('octets', octets)}({name})")
        return name

    def _bytes(self, name: str, bound: int) -> None:
        """Encode a length word, the bytes of a local, and their padding."""
        count = self.source.fresh("n")
        self.source.line(f"{count} = len({name})")
        if bound != UNBOUNDED:
            self.source.line(f"if {count} > {bound}: raise Unfit")
        self.write("I", count)
        self.flush()
        self.source.line(f"add({name})")
        self.source.line(f"if {count} & 3: add({self.source.constant('PAD', PAD)}[{count} & 3])")

    def _string(self, shape: s.StringShape, expression: str) -> None:
        name = self.source.fresh("v")
        line = self.source.line
        given = self.local(expression)
        line(f"if {given}.__class__ is not str: raise Unfit")
        line("try:")
        line(f"    {name} = {given}.encode()")
        line("except UnicodeEncodeError:")
        line(f"    {name} = {self.source.constant('text', text)}({given})")
        self._bytes(name, shape.max)

    def _fixed_array(self, shape: s.FixedArrayShape, expression: str) -> None:
        name = self.local(expression)
        self._listed(name)
        self.source.line(f"if len({name}) != {shape.count}: raise Unfit")
        if not shape.count:
            return
        if isinstance(shape.element, s.ScalarShape) and shape.count <= FUSED_ELEMENTS:
            self.write(f"{shape.count}{shape.element.code}", f"*{name}")
            return
        self._elements(shape.element, name, str(shape.count))

    def _array(self, shape: s.ArrayShape, expression: str) -> None:
        name = self.local(expression)
        self._listed(name)
        count = self.source.fresh("n")
        self.source.line(f"{count} = len({name})")
        self.source.line(f"if {count} > {shape.limit}: raise Unfit")
        self.write("I", count)
        self._elements(shape.element, name, count)

    def _listed(self, name: str) -> None:
        check = self.source.constant("items", sequence)
        self.source.line(f"if {name}.__class__ is not list: {name} = {check}({name})")

    def _elements(self, element: s.Shape, name: str, count: str) -> None:
        line = self.source.line
        self.flush()
        if isinstance(element, s.ScalarShape):
            code = repr(element.code)
            many, other = self.source.constant("pack_many", pack_many), self.source.constant("numbers", numbers)
            line(f"if {name}.__class__ is list: add({many}({code}, {count})(*{name}))")
            line(f"else: add({other}({code}, {name}))")
            return
        item = self.source.fresh("v")
        line(f"for {item} in {name}:")
        self.source.indent()
        line("pass")
        self.value(element, item)
        self.flush()
        self.source.dedent()

    def _optional(self, shape: s.OptionalShape, expression: str) -> None:
        name = self.local(expression)
        line = self.source.line
        self.flush()
        line(f"if {name} is None: add(b'\\0\\0\\0\\0')")
        line("else:")
        self.source.indent()
        self.write("I", "1")
        self.value(shape.element, name)
        self.flush()
        self.source.dedent()

    def struct(self, shape: s.StructShape, expression: str) -> None:
        """Encode the fields of a struct."""
        name = self.local(expression)
        self._check_class(name, (shape.cls,))
        for field, of in shape.fields:
            self.value(of, f"{name}.{field}")

    def _check_class(self, name: str, classes: tuple[type, ...]) -> None:
        cls = self.source.constant("cls", classes[0])
        self.source.line(f"if {name}.__class__ is not {cls} and not isinstance({name}, {cls}): raise Unfit")

    def union(self, shape: s.UnionShape, expression: str) -> None:
        """Encode the discriminant and the arm of a union."""
        name = self.local(expression)
        line = self.source.line
        self.flush()
        classes = frozenset(arm.cls for arm in shape.arms)
        known = self.source.constant("classes", classes)
        cls = self.source.fresh("c")
        line(f"{cls} = {name}.__class__")
        line(f"if {cls} not in {known}: {cls} = {self.source.constant('arm_class', arm_class)}({name}, {known})")
        if len(shape.arms) > CHAINED_ARMS:
            arms = {arm.cls: _EncodeArmLink(shape, arm) for arm in shape.arms}
            line(f"{self.source.constant('arms', arms)}[{cls}]({name}, add, left)")
            return
        keyword = "if"
        for arm in shape.arms:
            line(f"{keyword} {cls} is {self.source.constant('cls', arm.cls)}:")
            self.source.indent()
            self.arm(shape, arm, name)
            self.flush()
            self.source.dedent()
            keyword = "elif"

    def arm(self, shape: s.UnionShape, arm: s.Arm, name: str) -> None:
        """Encode one arm: its discriminant must be one of its own."""
        line = self.source.line
        word = self.local(f"{name}.{shape.discriminant}")
        kind = shape.kind
        if isinstance(kind, s.EnumShape):
            word = self._enum(kind, word)
        elif isinstance(kind, s.BoolShape):
            line(f"if {word} is not True and {word} is not False: raise Unfit")
        if arm.of.default:
            if shape.by_case:
                line(f"if {word} in {self.source.constant('cases', frozenset(shape.by_case))}: raise Unfit")
        elif len(arm.of.cases) == 1:
            line(f"if {word} != {int(arm.of.cases[0])}: raise Unfit")
        else:
            cases = frozenset(int(case) for case in arm.of.cases)
            line(f"if {word} not in {self.source.constant('cases', cases)}: raise Unfit")
        self.write(kind.code if isinstance(kind, s.ScalarShape) else "i", word)
        for field, of in arm.fields:
            self.value(of, f"{name}.{field}")

    def list_nodes(self, shape: s.StructShape) -> None:
        """Encode a linked list, each entry in one turn of a loop; one that bites its tail is noticed (Brent)."""
        line = self.source.line
        tail = shape.fields[-1][0]
        line("mark = None")
        line("count = renew = 1")
        line("while True:")
        self.source.indent()
        self._check_class("value", (shape.cls,))
        for field, of in shape.fields[:-1]:
            self.value(of, f"value.{field}")
        line(f"following = value.{tail}")
        self.write("I", "0 if following is None else 1")
        self.flush()
        line("if following is None: return")
        line("if following is mark: raise Unfit")
        line("count += 1")
        line("if count == renew: mark = following; renew += renew")
        line("value = following")
        self.source.dedent()


sequence = items


class _EncodeArmLink:
    """The encoding function of one arm, compiled at its first call."""

    __slots__ = ("_made", "_of")

    def __init__(self, shape: s.UnionShape, arm: s.Arm) -> None:
        self._made: Any = None
        self._of = (shape, arm)

    def __call__(self, value: Any, add: Any, left: int) -> None:  # noqa: ANN401
        if self._made is None:
            shape, arm = self._of
            writer = _EncoderWriter()
            writer.arm(shape, arm, "value")
            writer.flush()
            self._made = writer.source.function("def encode_arm(value, add, left):", arm.cls.__name__)
        self._made(value, add, left)


_ENCODER: Final = "encoder"


def encoder(shape: s.Shape) -> Any:  # noqa: ANN401 - a function
    """Return the encoding function of a shape: ``(value, add, left) -> None``."""
    made = shape.compiled.get(_ENCODER)
    if made is None:
        s.mark_recursive(shape)
        writer = _EncoderWriter()
        if shape.recursive and isinstance(shape, s.StructShape | s.UnionShape):
            writer.source.line("if left < 0: raise Unfit")
        if is_list_node(shape):
            writer.list_nodes(shape)  # type: ignore[arg-type]
        else:
            match shape:
                case s.StructShape():
                    writer.struct(shape, "value")
                case s.UnionShape():
                    writer.union(shape, "value")
                case _:
                    writer.value(shape, "value")
            writer.flush()
            writer.source.line("return")
        made = shape.compiled[_ENCODER] = writer.source.function("def encode(value, add, left):", shape.name)
    return made


def _encode_link(shape: s.Shape, source: _Source) -> str:
    """Return the global name of another shape's encoding function, which is compiled at its first call."""
    name = source.fresh("encode_")

    def first(value: Any, add: Any, left: int) -> None:  # noqa: ANN401
        source.names[name] = made = encoder(shape)
        made(value, add, left)

    source.names[name] = shape.compiled.get(_ENCODER, first)
    return name
