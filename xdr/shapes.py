"""What a declaration comes to: a graph of shapes that codecs, trees and strategies are made from.

Annotations are read once, when a type is first used; names that a module defines later, recursion and the string
aliases of ``.x`` typedefs are all settled here.
"""

from __future__ import annotations

import sys
import threading
import types
import typing
from typing import TYPE_CHECKING, Any, Final

from xdr import types as descriptors
from xdr.errors import XDRDeclarationError
from xdr.quad import Quad
from xdr.structs import ArmOf, Enum, arm_of, declared_fields, is_declared, scope_of, spellings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "MAX_EMPTY",
    "Arm",
    "ArrayShape",
    "BoolShape",
    "BridgeShape",
    "EnumShape",
    "FixedArrayShape",
    "FixedOpaqueShape",
    "OpaqueShape",
    "OptionalShape",
    "QuadShape",
    "ScalarShape",
    "Shape",
    "StringShape",
    "StructShape",
    "UnionShape",
    "VoidShape",
    "shape_of",
]

WORD: Final = 4
"""Bytes: every item starts and ends on such a boundary (RFC 4506, section 3)."""
MAX_EMPTY: Final = 64
"""Most elements in a variable array whose elements take no bytes (void, ``opaque[0]``, an empty struct).

For any other element the bytes that are there bound the count; here four bytes could ask for four thousand million
objects. No protocol known to us has such an array, so what is allowed is about what four bytes of other data may cost.
"""


def padded(size: int) -> int:
    """Return a number of bytes rounded up to whole words."""
    return (size + 3) & ~3


class Shape:
    """How a value of one type looks on the wire. Subclasses are the types of RFC 4506.

    Args:
        name: Its name in messages.
        size: Bytes, if every value takes the same number of them.
        minimum: Bytes that any value takes at least; as ``size`` unless given.
    """

    __slots__ = ("_busy", "_measured", "compiled", "name", "recursive")

    def __init__(self, name: str, size: int | None = None, minimum: int | None = None) -> None:
        self.name = name
        self.compiled: dict[Any, Any] = {}
        """The functions that were specialised from this shape."""
        self.recursive: bool | None = None
        """Whether it can hold itself; None until :func:`mark_recursive` found out."""
        self._measured: tuple[int | None, int] | None = None
        if size is not None or minimum is not None:
            self._measured = size, size or 0 if minimum is None else minimum
        self._busy = False

    @property
    def size(self) -> int | None:
        """Bytes, if every value takes the same number of them; else None."""
        return self._extent()[0]

    @property
    def minimum(self) -> int:
        """Bytes that any value takes at least."""
        return self._extent()[1]

    def children(self) -> Iterator[Shape]:
        """Yield the shapes that values of this one are made of."""
        return iter(())

    def _extent(self) -> tuple[int | None, int]:
        if self._measured is None:
            if self._busy:  # it holds itself outright: no value ever ends
                return None, 0
            self._measure_all()
        return self._measured or (None, 0)

    def _measure_all(self) -> None:
        """Measure first what this is made of, on an explicit stack: types may be nested as deeply as anyone likes."""
        stack: list[Shape] = [self]
        while stack:
            shape = stack[-1]
            if shape._measured is None and not shape._busy:  # noqa: SLF001 - of the same class
                shape._busy = True  # noqa: SLF001
                stack += [child for child in shape.children() if child._measured is None and not child._busy]  # noqa: SLF001
                continue
            if shape._measured is None:  # noqa: SLF001
                shape._measured = shape._measure()  # noqa: SLF001
                shape._busy = False  # noqa: SLF001
            stack.pop()

    def _measure(self) -> tuple[int | None, int]:
        """Return size and minimum of a shape made of others."""
        raise NotImplementedError


class ScalarShape(Shape):
    """An int, unsigned int, hyper, unsigned hyper, float or double."""

    __slots__ = ("code", "width")

    def __init__(self, scalar: descriptors.Scalar) -> None:
        self.width = 8 if scalar.code in "qQd" else 4
        super().__init__(scalar.name, self.width)
        self.code = scalar.code
        """The format character of ``struct``."""


