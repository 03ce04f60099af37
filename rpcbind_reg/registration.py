"""What a registrant wants in a registry, compared with what is there. Pure: the registrar (tx/registrar.py) does it.

Two things look alike in a registry's table: the entry that our killed predecessor left, and the entry of another server
of the same program. They are told apart by calling the program at that address: what does not answer is stale and is
replaced, what answers is somebody else's and stays.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from rpcbind_reg.client import PMAPVERS
from rpcbind_reg.mappings import SUPERUSER, Mapping
from rpcbind_reg.uaddr import UniversalAddressError, join, parse, transport_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Mapping as MappingType


class Served(Protocol):
    """Where a service listens: what oncrpc.tx.service.ServedAddress has."""

    @property
    def netid(self) -> str:
        """As in "tcp6"."""

    @property
    def host(self) -> str:
        """IP address; "" for a local socket."""

    @property
    def port(self) -> int:
        """Port; 0 for a local socket."""

    @property
    def path(self) -> str:
        """Path of a local socket, or ""."""


class Numbered(Protocol):
    """A version of a program: a generated server class or an instance of one."""

    program: int
    version: int


def registrations(programs: Iterable[Numbered], addresses: Iterable[Served]) -> tuple[Mapping, ...]:
    """Return what to register for programs that are served at these addresses.

    Args:
        programs: Versions of programs; only their numbers are looked at.
        addresses: Where all of them are served; a local socket is registered under netid "local". Of several
            addresses with one netid the first counts: a registry keeps one.
    """
    by_netid: dict[str, str] = {}
    for address in addresses:
        by_netid.setdefault(address.netid, address.path or join(address.host, address.port))
    return tuple(
        Mapping(program.program, program.version, netid, uaddr)
        for program in programs
        for netid, uaddr in by_netid.items()
    )


class Status(enum.Enum):
    """How a wanted mapping stands."""

    WAITING = "waiting for a registry"
    REGISTERED = "registered"
    TAKEN = "taken by another server"
    REFUSED = "refused by the registry"
    IMPOSSIBLE = "unknown to this registry"
    REMOVED = "unregistered"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a wanted mapping stands, and why.

    Attributes:
        mapping: The mapping.
        status: Its status.
        sentence: One sentence for people.
    """

    mapping: Mapping
    status: Status
    sentence: str


class Action(enum.Enum):
    """What to do about a wanted mapping."""

    NOTHING = "it is there"
    SET = "it is missing"
    PROBE = "another address is registered: ask whether anybody serves the program there"
    RENEW = "it is there, but anybody may remove it: remove it and set it again"
    IMPOSSIBLE = "this registry cannot hold it"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        action: What.
        mapping: The wanted mapping.
        present: What the registry has in its place, if anything.
    """

    action: Action
    mapping: Mapping
    present: Mapping | None = None


def compare(wanted: Sequence[Mapping], present: Iterable[Mapping], *, version: int, owner: str) -> list[Step]:
    """Compare what is wanted with a registry's dump.

    Args:
        wanted: What should be there.
        present: What is there.
        version: The registry's newest version; with 2 only ports of TCP and UDP can be compared, and set.
        owner: Whose we are to this registry, "" if it is not known: "superuser" renews entries that are "unknown".
    """
    table = {(row.program, row.version, row.netid.lower()): row for row in present}
    return [_step(mapping, table, version, owner) for mapping in wanted]


def _step(mapping: Mapping, table: MappingType[tuple[int, int, str], Mapping], version: int, owner: str) -> Step:
    transport = transport_of(mapping.netid)
    if version == PMAPVERS and (transport is None or transport.ip_protocol is None):
        return Step(Action.IMPOSSIBLE, mapping)
    row = table.get((mapping.program, mapping.version, mapping.netid.lower()))
    if row is None:
        return Step(Action.SET, mapping)
    same = row.port == mapping.port if version == PMAPVERS else same_address(mapping.netid, row.uaddr, mapping.uaddr)
    if not same:
        return Step(Action.PROBE, mapping, row)
    if owner == SUPERUSER and row.owner not in ("", SUPERUSER):
        return Step(Action.RENEW, mapping, row)
    return Step(Action.NOTHING, mapping, row)


def same_address(netid: str, one: str, other: str) -> bool:
    """Whether two universal addresses mean the same place, however they are spelt."""
    if one == other:
        return True
    try:
        return parse(netid, one) == parse(netid, other)
    except UniversalAddressError:
        return False


def probe_address(mapping: Mapping) -> Mapping:
    """Return a mapping with an address of this machine in place of a wildcard, to call it from here."""
    try:
        address = parse(mapping.netid, mapping.uaddr)
    except UniversalAddressError:
        return mapping
    if not address.is_wildcard or address.port is None:
        return mapping
    host = "::1" if mapping.netid.endswith("6") else "127.0.0.1"
    return replace(mapping, uaddr=join(host, address.port))
