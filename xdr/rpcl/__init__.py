"""The RPC language (RFC 4506, section 6; RFC 5531, section 12): .x files to typed Python.

One stage per module: preprocess (cpp and ``%`` lines), tokens, parser, resolve (names, constants, checks), emit.
"""

from xdr.rpcl.compiler import Compiled, Settings, check_text, compile_file, compile_text, read_file
from xdr.rpcl.errors import CompileError, Diagnostic, Place

__all__ = [
    "CompileError",
    "Compiled",
    "Diagnostic",
    "Place",
    "Settings",
    "check_text",
    "compile_file",
    "compile_text",
    "read_file",
]
