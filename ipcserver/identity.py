"""Who a caller is: from the credential of a call and the place it came from to a uid and gids.

AUTH_SYS is only the client's word (RFC 5531, section 14), so it counts only where the operator says that the
network may be believed: on loopback by default.  On the local socket the kernel itself names the peer.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from oncrpc.auth import AuthNone, AuthSys
from oncrpc.errors import AuthenticationFailed, AuthStat
from oncrpc.trust import LOOPBACK, NOBODY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oncrpc.program import Call

__all__ = ["REMEMBERED", "Identities", "Identity", "Trust", "TrustError"]

REMEMBERED: Final = 4096
"""Most callers, and most addresses, that are remembered to save a look-up."""


class TrustError(ValueError):
    """A text that does not name a trusted network; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, as System V permissions see it."""

    uid: int
    gid: int
    gids: tuple[int, ...] = ()
    """Supplementary groups."""


@dataclass(frozen=True, slots=True)
class Trust:
    """A network whose AUTH_SYS credentials are believed.

    Attributes:
        network: The addresses it holds for.
        root: Whether a claimed uid 0 is believed; otherwise it becomes NOBODY, as with NFS's ``root_squash``.
        uids: Claimed uid to local uid, for networks that number their users in another way.
    """

    network: IPv4Network | IPv6Network
    root: bool = False
    uids: Mapping[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> Trust:
        """Read ``NETWORK[:root][:CLAIMED=LOCAL,...]``, for example ``192.0.2.0/24:1001=501,1002=502``.

        An IPv6 network stands in brackets: ``[2001:db8::]/32:root``.

        Raises:
            TrustError: The text has no such form.
        """
        if text.startswith("["):
            name, _, rest = text[1:].partition("]")
            name, rest = name + rest.partition(":")[0], rest.partition(":")[2]
        else:
            name, _, rest = text.partition(":")
        try:
            network = ip_network(name, strict=False)
        except ValueError:
            message = f"{name!r} is not a network (for example 192.0.2.0/24 or [2001:db8::]/32)"
            raise TrustError(message) from None
        root = False
        uids: dict[int, int] = {}
        for option in filter(None, rest.split(":")):
            if option == "root":
                root = True
                continue
            for pair in option.split(","):
                claimed, equals, local = pair.partition("=")
                if not (equals and claimed.isdecimal() and local.isdecimal()):
                    message = f"{pair!r} in {text!r} is neither 'root' nor CLAIMED=LOCAL"
                    raise TrustError(message)
                uids[int(claimed)] = int(local)
        return cls(network, root, uids or None)

    def believe(self, claim: AuthSys) -> Identity:
        """Return the identity that this network's word makes of a credential."""
        uid = claim.uid if self.uids is None else self.uids.get(claim.uid, claim.uid)
        if uid == 0 and not self.root:
            return Identity(NOBODY, NOBODY)
        return Identity(uid, claim.gid, tuple(claim.gids))


@lru_cache(maxsize=1024)
def _groups(uid: int, gid: int) -> tuple[int, ...]:
    """Return the groups of a local user, as the system's files name them: a socket tells uid and gid only."""
    try:
        return tuple(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except (KeyError, OSError):
        return ()


_ALWAYS: Final = tuple(Trust(ip_network(network)) for network in LOOPBACK)
"""What is believed behind all that the operator names, without root."""


class Identities:
    """Decides for each call who its caller is.

    Args:
        trusts: Networks to believe, the first that contains the peer decides; loopback is always believed
            (without root) behind them.
    """

    def __init__(self, trusts: Sequence[Trust] = ()) -> None:
        self._trusts = (*trusts, *_ALWAYS)
        self._by_host: dict[str, Trust | None] = {}

    def of(self, call: Call) -> Identity:
        """Return who makes this call.

        Raises:
            AuthenticationFailed: With AUTH_TOOWEAK: the caller's network is not trusted, or the flavor says
                nothing that this service knows (RFC 5531, section 9).
        """
        credential = call.credential
        connection = call.connection
        kernel = connection.peer_credentials if connection is not None else None
        if kernel is not None:
            if kernel.uid == 0 and isinstance(credential, AuthSys):
                return Identity(credential.uid, credential.gid, tuple(credential.gids))  # root may speak for anybody
            return Identity(kernel.uid, kernel.gid, _groups(kernel.uid, kernel.gid))
        trust = self._trust(call.peer.host)
        if trust is None:
            raise AuthenticationFailed(AuthStat.AUTH_TOOWEAK)
        if isinstance(credential, AuthSys):
            return trust.believe(credential)
        if isinstance(credential, AuthNone):
            return Identity(NOBODY, NOBODY)
        raise AuthenticationFailed(AuthStat.AUTH_TOOWEAK)

    def _trust(self, host: str) -> Trust | None:
        """Return the trust that holds for an address; remembered, for every call asks."""
        try:
            return self._by_host[host]
        except KeyError:
            pass
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return None
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        trust = next((trust for trust in self._trusts if address in trust.network), None)
        if len(self._by_host) >= REMEMBERED:  # bounded: an address is only remembered to save a millisecond
            self._by_host.clear()
        self._by_host[host] = trust
        return trust
