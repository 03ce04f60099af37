"""From a captured packet to what TCP or UDP carried: link headers, IP, its fragments. Pure.

Checksums are not looked at: network cards fill them in after the capture. What is neither TCP nor UDP is named, so that
it can be counted, and nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final

__all__ = ["Carried", "Fragments", "NotCarried", "carried", "rest_of"]

_TCP, _UDP = 6, 17
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLANS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_ETHERNET, _RAW, _LINUX_COOKED, _LINUX_COOKED_2 = 1, 101, 113, 276
_LOOPBACK_LINKS: Final = frozenset({0, 108})
_RAW_LINKS: Final = frozenset({12, 14, _RAW, 228, 229})
_MOST_VLANS: Final = 8
_MOST_HEADERS: Final = 16
_PENDING: Final = 1_000
"""Datagrams whose fragments are not all there; the oldest is given up."""
_DATAGRAM: Final = 65_535
_MOST_PIECES: Final = 2_048
_TRIES: Final = 16
"""Joins of one datagram: overlaps with a hole among them must not make every further fragment cost a copy."""

_SHORT: Final = "too short"
_OTHER_NETWORK: Final = "other network protocols"
_OTHER_TRANSPORT: Final = "other transports"
_PART: Final = "IP fragments that were captured in part"
_BAD_IP: Final = "IP headers that contradict themselves"
_BAD_TCP: Final = "TCP headers that contradict themselves"

_IPV4_HEAD: Final = Struct(">BBHHHBBH4s4s")
_IPV6_HEAD: Final = Struct(">IHBB16s16s")
_TCP_HEAD: Final = Struct(">HHIIBB")
_UDP_HEAD: Final = Struct(">HHH")
_SYN: Final = 0x02


class NotCarried(Exception):
    """A packet that brings nothing for RPC; the text is a kind, to be counted."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What one packet, or one reassembled datagram, brought.

    Attributes:
        transport: "tcp" or "udp".
        source: Address and port.
        target: Address and port.
        data: The bytes.
        missing: How many more there were that were not captured.
        sequence: Of TCP: number of the first byte.
        syn: Of TCP: whether the stream begins here.
    """

    transport: str
    source: tuple[str, int]
    target: tuple[str, int]
    data: bytes
    missing: int = 0
    sequence: int = 0
    syn: bool = False


@dataclass(slots=True)
class _Pieces:
    """The fragments of one datagram that came so far."""

    at: float
    number: int
    pieces: dict[int, bytes]
    have: int = 0
    size: int = -1
    tried: int = 0


class Fragments:
    """Puts fragmented IP datagrams together (RFC 791, section 3.2; RFC 8200, section 4.5)."""

    def __init__(self) -> None:
        self._pending: OrderedDict[tuple[bytes, bytes, int, int], _Pieces] = OrderedDict()
        self.given_up = 0

    def add(
        self, key: tuple[bytes, bytes, int, int], offset: int, data: bytes, *, more: bool, at: float, number: int
    ) -> bytes | None:
        """Add a fragment; return the whole if it is complete.

        Args:
            key: Source, target, identification, protocol.
            offset: Where it belongs, in bytes.
            data: Its bytes.
            more: Whether others follow it.
            at: When it came.
            number: Number of its packet.
        """
        if offset + len(data) > _DATAGRAM:
            self.given_up += 1
            return None
        found = self._pending.get(key)
        if found is None:
            if len(self._pending) >= _PENDING:
                self._pending.popitem(last=False)
                self.given_up += 1
            found = self._pending[key] = _Pieces(at, number, {})
        if offset not in found.pieces:
            found.pieces[offset] = data
            found.have += len(data)
        if not more:
            found.size = offset + len(data)
        if found.size < 0 or found.have < found.size:
            return None
        whole = _joined(found)
        found.tried += 1
        if len(whole) == found.size or found.tried > _TRIES or len(found.pieces) > _MOST_PIECES:
            del self._pending[key]
        if len(whole) == found.size:
            return whole
        self.given_up += key not in self._pending
        return None

    def rest(self) -> list[tuple[tuple[bytes, bytes, int, int], _Pieces, bytes]]:
        """Return what never became complete: key, when, and the bytes from its beginning on, if those are there."""
        return [(key, each, found) for key, each in self._pending.items() if (found := _joined(each))]


def _joined(found: _Pieces) -> bytes:
    """Return the bytes from the beginning up to the first hole; of overlaps what lies first counts."""
    whole = bytearray()
    for offset in sorted(found.pieces):
        if offset > len(whole):
            break
        whole += found.pieces[offset][len(whole) - offset :]
    return bytes(whole)


def carried(link: int, data: bytes, missing: int, fragments: Fragments, *, at: float, number: int) -> Carried | None:
    """Return what a packet brought; None if it was a fragment of something that is not complete yet.

    Args:
        link: The link type of the capture.
        data: What was kept of the packet.
        missing: How many bytes of it were not kept.
        fragments: Where fragments are put together.
        at: When it came.
        number: Its number.

    Raises:
        NotCarried: It brings nothing for RPC.
    """
    packet = _ip(link, data)
    version = packet[0] >> 4 if packet else 0
    if version == 4:  # noqa: PLR2004 - IPv4
        return _ipv4(packet, missing, fragments, at, number)
    if version == 6:  # noqa: PLR2004 - IPv6
        return _ipv6(packet, missing, fragments, at, number)
    raise NotCarried(_OTHER_NETWORK if packet else _SHORT)


def _ip(link: int, data: bytes) -> bytes:
    """Return the IP packet behind the link's header."""
    if link in _RAW_LINKS:
        return data
    if link in _LOOPBACK_LINKS:
        return data[4:]
    if link == _ETHERNET:
        at = 12
    elif link == _LINUX_COOKED:
        at = 14
    elif link == _LINUX_COOKED_2:
        at = 0
    else:
        message = f"packets of link type {link}, which is not read here"
        raise NotCarried(message)
    kind = int.from_bytes(data[at : at + 2], "big")
    at += 20 if link == _LINUX_COOKED_2 else 2
    for _ in range(_MOST_VLANS):
        if kind not in _VLANS:
            break
        kind = int.from_bytes(data[at + 2 : at + 4], "big")
        at += 4
    if kind not in {_IPV4, _IPV6}:
        raise NotCarried(_OTHER_NETWORK)
    return data[at:]


