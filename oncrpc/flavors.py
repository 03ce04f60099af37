"""What a server makes of credentials: one object for each authentication flavor, and the door for more.

A flavor sees each call before the program does. It accepts it (as whom, with which verifier in the
reply, and with arguments and results wrapped or not), refuses it with an auth_stat, answers it
itself, or drops it without a reply. That is what RPCSEC_GSS (RFC 2203) and AUTH_TLS (RFC 9289)
need; both come in as further subclasses of :class:`Flavor`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar

from oncrpc.auth import AUTH_DH, AUTH_NONE, AUTH_SHORT, AUTH_SYS, AuthDH, AuthSys, Credential, encode_opaque_auth
from oncrpc.errors import AuthenticationFailed, AuthStat
from oncrpc.message import NULL_VERIFIER, CallHeader
from oncrpc.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from oncrpc.program import Connection, Peer, PeerCredentials

__all__ = [
    "Accepted",
    "Attempt",
    "DHRefused",
    "Dropped",
    "Flavor",
    "Flavors",
    "NoneAccepted",
    "ShortHandles",
    "SysTrusted",
    "default_flavors",
]


class Dropped(Exception):
    """The call is to be forgotten without a reply (RFC 2203, section 5.3.3.1: replays do)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that asks to be accepted.

    Args:
        header: Its header, credential and verifier in it.
        record: The whole message.
        peer: Where it came from.
        netid: How it came.
        known: Whether the address is one of a trusted network.
        process: What the kernel says about the caller, for local sockets.
        connection: The connection it came on; None for datagrams.
        any_flavor: The program does not look at who calls.
    """

    header: CallHeader
    record: bytes | bytearray
    peer: Peer
    netid: str
    known: bool
    process: PeerCredentials | None
    connection: Connection | None
    any_flavor: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """A call that was accepted.

    Args:
        credential: Who calls.
        verifier: The reply's verifier as it stands there: flavor, length, body.
        reusable: The same header bytes (but the xid), by the same kind of peer, may be taken as
            accepted again without asking. False for whatever has sequence numbers or ends.
        unwrap: Turns the bytes after the header into the arguments; None if they are that.
            Raises GarbageArguments (RFC 2203, section 5.3.3.4.2) if they do not check.
        wrap: Turns results into the bytes after the reply's header; None if they are that.
        answer: The results, if the flavor answers the call itself (the control procedures of
            RPCSEC_GSS, the probe of AUTH_TLS); the program does not see it then.
    """

    credential: Credential
    verifier: bytes = NULL_VERIFIER
    reusable: bool = True
    unwrap: Callable[[bytes], bytes] | None = None
    wrap: Callable[[bytes], bytes] | None = None
    answer: bytes | None = None


class Flavor(ABC):
    """What a server does with the credentials of one flavor. Subclass it and give it to the server."""

    flavor: ClassVar[int]
    """the flavor's number on the wire"""

    @abstractmethod
    def accept(self, attempt: Attempt) -> Accepted:
        """Accept the call, or raise.

        Raises:
            AuthenticationFailed: It is denied with that auth_stat.
            Dropped: It gets no reply.
        """


class NoneAccepted(Flavor):
    """AUTH_NONE: everybody may say nothing."""

    flavor = 0

    def accept(self, attempt: Attempt) -> Accepted:  # noqa: ARG002 - nothing to look at
        """Accept."""
        return Accepted(AUTH_NONE)


class SysTrusted(Flavor):
    """AUTH_SYS, for those whose word is taken.

    Args:
        trust: Whose that is.
        short: Gives handles to accepted callers (AUTH_SHORT), if not None.
    """

    flavor = AUTH_SYS

    def __init__(self, trust: Trust, short: ShortHandles | None = None) -> None:
        self._trust = trust
        self._short = short

    def accept(self, attempt: Attempt) -> Accepted:
        """Accept as AuthSys; see :meth:`oncrpc.trust.Trust.judge` for refusals."""
        claim = AuthSys.decode(attempt.header.credential)
        if attempt.any_flavor:
            return Accepted(claim)
        identity = self._trust.judge(claim, known=attempt.known, process=attempt.process)
        if self._short is None:
            return Accepted(identity)
        # A handle may be forgotten while its header is remembered: then it is refused once, and
        # the client comes back with the whole credential, as RFC 5531, appendix A has it.
        return Accepted(identity, self._short.issue(attempt.header.credential, claim), reusable=False)


