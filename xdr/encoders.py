"""Encoding functions, written for one type and compiled when it is first used.

Functions that call each other have the signature ``(value, add, left) -> None``: ``add`` takes the parts, ``left`` is
what remains of the depth limit, counted only by types that hold themselves. A codec's own ``encode`` returns the bytes.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xdr import shapes as s
from xdr.quad import Quad
from xdr.runtime import (
    PAD,
    SHORT,
    ShortPackers,
    arm_class,
    member,
    numbers,
    octets,
    pack_many,
    sequence,
    text,
)
from xdr.source import CHAINED_ARMS, FUSED_ELEMENTS, Source, inlined, is_list_node
from xdr.types import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["encoder", "partial_encoder", "whole_encoder"]

_ENCODER: Final = "encoder"
_PARTS: Final = 4
"""Parts that are kept in locals; with more of them a list is shorter."""


class _Item(NamedTuple):
    """Something of fixed size: its format and the expressions of its values."""

    code: str
    values: str


class _Data(NamedTuple):
    """Data of variable size that waits to be packed together with what follows.

    Attributes:
        before: The items before it, its length word included.
        length: The local with its length.
        data: The local with its bytes.
        bound: Most bytes.
    """

    before: list[_Item]
    length: str
    data: str
    bound: int


def _codes(items: Sequence[_Item]) -> str:
    return "".join(item.code for item in items)


def _values(items: Sequence[_Item]) -> str:
    return ", ".join(item.values for item in items if item.values)


class _Writer:
    """Writes the body of one encoding function.

    Expressions are gathered in ``_run`` until something of another kind follows; then one ``pack`` writes them all.
    Short data is packed in the same way, by a ``pack`` for its length. Parts go to ``add``; in a function for whole
    values they are locals as long as there is neither loop nor branch, for that is faster than a list.

    Args:
        whole: Whether the function returns the bytes.
        left: The name of what remains of the depth limit.
    """

    def __init__(self, *, whole: bool = False, left: str = "left") -> None:
        self.source = Source()
        self._run: list[_Item] = []
        self._data: _Data | None = None
        self._parts: list[str] | None = [] if whole else None
        self._left = left

    # Parts.

    def write(self, code: str, values: str) -> None:
        """Write something of fixed size with what is around it."""
        self._run.append(_Item(code, values))

    def flush(self) -> None:
        """Write what was gathered."""
        data, self._data = self._data, None
        items, self._run = self._run, []
        if data is not None:
            self._write_data(data, items)
        elif items:
            self._part(self._packed(items))

    def spread(self) -> None:
        """Flush; from here on parts go to ``add``, as loops and branches need it."""
        self.flush()
        if self._parts is not None:
            self.source.line(f"parts = [{', '.join(self._parts)}]")
            self.source.line("add = parts.append")
            self._parts = None

    def result(self) -> str:
        """Return the bytes of the whole value as an expression."""
        if self._parts == [] and self._data is None:
            items, self._run = self._run, []
            return self._packed(items) if items else "b''"
        self.flush()
        if self._parts is None:
            return "b''.join(parts)"
        return self._parts[0] if len(self._parts) == 1 else f"b''.join(({', '.join(self._parts)}))"

    def _packed(self, items: list[_Item]) -> str:
        return f"{self.source.constant('pack', Struct('>' + _codes(items)).pack)}({_values(items)})"

    def _part(self, expression: str) -> None:
        if self._parts is None:
            self.source.line(f"add({expression})")
            return
        name = self.local("part")
        self.source.line(f"{name} = {expression}")
        self._parts.append(name)
        if len(self._parts) > _PARTS:
            self.spread()

    def _write_data(self, data: _Data, after: list[_Item]) -> None:
        """Write data of variable size, and the items around it."""
        line = self.source.line
        table = ShortPackers(_codes(data.before), _codes(after), min(data.bound, SHORT - 1))
        values = _values([*data.before, _Item("s", data.data), *after])
        short = f"{self.source.constant('short', table)}[{data.length}]({values})"
        if data.bound < SHORT:
            self._part(short)
            return
        long = [
            self._packed(data.before),
            data.data,
            f"{self.source.constant('PAD', PAD)}[{data.length} & 3]",
            *([self._packed(after)] if after else []),
        ]
        bound = f"if {data.length} > {data.bound}: raise Unfit"
        line(f"if {data.length} < {SHORT}:")
        if self._parts is None:
            line(f"    add({short})")
            line("else:")
            if data.bound != UNBOUNDED:
                line("    " + bound)
            for part in long:
                line(f"    add({part})")
            return
        names = [self.local("part") for _ in long]
        line(f"    {names[0]} = {short}")
        line(f"    {' = '.join(names[1:])} = b''")
        line("else:")
        if data.bound != UNBOUNDED:
            line("    " + bound)
        for name, part in zip(names, long, strict=True):
            line(f"    {name} = {part}")
        self._parts += names
        if len(self._parts) > 2 * _PARTS:
            self.spread()

    def local(self, stem: str) -> str:
        """Return a local that was not used before."""
        return self.source.fresh(stem)

    def hold(self, expression: str) -> str:
        """Return a local that holds an expression's value."""
        # The parameter is kept as it was given: a message may be about it.
        if expression.isidentifier() and expression != "value":
            return expression
        name = self.local("v")
        self.source.line(f"{name} = {expression}")
        return name

    # Shapes.

    def value(self, shape: s.Shape, expression: str) -> None:
        """Encode one value."""
        line = self.source.line
        match shape:
            case s.ScalarShape():
                self.write(shape.code, expression)
            case s.BoolShape():
                self.write("I", self._bool(expression))
            case s.EnumShape():
                self.write("i", self._enum(shape, expression))
            case s.QuadShape():
                name = self.hold(expression)
                self._check_class(name, Quad)
                self.write("16s", f"{name}.to_bytes()")
            case s.VoidShape():
                line(f"if {expression} is not None: raise Unfit")
            case s.FixedOpaqueShape():
                name = self._octets(expression)
                line(f"if len({name}) != {shape.count}: raise Unfit")
                # Data too long for octets() to copy is a memoryview still, which `struct` does not take.
                data = name if shape.count < SHORT else f"bytes({name})"
                self.write(f"{shape.count}s{-shape.count & 3}x", data)
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
            case s.BridgeShape():
                self.spread()
                line(f"{self.source.constant('pack', shape.bridge.pack_into)}({expression}, add)")
            case s.StructShape() if inlined(shape):
                self.struct(shape, expression)
            case s.UnionShape() if inlined(shape):
                self.union(shape, expression)
            case _:
                self.spread()
                left = f"{self._left} - 1" if shape.recursive else self._left
                line(f"{_link(shape, self.source)}({expression}, add, {left})")

    def _bool(self, expression: str) -> str:
        name = self.hold(expression)
        self.source.line(f"if {name} is not True and {name} is not False: raise Unfit")
        return name

    def _enum(self, shape: s.EnumShape, expression: str) -> str:
        name = self.hold(expression)
        cls = self.source.constant("enum", shape.cls)
        find = self.source.constant("member", member)
        members = self.source.constant("members", shape.members)
        self.source.line(f"if {name}.__class__ is not {cls}: {name} = {find}({cls}, {members}, {name})")
        return name

    def _octets(self, expression: str) -> str:
        name = self.hold(expression)
        self.source.line(f"if {name}.__class__ is not bytes: {name} = {self.source.constant('octets', octets)}({name})")
        return name

    def _string(self, shape: s.StringShape, expression: str) -> None:
        given, data = self.hold(expression), self.local("t")
        line = self.source.line
        line("try:")
        # Only text has a method of this name that needs no argument and gives bytes.
        line(f"    {data} = {given}.encode()")
        line("except UnicodeEncodeError:")
        line(f"    {data} = {self.source.constant('text', text)}({given})")
        self._bytes(data, shape.max)

    def _bytes(self, data: str, bound: int) -> None:
        """Encode a length word and a local's bytes; they are packed when what follows them is."""
        if self._data is not None:
            self.flush()
        count = self.local("n")
        self.source.line(f"{count} = len({data})")
        self._data = _Data([*self._run, _Item("I", count)], count, data, bound)
        self._run = []

    def _fixed_array(self, shape: s.FixedArrayShape, expression: str) -> None:
        name = self._sequence(expression)
        self.source.line(f"if len({name}) != {shape.count}: raise Unfit")
        if not shape.count:
            return
        if isinstance(shape.element, s.ScalarShape) and shape.count <= FUSED_ELEMENTS:
            self.write(f"{shape.count}{shape.element.code}", f"*{name}")
        else:
            self._elements(shape.element, name, str(shape.count))

    def _array(self, shape: s.ArrayShape, expression: str) -> None:
        name, count = self._sequence(expression), self.local("n")
        self.source.line(f"{count} = len({name})")
        if shape.limit != UNBOUNDED:
            self.source.line(f"if {count} > {shape.limit}: raise Unfit")
        self.write("I", count)
        self._elements(shape.element, name, count)

    def _sequence(self, expression: str) -> str:
        name = self.hold(expression)
        check = self.source.constant("sequence", sequence)
        self.source.line(f"if {name}.__class__ is not list: {name} = {check}({name})")
        return name

    def _elements(self, element: s.Shape, name: str, count: str) -> None:
        line = self.source.line
        if isinstance(element, s.ScalarShape):
            self.flush()
            code, packed = repr(element.code), self.local("packed")
            many, other = self.source.constant("pack_many", pack_many), self.source.constant("numbers", numbers)
            line(f"if {name}.__class__ is list: {packed} = {many}({code}, {count})(*{name})")
            line(f"else: {packed} = {other}({code}, {name})")
            self._part(packed)
            return
        self.spread()
        item = self.local("v")
        line(f"for {item} in {name}:")
        self.source.indent()
        line("pass")
        self.value(element, item)
        self.flush()
        self.source.dedent()

    def _optional(self, shape: s.OptionalShape, expression: str) -> None:
        name = self.hold(expression)
        line = self.source.line
        self.spread()
        line(f"if {name} is None: add(b'\\0\\0\\0\\0')")
        line("else:")
        self.source.indent()
        self.write("I", "1")
        self.value(shape.element, name)
        self.flush()
        self.source.dedent()

    def struct(self, shape: s.StructShape, expression: str) -> None:
        """Encode the fields of a struct."""
        name = self.hold(expression)
        self._check_class(name, shape.cls)
        for field, of in shape.fields:
            self.value(of, f"{name}.{field}")

    def _check_class(self, name: str, cls: type) -> None:
        known = self.source.constant("cls", cls)
        self.source.line(f"if {name}.__class__ is not {known} and not isinstance({name}, {known}): raise Unfit")

    def union(self, shape: s.UnionShape, expression: str) -> None:
        """Encode the discriminant and the arm of a union."""
        name = self.hold(expression)
        line = self.source.line
        self.spread()
        known = self.source.constant("classes", frozenset(arm.cls for arm in shape.arms))
        cls = self.local("c")
        line(f"{cls} = {name}.__class__")
        line(f"if {cls} not in {known}: {cls} = {self.source.constant('arm_class', arm_class)}({name}, {known})")
        if len(shape.arms) > CHAINED_ARMS:
            arms = self.source.constant("arms", {arm.cls: _ArmLink(shape, arm) for arm in shape.arms})
            line(f"{arms}[{cls}]({name}, add, {self._left})")
            return
        for index, arm in enumerate(shape.arms):
            line(f"{'elif' if index else 'if'} {cls} is {self.source.constant('cls', arm.cls)}:")
            self.source.indent()
            self.arm(shape, arm, name)
            self.flush()
            self.source.dedent()

    def arm(self, shape: s.UnionShape, arm: s.Arm, name: str) -> None:
        """Encode one arm: its discriminant must be one of its own."""
        line = self.source.line
        kind = shape.kind
        word = self.hold(f"{name}.{shape.discriminant}")
        if isinstance(kind, s.EnumShape):
            self._enum(kind, word)
        elif isinstance(kind, s.BoolShape):
            self._bool(word)
        if arm.of.default:
            if shape.by_case:
                line(f"if {word} in {self.source.constant('cases', frozenset(shape.by_case))}: raise Unfit")
        elif len(arm.of.cases) == 1:
            line(f"if {word} != {int(arm.of.cases[0])}: raise Unfit")
        else:
            cases = frozenset(int(case) for case in arm.of.cases)
            line(f"if {word} not in {self.source.constant('cases', cases)}: raise Unfit")
        self.write(getattr(kind, "code", "i"), word)
        for field, of in arm.fields:
            self.value(of, f"{name}.{field}")

    def list_nodes(self, shape: s.StructShape, expression: str) -> None:
        """Encode a linked list, each entry in one turn of a loop; one that bites its tail is noticed (Brent)."""
        line = self.source.line
        tail = shape.fields[-1][0]
        self.spread()
        node, following, mark, count, renew = map(self.local, ("v", "following", "mark", "count", "renew"))
        line(f"{node} = {expression}")
        line(f"{mark} = None")
        line(f"{count} = 1")
        line(f"{renew} = 2")
        line("while True:")
        self.source.indent()
        self._check_class(node, shape.cls)
        for field, of in shape.fields[:-1]:
            self.value(of, f"{node}.{field}")
        line(f"{following} = {node}.{tail}")
        self.write("I", f"0 if {following} is None else 1")
        self.flush()
        line(f"if {following} is None: break")
        line(f"if {following} is {mark}: raise Unfit")
        line(f"{count} += 1")
        line(f"if {count} == {renew}:")
        line(f"    {mark} = {following}")
        line(f"    {renew} += {renew}")
        line(f"{node} = {following}")
        self.source.dedent()

    def root(self, shape: s.Shape) -> None:
        """Encode the value that the function is for."""
        if isinstance(shape, s.StructShape):
            if is_list_node(shape):
                self.list_nodes(shape, "value")
            else:
                self.struct(shape, "value")
        elif isinstance(shape, s.UnionShape):
            self.union(shape, "value")
        else:
            self.value(shape, "value")


