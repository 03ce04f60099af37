"""A registry's table as a file, for a warm start. Pure: bytes in, bytes out.

The format is that of Debian's ``rpcbind -w`` (/run/rpcbind/rpcbind.xdr): one rpcblist_ptr in XDR, so that either can
take over from the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import xdr
from rpcbind_reg._gen import rpcbind
from rpcbind_reg.mappings import REGISTRY_PROGRAM, Mapping

if TYPE_CHECKING:
    from collections.abc import Iterable

_CODEC = xdr.codec(rpcbind.rpcblist_ptr)


class StateError(ValueError):
    """A state file is damaged."""


def encode_state(mappings: Iterable[Mapping]) -> bytes:
    """Return the file's content; the registry's own entries are left out, as they follow from its listeners."""
    head: rpcbind.rp__list | None = None
    for row in reversed([*mappings]):
        if row.program != REGISTRY_PROGRAM:
            head = rpcbind.rp__list(rpcbind.rpcb(row.program, row.version, row.netid, row.uaddr, row.owner), head)
    return _CODEC.encode(head)


def decode_state(data: bytes) -> list[Mapping]:
    """Return the mappings in a file's content, the registry's own left out.

    Raises:
        StateError: It is cut short, or no such list.
    """
    try:
        head: rpcbind.rp__list | None = _CODEC.decode(data)
    except xdr.XDRDecodeError as error:
        message = f"{error}, of {len(data)} bytes"
        raise StateError(message) from error
    found: list[Mapping] = []
    while head is not None:
        row = head.rpcb_map
        if row.r_prog != REGISTRY_PROGRAM:
            found.append(Mapping(row.r_prog, row.r_vers, row.r_netid, row.r_addr, row.r_owner))
        head = head.rpcb_next
    return found
