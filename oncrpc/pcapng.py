"""What a server receives and sends, as a capture file that Wireshark and tshark read.

Written from the server's own view, so it needs no privileges, has no traffic of others in it, and
shows what came through TLS in the clear. Around each message a packet is made up: IP and TCP or
UDP headers with the true addresses, ports and times, and record marks. Local sockets appear as
TCP connections on 127.0.0.1. Format: draft-ietf-opsawg-pcapng; link type RAW (bare IP packets).

Wireshark connects neither port 600 nor a program that it does not know with RPC: open the file with
``-d tcp.port==600,rpc -d udp.port==600,rpc -o rpc.dissect_unknown_programs:TRUE``.
"""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from ipaddress import ip_address
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, Final

from oncrpc.observe import MessageSeen, Observer
from oncrpc.records import frame_fragments

if TYPE_CHECKING:
    from collections.abc import Callable

    from oncrpc.program import Connection, Peer

__all__ = ["PcapngWriter"]

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_PACKET: Final = 6
_MAGIC: Final = 0x1A2B3C4D
_LINKTYPE_RAW: Final = 101
_LENGTH_UNKNOWN: Final = -1
_OPTION_APPLICATION: Final = 4
_OPTION_NAME: Final = 2
_TSRESOL: Final = 9
_MICROSECONDS: Final = b"\x06"

_BLOCK = Struct("<II")
_SECTION_BODY = Struct("<IHHq")
_INTERFACE_BODY = Struct("<HHI")
_PACKET_BODY = Struct("<IIIII")
_OPTION = Struct("<HH")

_IPV4 = Struct(">BBHHHBBH4s4s")
_IPV6 = Struct(">IHBB16s16s")
_TCP = Struct(">HHIIBBHHH")
_UDP = Struct(">HHHH")
_PSH_ACK: Final = 0x18
_SEGMENT: Final = 32 * 1024
_VERSION6: Final = 0x60000000
_STREAMS: Final = 10_000


class PcapngWriter(Observer):
    """Writes every message to a capture file; give it to a service as an observer.

    Args:
        file: Open for writing bytes; flushed after each message, and closed by whoever opened it.
        clock: Seconds since 1970.
        limit: Most bytes written; after that nothing more is, so that a forgotten capture fills
            no disk.
    """

    def __init__(self, file: BinaryIO, *, clock: Callable[[], float] = time.time, limit: int = 1 << 30) -> None:
        self._file = file
        self._clock = clock
        self._left = limit
        # Next sequence numbers (ours, theirs), by connection.
        self._streams: OrderedDict[int, list[int]] = OrderedDict()
        section = _SECTION_BODY.pack(_MAGIC, 1, 0, _LENGTH_UNKNOWN) + _options((_OPTION_APPLICATION, b"oncrpc"))
        self._write(_block(_SECTION, section))
        interface = _INTERFACE_BODY.pack(_LINKTYPE_RAW, 0, 0)
        interface += _options((_OPTION_NAME, b"oncrpc server"), (_TSRESOL, _MICROSECONDS))
        self._write(_block(_INTERFACE, interface))

    def message_seen(self, message: MessageSeen) -> None:
        """Write one message as one packet, or as several if it is large."""
        server, client = _ends(message)
        source, target = (server, client) if message.outgoing else (client, server)
        data = b"".join(message.parts)
        if message.netid.startswith("udp"):
            payload = _UDP.pack(source[1], target[1], 8 + len(data), 0) + data
            self._packet(source[0], target[0], socket.IPPROTO_UDP, payload)
            return
        numbers = self._streams.setdefault(message.connection, [1, 1])
        if len(self._streams) > _STREAMS:
            self._streams.popitem(last=False)
        ours = 0 if message.outgoing else 1
        stream = frame_fragments(data, message.fragments)
        for at in range(0, len(stream), _SEGMENT):
            piece = stream[at : at + _SEGMENT]
            header = _TCP.pack(source[1], target[1], numbers[ours], numbers[1 - ours], 5 << 4, _PSH_ACK, 0xFFFF, 0, 0)
            numbers[ours] = (numbers[ours] + len(piece)) & 0xFFFFFFFF
            self._packet(source[0], target[0], socket.IPPROTO_TCP, header + piece)

    def connection_closed(self, connection: Connection, reason: str) -> None:  # noqa: ARG002 - as the hook
        """Forget its sequence numbers."""
        self._streams.pop(connection.id, None)

    def _packet(self, source: bytes, target: bytes, protocol: int, payload: bytes) -> None:
        size = len(payload)
        if len(source) == 4:  # noqa: PLR2004 - an IPv4 address
            packet = _IPV4.pack(0x45, 0, 20 + size, 0, 0, 64, protocol, 0, source, target) + payload
        else:
            packet = _IPV6.pack(_VERSION6, size, protocol, 64, source, target) + payload
        now = round(self._clock() * 1e6)
        body = _PACKET_BODY.pack(0, now >> 32, now & 0xFFFFFFFF, len(packet), len(packet)) + _padded(packet)
        self._write(_block(_PACKET, body))
        self._file.flush()

    def _write(self, block: bytes) -> None:
        self._left -= len(block)
        if self._left >= 0:
            self._file.write(block)


def _ends(message: MessageSeen) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
    """Return address and port of server and client; both addresses of one family."""
    if message.netid == "local":
        loopback = ip_address("127.0.0.1").packed
        return (loopback, 0), (loopback, message.connection & 0xFFFF)
    client = _packed(message.peer)
    server = _packed(message.local)
    if len(server) != len(client):
        server = bytes(len(client))
    return (server, message.local.port), (client, message.peer.port)


def _packed(peer: Peer) -> bytes:
    try:
        return ip_address(peer.host.partition("%")[0]).packed
    except ValueError:
        return b""


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _options(*options: tuple[int, bytes]) -> bytes:
    return b"".join(_OPTION.pack(code, len(value)) + _padded(value) for code, value in options) + bytes(4)


def _block(kind: int, body: bytes) -> bytes:
    size = 12 + len(body)
    return _BLOCK.pack(kind, size) + body + size.to_bytes(4, "little")