class BoolShape(Shape):
    """A bool."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("bool", WORD)


class EnumShape(Shape):
    """An enum."""

    __slots__ = ("cls", "dense", "members", "spelled")

    def __init__(self, cls: type[Enum]) -> None:
        super().__init__(cls.__name__, WORD)
        self.cls = cls
        # Aliases, two names for one number, are looked up by the number alone.
        self.members: dict[int, Enum] = {int(member): member for member in cls}
        self.dense: tuple[Enum, ...] = ()
        """The members in order, if their numbers are 0, 1, 2 and so on."""
        if list(self.members) == list(range(len(self.members))):
            self.dense = tuple(self.members.values())
        self.spelled = spellings(cls)
        """The file's names of members whose names in Python are others."""


class QuadShape(Shape):
    """A quadruple."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("quadruple", 16)


class VoidShape(Shape):
    """Nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("void", 0)


class FixedOpaqueShape(Shape):
    """``opaque x[n]``."""

    __slots__ = ("count", "host")

    def __init__(self, count: int, host: type) -> None:
        super().__init__(f"opaque[{count}]", padded(count))
        self.count = count
        self.host = host


class OpaqueShape(Shape):
    """``opaque x<n>``."""

    __slots__ = ("host", "max")

    def __init__(self, bound: int, host: type) -> None:
        super().__init__(f"opaque{_brackets(bound)}", None, WORD)
        self.max = bound
        self.host = host


class StringShape(Shape):
    """``string x<n>``."""

    __slots__ = ("max",)

    def __init__(self, bound: int) -> None:
        super().__init__(f"string{_brackets(bound)}", None, WORD)
        self.max = bound


class FixedArrayShape(Shape):
    """``T x[n]``."""

    __slots__ = ("count", "element")

    def __init__(self, count: int, element: Shape) -> None:
        super().__init__(f"{element.name}[{count}]")
        self.count = count
        self.element = element

    def children(self) -> Iterator[Shape]:
        """Yield the element's shape."""
        yield self.element

    def _measure(self) -> tuple[int | None, int]:
        if not self.count:
            return 0, 0
        size = self.element.size
        return None if size is None else size * self.count, self.element.minimum * self.count


class ArrayShape(Shape):
    """``T x<n>``."""

    __slots__ = ("element", "max")

    def __init__(self, bound: int, element: Shape) -> None:
        super().__init__(f"{element.name}{_brackets(bound)}", None, WORD)
        self.max = bound
        self.element = element

    @property
    def limit(self) -> int:
        """Most elements: the bound, or less where the elements take no bytes."""
        return min(self.max, MAX_EMPTY) if self.element.minimum == 0 else self.max

    def children(self) -> Iterator[Shape]:
        """Yield the element's shape."""
        yield self.element


class OptionalShape(Shape):
    """``T *x``."""

    __slots__ = ("element",)

    def __init__(self, element: Shape) -> None:
        super().__init__(element.name, None, WORD)
        self.element = element

    def children(self) -> Iterator[Shape]:
        """Yield the shape of what may be there."""
        yield self.element


class BridgeShape(Shape):
    """A type that hand-written code for ``xdrlib`` packs and unpacks."""

    __slots__ = ("bridge",)

    def __init__(self, bridge: Any) -> None:
        super().__init__(bridge.name, None, bridge.minimum)
        self.bridge = bridge


class StructShape(Shape):
    """A struct."""

    __slots__ = ("cls", "fields", "spelled")

    def __init__(self, cls: type) -> None:
        super().__init__(cls.__name__)
        self.cls = cls
        self.fields: tuple[tuple[str, Shape], ...] = ()
        self.spelled = spellings(cls)
        """The file's names of fields whose names in Python are others."""

    def children(self) -> Iterator[Shape]:
        """Yield the fields' shapes."""
        return (shape for _name, shape in self.fields)

    def _measure(self) -> tuple[int | None, int]:
        sizes = [shape.size for _name, shape in self.fields]
        known = [size for size in sizes if size is not None]
        size = sum(known) if len(known) == len(sizes) else None
        return size, sum(shape.minimum for _name, shape in self.fields)


