"""Asks the portmapper of a host for a port: just enough of RFC 1833 for a command line that was given none."""

from __future__ import annotations

import socket
import struct
from typing import Final, Literal

from oncrpc import sync
from oncrpc.address import Address
from oncrpc.errors import NotConnected, RPCError

__all__ = ["NotRegistered", "find_port"]

PORTMAPPER: Final = 100000
PORTMAPPER_PORT: Final = 111
PMAP_VERSION: Final = 2
PMAPPROC_GETPORT: Final = 3
RPCB_VERSION: Final = 4
RPCBPROC_GETADDR: Final = 3
PROTOCOLS: Final = {"tcp": 6, "udp": 17}
LONGEST_UADDR: Final = 255
MAX_PORT: Final = 65535


class NotRegistered(Exception):
    """The portmapper answered, and does not know the program."""


def find_port(host: str, program: int, version: int, transport: Literal["tcp", "udp"], wait: float) -> Address:
    """Where a program is served, by the host's portmapper.

    The portmapper is asked over TCP, and over UDP if that is refused. A host of IPv6 alone is asked as rpcbind version
    4: the older protocol has no words for its addresses.

    Args:
        host: Name or address.
        program: Program number.
        version: Its version.
        transport: Over which the program is to be called.
        wait: Seconds for each attempt.

    Raises:
        NotRegistered: The portmapper does not know the program over this transport.
        NotConnected: Nobody answers on port 111; the text says how that looked.
        RPCError: The portmapper's answer is no good.
    """
    try:
        families = {found[0] for found in socket.getaddrinfo(host, PORTMAPPER_PORT)}
    except OSError as error:
        msg = f"{host}: {error.strerror or error}"
        raise NotConnected(msg) from error
    ask = _getport if socket.AF_INET in families else _getaddr
    failures: list[str] = []
    for way in ("tcp", "udp"):
        try:
            caller = sync.open_caller(f"{way}:{host}:{PORTMAPPER_PORT}", timeout=wait)
        except NotConnected as error:
            failures.append(str(error))
            continue
        try:
            port = ask(caller, program, version, transport)
        except NotConnected as error:
            failures.append(str(error))
            continue
        finally:
            caller.close()
        if not port:
            msg = f"the portmapper of {host} knows no program {program} version {version} over {transport}"
            raise NotRegistered(msg)
        return Address(transport, host, port)
    refused = all("refused" in failure or "nobody listens" in failure for failure in failures)
    why = "nothing listens on port 111" if refused else "; ".join(failures)
    msg = f"no portmapper on {host}: {why}. If you know the port, give it with --port"
    raise NotConnected(msg)


def _getport(caller: sync.StreamCaller | sync.DatagramCaller, program: int, version: int, transport: str) -> int:
    arguments = struct.pack(">4I", program, version, PROTOCOLS[transport], 0)
    answer = caller.call_raw(PORTMAPPER, PMAP_VERSION, PMAPPROC_GETPORT, arguments)
    if len(answer) < 4 or (port := int.from_bytes(answer[:4], "big")) > MAX_PORT:  # noqa: PLR2004, one word
        msg = f"the portmapper answered {answer[:16].hex()}, which is no port"
        raise RPCError(msg)
    return port


def _getaddr(caller: sync.StreamCaller | sync.DatagramCaller, program: int, version: int, transport: str) -> int:
    netid = f"{transport}6".encode()
    arguments = struct.pack(">3I", program, version, len(netid)) + netid + bytes(-len(netid) % 4) + bytes(8)
    answer = caller.call_raw(PORTMAPPER, RPCB_VERSION, RPCBPROC_GETADDR, arguments)
    length = int.from_bytes(answer[:4], "big")
    address = answer[4 : 4 + length]
    if length > LONGEST_UADDR or len(address) != length:
        msg = f"the portmapper answered {answer[:16].hex()}, which is no universal address"
        raise RPCError(msg)
    if not address:
        return 0
    try:
        high, low = address.rsplit(b".", 2)[1:]
        return int(high) * 256 + int(low)
    except ValueError:
        msg = f"the portmapper answered {address!r}, which is no universal address"
        raise RPCError(msg) from None