class ShortHandles(Flavor):
    """AUTH_SHORT: handles for AUTH_SYS credentials seen before (RFC 5531, appendix A).

    A handle is a keyed digest, so it cannot be guessed; it stands for what was claimed, and is
    judged each time as the claim itself would be.

    Args:
        trust: As for AUTH_SYS.
        key: Secret of this server, 16 to 64 random bytes.
        size: Most handles remembered; the longest unused goes first.
    """

    flavor = AUTH_SHORT

    def __init__(self, trust: Trust, key: bytes, size: int = 4096) -> None:
        self._trust = trust
        self._key = key
        self._size = size
        self._claims: OrderedDict[bytes, AuthSys] = OrderedDict()

    def issue(self, body: bytes, claim: AuthSys) -> bytes:
        """Return the reply verifier that carries the handle for an AUTH_SYS credential."""
        handle = blake2b(body, digest_size=16, key=self._key).digest()
        self._claims[handle] = claim
        self._claims.move_to_end(handle)
        if len(self._claims) > self._size:
            self._claims.popitem(last=False)
        return encode_opaque_auth(AUTH_SHORT, handle)

    def accept(self, attempt: Attempt) -> Accepted:
        """Accept a handle that is remembered.

        Raises:
            AuthenticationFailed: AUTH_REJECTEDCRED: it is not; or what AUTH_SYS would be refused for.
        """
        handle = attempt.header.credential
        claim = self._claims.get(handle)
        if claim is None:
            raise AuthenticationFailed(AuthStat.AUTH_REJECTEDCRED, "a handle that we do not remember")
        self._claims.move_to_end(handle)
        if attempt.any_flavor:
            return Accepted(claim, reusable=False)
        identity = self._trust.judge(claim, known=attempt.known, process=attempt.process)
        return Accepted(identity, reusable=False)


class DHRefused(Flavor):
    """AUTH_DH: understood, and refused, since its 192-bit keys protect nothing (RFC 5531, section 14)."""

    flavor = AUTH_DH

    def accept(self, attempt: Attempt) -> Accepted:
        """Refuse.

        Raises:
            AuthenticationFailed: AUTH_BADCRED if it is malformed, AUTH_REJECTEDCRED for a nickname
                (we gave none: RFC 2695, section 2.4), AUTH_TOOWEAK for a full name.
        """
        credential = AuthDH.decode(attempt.header.credential)
        if credential.nickname is not None:
            raise AuthenticationFailed(AuthStat.AUTH_REJECTEDCRED, f"AUTH_DH nickname {credential.nickname}")
        raise AuthenticationFailed(AuthStat.AUTH_TOOWEAK, f"AUTH_DH of {credential.name!r}")


Flavors = dict[int, Flavor]
"""The flavors of a server, by number."""


def default_flavors(trust: Trust | None = None, *, short_key: bytes | None = None) -> Flavors:
    """Return AUTH_NONE, AUTH_SYS, AUTH_DH refused and, with a key, AUTH_SHORT.

    Args:
        trust: Whose AUTH_SYS is taken; loopback's and local sockets' by default.
        short_key: Secret for AUTH_SHORT handles; None issues none.
    """
    trust = trust or Trust()
    short = ShortHandles(trust, short_key) if short_key is not None else None
    flavors: list[Flavor] = [NoneAccepted(), SysTrusted(trust, short), DHRefused()]
    if short is not None:
        flavors.append(short)
    return {each.flavor: each for each in flavors}