class Arm:
    """One arm of a union.

    Args:
        cls: Its class.
        of: What ``@xdr.arm`` said.
    """

    __slots__ = ("cls", "fields", "of", "spelled")

    def __init__(self, cls: type, of: ArmOf) -> None:
        self.cls = cls
        self.of = of
        self.fields: tuple[tuple[str, Shape], ...] = ()
        """The declaration of the arm, without the discriminant: usually one field or none."""
        self.spelled = spellings(cls)
        """The file's names of fields, the discriminant's too, whose names in Python are others."""


class UnionShape(Shape):
    """A discriminated union."""

    __slots__ = ("arms", "by_case", "default", "discriminant", "kind")

    def __init__(self, arms: tuple[Arm, ...]) -> None:
        super().__init__(arms[0].of.union)
        self.arms = arms
        self.discriminant = arms[0].of.discriminant
        self.kind: Shape = VoidShape()
        """The shape of the discriminant: an int, an unsigned int, an enum or a bool."""
        self.by_case: dict[int, Arm] = {}
        self.default: Arm | None = None

    def children(self) -> Iterator[Shape]:
        """Yield the shapes of all arms' fields."""
        return (shape for arm in self.arms for _name, shape in arm.fields)

    def _measure(self) -> tuple[int | None, int]:
        return None, WORD + min(sum(shape.minimum for _name, shape in arm.fields) for arm in self.arms)


def _brackets(bound: int) -> str:
    return "<>" if bound == descriptors.UNBOUNDED else f"<{bound}>"


_SCALARS: Final[dict[descriptors.Descriptor, Callable[[], Shape]]] = {
    descriptors.Bool: BoolShape,
    descriptors.Void: VoidShape,
    descriptors.Quadruple: QuadShape,
    **{
        scalar: lambda scalar=scalar: ScalarShape(scalar)  # type: ignore[misc]
        for scalar in (
            descriptors.Int,
            descriptors.UInt,
            descriptors.Hyper,
            descriptors.UHyper,
            descriptors.Float,
            descriptors.Double,
        )
    },
}

_structs: dict[type, StructShape] = {}
_unions: dict[tuple[type, ...], UnionShape] = {}
_enums: dict[type, EnumShape] = {}


def shape_of(annotation: Any, module: str | None = None) -> Shape:
    """Return the shape of a type.

    Args:
        annotation: Any annotation that ``xdr.types`` describes.
        module: The name of the module that names in string annotations belong to.

    Raises:
        XDRDeclarationError: The annotation, or one it leads to, means no XDR type.
    """
    names = vars(sys.modules[module]) if module is not None else None
    reader = _Reader()
    shape = reader.read(annotation, _Scope(names, {}, str(annotation)))
    reader.settle()
    return shape


class _Scope:
    """Where the names of an annotation are looked up, and what to call the place in messages."""

    __slots__ = ("globals", "locals", "place")

    def __init__(self, names: dict[str, Any] | None, local: dict[str, Any], place: str) -> None:
        self.globals = names
        self.locals = local
        self.place = place

    def refuse(self, reason: str) -> XDRDeclarationError:
        """Return the error for this place."""
        return XDRDeclarationError(f"{self.place}: {reason}")

    def settle(self, annotation: Any) -> Any:
        """Return what a string annotation stands for; an alias may be a string again."""
        while isinstance(annotation, str | typing.ForwardRef):
            annotation = self.evaluate(annotation if isinstance(annotation, str) else annotation.__forward_arg__)
        return annotation

    def evaluate(self, text: str) -> Any:
        """Evaluate the text of an annotation."""
        if self.globals is None:
            message = f"the names in {text!r} need the module they belong to"
            raise self.refuse(message)
        try:
            return eval(text, self.globals, self.locals)  # noqa: S307 - annotations are the program's own text
        except NameError as error:
            reason = f"{error} in {text!r}"
            raise self.refuse(reason) from None
        except TypeError as error:
            reason = f"{text!r}: {error}"
            raise self.refuse(reason) from None


