"""Short ways from a piece of an .x file to what the compiler makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xdr.rpcl.compiler import Compiled, Settings, check_text, compile_text
from xdr.rpcl.errors import CompileError
from xdr.rpcl.load import load

if TYPE_CHECKING:
    from xdr.rpcl.errors import Diagnostic
    from xdr.rpcl.model import Module

__all__ = ["check", "compiled", "fault", "faults", "module"]


def compiled(text: str, settings: Settings | None = None, name: str = "piece.x") -> Compiled:
    """Compile a piece."""
    return compile_text(text, name, settings)


def check(text: str, settings: Settings | None = None, name: str = "piece.x") -> Module:
    """Understand a piece."""
    return check_text(text, name, settings)[0]


def module(text: str, settings: Settings | None = None, name: str = "piece.x") -> Any:
    """Compile a piece and import it."""
    return load(compile_text(text, name, settings))


def faults(text: str, settings: Settings | None = None, name: str = "piece.x") -> tuple[Diagnostic, ...]:
    """Give all that is wrong with a piece; nothing being wrong is a failure."""
    try:
        check_text(text, name, settings)
    except CompileError as error:
        return error.diagnostics
    message = "the compiler found nothing wrong"
    raise AssertionError(message)


def fault(text: str, settings: Settings | None = None) -> str:
    """Give the only fault of a piece, as ``line:column: message``."""
    (only,) = faults(text, settings)
    return f"{only.place.line}:{only.place.column}: {only.message}"
