"""Declarations: structs, the arms of unions, enums.

A struct class is a slotted dataclass in every respect that can be seen (``dataclasses.fields``, ``replace``,
``asdict``, ``match``), but what a dataclass compiles when a module is imported is made here at first use, so that a
module of hundreds of types is imported in milliseconds.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import keyword
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast, dataclass_transform, get_origin

from xdr.errors import XDRDeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType, FunctionType

__all__ = ["ArmOf", "Enum", "arm", "arm_of", "declared_fields", "is_declared", "scope_of", "spellings", "struct"]

_T = TypeVar("_T")

REPR_NODES: Final = 16
"""Entries of a linked list that ``repr`` shows; the others are counted."""
_DECLARED: Final = "__xdr_declared__"


class Enum(enum.IntEnum):
    """An XDR enum (RFC 4506, section 4.3): an ``IntEnum``; bytes with an unknown value are refused."""


class ArmOf:
    """What ``@xdr.arm`` says about its class.

    Args:
        union: The union's name in its ``.x`` file.
        discriminant: The name of the field that chooses the arm.
        kind: The discriminant's type: an ``xdr.Enum`` class, ``bool``, ``xdr.Int``, ``xdr.UInt``, or an annotation.
        cases: The values that choose this arm.
        default: Whether this arm stands for all values that no other arm names.
    """

    __slots__ = ("cases", "default", "discriminant", "kind", "union")

    def __init__(self, union: str, discriminant: str, kind: object, cases: tuple[int, ...], default: bool) -> None:  # noqa: FBT001
        self.union = union
        self.discriminant = discriminant
        self.kind = kind
        self.cases = cases
        self.default = default


class _Declared:
    """What the decorators keep about a class, under ``__xdr_declared__``."""

    __slots__ = ("arm", "fields", "frame")

    def __init__(self, fields: dict[str, Any], arm: ArmOf | None, frame: FrameType | None) -> None:
        self.fields = fields
        self.arm = arm
        # A class made inside a function finds its types among that function's names as well; those may come later.
        self.frame = frame


@dataclass_transform(eq_default=True)
def struct(cls: type[_T]) -> type[_T]:
    """Make a class with annotated fields an XDR struct (RFC 4506, section 4.14).

    The class becomes a slotted dataclass with ``__init__``, ``__eq__`` and ``__repr__``. Comparing and printing walk a
    linked list without recursion. Fields may have defaults; they cannot be mutable ones.

    Raises:
        XDRDeclarationError: A base class other than ``object``, a mutable default, a field without default after one
            that has it.
    """
    return _declare(cls, None, sys._getframe(1))  # noqa: SLF001 - the documented way to the caller's names


@dataclass_transform(eq_default=True)
def arm(
    union: str,
    discriminant: str,
    kind: Any,
    *,
    cases: Iterable[int] = (),
    default: bool = False,
) -> Callable[[type[_T]], type[_T]]:
    """Make a class one arm of a discriminated union (RFC 4506, section 4.15).

    The class has the discriminant as a field, and the arm's declaration, if it is not void, as another. The union
    itself is the ``|`` of its arm classes.

    Args:
        union: The union's name.
        discriminant: The name of the field that chooses the arm.
        kind: The discriminant's type: an ``xdr.Enum`` class, ``bool``, ``xdr.Int`` or ``xdr.UInt``.
        cases: The values that choose this arm.
        default: This arm stands for every value that no other arm names.

    Raises:
        XDRDeclarationError: Neither or both of cases and default, no field for the discriminant, or what
            :func:`struct` refuses.
    """
    chosen = tuple(cases)
    if bool(chosen) == default:
        message = f"an arm of {union} needs either cases or default=True"
        raise XDRDeclarationError(message)
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to the caller's names

    def decorate(cls: type[_T]) -> type[_T]:
        if discriminant not in inspect.get_annotations(cls):
            message = f"{cls.__qualname__} has no field {discriminant} to choose an arm of {union}"
            raise XDRDeclarationError(message)
        return _declare(cls, ArmOf(union, discriminant, kind, chosen, default), frame)

    return decorate


def is_declared(cls: object) -> bool:
    """Whether this is a class that ``@xdr.struct`` or ``@xdr.arm`` made."""
    return isinstance(cls, type) and hasattr(cls, _DECLARED)


def arm_of(cls: type) -> ArmOf | None:
    """Return what ``@xdr.arm`` said about a declared class, or None for a struct."""
    declared: _Declared = getattr(cls, _DECLARED)
    return declared.arm


def declared_fields(cls: type) -> dict[str, Any]:
    """Return the fields of a declared class: name to annotation, in the order of the wire."""
    declared: _Declared = getattr(cls, _DECLARED)
    return declared.fields


def spellings(cls: type) -> dict[str, str]:
    """Return the names that the ``.x`` file has for a class's fields or members, where Python has others."""
    found: dict[str, str] = cls.__dict__.get("__xdr_names__", {})
    return found