class _Reader:
    """Reads annotations; classes met on the way are noted and read one after the other, not within each other."""

    def __init__(self) -> None:
        self._waiting: list[StructShape | UnionShape] = []
        self._done: list[StructShape | UnionShape] = []

    def settle(self) -> None:
        """Read the fields of all classes met, or forget them all."""
        try:
            while self._waiting:
                shape = self._waiting.pop()
                self._done.append(shape)
                if isinstance(shape, StructShape):
                    shape.fields = self._fields(shape.cls, None)
                else:
                    self._settle_union(shape)
        except BaseException:
            for shape in self._done + self._waiting:
                if isinstance(shape, StructShape):
                    _structs.pop(shape.cls, None)
                else:
                    _unions.pop(tuple(arm.cls for arm in shape.arms), None)
            raise

    def _fields(self, cls: type, without: str | None) -> tuple[tuple[str, Shape], ...]:
        names, local = scope_of(cls)
        return tuple(
            (name, self.read(annotation, _Scope(names, local, f"{cls.__qualname__}.{name}")))
            for name, annotation in declared_fields(cls).items()
            if name != without
        )

    def _settle_union(self, union: UnionShape) -> None:
        first = union.arms[0]
        names, local = scope_of(first.cls)
        scope = _Scope(names, local, union.name)
        union.kind = self.read(first.of.kind, scope)
        if not (
            isinstance(union.kind, BoolShape | EnumShape)
            or (isinstance(union.kind, ScalarShape) and union.kind.code in "iI")
        ):
            reason = f"a {union.kind.name} cannot choose an arm (RFC 4506, section 4.15)"
            raise scope.refuse(reason)
        for arm in union.arms:
            if (arm.of.union, arm.of.discriminant) != (union.name, union.discriminant):
                reason = f"{arm.cls.__qualname__} is an arm of {arm.of.union}"
                raise scope.refuse(reason)
            for case in arm.of.cases:
                value = int(case)
                if value in union.by_case:
                    reason = f"two arms for case {case!r}"
                    raise scope.refuse(reason)
                self._check_case(union.kind, value, scope)
                union.by_case[value] = arm
            if arm.of.default:
                if union.default is not None:
                    reason = "two default arms"
                    raise scope.refuse(reason)
                union.default = arm
            arm.fields = self._fields(arm.cls, union.discriminant)

    @staticmethod
    def _check_case(kind: Shape, value: int, scope: _Scope) -> None:
        if isinstance(kind, EnumShape):
            fits = value in kind.members
        elif isinstance(kind, BoolShape):
            fits = value in (0, 1)
        elif isinstance(kind, ScalarShape) and kind.code == "I":
            fits = 0 <= value < 1 << 32
        else:
            fits = -1 << 31 <= value < 1 << 31
        if not fits:
            reason = f"case {value} is no {kind.name}"
            raise scope.refuse(reason)

    def read(self, annotation: Any, scope: _Scope) -> Shape:
        """Return the shape of one annotation."""
        annotation = scope.settle(annotation)
        if annotation is None or annotation is types.NoneType:
            return VoidShape()
        if annotation is bool:
            return BoolShape()
        if annotation is Quad:
            return QuadShape()
        if isinstance(annotation, descriptors.Scalar):
            return _SCALARS[annotation]()
        if isinstance(annotation, type):
            if is_declared(annotation):
                of = arm_of(annotation)
                return self._struct(annotation) if of is None else self._union((annotation,))
            if issubclass(annotation, Enum):
                shape = _enums.get(annotation)
                if shape is None:
                    shape = _enums[annotation] = EnumShape(annotation)
                return shape
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            return self._annotated(annotation, scope)
        if origin is types.UnionType or origin is typing.Union:
            return self._alternatives(typing.get_args(annotation), scope)
        hint = {int: "xdr.Int", float: "xdr.Double", str: "xdr.String(max=...)", bytes: "xdr.Opaque(max=...)"}
        wanted = hint.get(annotation, "xdr.Array(max=...)" if origin is list else "")
        reason = f"{annotation!r} is no XDR type"
        if wanted:
            reason += f"; say which, as in Annotated[{getattr(annotation, '__name__', 'list')}, {wanted}]"
        raise scope.refuse(reason)

    def _struct(self, cls: type) -> StructShape:
        shape = _structs.get(cls)
        if shape is None:
            shape = _structs[cls] = StructShape(cls)
            self._waiting.append(shape)
        return shape

    def _union(self, classes: tuple[type, ...]) -> UnionShape:
        shape = _unions.get(classes)
        if shape is None:
            arms = tuple(Arm(cls, of) for cls in classes if (of := arm_of(cls)) is not None)
            shape = _unions[classes] = UnionShape(arms)
            self._waiting.append(shape)
        return shape

    def _alternatives(self, parts: tuple[Any, ...], scope: _Scope) -> Shape:
        evaluated = [scope.settle(part) for part in parts]
        some = [part for part in evaluated if part is not types.NoneType and part is not None]
        if len(some) == 1 and not (is_declared(some[0]) and arm_of(some[0]) is not None):
            inner = self.read(some[0], scope)
        elif some and all(is_declared(part) and arm_of(part) is not None for part in some):
            inner = self._union(tuple(some))
        else:
            reason = "only arms of one union can be alternatives"
            raise scope.refuse(reason)
        return OptionalShape(inner) if len(some) < len(evaluated) else inner

    def _annotated(self, annotation: Any, scope: _Scope) -> Shape:
        host, *metadata = typing.get_args(annotation)
        chosen = [item for item in metadata if isinstance(item, descriptors.Descriptor) or hasattr(item, "xdr_shape")]
        if not chosen:
            return self.read(host, scope)
        descriptor = chosen[-1]
        if hasattr(descriptor, "xdr_shape"):
            shape: Shape = descriptor.xdr_shape()
            return shape
        match descriptor:
            case descriptors.Scalar():
                return _SCALARS[descriptor]()
            case descriptors.FixedOpaque(size=size):
                return FixedOpaqueShape(size, host)
            case descriptors.Opaque(max=bound):
                return OpaqueShape(bound, host)
            case descriptors.String(max=bound):
                return StringShape(bound)
        arguments = typing.get_args(host)
        if typing.get_origin(host) is not list or len(arguments) != 1:
            reason = f"an array is a list[...] in Python, not {host!r}"
            raise scope.refuse(reason)
        element = self.read(arguments[0], scope)
        if isinstance(descriptor, descriptors.FixedArray):
            return FixedArrayShape(descriptor.size, element)
        if isinstance(descriptor, descriptors.Array):
            return ArrayShape(descriptor.max, element)
        reason = f"{descriptor!r} is no XDR type"
        raise scope.refuse(reason)


