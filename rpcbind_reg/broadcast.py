"""Discovering programs by broadcast, without I/O: the datagrams to send, and what the answers mean.

A broadcast goes to every registry of a network, which passes it on to its program (CALLIT, version 2 of the registry)
and answers only if that succeeded (RFC 1833, section 3.2). Over IPv6 it goes to the multicast group of registries
(version 4, BCAST). Registries pass nothing on unless they are told to: silence does not mean that nobody is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING, Final

import xdr
from oncrpc.auth import AUTH_NONE, encode_opaque_auth
from oncrpc.errors import RPCError
from oncrpc.message import encode_call
from oncrpc.replies import parse_reply
from rpcbind_reg._gen import portmap, rpcbind
from rpcbind_reg.client import CALLIT, PMAPVERS, RPCBVERS4
from rpcbind_reg.mappings import REGISTRY_PROGRAM
from rpcbind_reg.uaddr import join, port_of

MULTICAST_GROUP: Final = "ff02::202"
"""The IPv6 multicast group of registries (IANA, "SUN RPC PMAPPROC_CALLIT")."""

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpcbind_reg.addresses import Interface

WAITS: Final = (0.0, 1.0, 2.0)
"""Seconds after the start at which the broadcast is sent: datagrams get lost, and answers are told once."""

ANSWERS_MAX: Final = 10_000
"""Most answers that are kept; a network has fewer machines, a forger does not."""

SHORTEST_HOST_NETWORK: Final = 31
"""From this prefix length on a network has no broadcast address (RFC 3021)."""

_CALLIT_RESULT: Final = xdr.codec(portmap.call_result)
_BCAST_RESULT: Final = xdr.codec(rpcbind.rpcb_rmtcallres)


@dataclass(frozen=True, slots=True)
class Discovered:
    """A machine that answered.

    Attributes:
        host: Its IP address, as its answer came from there.
        uaddr: Universal address of the program.
        results: What the program answered, encoded.
    """

    host: str
    uaddr: str
    results: bytes


def broadcast_addresses(interfaces: Iterable[Interface]) -> list[str]:
    """Return where to broadcast: each IPv4 network's broadcast address, and the IPv6 group on each interface."""
    found: dict[str, None] = {}
    for interface in interfaces:
        if not interface.ordinary:
            continue
        if isinstance(interface.address, IPv4Interface):
            if interface.address.network.prefixlen < SHORTEST_HOST_NETWORK:
                found[str(interface.address.network.broadcast_address)] = None
        else:
            found[f"{MULTICAST_GROUP}%{interface.name}"] = None
    return [*found]


class Discovery:
    """One broadcast and its answers.

    Args:
        program: Program number.
        version: Version number.
        procedure: Procedure to call; 0 does nothing.
        arguments: Encoded.
        xid: A random number: answers with another one are dropped.

    Attributes:
        found: Who answered, in the order of the answers; each machine once.
    """

    def __init__(self, program: int, version: int, procedure: int = 0, arguments: bytes = b"", *, xid: int) -> None:
        self._xid = xid & 0xFFFFFFFF
        # A reply starts with the xid of its call, and with REPLY (RFC 5531, section 9).
        self._head = self._xid.to_bytes(4, "big") + b"\0\0\0\1"
        self._what = (program, version, procedure, arguments)
        self.found: list[Discovered] = []
        self._hosts: set[str] = set()

    def datagram(self, *, ipv6: bool = False) -> bytes:
        """Return the call to broadcast: PMAPPROC_CALLIT for IPv4, RPCBPROC_BCAST for IPv6."""
        program, version, procedure, arguments = self._what
        nobody = encode_opaque_auth(AUTH_NONE.flavor, AUTH_NONE.encode())
        header = encode_call(self._xid, REGISTRY_PROGRAM, RPCBVERS4 if ipv6 else PMAPVERS, CALLIT, credential=nobody)
        if ipv6:
            return header + xdr.encode(
                rpcbind.rpcb_rmtcallargs, rpcbind.rpcb_rmtcallargs(program, version, procedure, arguments)
            )
        return header + xdr.encode(portmap.call_args, portmap.call_args(program, version, procedure, arguments))

    def receive(self, datagram: bytes, host: str, *, ipv6: bool = False) -> Discovered | None:
        """Take what came back; return it if it is the first answer of its machine.

        Args:
            datagram: As received; anything at all.
            host: Where it came from.
            ipv6: Whether it answers the IPv6 call.
        """
        if datagram[:8] != self._head or host in self._hosts or len(self.found) >= ANSWERS_MAX:
            return None
        try:
            header = parse_reply(datagram)
            discovered = self._read(datagram[header.results :], host, ipv6=ipv6)
        except (RPCError, xdr.XDRError):
            return None
        self._hosts.add(host)
        self.found.append(discovered)
        return discovered

    def _read(self, results: bytes, host: str, *, ipv6: bool) -> Discovered:
        bare = host.partition("%")[0]
        if ipv6:
            answer = _BCAST_RESULT.decode_from(results, 0)[0]
            port = port_of("udp6", answer.addr) or 0
            return Discovered(host, join(bare, port), answer.results)
        passed = _CALLIT_RESULT.decode_from(results, 0)[0]
        return Discovered(host, join(bare, passed.port & 0xFFFF), passed.res)
