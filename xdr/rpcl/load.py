"""A compiled file as a module at once, without a file in between: what a prompt, a test or a notebook wants."""

from __future__ import annotations

import sys
from itertools import count
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from xdr.rpcl.emit import type_names

if TYPE_CHECKING:
    from xdr.rpcl.compiler import Compiled

__all__ = ["load", "types_in"]

_numbers: Final = count(1)


def load(compiled: Compiled, name: str | None = None) -> ModuleType:
    """Import what was compiled.

    Args:
        compiled: What `compile_file` or `compile_text` gave.
        name: The module's name in ``sys.modules``, where its types look their names up; by default a new one.

    Raises:
        ImportError: The module needs another that is not there, as ``--type`` or ``--import`` may say.
    """
    name = name or f"xdr.rpcl.loaded_{next(_numbers)}"
    module = ModuleType(name)
    sys.modules[name] = module
    try:
        # Its names are identifiers and its texts are quoted: the compiler wrote it, not the .x file.
        exec(compile(compiled.text, f"<{name}>", "exec", dont_inherit=True), vars(module))  # noqa: S102
    except BaseException:
        del sys.modules[name]
        raise
    return module


def types_in(module: ModuleType, compiled: Compiled) -> dict[str, Any]:
    """List all that a compiled file can encode.

    Keys are the names of its types, ``PROCEDURE.result``, and ``PROCEDURE.args`` for procedures of one argument or
    ``PROCEDURE.args.1``, ``PROCEDURE.args.2`` ... for those of several. If versions differ, the first one counts;
    ``PROGRAM_VERSION.PROCEDURE.args`` names any.
    """
    found: dict[str, Any] = {}
    for name, python in type_names(compiled.module).items():
        # Types of other modules are there as far as the file uses them.
        if hasattr(module, python):
            found[name] = getattr(module, python)
    for program in compiled.module.programs:
        for version in program.versions:
            owner = f"{program.name}_{version.number}"
            for procedure in getattr(module, f"{owner}_Server").procedures:
                parts = {f"{procedure.name}.result": procedure.result}
                if len(procedure.arguments) == 1:
                    parts[f"{procedure.name}.args"] = procedure.arguments[0]
                else:
                    parts |= {f"{procedure.name}.args.{i}": t for i, t in enumerate(procedure.arguments, 1)}
                for key, kind in parts.items():
                    found.setdefault(key, kind)
                    found[f"{owner}.{key}"] = kind
    return found