_marking: Final = threading.Lock()
"""Held while shapes are marked: a second thread must not see half of a component."""


def mark_recursive(root: Shape) -> None:
    """Find out, for a shape and all that it is made of, which can hold themselves."""
    with _marking:
        _mark(root)


def _mark(root: Shape) -> None:
    # Tarjan's strongly connected components, on an explicit stack: schemas may nest deeper than the interpreter.
    if root.recursive is not None:
        return
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[Shape] = []
    on_stack: set[int] = set()
    work: list[tuple[Shape, Iterator[Shape]]] = []

    def enter(shape: Shape) -> None:
        index[id(shape)] = low[id(shape)] = len(index)
        stack.append(shape)
        on_stack.add(id(shape))
        work.append((shape, shape.children()))

    enter(root)
    while work:
        shape, children = work[-1]
        for child in children:
            if child.recursive is not None:
                continue
            if id(child) not in index:
                enter(child)
                break
            if id(child) in on_stack:
                low[id(shape)] = min(low[id(shape)], index[id(child)])
        else:
            work.pop()
            if work:
                above = id(work[-1][0])
                low[above] = min(low[above], low[id(shape)])
            if low[id(shape)] == index[id(shape)]:
                _close(shape, stack, on_stack)


def _close(shape: Shape, stack: list[Shape], on_stack: set[int]) -> None:
    """Take one component off the stack; it is recursive if it has several members or one that is its own child."""
    component: list[Shape] = []
    while True:
        member = stack.pop()
        on_stack.discard(id(member))
        component.append(member)
        if member is shape:
            break
    recursive = len(component) > 1 or any(child is shape for child in shape.children())
    for member in component:
        member.recursive = recursive