class _ArmLink:
    """The encoding function of one arm, compiled at its first call."""

    __slots__ = ("_made", "_of")

    def __init__(self, shape: s.UnionShape, arm: s.Arm) -> None:
        self._made: Any = None
        self._of = (shape, arm)

    def __call__(self, value: Any, add: Any, left: int) -> None:
        if self._made is None:
            shape, arm = self._of
            writer = _Writer()
            writer.arm(shape, arm, "value")
            writer.flush()
            self._made = writer.source.function("def encode_arm(value, add, left):", arm.cls.__name__)
        self._made(value, add, left)


def encoder(shape: s.Shape) -> Any:
    """Return the encoding function of a shape: ``(value, add, left) -> None``."""
    made = shape.compiled.get(_ENCODER)
    if made is None:
        s.mark_recursive(shape)
        writer = _Writer()
        if shape.recursive and isinstance(shape, s.StructShape | s.UnionShape):
            writer.source.line("if left < 0: raise Unfit")
        writer.root(shape)
        writer.flush()
        writer.source.line("return")
        made = shape.compiled[_ENCODER] = writer.source.function("def encode(value, add, left):", shape.name)
    return made


def whole_encoder(shape: s.Shape, names: dict[str, Any], max_depth: int) -> Any:
    """Return the function that a codec's ``encode`` becomes.

    Args:
        shape: What the value should be.
        names: ``explain(value, fault, max_depth)``, which returns the error, and ``faults``.
        max_depth: The default.
    """
    s.mark_recursive(shape)
    writer = _Writer(whole=True, left="max_depth")
    source = writer.source
    source.names |= names
    source.line("try:")
    source.indent()
    writer.root(shape)
    source.line(f"return {writer.result()}")
    source.dedent()
    source.line("except faults as fault:")
    source.line("    error = explain(value, fault, max_depth)")
    source.line("raise error")
    return source.function(f"def encode(value, max_depth={max_depth}):", shape.name)


def partial_encoder(shape: s.Shape, names: dict[str, Any], max_depth: int) -> Any:
    """Return the function that a codec's ``encode_to`` becomes; arguments as for :func:`whole_encoder`."""
    s.mark_recursive(shape)
    writer = _Writer(left="max_depth")
    source = writer.source
    source.names |= names
    source.line("try:")
    source.indent()
    writer.root(shape)
    writer.flush()
    source.line("return")
    source.dedent()
    source.line("except faults as fault:")
    source.line("    error = explain(value, fault, max_depth)")
    source.line("raise error")
    return source.function(f"def encode_to(value, add, max_depth={max_depth}):", shape.name)


def _link(shape: s.Shape, source: Source) -> str:
    """Return the name of another shape's encoding function, which is compiled at its first call."""
    name = source.fresh("encode_")

    def first(value: Any, add: Any, left: int) -> None:
        source.names[name] = made = encoder(shape)
        made(value, add, left)

    source.names[name] = shape.compiled.get(_ENCODER, first)
    return name
