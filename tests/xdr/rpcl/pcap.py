"""Captures made byte by byte: what a test wants tshark to have seen."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["capture", "record", "tcp", "udp"]

CLIENT: Final = bytes([192, 0, 2, 1])
SERVER: Final = bytes([192, 0, 2, 2])
_ETHERNET: Final = 1


def capture(frames: Iterable[bytes]) -> bytes:
    """Give the bytes of a pcap file."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, _ETHERNET)]
    for second, frame in enumerate(frames):
        out += [struct.pack("<IIII", second, 0, len(frame), len(frame)), frame]
    return b"".join(out)


def record(*fragments: bytes) -> bytes:
    """Frame a record as fragments (RFC 5531, section 11)."""
    last = len(fragments) - 1
    return b"".join(
        struct.pack(">I", len(part) | (0x80000000 if index == last else 0)) + part
        for index, part in enumerate(fragments)
    )


def _ip(protocol: int, payload: bytes, *, reply: bool) -> bytes:
    source, target = (SERVER, CLIENT) if reply else (CLIENT, SERVER)
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0, source, target)
    return bytes(12) + b"\x08\x00" + header + payload


def _ports(port: int, *, reply: bool) -> tuple[int, int]:
    return (port, 50000) if reply else (50000, port)


def udp(payload: bytes, *, port: int = 600, reply: bool = False) -> bytes:
    """Give a frame with a datagram from the client, or to it."""
    source, target = _ports(port, reply=reply)
    return _ip(17, struct.pack(">HHHH", source, target, 8 + len(payload), 0) + payload, reply=reply)


def tcp(payload: bytes, *, sequence: int, acknowledged: int = 1, port: int = 600, reply: bool = False) -> bytes:
    """Give a frame with a segment from the client, or to it."""
    source, target = _ports(port, reply=reply)
    header = struct.pack(">HHIIBBHHH", source, target, sequence, acknowledged, 0x50, 0x18, 65535, 0, 0)
    return _ip(6, header + payload, reply=reply)