def _ipv4(packet: bytes, missing: int, fragments: Fragments, at: float, number: int) -> Carried | None:
    """Read an IPv4 packet."""
    if len(packet) < _IPV4_HEAD.size:
        raise NotCarried(_SHORT)
    first, _, total, ident, flags, _, protocol, _, source, target = _IPV4_HEAD.unpack_from(packet)
    start = (first & 15) * 4
    # A card that cuts large packets itself leaves the length 0.
    end = total or len(packet) + missing
    if start < _IPV4_HEAD.size or end < start:
        raise NotCarried(_BAD_IP)
    payload = packet[start:end]
    lost = end - start - len(payload)
    offset, more = (flags & 0x1FFF) * 8, bool(flags & 0x2000)
    if offset or more:
        if protocol not in {_TCP, _UDP}:
            raise NotCarried(_OTHER_TRANSPORT)
        if lost:
            raise NotCarried(_PART)
        whole = fragments.add((source, target, ident, protocol), offset, payload, more=more, at=at, number=number)
        if whole is None:
            return None
        payload = whole
    return _transport(protocol, source, target, payload, lost)


def _ipv6(packet: bytes, missing: int, fragments: Fragments, at: float, number: int) -> Carried | None:
    """Read an IPv6 packet with its chain of headers."""
    if len(packet) < _IPV6_HEAD.size:
        raise NotCarried(_SHORT)
    _, total, kind, _, source, target = _IPV6_HEAD.unpack_from(packet)
    end = _IPV6_HEAD.size + total if total else len(packet) + missing
    place = _IPV6_HEAD.size
    lost = max(0, end - len(packet))
    packet = packet[:end]
    for _ in range(_MOST_HEADERS):
        if kind in {0, 43, 60, 51}:  # hop by hop, routing, destination options; authentication
            if len(packet) < place + 2:
                raise NotCarried(_SHORT)
            following, size = packet[place], packet[place + 1]
            place += (size + 2) * 4 if kind == 51 else (size + 1) * 8  # noqa: PLR2004 - RFC 4302, 2.2
            kind = following
        elif kind == 44:  # noqa: PLR2004 - fragment
            if len(packet) < place + 8:
                raise NotCarried(_SHORT)
            following, _, where, ident = Struct(">BBHI").unpack_from(packet, place)
            place += 8
            if following not in {_TCP, _UDP}:
                raise NotCarried(_OTHER_TRANSPORT)
            if lost:
                raise NotCarried(_PART)
            whole = fragments.add(
                (source, target, ident, following),
                where & 0xFFF8,
                packet[place:],
                more=bool(where & 1),
                at=at,
                number=number,
            )
            return None if whole is None else _transport(following, source, target, whole, 0)
        else:
            return _transport(kind, source, target, packet[place:], lost)
    raise NotCarried(_BAD_IP)


def rest_of(key: tuple[bytes, bytes, int, int], data: bytes) -> Carried:
    """Return what is there of a datagram whose fragments are not all there.

    Raises:
        NotCarried: It brings nothing for RPC.
    """
    source, target, _, protocol = key
    return _transport(protocol, source, target, data, 0)


def _transport(protocol: int, source: bytes, target: bytes, payload: bytes, lost: int) -> Carried:
    """Read the header of TCP or UDP."""
    ends = _address(source), _address(target)
    if protocol == _UDP:
        if len(payload) < 8:  # noqa: PLR2004 - two ports, length, checksum
            raise NotCarried(_SHORT)
        sender, receiver, size = _UDP_HEAD.unpack_from(payload)
        data = payload[8 : max(size, 8)] if size else payload[8:]
        missing = max(0, size - 8 - len(data)) if size else lost
        return Carried("udp", (ends[0], sender), (ends[1], receiver), data, missing)
    if protocol != _TCP:
        raise NotCarried(_OTHER_TRANSPORT)
    if len(payload) < 20:  # noqa: PLR2004 - the smallest TCP header
        raise NotCarried(_SHORT)
    sender, receiver, sequence, _, offset, flags = _TCP_HEAD.unpack_from(payload)
    start = (offset >> 4) * 4
    if start < 20:  # noqa: PLR2004 - the smallest TCP header
        raise NotCarried(_BAD_TCP)
    syn = bool(flags & _SYN)
    data = payload[start:]
    return Carried("tcp", (ends[0], sender), (ends[1], receiver), data, lost, (sequence + syn) & 0xFFFFFFFF, syn)


def _address(packed: bytes) -> str:
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))  # noqa: PLR2004 - IPv4
