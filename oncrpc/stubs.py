"""What stands between a client stub and the bytes of its calls: the codecs of one procedure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xdr
from oncrpc.errors import ArgumentsNotEncodable, MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oncrpc.program import Procedure

__all__ = ["CodecTable", "ProcedureCodec"]


class ProcedureCodec:
    """Encodes the arguments and decodes the results of one procedure.

    Args:
        procedure: Its declaration.
    """

    __slots__ = ("_arguments", "_result", "procedure")

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure
        self._arguments = tuple(xdr.codec(kind) for kind in procedure.arguments)
        self._result = None if procedure.result is None else xdr.codec(procedure.result)

    def encode(self, values: Sequence[Any]) -> bytes:
        """The arguments, one behind the other.

        Raises:
            ArgumentsNotEncodable: Too few or too many, or one does not fit its declaration.
        """
        codecs = self._arguments
        if len(values) != len(codecs):
            msg = f"{self.procedure.name} takes {len(codecs)} arguments, {len(values)} were given"
            raise ArgumentsNotEncodable(msg)
        try:
            if len(codecs) == 1:
                return codecs[0].encode(values[0])
            return b"".join(codec.encode(value) for codec, value in zip(codecs, values, strict=True))
        except xdr.XDRError as error:
            msg = f"{self.procedure.name}: {error}"
            raise ArgumentsNotEncodable(msg) from error

    def decode(self, results: bytes | memoryview) -> Any:
        """The result. Surplus bytes behind it are ignored, as every C client does.

        Raises:
            MalformedMessage: The bytes do not fit the declaration; the text names field and offset.
        """
        if self._result is None:
            return None
        try:
            return self._result.decode_from(results, 0)[0]
        except xdr.XDRError as error:
            msg = f"the result of {self.procedure.name}: {error}"
            raise MalformedMessage(msg) from error


class CodecTable:
    """The codecs of the procedures called so far, made when first used."""

    __slots__ = ("_codecs",)

    def __init__(self) -> None:
        # The value holds the procedure, so that no other object can come to have its id.
        self._codecs: dict[int, ProcedureCodec] = {}

    def of(self, procedure: Procedure) -> ProcedureCodec:
        """The codecs of a procedure."""
        codec = self._codecs.get(id(procedure))
        if codec is None:
            codec = self._codecs[id(procedure)] = ProcedureCodec(procedure)
        return codec