def scope_of(cls: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the global and local names that a declared class's annotations are read with."""
    declared: _Declared = getattr(cls, _DECLARED)
    module = sys.modules.get(cls.__module__)
    names = vars(module) if module is not None else {}
    if declared.frame is None:
        return names, {}
    return {**declared.frame.f_globals, **names}, dict(declared.frame.f_locals)


def _declare(cls: type[_T], of: ArmOf | None, frame: FrameType) -> type[_T]:
    if cls.__bases__ != (object,):
        message = f"{cls.__qualname__} is made of fields, not of other classes"
        raise XDRDeclarationError(message)
    body = dict(cls.__dict__)
    annotations = inspect.get_annotations(cls)
    fields = {name: annotation for name, annotation in annotations.items() if not _is_class_var(annotation)}
    defaults: dict[str, Any] = {}
    for name in fields:
        if name in body:
            defaults[name] = body.pop(name)
            if defaults[name].__class__.__hash__ is None:
                message = f"{cls.__qualname__}.{name}: a default that can change would be shared by all"
                raise XDRDeclarationError(message)
        elif defaults:
            message = f"{cls.__qualname__}.{name} has no default but follows a field that has one"
            raise XDRDeclarationError(message)
    body.pop("__dict__", None)
    body.pop("__weakref__", None)
    names = tuple(fields)
    body["__slots__"] = names
    body["__match_args__"] = names
    body["__init__"] = _LazyInit(names, defaults)
    for name in ("__dataclass_fields__", "__dataclass_params__"):
        body[name] = _LazyDataclass(name, fields, defaults)
    body.setdefault("__eq__", _equal)
    body.setdefault("__repr__", _show)
    body.setdefault("__replace__", _replace)
    body.setdefault("__hash__", None)
    body[_DECLARED] = _Declared(fields, of, frame if "<locals>" in cls.__qualname__ else None)
    made: Any = type(cls)(cls.__name__, cls.__bases__, body)  # type: ignore[misc]
    return cast("type[_T]", made)


def _is_class_var(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.startswith(("ClassVar", "typing.ClassVar"))
    origin: Any = get_origin(annotation)
    return origin is ClassVar


class _LazyInit:
    """An ``__init__`` that is compiled when somebody first asks for it."""

    __slots__ = ("defaults", "names")

    def __init__(self, names: tuple[str, ...], defaults: dict[str, Any]) -> None:
        self.names = names
        self.defaults = defaults

    def __get__(self, instance: object, owner: type) -> Any:
        home = next(cls for cls in owner.__mro__ if cls.__dict__.get("__init__") is self)
        function = self._compile(home)
        home.__init__ = function  # type: ignore[misc]
        return function if instance is None else function.__get__(instance, owner)

    def _compile(self, home: type) -> FunctionType:
        for name in self.names:
            if not name.isidentifier() or keyword.iskeyword(name):
                message = f"{home.__qualname__}: {name!r} cannot name a field"
                raise XDRDeclarationError(message)
        self_name = "self"
        while self_name in self.names:
            self_name += "_"
        namespace: dict[str, Any] = {"__name__": home.__module__}
        parameters = [self_name]
        for index, name in enumerate(self.names):
            if name in self.defaults:
                namespace[f"__default{index}"] = self.defaults[name]
                parameters.append(f"{name}=__default{index}")
            else:
                parameters.append(name)
        lines = [f"{self_name}.{name} = {name}" for name in self.names] or ["pass"]
        exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines), namespace)  # noqa: S102
        function: FunctionType = namespace["__init__"]
        function.__qualname__ = f"{home.__qualname__}.__init__"
        function.__annotations__ = {**declared_fields(home), "return": None}
        return function


class _LazyDataclass:
    """The ``__dataclass_fields__`` or ``__dataclass_params__`` of a class, made by the real thing when asked for."""

    __slots__ = ("defaults", "fields", "name")

    def __init__(self, name: str, fields: dict[str, Any], defaults: dict[str, Any]) -> None:
        self.name = name
        self.fields = fields
        self.defaults = defaults

    def __get__(self, instance: object, owner: type) -> Any:
        home = next(cls for cls in owner.__mro__ if cls.__dict__.get(self.name) is self)
        shadow: Any = dataclasses.dataclass(init=False, repr=False, eq=False, match_args=False)(
            type(home.__name__, (), {"__annotations__": self.fields, "__module__": home.__module__, **self.defaults}),
        )
        made = getattr(shadow, self.name)
        setattr(home, self.name, made)
        return made


def _replace(self: Any, /, **changes: Any) -> Any:
    return dataclasses.replace(self, **changes)


def _equal(self: Any, other: Any) -> Any:
    """Compare field by field; a last field of the same class is the next node of a list and is walked to."""
    cls = self.__class__
    if other.__class__ is not cls:
        return NotImplemented
    names: tuple[str, ...] = cls.__match_args__
    if not names:
        return True
    *first, last = names
    while True:
        for name in first:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not theirs and mine != theirs:
                return False
        self, other = getattr(self, last), getattr(other, last)
        if self is other:
            return True
        if self.__class__ is not cls or other.__class__ is not cls:
            return self == other


def _show(self: Any) -> str:
    """Show a value as the call that makes it; of a long linked list its first entries and the number of the others."""
    cls = self.__class__
    names: tuple[str, ...] = cls.__match_args__
    if not names:
        return f"{cls.__qualname__}()"
    parts: list[str] = []
    depth = 0
    node = self
    while True:
        shown = [f"{name}={getattr(node, name, ...)!r}" for name in names[:-1]]
        following = getattr(node, names[-1], ...)
        depth += 1
        parts.append(f"{cls.__qualname__}({', '.join([*shown, names[-1]])}=")
        if following.__class__ is not cls:
            parts.append(repr(following))
            break
        if depth == REPR_NODES:
            parts.append(f"<{_count(following, names[-1])} more>")
            break
        node = following
    return "".join(parts) + ")" * depth


def _count(node: object, last: str) -> int | str:
    """Count the entries of a linked list, or say that it has no end."""
    cls = node.__class__
    count = 0
    mark, renew = node, 1
    while True:
        count += 1
        node = getattr(node, last, None)
        if node.__class__ is not cls:
            return count
        if node is mark:
            return "endless"
        if count == renew:  # Brent's way to meet a cycle without remembering the nodes
            mark, renew = node, renew * 2
