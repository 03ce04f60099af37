"""Whose word is taken: which addresses may use AUTH_SYS, and for whom.

AUTH_SYS is an assertion without any proof (RFC 5531, section 14), so it counts for something only
where the network vouches for its machines. A source port below 1024 never adds anything: any
machine's root, and any machine without one, can use it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from oncrpc.errors import AuthenticationFailed, AuthStat

if TYPE_CHECKING:
    from oncrpc.auth import AuthSys
    from oncrpc.program import Peer, PeerCredentials

__all__ = ["LOOPBACK", "NOBODY", "Trust"]

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
"""the networks trusted by default"""
NOBODY: Final = 65_534
"""uid and gid that stand for nobody"""


@dataclass(frozen=True, slots=True)
class Trust:
    """Which networks are trusted to say the truth about their users.

    Args:
        networks: Networks in CIDR notation. Peers in them may use AUTH_SYS, and may get UDP
            replies longer than their calls. Local (Unix-domain) sockets are always trusted.
        squash_root: Take uid 0 from the network as nobody's. Over a local socket the kernel says
            who it is.

    Raises:
        ValueError: A network is none.
    """

    networks: tuple[str, ...] = LOOPBACK
    squash_root: bool = True
    _networks: tuple[IPv4Network | IPv6Network, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse the networks once."""
        object.__setattr__(self, "_networks", tuple(ip_network(text) for text in self.networks))

    @classmethod
    def everyone(cls, *, squash_root: bool = True) -> Trust:
        """Trust every address. For closed networks, and programs that never look at who calls."""
        return cls(("0.0.0.0/0", "::/0"), squash_root)

    def knows(self, peer: Peer) -> bool:
        """Whether `peer` is on a local socket or in one of the networks."""
        if not peer.host:
            return True
        try:
            address = ip_address(peer.host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def judge(self, claim: AuthSys, *, known: bool, process: PeerCredentials | None) -> AuthSys:
        """Return the identity that an AUTH_SYS credential gives its caller.

        Args:
            claim: What the caller says.
            known: What knows() said of its address.
            process: What the kernel says, for a local socket.

        Raises:
            AuthenticationFailed: AUTH_TOOWEAK from an address that is not trusted; AUTH_BADCRED
                from a local process that claims another user (root may claim any).
        """
        if not known:
            raise AuthenticationFailed(AuthStat.AUTH_TOOWEAK, "AUTH_SYS from an address that is not trusted")
        if process is not None:
            if process.uid not in {0, claim.uid}:
                raise AuthenticationFailed(
                    AuthStat.AUTH_BADCRED, f"process {process.pid} of uid {process.uid} says that it is uid {claim.uid}"
                )
            return claim
        if claim.uid == 0 and self.squash_root:
            return replace(claim, uid=NOBODY, gid=NOBODY, gids=())
        return claim
