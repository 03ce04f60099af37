"""What a registry counts, and ``rpcinfo -m`` prints (RPCBPROC_GETSTAT; RFC 1833, section 2.1).

Pure data, bounded: rpcbind keeps a row for each program ever asked for, so that a scan makes it grow for ever; here the
row that was not touched for the longest makes room.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeVar

K = TypeVar("K")

ROWS_MAX: Final = 512
"""Most rows of lookups, and of calls passed on, kept for each version: ``rpcinfo -m`` stays readable, and the answer
stays under 64 KiB."""

PROCEDURES: Final = {2: 5, 3: 8, 4: 12}
"""Highest procedure number of each version of the registry (RFC 1833)."""


@dataclass(slots=True)
class Tally:
    """How often something worked, and did not.

    Attributes:
        success: Times an address was found.
        failure: Times there was none.
        indirect: Times the call came by INDIRECT (calls passed on only).
    """

    success: int = 0
    failure: int = 0
    indirect: int = 0

    def count(self, *, found: bool) -> None:
        """Count one."""
        if found:
            self.success += 1
        else:
            self.failure += 1


@dataclass(slots=True)
class VersionStatistics:
    """The counters of one version of the registry.

    Attributes:
        calls: Calls of each procedure, by its number.
        sets: SETs granted.
        unsets: UNSETs granted.
        lookups: (program, version, netid) to its tally.
        forwarded: (program, version, procedure, netid) to its tally.
    """

    calls: list[int]
    sets: int = 0
    unsets: int = 0
    lookups: dict[tuple[int, int, str], Tally] = field(default_factory=dict)
    forwarded: dict[tuple[int, int, int, str], Tally] = field(default_factory=dict)


class Statistics:
    """The counters of versions 2, 3 and 4.

    Attributes:
        by_version: Counters of each version, by its number.
    """

    def __init__(self) -> None:
        self.by_version = {version: VersionStatistics([0] * 13) for version in PROCEDURES}

    def called(self, version: int, procedure: int) -> None:
        """Count a call of one of the registry's procedures."""
        self.by_version[version].calls[procedure] += 1

    def set_granted(self, version: int) -> None:
        """Count a SET that was granted; rpcbind does not count others."""
        self.by_version[version].sets += 1

    def unset_granted(self, version: int) -> None:
        """Count an UNSET that was granted."""
        self.by_version[version].unsets += 1

    def looked_up(self, version: int, program: int, program_version: int, netid: str, *, found: bool) -> None:
        """Count a GETPORT, GETADDR, GETVERSADDR or GETADDRLIST."""
        rows = self.by_version[version].lookups
        _recent(rows, (program, program_version, netid)).count(found=found)

    def passed_on(
        self,
        version: int,
        program: int,
        program_version: int,
        procedure: int,
        netid: str,
        *,
        found: bool,
        indirect: bool,
    ) -> None:
        """Count a CALLIT, BCAST or INDIRECT."""
        tally = _recent(self.by_version[version].forwarded, (program, program_version, procedure, netid))
        tally.count(found=found)
        tally.indirect += indirect


def _recent(rows: dict[K, Tally], key: K) -> Tally:
    """Return the key's row, made the youngest; the oldest goes if there are too many."""
    tally = rows.pop(key, None) or Tally()
    rows[key] = tally
    if len(rows) > ROWS_MAX:
        del rows[next(iter(rows))]
    return tally
