"""The stubs of c_server/sample.x, as the compiler writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import xdr
from oncrpc import program as _rpc

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

Blob = Annotated[bytes, xdr.Opaque()]
Integer = Annotated[int, xdr.Int]


@xdr.struct
class Pair:
    """Two numbers."""

    a: Annotated[int, xdr.Int]
    b: Annotated[int, xdr.Int]


@xdr.struct
class Who:
    """A credential, as understood."""

    flavor: Annotated[int, xdr.UInt]
    uid: Annotated[int, xdr.UInt]
    gid: Annotated[int, xdr.UInt]
    gids: Annotated[list[Annotated[int, xdr.UInt]], xdr.Array(max=16)]
    machine: Annotated[str, xdr.String(max=255)]


PROCEDURES = (
    _rpc.Procedure(0, "SAMPLE_NULL", "sample_null", (), None),
    _rpc.Procedure(1, "SAMPLE_ECHO", "sample_echo", (Blob,), Blob),
    _rpc.Procedure(2, "SAMPLE_ADD", "sample_add", (Pair,), Integer),
    _rpc.Procedure(3, "SAMPLE_FAIL", "sample_fail", (Integer,), Integer),
    _rpc.Procedure(4, "SAMPLE_WHO", "sample_who", (), Who),
    _rpc.Procedure(5, "SAMPLE_COUNT", "sample_count", (), Integer),
    _rpc.Procedure(9, "SAMPLE_NOWHERE", "sample_nowhere", (), None),
)


class SampleClient(_rpc.ClientStub):
    """Deferreds."""

    program: ClassVar[int] = 0x20000601
    version: ClassVar[int] = 1
    program_name: ClassVar[str] = "SAMPLE_PROG"
    version_name: ClassVar[str] = "SAMPLE_VERS"
    procedures: ClassVar[tuple[_rpc.Procedure, ...]] = PROCEDURES

    def sample_null(self, *, timeout: float | None = None) -> Deferred[None]:
        answer: Deferred[None] = self._call(0, timeout=timeout)
        return answer

    def sample_echo(self, arg: bytes, *, timeout: float | None = None) -> Deferred[bytes]:
        answer: Deferred[bytes] = self._call(1, arg, timeout=timeout)
        return answer

    def sample_add(self, arg: Pair, *, timeout: float | None = None) -> Deferred[int]:
        answer: Deferred[int] = self._call(2, arg, timeout=timeout)
        return answer

    def sample_count(self, *, timeout: float | None = None) -> Deferred[int]:
        answer: Deferred[int] = self._call(5, timeout=timeout)
        return answer

    def shout(self) -> None:
        """SAMPLE_COUNT without a reply."""
        self._send(5)


class SampleSyncClient(_rpc.ClientStub):
    """Plain results."""

    program: ClassVar[int] = 0x20000601
    version: ClassVar[int] = 1
    procedures: ClassVar[tuple[_rpc.Procedure, ...]] = PROCEDURES

    def sample_null(self, *, timeout: float | None = None) -> None:
        self._call(0, timeout=timeout)

    def sample_echo(self, arg: bytes, *, timeout: float | None = None) -> bytes:
        answer: bytes = self._call(1, arg, timeout=timeout)
        return answer

    def sample_add(self, arg: Pair, *, timeout: float | None = None) -> int:
        answer: int = self._call(2, arg, timeout=timeout)
        return answer

    def sample_fail(self, arg: int, *, timeout: float | None = None) -> int:
        answer: int = self._call(3, arg, timeout=timeout)
        return answer

    def sample_who(self, *, timeout: float | None = None) -> Who:
        answer: Who = self._call(4, timeout=timeout)
        return answer

    def sample_count(self, *, timeout: float | None = None) -> int:
        answer: int = self._call(5, timeout=timeout)
        return answer

    def sample_nowhere(self) -> None:
        self._call(6)

    def shout(self) -> None:
        """SAMPLE_COUNT without a reply."""
        self._send(5)


class NowhereProgram(SampleSyncClient):
    """A program that is not served."""

    program: ClassVar[int] = 0x20000602


class NowhereVersion(SampleSyncClient):
    """A version that is not served."""

    version: ClassVar[int] = 7
