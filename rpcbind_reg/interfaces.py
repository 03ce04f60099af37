"""This machine's network interfaces, from getifaddrs(3).

The standard library lists their names only, so the C function is called. Where there is none, the list is empty, and
merging (addresses.py) leaves registered addresses alone.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import sys
from typing import Any, Final

from rpcbind_reg.addresses import Interface

IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_POINTOPOINT: Final = 0x10

_PLACE: Final[dict[int, tuple[int, int]]] = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}
"""Where the address lies in a socket address: (offset, length) by family."""


class _IfAddrs(ctypes.Structure):
    """The head of ``struct ifaddrs``, which is the same on Linux, the BSDs and macOS."""


_IfAddrs._fields_ = [
    ("ifa_next", ctypes.POINTER(_IfAddrs)),
    ("ifa_name", ctypes.c_char_p),
    ("ifa_flags", ctypes.c_uint),
    ("ifa_addr", ctypes.c_void_p),
    ("ifa_netmask", ctypes.c_void_p),
]


def list_interfaces() -> list[Interface]:
    """Return the IPv4 and IPv6 addresses of all interfaces that are up, in the system's order.

    Link-local addresses carry the interface's name as their zone.

    Raises:
        OSError: The system refused to tell.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "getifaddrs"):
        return []
    libc.freeifaddrs.argtypes = [ctypes.POINTER(_IfAddrs)]
    libc.freeifaddrs.restype = None
    head = ctypes.POINTER(_IfAddrs)()
    if libc.getifaddrs(ctypes.byref(head)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    found: list[Interface] = []
    try:
        pointer = head
        while pointer:
            entry = pointer.contents
            interface = _interface(entry) if entry.ifa_flags & IFF_UP else None
            if interface is not None:
                found.append(interface)
            pointer = entry.ifa_next
    finally:
        libc.freeifaddrs(head)
    return found


def _interface(entry: Any) -> Interface | None:
    packed, mask = _address(entry.ifa_addr), _address(entry.ifa_netmask)
    if packed is None or mask is None or len(packed) != len(mask):
        return None
    prefix = int.from_bytes(mask, "big").bit_count()
    name = os.fsdecode(entry.ifa_name)
    address = ipaddress.ip_address(packed)
    zone = f"%{name}" if isinstance(address, ipaddress.IPv6Address) and address.is_link_local else ""
    ordinary = not entry.ifa_flags & (IFF_LOOPBACK | IFF_POINTOPOINT)
    return Interface(name, ipaddress.ip_interface(f"{address}{zone}/{prefix}"), ordinary)


def _address(pointer: int | None) -> bytes | None:
    if not pointer:
        return None
    head = ctypes.string_at(pointer, 2)
    # The BSDs keep a length octet before a family of one octet.
    family = head[1] if sys.platform == "darwin" or "bsd" in sys.platform else int.from_bytes(head, sys.byteorder)
    place = _PLACE.get(family)
    if place is None:
        return None
    offset, length = place
    return ctypes.string_at(pointer + offset, length)
