"""The table of a registry: which program is served where, and whose entry it is.

A pure data structure: no I/O, no clock. It keeps the rules of RFC 1833, section 2.2.1, as Debian's rpcbind applies
them, and adds two bounds that rpcbind lacks: entries per owner, and entries in all. Every lookup is a dictionary
access, so ten thousand registrations slow nothing down.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from rpcbind_reg.uaddr import NETID_MAX, UADDR_MAX, UniversalAddressError, parse, transport_of

if TYPE_CHECKING:
    from collections.abc import Iterator

K = TypeVar("K")
L = TypeVar("L")

SUPERUSER: Final = "superuser"
"""Owner of what uid 0 registered, as rpcbind writes it. May remove every entry."""
UNKNOWN: Final = "unknown"
"""Owner of what a caller registered whose uid nobody can tell, as rpcbind writes it."""
REGISTRY_PROGRAM: Final = 100000
"""The registry's own program (RFC 1833); nobody may register it over the wire."""


def owner_name(uid: int | None) -> str:
    """Return how a registry writes the owner with this uid: "superuser", the number, or "unknown" for None."""
    if uid is None:
        return UNKNOWN
    return SUPERUSER if uid == 0 else str(uid)


@dataclass(frozen=True, slots=True)
class Mapping:
    """A program served at an address: one line of ``rpcinfo``.

    Attributes:
        program: Program number, 0 to 2**32 - 1.
        version: Version number, 0 to 2**32 - 1.
        netid: Transport, as in "tcp6" (RFC 5665).
        uaddr: Universal address, as in "::.2.88".
        owner: Whose it is: "superuser", a uid, "unknown"; "" where a registry has not said yet.
    """

    program: int
    version: int
    netid: str
    uaddr: str
    owner: str = ""

    @property
    def port(self) -> int | None:
        """The port of the address, or None for a path or a format that is not known."""
        try:
            return parse(self.netid, self.uaddr).port
        except UniversalAddressError:
            return None

    def __str__(self) -> str:
        return f"program {self.program} version {self.version} on {self.netid} at {self.uaddr}"


@dataclass(frozen=True, slots=True)
class MappingLimits:
    """Bounds of a table.

    Attributes:
        entries_per_owner: Most entries of one owner, the super-user excepted. rpcbind has no such bound: one
            unprivileged sender can fill it, and every lookup of everybody slows down with it.
        entries: Most entries in all, the super-user's among them. About 500 bytes each, and a dump of all of them
            is about 1 MB.
    """

    entries_per_owner: int = 1000
    entries: int = 16384


class SetOutcome(enum.Enum):
    """What became of a SET; the value is the reason in words."""

    ADDED = "registered"
    SAME = "registered already, at the same address"
    TAKEN = "registered already, at another address"
    FULL_OWNER = "its owner has as many entries as one owner may have"
    FULL = "the table is full"
    RESERVED = "the registry's own program number cannot be registered"
    BAD_NETID = "a netid has 1 to 128 printable octets"
    BAD_ADDRESS = "the address is no universal address of its netid, or its port is 0"

    @property
    def granted(self) -> bool:
        """What SET answers on the wire."""
        return self in (SetOutcome.ADDED, SetOutcome.SAME)


@dataclass(frozen=True, slots=True)
class UnsetOutcome:
    """What became of an UNSET.

    Attributes:
        removed: Entries that are gone.
        refused: Entries that fit but belong to somebody else, and stayed.
    """

    removed: tuple[Mapping, ...]
    refused: tuple[Mapping, ...]

    @property
    def granted(self) -> bool:
        """What UNSET answers on the wire: true also when nothing was there, as rpcbind answers."""
        return not self.refused


