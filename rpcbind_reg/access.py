"""Who calls a registry, and what that caller may do.

RFC 1833 lets only programs of the same machine change the table. rpcbind believes every sender with a loopback address,
makes the sender "superuser" if its port is below 1024, and "unknown" otherwise, which lets any local user remove what
another one registered over loopback. Here the system is asked whose socket the loopback port is (owners.py), and a low
port proves nothing; "unknown" remains for systems that cannot tell. Pure functions.
"""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

from rpcbind_reg.mappings import REGISTRY_PROGRAM, owner_name


class Origin(enum.Enum):
    """Where a call came from."""

    LOCAL_SOCKET = "local socket"
    LOOPBACK = "loopback"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who made a call.

    Attributes:
        netid: Transport it came over, as the registry serves it.
        host: The caller's IP address, or "" on a local socket.
        port: The caller's port; 0 on a local socket.
        uid: The caller's user, as the kernel tells it; None if nobody can tell.
    """

    netid: str
    host: str = ""
    port: int = 0
    uid: int | None = None

    @property
    def origin(self) -> Origin:
        """Where the call came from, judged by the address alone."""
        if not self.host:
            return Origin.LOCAL_SOCKET
        return Origin.LOOPBACK if is_loopback(self.host) else Origin.ELSEWHERE

    @property
    def owner(self) -> str:
        """How the table names this caller."""
        return owner_name(self.uid)

    @property
    def may_change(self) -> bool:
        """Whether SET and UNSET are for this caller at all (RFC 1833, section 2.2.2, the last note)."""
        return self.origin is not Origin.ELSEWHERE

    def __str__(self) -> str:
        who = "a user the system does not tell" if self.uid is None else f"uid {self.uid}"
        where = f"port {self.port} of {self.host}" if self.host else "the local socket"
        return where if self.origin is Origin.ELSEWHERE else f"{who} on {where}"


def is_loopback(host: str) -> bool:
    """Whether an IP address is exactly the machine's own 127.0.0.1 or ::1, also written as IPv4-mapped IPv6.

    The other addresses of 127.0.0.0/8 are refused, as by rpcbind: forwarding proxies in containers use them.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address in (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))


@dataclass(frozen=True, slots=True)
class CallitPolicy:
    """Which calls the registry passes on to other programs (CALLIT, BCAST, INDIRECT).

    Off by default: it lets a caller borrow the registry's own address, and a broadcast be answered by many.

    Attributes:
        enabled: Whether anything is passed on at all.
    """

    enabled: bool = False

    def allows(self, program: int, procedure: int) -> bool:
        """Whether this call may be passed on.

        Procedure 0 does nothing, and is what discovery calls. Of the registry itself nothing else is passed on, nor of
        programs that trust the local host (CVE-1999-0168 and its kin: rpcbind's list, with all of mountd, the lock and
        the status daemon added).
        """
        return self.enabled and (procedure == 0 or procedure not in _REFUSED.get(program, ()))


class _All:
    def __contains__(self, _procedure: object) -> bool:
        return True


_REFUSED: dict[int, _All | tuple[int, ...]] = {
    REGISTRY_PROGRAM: _All(),
    100003: _All(),  # nfs
    100004: (3, 4, 5, 8),  # ypserv: match, first, next, all
    100005: _All(),  # mountd: mount and unmount change its list, and dump tells it
    100007: (2,),  # ypbind: set domain
    100009: _All(),  # yppasswdd
    100011: _All(),  # rquotad
    100017: _All(),  # rexd: runs commands
    100021: _All(),  # nlockmgr: locks
    100024: _All(),  # statd: monitors, and tells others to
    100028: _All(),  # ypupdated
    100229: _All(),  # metad
    100300: _All(),  # nisd
}
