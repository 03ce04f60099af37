"""XDR, the external data representation (RFC 4506): types as Python declarations, and their codecs.

``xdr.rpcl`` compiles ``.x`` files into such declarations; ``xdr.bridge`` takes codecs written for ``xdrlib``;
``xdr.testing`` makes Hypothesis strategies; ``xdr.tree`` and ``xdr.jsonform`` show values to people.
"""

from xdr.codec import MAX_DEPTH, Codec, codec, decode, encode
from xdr.errors import XDRDeclarationError, XDRDecodeError, XDREncodeError, XDRError
from xdr.quad import Quad
from xdr.structs import Enum, arm, struct
from xdr.types import (
    UNBOUNDED,
    Array,
    Bool,
    Double,
    FixedArray,
    FixedOpaque,
    Float,
    Hyper,
    Int,
    Opaque,
    Quadruple,
    String,
    UHyper,
    UInt,
    Void,
)

__all__ = [
    "MAX_DEPTH",
    "UNBOUNDED",
    "Array",
    "Bool",
    "Codec",
    "Double",
    "Enum",
    "FixedArray",
    "FixedOpaque",
    "Float",
    "Hyper",
    "Int",
    "Opaque",
    "Quad",
    "Quadruple",
    "String",
    "UHyper",
    "UInt",
    "Void",
    "XDRDeclarationError",
    "XDRDecodeError",
    "XDREncodeError",
    "XDRError",
    "arm",
    "codec",
    "decode",
    "encode",
    "struct",
]
