"""Whose socket a loopback port is.

A datagram or a connection from 127.0.0.1 carries no user, but on Linux the kernel lists every socket with its uid in
/proc/net. That is what the identification protocol (RFC 1413) tells, without a daemon. The caller's socket is there
while the caller waits for the answer.
"""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLES: Final = Path("/proc/net")
"""Where the kernel lists the sockets of this network namespace."""

LINES_MAX: Final = 65536
"""Most lines read of one table; a machine with more sockets is told "unknown" rather than made to wait."""


def uid_of_socket(protocol: str, host: str, port: int, *, tables: Path = TABLES) -> int | None:
    """Return the uid of the local socket with this address, or None if it cannot be told.

    Args:
        protocol: "tcp" or "udp".
        host: The socket's address: 127.0.0.1 or ::1.
        port: The socket's port.
        tables: Folder with the kernel's lists (for tests).

    Returns:
        The uid, if all sockets that fit are of one user (several can share a port by SO_REUSEPORT); else None.
    """
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    wanted = {(kernel_form(address), port)}
    if protocol == "udp":
        # A datagram socket is rarely connected: it is listed with the wildcard it was bound to.
        wanted.add((kernel_form(type(address)(0)), port))
    found: set[int] = set()
    for name in (protocol, protocol + "6"):
        try:
            # As bytes: a codec may not be loadable any more where privileges were dropped.
            with (tables / name).open("rb") as table:
                found.update(_uids(table, wanted | {(_as_ipv6(text), number) for text, number in wanted}))
        except OSError:
            # IPv6 switched off, or no Linux. The other table may still tell.
            continue
    return found.pop() if len(found) == 1 else None


def kernel_form(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address as /proc/net writes it: 32-bit words in the machine's order, in upper-case hexadecimal."""
    packed = address.packed
    words = (packed[start : start + 4] for start in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def _as_ipv6(text: str) -> str:
    """How the same address is listed for an IPv6 socket that speaks IPv4 (or as it is, if it is IPv6)."""
    if len(text) == 32:
        return text
    if int(text, 16) == 0:
        return "0" * 32
    return kernel_form(ipaddress.IPv6Address("::ffff:0:0"))[:24] + text


def _uids(table: Iterable[bytes], wanted: set[tuple[str, int]]) -> set[int]:
    uids: set[int] = set()
    for number, line in enumerate(table):
        if number > LINES_MAX:
            return {-1, -2}  # more than one: cannot be told
        fields = line.split(maxsplit=8)
        if number == 0 or len(fields) < 8:
            continue
        text, _, port = fields[1].decode("latin-1").partition(":")
        # State 06 is TIME_WAIT: the socket is gone, its uid reads 0.
        if fields[3] != b"06" and (text, int(port, 16)) in wanted:
            uids.add(int(fields[7]))
    return uids
