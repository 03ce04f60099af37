"""Which of a machine's addresses to tell a caller: what rpcbind calls merging.

A server that listens everywhere registers 0.0.0.0 or ::, which a remote caller cannot use. The registry tells it the
address of an interface instead: the one the caller contacted us by, or one on the caller's network. Pure functions;
the list of interfaces comes in from interfaces.py.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpcbind_reg.uaddr import UniversalAddressError, join, parse, transport_of

if TYPE_CHECKING:
    from collections.abc import Iterable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of one network interface that is up.

    Attributes:
        name: As in "eth0".
        address: The address, and the network it is on.
        ordinary: Whether it is neither the loopback nor a point-to-point interface.
    """

    name: str
    address: ipaddress.IPv4Interface | ipaddress.IPv6Interface
    ordinary: bool


def merge(netid: str, uaddr: str, caller: str, hint: str, interfaces: Iterable[Interface]) -> str:
    """Return the universal address by which a caller reaches a service of this machine.

    An address that is not a wildcard is returned as it is: the service listens there and nowhere else. (rpcbind
    replaces it too, and so sends callers to an address where nobody listens.)

    Args:
        netid: The service's transport.
        uaddr: The address it registered.
        caller: The caller's IP address, or "" or a path for one on a local socket.
        hint: The universal address by which the caller says it reached us (r_addr of a GETADDR), or "".
        interfaces: This machine's, in the system's order.

    Returns:
        A universal address of the same netid; the registered one if there is nothing better to say.
    """
    transport = transport_of(netid)
    if transport is None or transport.family == "loopback":
        return uaddr
    try:
        service = parse(netid, uaddr)
        asker = ipaddress.ip_address(caller)
    except (UniversalAddressError, ValueError):
        return uaddr
    if not service.is_wildcard or asker.is_unspecified or service.port is None:
        return uaddr
    best = _best(_wanted(netid, hint, asker), asker, interfaces)
    return uaddr if best is None else join(str(best), service.port)


def _wanted(netid: str, hint: str, asker: IPAddress) -> IPAddress:
    """The address to stay close to: the hint, if it is of the caller's family, else the caller itself."""
    if hint:
        try:
            address = ipaddress.ip_address(parse(netid, hint).host)
        except UniversalAddressError:
            return asker
        if not address.is_unspecified:
            return address
    return asker


def _best(wanted: IPAddress, asker: IPAddress, interfaces: Iterable[Interface]) -> IPAddress | None:
    same_network: IPAddress | None = None
    ordinary: IPAddress | None = None
    first: IPAddress | None = None
    for interface in interfaces:
        address = interface.address.ip
        if address.version != wanted.version:
            continue
        if _bare(address) == _bare(wanted):
            return _bare(address)
        if address.is_link_local and not (asker.is_link_local or wanted.is_link_local):
            continue
        if same_network is None and _bare(wanted) in interface.address.network and _same_zone(interface, asker):
            same_network = _bare(address)
        if ordinary is None and interface.ordinary:
            ordinary = _bare(address)
        if first is None:
            first = _bare(address)
    return same_network or ordinary or first


def _bare(address: IPAddress) -> IPAddress:
    """The address without a zone: a zone has no meaning on another machine."""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return ipaddress.IPv6Address(address.packed)
    return address


def _same_zone(interface: Interface, asker: IPAddress) -> bool:
    """Every IPv6 interface has fe80::/10 on it: a link-local caller's zone tells which one it is on."""
    zone = getattr(asker, "scope_id", None)
    return (
        zone is None
        or not interface.address.ip.is_link_local
        or zone
        in (
            interface.name,
            getattr(interface.address.ip, "scope_id", None),
        )
    )
