"""Capture files, packet by packet: pcap and pcapng, as tcpdump, dumpcap, Wireshark and ``ipcserver`` write them.

Pure. Of dpkt, the small library that could do this, all interfaces of a pcapng but the first are misread (its issue
681: time stamps and link types of merged captures), and the reassembly above would be ours all the same.
Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CaptureError", "CaptureFile", "Packet", "is_capture"]

_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDER: Final = 0x1A2B3C4D
_PCAP: Final[dict[bytes, tuple[Literal["<", ">"], int]]] = {
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
}
"""Byte order and units of a second, by magic number."""

_PCAP_HEAD: Final = 24
_PCAP_VERSION: Final = 2
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_SMALLEST_BLOCK: Final = 12
_TSRESOL, _TSOFFSET = 9, 14
_MAX_INTERFACES: Final = 65_536


class CaptureError(ValueError):
    """A file that is no capture, or one that nothing can be read of; the text says why."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet.

    Attributes:
        number: Ascending from 1, as Wireshark counts.
        at: Seconds since 1970.
        link: Link type (LINKTYPE_...).
        data: What was kept of it.
        size: Bytes that it had.
    """

    number: int
    at: float
    link: int
    data: bytes
    size: int


@dataclass(slots=True)
class _Interface:
    """Where packets were captured."""

    link: int
    snap: int
    units: int = 10**6
    offset: int = 0


def is_capture(data: bytes) -> bool:
    """Return whether bytes begin as a pcap or pcapng file does: by more than the magic number, which may be an xid."""
    if data[:4] == _PCAPNG:
        return int.from_bytes(data[8:12], "big") == _BYTE_ORDER or int.from_bytes(data[8:12], "little") == _BYTE_ORDER
    found = _PCAP.get(data[:4])
    if found is None:
        return False
    return int.from_bytes(data[4:6], "little" if found[0] == "<" else "big") == _PCAP_VERSION


class CaptureFile:
    """A capture in memory.

    Args:
        data: All of the file.

    Raises:
        CaptureError: It is no capture.

    Attributes:
        notes: What was not as it should be, for people; complete once packets() is at its end.
    """

    def __init__(self, data: bytes) -> None:
        if data[:2] == b"\x1f\x8b":
            message = "the file is compressed: gunzip it first"
            raise CaptureError(message)
        if not is_capture(data):
            message = "the file is neither pcap nor pcapng"
            raise CaptureError(message)
        self._data = data
        self.notes: list[str] = []

    def packets(self) -> Iterator[Packet]:
        """Return the packets in the order of the file.

        A file that ends in a packet, or is damaged further on, gives those before, and a note.

        Raises:
            CaptureError: It is damaged before its first packet.
        """
        found = self._pcapng() if self._data[:4] == _PCAPNG else self._pcap()
        count = 0
        try:
            for packet in found:
                count += 1
                yield packet
        except CaptureError as error:
            if not count:
                raise
            self.notes.append(f"{error}; the {count} packets before are shown")

    # -- pcap --------------------------------------------------------------------------------------------------

    def _pcap(self) -> Iterator[Packet]:
        data = self._data
        order, units = _PCAP[data[:4]]
        if len(data) < _PCAP_HEAD:
            message = "the file ends within its header"
            raise CaptureError(message)
        # The upper half tells of checksums behind the packets.
        link = Struct(f"{order}I").unpack_from(data, 20)[0] & 0xFFFF
        head = Struct(f"{order}IIII")
        at, number = _PCAP_HEAD, 0
        while at < len(data):
            if len(data) - at < head.size:
                message = "the file ends within a packet's header"
                raise CaptureError(message)
            seconds, part, kept, size = head.unpack_from(data, at)
            at += head.size
            if kept > len(data) - at:
                message = (
                    f"packet {number + 1} has {kept} bytes by its header, and the file ends after {len(data) - at}"
                )
                raise CaptureError(message)
            number += 1
            yield Packet(number, seconds + part / units, link, data[at : at + kept], max(size, kept))
            at += kept

    # -- pcapng ------------------------------------------------------------------------------------------------

    def _pcapng(self) -> Iterator[Packet]:
        data = self._data
        at, number, order = 0, 0, "<"
        interfaces: list[_Interface] = []
        while at < len(data):
            if data[at : at + 4] == _PCAPNG:
                order = "<" if int.from_bytes(data[at + 8 : at + 12], "little") == _BYTE_ORDER else ">"
                interfaces = []
            if len(data) - at < _SMALLEST_BLOCK:
                message = "the file ends within a block's header"
                raise CaptureError(message)
            kind, size = Struct(f"{order}II").unpack_from(data, at)
            if size < _SMALLEST_BLOCK or size % 4 or size > len(data) - at:
                message = (
                    f"the block at byte {at} has {size} bytes by its header, {len(data) - at} are left: "
                    "it is damaged, or the file is cut"
                )
                raise CaptureError(message)
            body = data[at + 8 : at + size - 4]
            if kind == _INTERFACE:
                if len(interfaces) < _MAX_INTERFACES:
                    interfaces.append(_interface(body, order, at))
            elif kind in {_PACKET, _OLD_PACKET, _SIMPLE_PACKET}:
                number += 1
                yield _packet(kind, body, order, interfaces, number)
            at += size


def _interface(body: bytes, order: str, at: int) -> _Interface:
    """Read an interface description block."""
    if len(body) < 8:  # noqa: PLR2004 - link type, reserved, snap length
        message = f"the interface description at byte {at} is too short"
        raise CaptureError(message)
    link, _, snap = Struct(f"{order}HHI").unpack_from(body)
    found = _Interface(link, snap)
    place = 8
    option = Struct(f"{order}HH")
    while len(body) - place >= option.size:
        code, size = option.unpack_from(body, place)
        value = body[place + 4 : place + 4 + size]
        place += 4 + size + -size % 4
        if not code:
            break
        if code == _TSRESOL and size == 1 and len(value) == 1:
            found.units = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == _TSOFFSET and len(value) == 8:  # noqa: PLR2004 - 64 bits
            found.offset = int.from_bytes(value, "little" if order == "<" else "big", signed=True)
    return found


def _packet(kind: int, body: bytes, order: str, interfaces: list[_Interface], number: int) -> Packet:
    """Read a packet block of any of the three kinds."""
    short = f"packet {number} is too short for what its header says"
    if kind == _SIMPLE_PACKET:
        head = Struct(f"{order}I")
        interface, ticks = 0, 0
        if len(body) < head.size:
            raise CaptureError(short)
        (size,) = head.unpack_from(body)
        kept = size
    else:
        head = Struct(f"{order}IIIII" if kind == _PACKET else f"{order}HHIIII")
        if len(body) < head.size:
            raise CaptureError(short)
        interface, *_, high, low, kept, size = head.unpack_from(body)
        ticks = high << 32 | low
    if interface >= len(interfaces):
        message = f"packet {number} is of interface {interface}, which the file does not describe"
        raise CaptureError(message)
    where = interfaces[interface]
    if kind == _SIMPLE_PACKET:
        kept = min(size, where.snap or size)
    if kept > len(body) - head.size:
        raise CaptureError(short)
    at = where.offset + ticks / where.units
    return Packet(number, at, where.link, body[head.size : head.size + kept], max(size, kept))
