"""Credentials: what a call says about who calls (RFC 5531, sections 8.2 and 10, appendix A; RFC 2695).

Only the bodies are here, to and from bytes. What a server makes of them is in
:mod:`oncrpc.flavors`.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from struct import Struct, error
from typing import ClassVar, Final

from oncrpc.errors import AuthenticationFailed, AuthStat

__all__ = [
    "AUTH_DH",
    "AUTH_NONE",
    "AUTH_SHORT",
    "AUTH_SYS",
    "AUTH_TLS",
    "MAX_AUTH_BODY",
    "MAX_GIDS",
    "MAX_MACHINENAME",
    "RPCSEC_GSS",
    "AuthDH",
    "AuthNone",
    "AuthShort",
    "AuthSys",
    "Credential",
    "encode_opaque_auth",
]

MAX_AUTH_BODY: Final = 400
"""most bytes in the body of a credential or verifier (RFC 5531, section 8.2)"""
MAX_MACHINENAME: Final = 255
"""most bytes in the machine name of AUTH_SYS (RFC 5531, appendix A)"""
MAX_GIDS: Final = 16
"""most supplementary groups in AUTH_SYS (RFC 5531, appendix A)"""

AUTH_SYS: Final = 1
AUTH_SHORT: Final = 2
AUTH_DH: Final = 3
RPCSEC_GSS: Final = 6
AUTH_TLS: Final = 7

_TWO = Struct(">2I")
_PADS = (b"", b"\0\0\0", b"\0\0", b"\0")
_DH_KEY = 8
_DH_WINDOW = 4
_ADN_FULLNAME, _ADN_NICKNAME = 0, 1


class Credential:
    """Who calls. One subclass for each flavor; `flavor` is its number on the wire."""

    __slots__ = ()

    flavor: ClassVar[int]

    def encode(self) -> bytes:
        """Return the body, without flavor and length.

        Raises:
            ValueError: A field does not fit.
        """
        return b""


@dataclass(frozen=True, slots=True)
class AuthNone(Credential):
    """Nobody in particular (flavor 0)."""

    flavor: ClassVar[int] = 0


AUTH_NONE: Final = AuthNone()
"""The one instance that is needed."""


@dataclass(frozen=True, slots=True)
class AuthSys(Credential):
    """A user of a Unix system, on the caller's word alone (flavor 1; RFC 5531, appendix A).

    Args:
        stamp: Any number of the caller's choice.
        machinename: Name of the caller's machine; at most 255 bytes. Data, not an identity.
        uid: Effective user.
        gid: Effective group.
        gids: Further groups, at most 16.
    """

    flavor: ClassVar[int] = AUTH_SYS

    stamp: int
    machinename: str
    uid: int
    gid: int
    gids: tuple[int, ...] = ()

    @classmethod
    def current(cls, *, stamp: int = 0) -> AuthSys:
        """Return the identity of this process: its host name, effective uid and gid, first 16 groups."""
        if not hasattr(os, "geteuid"):
            return cls(stamp, socket.gethostname()[:MAX_MACHINENAME], 0, 0)
        gids = tuple(os.getgroups())[:MAX_GIDS]
        return cls(stamp, socket.gethostname()[:MAX_MACHINENAME], os.geteuid(), os.getegid(), gids)

    def encode(self) -> bytes:
        """Return the body.

        Raises:
            ValueError: The name is over 255 bytes, there are over 16 gids, or a number is no
                unsigned 32-bit one.
        """
        name = self.machinename.encode("utf-8", "surrogateescape")
        if len(name) > MAX_MACHINENAME:
            msg = f"a machine name of {len(name)} bytes, {MAX_MACHINENAME} allowed"
            raise ValueError(msg)
        if len(self.gids) > MAX_GIDS:
            msg = f"{len(self.gids)} gids, {MAX_GIDS} allowed"
            raise ValueError(msg)
        try:
            return (
                _TWO.pack(self.stamp, len(name))
                + name
                + _PADS[len(name) & 3]
                + Struct(f">{3 + len(self.gids)}I").pack(self.uid, self.gid, len(self.gids), *self.gids)
            )
        except error as problem:
            msg = f"AUTH_SYS numbers are unsigned, 32 bits: {problem}"
            raise ValueError(msg) from None

    @classmethod
    def decode(cls, body: bytes) -> AuthSys:
        """Read a body.

        Raises:
            AuthenticationFailed: AUTH_BADCRED. It is cut short, its counts are over their limits,
                or they do not add up to its length.
        """
        size = len(body)
        try:
            stamp, name_size = _TWO.unpack_from(body)
            if name_size > MAX_MACHINENAME:
                raise AuthenticationFailed(AuthStat.AUTH_BADCRED, f"a machine name of {name_size} bytes")
            at = 8 + (name_size + 3 & ~3)
            uid, gid, count = _THREE.unpack_from(body, at)
            if count > MAX_GIDS:
                raise AuthenticationFailed(AuthStat.AUTH_BADCRED, f"{count} gids")
            if size != at + 12 + 4 * count:
                raise AuthenticationFailed(
                    AuthStat.AUTH_BADCRED, f"{size} bytes of AUTH_SYS, its counts make {at + 12 + 4 * count}"
                )
            gids = _GIDS[count].unpack_from(body, at + 12)
        except error:
            raise AuthenticationFailed(AuthStat.AUTH_BADCRED, f"AUTH_SYS cut short at {size} bytes") from None
        return cls(stamp, body[8 : 8 + name_size].decode("utf-8", "surrogateescape"), uid, gid, gids)


_THREE = Struct(">3I")
_GIDS = tuple(Struct(f">{count}I") for count in range(MAX_GIDS + 1))


@dataclass(frozen=True, slots=True)
class AuthShort(Credential):
    """A handle that a server gave for an AUTH_SYS credential (flavor 2; RFC 5531, appendix A).

    Args:
        handle: The bytes of the server's verifier, unchanged; at most 400.
    """

    flavor: ClassVar[int] = AUTH_SHORT

    handle: bytes

    def encode(self) -> bytes:
        """Return the body: the handle."""
        return self.handle


@dataclass(frozen=True, slots=True)
class AuthDH(Credential):
    """A Diffie-Hellman credential (flavor 3; RFC 2695, section 2.1). Read, never believed.

    Args:
        name: The caller's network name, if it gave its full one.
        key: Encrypted conversation key, 8 bytes, with a full name.
        window: Encrypted window, 4 bytes, with a full name.
        nickname: What the server called the caller before, if it gave that instead; else None.
    """

    flavor: ClassVar[int] = AUTH_DH

    name: str = ""
    key: bytes = b""
    window: bytes = b""
    nickname: int | None = None

    @classmethod
    def decode(cls, body: bytes) -> AuthDH:
        """Read a body.

        Raises:
            AuthenticationFailed: AUTH_BADCRED. It is not what RFC 2695 describes.
        """
        try:
            kind, word = _TWO.unpack_from(body)
        except error:
            raise AuthenticationFailed(AuthStat.AUTH_BADCRED, f"AUTH_DH cut short at {len(body)} bytes") from None
        if kind == _ADN_NICKNAME and len(body) == _TWO.size:
            return cls(nickname=word)
        at = 8 + (word + 3 & ~3)
        if kind != _ADN_FULLNAME or word > MAX_MACHINENAME or len(body) != at + _DH_KEY + _DH_WINDOW:
            raise AuthenticationFailed(AuthStat.AUTH_BADCRED, "neither a full name nor a nickname of AUTH_DH")
        name = body[8 : 8 + word].decode("utf-8", "surrogateescape")
        return cls(name, body[at : at + _DH_KEY], body[at + _DH_KEY :])

    def encode(self) -> bytes:
        """Return the body."""
        if self.nickname is not None:
            return _TWO.pack(_ADN_NICKNAME, self.nickname)
        name = self.name.encode("utf-8", "surrogateescape")
        return _TWO.pack(_ADN_FULLNAME, len(name)) + name + _PADS[len(name) & 3] + self.key + self.window


def encode_opaque_auth(flavor: int, body: bytes) -> bytes:
    """Return a credential or verifier as it stands in a message: flavor, length, body, padding.

    Args:
        flavor: Number of the flavor.
        body: At most 400 bytes.

    Raises:
        ValueError: The body is longer (RFC 5531, section 8.2).
    """
    if len(body) > MAX_AUTH_BODY:
        msg = f"{len(body)} bytes of authentication, {MAX_AUTH_BODY} allowed"
        raise ValueError(msg)
    return _TWO.pack(flavor, len(body)) + body + _PADS[len(body) & 3]