@dataclass(slots=True)
class Mappings:
    """Mappings of (program, version, netid) to an address.

    Args:
        limits: Bounds.
    """

    limits: MappingLimits = field(default_factory=MappingLimits)
    _entries: dict[tuple[int, int, str], Mapping] = field(default_factory=dict, init=False)
    # The same mappings, found by what lookups ask for. Inner dictionaries keep the order of registration: when no
    # version fits, the answer is the entry registered last.
    _by_netid: dict[tuple[int, str], dict[int, Mapping]] = field(default_factory=dict, init=False)
    _by_version: dict[tuple[int, int], dict[str, Mapping]] = field(default_factory=dict, init=False)
    _owned: dict[str, int] = field(default_factory=dict, init=False)

    def set(self, mapping: Mapping, *, reserved: bool = False) -> SetOutcome:
        """Add a mapping, if it may be there (RPCBPROC_SET).

        Args:
            mapping: With its owner.
            reserved: Allow the registry's own program number (for the registry itself).
        """
        outcome = self._judge(mapping, reserved=reserved)
        if outcome is SetOutcome.ADDED:
            netid = mapping.netid.lower()
            self._entries[mapping.program, mapping.version, netid] = mapping
            self._by_netid.setdefault((mapping.program, netid), {})[mapping.version] = mapping
            self._by_version.setdefault((mapping.program, mapping.version), {})[netid] = mapping
            self._owned[mapping.owner] = self._owned.get(mapping.owner, 0) + 1
        return outcome

    def _judge(self, mapping: Mapping, *, reserved: bool) -> SetOutcome:
        if mapping.program == REGISTRY_PROGRAM and not reserved:
            return SetOutcome.RESERVED
        if not (mapping.netid.isascii() and mapping.netid.isprintable() and 0 < len(mapping.netid) <= NETID_MAX):
            return SetOutcome.BAD_NETID
        if not _is_address(mapping.netid, mapping.uaddr):
            return SetOutcome.BAD_ADDRESS
        present = self.find_exactly(mapping.program, mapping.version, mapping.netid)
        if present is not None:
            # Whoever asks: rpcbind grants a repetition without looking at the owner, and the owner stays.
            return SetOutcome.SAME if present.uaddr == mapping.uaddr else SetOutcome.TAKEN
        if mapping.owner != SUPERUSER and self.owned_by(mapping.owner) >= self.limits.entries_per_owner:
            return SetOutcome.FULL_OWNER
        if len(self._entries) >= self.limits.entries:
            return SetOutcome.FULL
        return SetOutcome.ADDED

    def unset(self, program: int, version: int, netid: str, owner: str, *, reserved: bool = False) -> UnsetOutcome:
        """Remove mappings (RPCBPROC_UNSET): of one netid, or of every netid if it is empty.

        Only the owner's own go, or anybody's for the super-user (RFC 1833, section 2.2.1).

        Args:
            program: Program number.
            version: Version number.
            netid: Transport, or "" for all of them.
            owner: Who asks.
            reserved: Allow the registry's own program number (for the registry itself).
        """
        of_version = self._by_version.get((program, version), {})
        chosen = [of_version[netid.lower()]] if netid.lower() in of_version else [] if netid else [*of_version.values()]
        if program == REGISTRY_PROGRAM and not reserved:
            return UnsetOutcome((), tuple(chosen))
        removed = tuple(mapping for mapping in chosen if owner in (SUPERUSER, mapping.owner))
        for mapping in removed:
            self._remove(mapping)
        return UnsetOutcome(removed, tuple(mapping for mapping in chosen if mapping not in removed))

    def _remove(self, mapping: Mapping) -> None:
        netid = mapping.netid.lower()
        del self._entries[mapping.program, mapping.version, netid]
        _discard(self._by_netid, (mapping.program, netid), mapping.version)
        _discard(self._by_version, (mapping.program, mapping.version), netid)
        self._owned[mapping.owner] -= 1
        if not self._owned[mapping.owner]:
            del self._owned[mapping.owner]

    def find(self, program: int, version: int, netid: str) -> Mapping | None:
        """Return the mapping a caller should try: the version asked for, else the one registered last, else None.

        Another version is better than none: the server there answers PROG_MISMATCH with the true range (RFC 1833,
        section 2.2.1, GETADDR; rpcbind's GETPORT does the same).
        """
        versions = self._by_netid.get((program, netid.lower()))
        if not versions:
            return None
        found = versions.get(version)
        return found if found is not None else versions[next(reversed(versions))]

    def find_exactly(self, program: int, version: int, netid: str) -> Mapping | None:
        """Return the mapping of this very version, or None (RPCBPROC_GETVERSADDR)."""
        return self._entries.get((program, version, netid.lower()))

    def find_transports(self, program: int, version: int) -> tuple[Mapping, ...]:
        """Return the mappings of this very version on every transport (RPCBPROC_GETADDRLIST)."""
        return tuple(self._by_version.get((program, version), {}).values())

    def versions(self, program: int, netid: str) -> tuple[int, int] | None:
        """Return the lowest and the highest version of a program on one transport, or None if there is none."""
        versions = self._by_netid.get((program, netid.lower()))
        return (min(versions), max(versions)) if versions else None

    def owned_by(self, owner: str) -> int:
        """Return how many entries an owner has."""
        return self._owned.get(owner, 0)

    def __iter__(self) -> Iterator[Mapping]:
        """Iterate over all mappings, in the order of their registration."""
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)


def _is_address(netid: str, uaddr: str) -> bool:
    if not 0 < len(uaddr.encode("utf-8", "surrogateescape")) <= UADDR_MAX:
        return False
    if transport_of(netid) is None:
        # Somebody's own transport: RFC 1833 leaves netids to the administrator, so its format is not ours to check.
        return uaddr.isprintable()
    try:
        return parse(netid, uaddr).port != 0
    except UniversalAddressError:
        return False


def _discard(outer: dict[K, dict[L, Mapping]], key: K, inner_key: L) -> None:
    inner = outer[key]
    del inner[inner_key]
    if not inner:
        del outer[key]
