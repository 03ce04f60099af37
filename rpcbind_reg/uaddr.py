"""Network identifiers and universal addresses (RFC 5665; RFC 1833, section 1).

A netid names a transport ("tcp6"); a universal address names a place on it, as text: ``192.0.2.7.203.81`` is port
52049 of 192.0.2.7, ``::1.0.111`` is port 111 of ::1, and on the local transport the address is a path. No I/O here.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Final

NETID_MAX: Final = 128
"""Most octets in a netid (RFC 5665, section 5.1)."""

UADDR_MAX: Final = 255
"""Most octets in a universal address that we keep. The longest real ones are paths of 108 (sockaddr_un) and IPv6
addresses with a zone; libtirpc itself formats into buffers of 256."""

PORT_MAX: Final = 65535
"""Highest port."""

NC_TPI_CLTS: Final = 1
"""Connectionless (RFC 1833, section 2.1, r_nc_semantics)."""
NC_TPI_COTS: Final = 2
"""Connection oriented."""
NC_TPI_COTS_ORD: Final = 3
"""Connection oriented, with graceful close."""
NC_TPI_RAW: Final = 4
"""Raw transport."""

SUN_PATH: Final = 108
"""Octets of sun_path in Linux's struct sockaddr_un."""

IPPROTO_TCP: Final = 6
"""The portmapper's number for TCP (RFC 1833, section 3.1)."""
IPPROTO_UDP: Final = 17
"""The portmapper's number for UDP (RFC 1833, section 3.1)."""


class UniversalAddressError(ValueError):
    """A text is no universal address of its netid, or an address cannot be written as one."""


@dataclass(frozen=True, slots=True)
class Transport:
    """What a netid stands for: the fields of /etc/netconfig and of RPCBPROC_GETADDRLIST.

    Attributes:
        netid: The name, as in "udp6".
        semantics: One of the NC_TPI constants.
        family: Protocol family: "inet", "inet6" or "loopback".
        protocol: Protocol name: "tcp", "udp", ..., or "-" where there is none.
    """

    netid: str
    semantics: int
    family: str
    protocol: str

    @property
    def any_host(self) -> str:
        """The host that means every address of this machine: "0.0.0.0", "::", or "" for local transports."""
        return {"inet": "0.0.0.0", "inet6": "::"}.get(self.family, "")

    @property
    def ip_protocol(self) -> int | None:
        """The portmapper's protocol number, or None if portmap version 2 cannot name this transport."""
        return {"tcp": IPPROTO_TCP, "udp": IPPROTO_UDP}.get(self.netid)


TRANSPORTS: Final[dict[str, Transport]] = {
    transport.netid: transport
    for transport in (
        Transport("udp", NC_TPI_CLTS, "inet", "udp"),
        Transport("tcp", NC_TPI_COTS_ORD, "inet", "tcp"),
        Transport("udp6", NC_TPI_CLTS, "inet6", "udp"),
        Transport("tcp6", NC_TPI_COTS_ORD, "inet6", "tcp"),
        Transport("local", NC_TPI_COTS_ORD, "loopback", "-"),
        Transport("unix", NC_TPI_COTS_ORD, "loopback", "-"),
        Transport("ticlts", NC_TPI_CLTS, "loopback", "-"),
        Transport("ticots", NC_TPI_COTS, "loopback", "-"),
        Transport("ticotsord", NC_TPI_COTS_ORD, "loopback", "-"),
        Transport("sctp", NC_TPI_COTS_ORD, "inet", "sctp"),
        Transport("sctp6", NC_TPI_COTS_ORD, "inet6", "sctp"),
        Transport("rdma", NC_TPI_COTS, "inet", "rdma"),
        Transport("rdma6", NC_TPI_COTS, "inet6", "rdma"),
        Transport("dccp", NC_TPI_CLTS, "inet", "dccp"),
        Transport("dccp6", NC_TPI_CLTS, "inet6", "dccp"),
    )
}
"""Every netid whose address format is known here (RFC 5665, tables 1 and 2; "local" and "unix" as in netconfig(5))."""


def transport_of(netid: str) -> Transport | None:
    """Return what a netid stands for, or None if it is not in TRANSPORTS.

    Netids differ in more than case (RFC 5665, section 5.1), so case is ignored, as rpcbind does.
    """
    return TRANSPORTS.get(netid.lower())


