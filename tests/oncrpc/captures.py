"""Captures made by hand, header by header, for tests of what reads them."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "CLIENT",
    "ETHERNET",
    "RAW",
    "SERVER",
    "call",
    "ethernet",
    "ip",
    "ipv6_fragment",
    "pcap",
    "pcapng",
    "reply",
    "tcp",
    "udp",
]

ETHERNET: Final = 1
RAW: Final = 101
CLIENT: Final = ("192.0.2.1", 700)
SERVER: Final = ("192.0.2.2", 111)


def call(xid: int, procedure: int = 0, arguments: bytes = b"", *, rpcvers: int = 2) -> bytes:
    """A call to the portmapper."""
    return struct.pack(">10I", xid, 0, rpcvers, 100000, 2, procedure, 0, 0, 0, 0) + arguments


def reply(xid: int, results: bytes = b"", accept: int = 0) -> bytes:
    return struct.pack(">6I", xid, 1, 0, 0, 0, accept) + results


def udp(data: bytes, source: int = CLIENT[1], target: int = SERVER[1]) -> bytes:
    return struct.pack(">HHHH", source, target, 8 + len(data), 0) + data


def tcp(data: bytes, sequence: int, source: int = CLIENT[1], target: int = SERVER[1], *, flags: int = 0x18) -> bytes:
    return struct.pack(">HHIIBBHHH", source, target, sequence & 0xFFFFFFFF, 0, 5 << 4, flags, 0xFFFF, 0, 0) + data


def ip(
    payload: bytes,
    protocol: int,
    source: str = CLIENT[0],
    target: str = SERVER[0],
    *,
    ident: int = 0,
    offset: int = 0,
    more: bool = False,
) -> bytes:
    """An IPv4 or IPv6 packet."""
    ends = ip_address(source).packed, ip_address(target).packed
    if len(ends[0]) == 16:
        return struct.pack(">IHBB", 0x60000000, len(payload), protocol, 64) + b"".join(ends) + payload
    flags = offset // 8 | (0x2000 if more else 0)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), ident, flags, 64, protocol, 0)
    return head + b"".join(ends) + payload


def ipv6_fragment(payload: bytes, following: int, ident: int, offset: int, *, more: bool) -> bytes:
    """A fragment header and what follows it; its own number is 44."""
    return struct.pack(">BBHI", following, 0, offset | more, ident) + payload


def ethernet(packet: bytes, *, vlans: Sequence[int] = (), padding: int = 0) -> bytes:
    kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    tags = b"".join(struct.pack(">HH", 0x8100, vlan) for vlan in vlans)
    return bytes(12) + tags + kind.to_bytes(2, "big") + packet + bytes(padding)


def pcap(packets: Iterable[bytes], link: int = RAW, *, order: str = "<", nano: bool = False, snap: int = 0) -> bytes:
    """A classic capture; packet n comes n milliseconds after the epoch."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap or 65535, link)]
    for number, packet in enumerate(packets):
        kept = packet[:snap] if snap else packet
        part = number * (1_000_000 if nano else 1_000)
        out.append(struct.pack(f"{order}IIII", 0, part, len(kept), len(packet)) + kept)
    return b"".join(out)


def _block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + size + body + size


def pcapng(sections: Iterable[tuple[str, Sequence[tuple[int, int]], Sequence[tuple[int, int, bytes]]]]) -> bytes:
    """A capture of sections: byte order, interfaces (link type, tsresol), packets (interface, ticks, bytes)."""
    out = []
    for order, interfaces, packets in sections:
        out.append(_block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1)))
        for link, resolution in interfaces:
            options = struct.pack(f"{order}HH", 9, 1) + bytes([resolution, 0, 0, 0]) + bytes(4)
            out.append(_block(order, 1, struct.pack(f"{order}HHI", link, 0, 0) + options))
        for interface, ticks, packet in packets:
            head = struct.pack(f"{order}IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet))
            out.append(_block(order, 6, head + packet))
    return b"".join(out)
