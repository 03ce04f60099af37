"""Types that could never be written down, in Python or on the wire: those that contain themselves without an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdr.rpcl.model import Alias, ArrayType, OptionalType, Reference, Structure, Type, TypeEntry, UnionType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xdr.rpcl.errors import Diagnostics

__all__ = ["check_finite"]


def check_finite(types: Mapping[str, TypeEntry], report: Diagnostics) -> None:
    """Report each circle of types that no value and no typedef can close."""

    def spelled(name: str) -> list[str]:
        """Name the typedefs that Python must know before a typedef, whatever is around them."""
        entry = types.get(name)
        inner = _named(entry.type, whatever=True) if isinstance(entry, Alias) else []
        return [other for other in inner if isinstance(types.get(other), Alias)]

    def needed(name: str) -> list[str]:
        """Name the types that each value of a type holds at least one of."""
        match types.get(name):
            case Alias(type=type_):
                return _named(type_, whatever=False)
            case Structure(fields=fields):
                return [other for field in fields for other in _named(field.type, whatever=False)]
            case UnionType(arms=[only]) if only.field is not None:
                return _named(only.field.type, whatever=False)
            case _:
                return []

    done: set[str] = set()
    reported: set[str] = set()
    for name in types:
        reported |= _walk(name, spelled, done, types, report, ("is a typedef of itself", "put a struct between"))
    # What is no typedef of itself may still hold itself.
    done = reported
    for name in types:
        _walk(
            name,
            needed,
            done,
            types,
            report,
            ("contains itself and could never end", "make one link optional: TYPE *NAME;"),
        )


def _walk(  # noqa: PLR0917 - one graph, one search
    start: str,
    needs: Callable[[str], list[str]],
    done: set[str],
    types: Mapping[str, TypeEntry],
    report: Diagnostics,
    said: tuple[str, str],
) -> set[str]:
    """Look for circles from one type; give the names in those found."""
    # A stack of our own: a chain of a thousand typedefs must not meet Python's recursion limit.
    found: set[str] = set()
    if start in done:
        return found
    path = {start: None}
    stack = [(start, needs(start))]
    while stack:
        name, following = stack[-1]
        if not following or name in done:
            done.add(name)
            stack.pop()
            del path[name]
            continue
        other = following.pop()
        if other in path:
            names = list(path)
            circle = names[names.index(other) :]
            shown = " -> ".join([*circle, other])
            report.error(types[other].place, f"{other!r} {said[0]}: {shown}", said[1])
            done.update(circle)
            found.update(circle)
        elif other in types and other not in done:
            path[other] = None
            stack.append((other, needs(other)))
    return found


def _named(type_: Type, *, whatever: bool) -> list[str]:
    """Name the type within a type; with `whatever`, also if a value may have none of it."""
    while True:
        match type_:
            case Reference(name=name):
                return [name]
            case ArrayType(element=element, size=size, fixed=fixed):
                if not whatever and not (fixed and size is not None and size.value):
                    return []
                type_ = element
            case OptionalType(element=element) if whatever:
                type_ = element
            case _:
                return []
