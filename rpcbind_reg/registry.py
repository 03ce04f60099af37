"""A registry's decisions: the table, the statistics, and who may do what. No RPC, no I/O, no clock.

The programs (program.py) translate calls of versions 2, 3 and 4 into these methods. What the decisions need from the
machine, its interfaces, comes in as a function.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rpcbind_reg.access import CallitPolicy
from rpcbind_reg.addresses import merge
from rpcbind_reg.mappings import Mapping, MappingLimits, Mappings, SetOutcome, UnsetOutcome
from rpcbind_reg.statistics import Statistics
from rpcbind_reg.uaddr import Transport, transport_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rpcbind_reg.access import Caller
    from rpcbind_reg.addresses import Interface


class Observer(Protocol):
    """Is told what happens to a registry: for logs, metrics and the state file. All methods may do nothing."""

    def on_set(self, mapping: Mapping, caller: Caller | None, outcome: SetOutcome) -> None:
        """A SET was decided; the caller is None for the registry's own entries."""

    def on_unset(self, caller: Caller | None, outcome: UnsetOutcome) -> None:
        """An UNSET was decided; it may have found nothing."""

    def on_refused(self, caller: Caller, what: str) -> None:
        """A call was refused because of who called; `what` is a sentence for the log."""


class SilentObserver:
    """Does nothing."""

    def on_set(self, mapping: Mapping, caller: Caller | None, outcome: SetOutcome) -> None:
        """Do nothing."""

    def on_unset(self, caller: Caller | None, outcome: UnsetOutcome) -> None:
        """Do nothing."""

    def on_refused(self, caller: Caller, what: str) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class RegistryPolicy:
    """What a registry allows.

    Attributes:
        limits: Bounds of the table.
        callit: Which calls are passed on to other programs; none by default.
    """

    limits: MappingLimits = field(default_factory=MappingLimits)
    callit: CallitPolicy = field(default_factory=CallitPolicy)


class Registry:
    """The table of one machine and the rules around it.

    Args:
        policy: What is allowed.
        interfaces: Returns this machine's network interfaces.
        observer: Is told of every change and refusal.

    Attributes:
        mappings: The table.
        statistics: The counters.
        policy: As given.
        generation: Grows with every change of the table.
    """

    def __init__(
        self,
        policy: RegistryPolicy | None = None,
        *,
        interfaces: Callable[[], Sequence[Interface]] = tuple,
        observer: Observer | None = None,
    ) -> None:
        self.policy = policy or RegistryPolicy()
        self.mappings = Mappings(self.policy.limits)
        self.statistics = Statistics()
        self.generation = 0
        self._interfaces = interfaces
        self.observer: Observer = observer or SilentObserver()

    def set(self, mapping: Mapping, caller: Caller | None) -> SetOutcome:
        """Register a mapping.

        Args:
            mapping: Its owner is replaced by the caller's (RFC 1833 lets the caller say; rpcbind does not either).
            caller: Who asks, already known to be allowed to; None for the registry itself, whose word is taken.
        """
        if caller is not None:
            mapping = Mapping(mapping.program, mapping.version, mapping.netid, mapping.uaddr, caller.owner)
        outcome = self.mappings.set(mapping, reserved=caller is None)
        self.generation += outcome is SetOutcome.ADDED
        self.observer.on_set(mapping, caller, outcome)
        return outcome

    def unset(self, program: int, version: int, netid: str, caller: Caller | None) -> UnsetOutcome:
        """Remove mappings.

        Args:
            program: Program number.
            version: Version number.
            netid: Transport, or "" for all.
            caller: Who asks, already known to be allowed to; None for the registry itself.
        """
        owner = "superuser" if caller is None else caller.owner
        outcome = self.mappings.unset(program, version, netid, owner, reserved=caller is None)
        self.generation += bool(outcome.removed)
        self.observer.on_unset(caller, outcome)
        return outcome

    def find_port(self, program: int, version: int, netid: str) -> int:
        """Return the port of a program, of another version if need be, or 0 (PMAPPROC_GETPORT)."""
        found = self.mappings.find(program, version, netid)
        return 0 if found is None else found.port or 0

    def find_address(
        self, program: int, version: int, caller: Caller, *, hint: str = "", this_version: bool = False
    ) -> str:
        """Return the address of a program on the caller's transport, or "" (GETADDR, GETVERSADDR).

        Args:
            program: Program number.
            version: Version number.
            caller: Who asks.
            hint: Universal address by which the caller says it reached us, or "".
            this_version: Accept no other version.
        """
        look = self.mappings.find_exactly if this_version else self.mappings.find
        found = look(program, version, caller.netid)
        return "" if found is None else self.merged(found, caller, hint)

    def find_transports(
        self, program: int, version: int, caller: Caller, hint: str
    ) -> list[tuple[str, Mapping, Transport]]:
        """Return (merged address, mapping, transport) for each transport of the caller's family (GETADDRLIST)."""
        own = transport_of(caller.netid)
        found: list[tuple[str, Mapping, Transport]] = []
        for mapping in self.mappings.find_transports(program, version):
            transport = transport_of(mapping.netid)
            if own is not None and transport is not None and transport.family == own.family:
                found.append((self.merged(mapping, caller, hint), mapping, transport))
        return found

    def merged(self, mapping: Mapping, caller: Caller, hint: str = "") -> str:
        """Return the address by which the caller reaches this mapping (addresses.merge)."""
        if not caller.host:
            return mapping.uaddr
        return merge(mapping.netid, mapping.uaddr, caller.host, hint, self._interfaces())
