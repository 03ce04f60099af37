"""From names of the RPC language to names of Python: the same, by a fixed rule where Python has the name itself.

The rule, in this order; the reference page on the mapping says it to users:

1. Of two or more underscores at the beginning one stays: Python would mangle the name within a class.
2. A keyword, or a name that generated modules need in that place, gets an underscore at its end.
3. A name that is taken gets underscores at its end until it is not.
"""

from __future__ import annotations

import keyword
from typing import Final

__all__ = ["FIELD_RESERVED", "MEMBER_RESERVED", "METHOD_RESERVED", "MODULE_RESERVED", "PARAMETER_RESERVED", "Scope"]

_KEYWORDS: Final = frozenset(keyword.kwlist) | {"None", "True", "False"}
_BUILTINS: Final = frozenset({"bool", "bytes", "float", "int", "list", "str"})
_TYPING: Final = frozenset({"Annotated", "ClassVar", "Final", "Literal", "TypeAlias"})

MODULE_RESERVED: Final = (
    _KEYWORDS
    | _BUILTINS
    | _TYPING
    | {"TYPE_CHECKING", "Deferred", "_rpc", "abstractmethod", "annotations", "property", "xdr"}
)
"""Names that a generated module uses at its top."""

FIELD_RESERVED: Final = _KEYWORDS | _BUILTINS | _TYPING | {"xdr"}
"""Names that the annotations of a struct use, beside those of types."""

METHOD_RESERVED: Final = (
    _KEYWORDS
    | _BUILTINS
    | _TYPING
    | {"Deferred", "_rpc", "abstractmethod", "xdr"}
    | {"close", "procedures", "program", "program_name", "version", "version_name"}
    | {"_any_flavor", "_call", "_caller", "_repeatable", "_send", "_strict"}
)
"""Names that the classes of a program have already."""

PARAMETER_RESERVED: Final = _KEYWORDS | {"answer", "call", "self", "timeout"}
"""Names that the methods of a program have already."""

MEMBER_RESERVED: Final = _KEYWORDS | {
    "as_integer_ratio",
    "bit_count",
    "bit_length",
    "conjugate",
    "denominator",
    "from_bytes",
    "imag",
    "is_integer",
    "mro",
    "name",
    "numerator",
    "real",
    "to_bytes",
    "value",
}
"""Names that an IntEnum and its members have already."""


class Scope:
    """Gives out the names of one module, class or function."""

    def __init__(self, reserved: frozenset[str]) -> None:
        self._reserved = reserved
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._taken

    def take(self, name: str) -> str:
        """Give the Python name for a name of the file, and keep it from others."""
        if name.startswith("__"):
            name = "_" + name.lstrip("_")
        if name in ("_", "") or not name.isidentifier():
            name = f"{name}_"
        if name in self._reserved:
            name += "_"
        while name in self._taken or name in self._reserved:
            name += "_"
        self._taken.add(name)
        return name


def member_name(name: str) -> str:
    """Give a name that enum does not take for one of its own: ``_sunder_`` loses its first underscore."""
    return name[1:] if name.startswith("_") and name.endswith("_") else name