def netid_of_protocol(protocol: int) -> str | None:
    """Return "tcp" or "udp" for a portmapper protocol number, or None for any other."""
    return {IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp"}.get(protocol)


@dataclass(frozen=True, slots=True)
class Address:
    """A universal address taken apart.

    Attributes:
        host: IP address as text (with "%zone" if it came with one), or the path of a local transport.
        port: Port, 0 to 65535; None for local transports.
    """

    host: str
    port: int | None

    @property
    def is_wildcard(self) -> bool:
        """Whether the host means every address of the machine (0.0.0.0, ::)."""
        return self.port is not None and ipaddress.ip_address(self.host).is_unspecified


def parse(netid: str, uaddr: str) -> Address:
    """Take a universal address apart (RFC 5665, section 5.2.3).

    Args:
        netid: The transport it belongs to.
        uaddr: Such as "127.0.0.1.2.88", "::1.2.88" or "/run/rpcbind.sock".

    Raises:
        UniversalAddressError: The netid's format is not known, or the text does not follow it.
    """
    transport = transport_of(netid)
    if transport is None:
        message = f"the address format of netid {netid!r} is not known"
        raise UniversalAddressError(message)
    if transport.family == "loopback":
        if not uaddr:
            message = f"{netid}: an address has at least one octet (RFC 5665, section 5.2.3.1)"
            raise UniversalAddressError(message)
        return Address(uaddr, None)
    host, high, low = _pieces(netid, uaddr)
    try:
        ip = ipaddress.IPv4Address(host) if transport.family == "inet" else ipaddress.IPv6Address(host)
    except ValueError as error:
        message = f"{netid}: no address of this family in {uaddr!r}: {error}"
        raise UniversalAddressError(message) from None
    return Address(str(ip), high << 8 | low)


def _pieces(netid: str, uaddr: str) -> tuple[str, int, int]:
    pieces = uaddr.rsplit(".", 2)
    if len(pieces) == 3 and all(p.isascii() and p.isdigit() and len(p) <= 3 and int(p) < 256 for p in pieces[1:]):
        return pieces[0], int(pieces[1]), int(pieces[2])
    message = f"{netid}: {uaddr!r} does not end in a port, two numbers from 0 to 255 (RFC 5665, section 5.2.3.3)"
    raise UniversalAddressError(message)


def join(host: str, port: int) -> str:
    """Write a universal address: an IP address or path, and a port (ignored for a path).

    Raises:
        UniversalAddressError: The host is neither an IP address nor a path, or the port is not 0 to 65535.
    """
    if host.startswith("/"):
        return host
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        message = f"{host!r} is no IP address; look the name up first"
        raise UniversalAddressError(message) from None
    if not 0 <= port <= PORT_MAX:
        message = f"{port} is no port"
        raise UniversalAddressError(message)
    return f"{ip}.{port >> 8}.{port & 0xFF}"


def port_of(netid: str, uaddr: str) -> int | None:
    """Return the port in a universal address, or None if it has none or is malformed."""
    try:
        return parse(netid, uaddr).port
    except UniversalAddressError:
        return None


def to_sockaddr(netid: str, uaddr: str) -> bytes:
    """Return the address as this machine's ``struct sockaddr`` (what RPCBPROC_UADDR2TADDR answers).

    The form is the platform's own: the procedure is meant for programs on the same machine (RFC 1833, section 2.2.1).

    Raises:
        UniversalAddressError: As parse().
    """
    address = parse(netid, uaddr)
    if address.port is None:
        return _family(socket.AF_UNIX) + address.host.encode("utf-8", "surrogateescape")[:SUN_PATH]
    ip = ipaddress.ip_address(address.host)
    port = struct.pack(">H", address.port)
    if isinstance(ip, ipaddress.IPv4Address):
        return _family(socket.AF_INET) + port + ip.packed + bytes(8)
    zone = ip.scope_id
    scope = int(zone) if zone and zone.isdigit() else 0
    return _family(socket.AF_INET6) + port + bytes(4) + ip.packed + struct.pack("=I", scope)


def from_sockaddr(netid: str, sockaddr: bytes) -> str:
    """Return the universal address in a ``struct sockaddr`` of this machine (RPCBPROC_TADDR2UADDR).

    Raises:
        UniversalAddressError: It is too short, or not of the netid's family.
    """
    transport = transport_of(netid)
    family = None if transport is None else transport.family
    if len(sockaddr) >= 8 and family == "inet" and sockaddr[:2] == _family(socket.AF_INET):
        return join(str(ipaddress.IPv4Address(sockaddr[4:8])), int.from_bytes(sockaddr[2:4], "big"))
    if len(sockaddr) >= 24 and family == "inet6" and sockaddr[:2] == _family(socket.AF_INET6):
        return join(str(ipaddress.IPv6Address(sockaddr[8:24])), int.from_bytes(sockaddr[2:4], "big"))
    if len(sockaddr) > 2 and family == "loopback" and sockaddr[:2] == _family(socket.AF_UNIX):
        path = sockaddr[2 : 2 + SUN_PATH].split(b"\0", 1)[0]
        if path:
            return path.decode("utf-8", "surrogateescape")
    message = f"{len(sockaddr)} bytes are no socket address of netid {netid!r}"
    raise UniversalAddressError(message)


def _family(family: socket.AddressFamily) -> bytes:
    # The BSDs and macOS keep a length octet before a family of one octet; Linux and Solaris have a 16-bit family.
    if sys.platform == "darwin" or "bsd" in sys.platform:
        lengths = {socket.AF_INET: 16, socket.AF_INET6: 28}
        return bytes((lengths.get(family, 106), family))
    return struct.pack("=H", family)
