"""Asking a registry: the conversations, without I/O (RFC 1833).

Each function here is a generator: it yields the calls to make, one after the other, is sent their results, has their
errors thrown in, and returns what was found. sync.py runs them over blocking sockets, tx/client.py over Twisted. So the
fallback from version 4 to 3 to 2, and what counts as an answer, are written once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from oncrpc.address import Address
from oncrpc.errors import (
    AuthenticationFailed,
    CallTimedOut,
    GarbageArguments,
    MalformedMessage,
    NotConnected,
    ProcedureUnavailable,
    ProgramMismatch,
    ProgramUnavailable,
    RPCError,
    SystemFailure,
)
from oncrpc.program import ClientStub
from rpcbind_reg._gen import portmap, rpcbind
from rpcbind_reg.mappings import Mapping
from rpcbind_reg.statistics import Statistics, Tally
from rpcbind_reg.uaddr import PORT_MAX, join, netid_of_protocol, port_of, transport_of

if TYPE_CHECKING:
    from oncrpc.program import Procedure

REGISTRY_PORT: Final = 111
"""Where a registry listens (RFC 1833, sections 2.1 and 3.1)."""

SOCKET_PATHS: Final = ("/run/rpcbind.sock", "/var/run/rpcbind.sock")
"""Where a registry's local socket is, on Linux and on older systems."""

PMAPVERS: Final = 2
"""The port mapper's version."""
RPCBVERS: Final = 3
"""rpcbind's first version."""
RPCBVERS4: Final = 4
"""rpcbind's second version."""

ROWS_MAX: Final = 65536
"""Most rows of a dump or of statistics that are taken from a registry; a hostile one is cut off there (goal S13)."""

T = TypeVar("T")
S = TypeVar("S", bound=ClientStub)


class RegistryError(RPCError):
    """A registry was not reached, or did not do what it was asked to."""


class NotRegistered(RegistryError):
    """The registry answers, but knows no address for the program.

    Args:
        program: Program number.
        version: Version number.
        netid: Transport.
        where: Which registry, for the message.
    """

    def __init__(self, program: int, version: int, netid: str, where: str) -> None:
        super().__init__(program, version, netid, where)
        self.program, self.version, self.netid, self.where = program, version, netid, where

    def __str__(self) -> str:
        return (
            f"the registry at {self.where} knows no program {self.program} version {self.version} on {self.netid}; "
            f"its server is not running, or has not registered"
        )


class RegistryUnavailable(RegistryError):
    """No registry answered.

    Args:
        where: Where it was looked for.
        reason: What happened there.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where, self.reason = where, reason

    def __str__(self) -> str:
        return f"no registry (rpcbind, portmapper) answers at {self.where}: {self.reason}"


class RegistryTooOld(RegistryError):
    """The registry speaks only versions that cannot do what was asked."""


class Line(ClientStub):
    """A way to a registry, for calls of all its versions: what connect() makes for this module."""

    program = 100000
    version = 4

    def ask(self, ask: Ask) -> Any:
        """Make a call; returns what the caller under it returns, a Deferred or the result."""
        stub_class, procedure = ask.target
        return self._caller.call(stub_class(self._caller), procedure, ask.arguments, timeout=ask.timeout)


@dataclass(frozen=True, slots=True)
class Ask:
    """One call to make.

    Attributes:
        version: Of the registry's program: 2, 3 or 4.
        procedure: Its number.
        arguments: None or one.
        timeout: Seconds; None takes the caller's.
    """

    version: int
    procedure: int
    arguments: tuple[Any, ...] = ()
    timeout: float | None = None

    @property
    def target(self) -> tuple[type[ClientStub], Procedure]:
        """The stub class and the declaration of the procedure."""
        stub_class = _STUBS[self.version]
        return stub_class, stub_class.procedures[self.procedure]


_STUBS: Final[dict[int, type[ClientStub]]] = {
    2: portmap.PMAP_PROG_2_Client,
    3: rpcbind.RPCBPROG_3_Client,
    4: rpcbind.RPCBPROG_4_Client,
}

Steps = Generator[Ask, Any, T]
"""A conversation with one registry over one line."""

SET: Final = 1
UNSET: Final = 2
GETADDR: Final = 3
DUMP: Final = 4
CALLIT: Final = 5
GETTIME: Final = 6
GETVERSADDR: Final = 9
INDIRECT: Final = 10
GETADDRLIST: Final = 11
GETSTAT: Final = 12

OLDER: Final = (
    ProgramMismatch,
    ProgramUnavailable,
    ProcedureUnavailable,
    GarbageArguments,
    SystemFailure,
    CallTimedOut,
)
"""What means: try an older version. Small portmappers in instruments answer version 4 with any of these, or nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a registry is.

    Attributes:
        host: Name or IP address, or the path of a local socket.
        port: Its port; ignored for a path.
    """

    host: str = SOCKET_PATHS[0]
    port: int = REGISTRY_PORT

    @property
    def is_local(self) -> bool:
        """Whether it is a local socket."""
        return self.host.startswith("/")

    def address(self, netid: str = "tcp") -> Address:
        """Return where to connect to ask about a transport: by UDP for datagram netids, else by TCP."""
        if self.is_local:
            return Address("unix", path=self.host)
        transport = transport_of(netid)
        datagrams = transport is not None and transport.protocol == "udp"
        return Address("udp" if datagrams else "tcp", host=self.host, port=self.port)

    def __str__(self) -> str:
        return self.host if self.is_local else str(Address("tcp", host=self.host, port=self.port))[4:]


def _newest_first(timeout: float | None) -> list[tuple[int, float | None]]:
    """The versions to try, each with its share of the time."""
    share = None if timeout is None else timeout / 3
    return [(4, share), (3, share), (2, timeout)]


def find(program: int, version: int, netid: str, where: str, timeout: float | None = None) -> Steps[str]:
    """Find where a program is, over a line of the same transport.

    Args:
        program: Program number.
        version: Version number. Another version is not accepted, except from registries of version 2 and 3, which do
            not tell.
        netid: Transport of the line.
        where: The registry, for messages.
        timeout: Seconds for all attempts; None takes the line's own for each.

    Returns:
        A universal address; with the wildcard host if only the port is known (version 2).

    Raises:
        NotRegistered: The registry answers, but does not know it.
        RPCError: No version of the registry's program answered.
    """
    argument = rpcbind.rpcb(program, version, netid, "", "")
    last: RPCError | None = None
    for registry_version, share in _newest_first(timeout):
        try:
            if registry_version == PMAPVERS:
                found = yield from _find_port(program, version, netid, share)
            else:
                procedure = GETVERSADDR if registry_version == RPCBVERS4 else GETADDR
                found = yield Ask(registry_version, procedure, (argument,), share)
        except OLDER as error:
            last = error
            continue
        if not found:
            raise NotRegistered(program, version, netid, where)
        if transport_of(netid) is not None and port_of(netid, found) == 0:
            raise NotRegistered(program, version, netid, where)
        return str(found)
    assert last is not None
    raise last


def _find_port(program: int, version: int, netid: str, timeout: float | None) -> Steps[str]:
    transport = transport_of(netid)
    protocol = None if transport is None else transport.ip_protocol
    if transport is None or protocol is None:
        message = f"version 2 of the registry knows TCP and UDP over IPv4 only, not {netid}"
        raise RegistryTooOld(message)
    port = yield Ask(PMAPVERS, GETADDR, (portmap.mapping(program, version, protocol, 0),), timeout)
    return join(transport.any_host, port) if 0 < port <= PORT_MAX else ""


def dump() -> Steps[list[Mapping]]:
    """List all registrations; from version 2 without owners, and without IPv6 and local addresses.

    Raises:
        MalformedMessage: More than ROWS_MAX rows, or a loop.
    """
    version, rows = yield from newest(DUMP, (4, 3, 2))
    found: list[Mapping] = []
    while rows is not None:
        if len(found) >= ROWS_MAX:
            message = f"a dump of more than {ROWS_MAX} rows"
            raise MalformedMessage(message)
        if version == PMAPVERS:
            found.append(_from_portmap(rows.map))
            rows = rows.next
        else:
            row = rows.rpcb_map
            found.append(Mapping(row.r_prog, row.r_vers, row.r_netid, row.r_addr, row.r_owner))
            rows = rows.rpcb_next
    return found


def _from_portmap(row: portmap.mapping) -> Mapping:
    netid = netid_of_protocol(row.prot)
    if netid is None or row.port > PORT_MAX:
        return Mapping(row.prog, row.vers, netid or f"protocol {row.prot}", str(row.port))
    return Mapping(row.prog, row.vers, netid, join("0.0.0.0", row.port))


def newest(procedure: int, versions: tuple[int, ...], *arguments: Any) -> Steps[tuple[int, Any]]:
    """Call a procedure that has the same number in several versions; return (version that answered, result).

    Raises:
        RPCError: None of them answered; the error of the last.
    """
    last: RPCError | None = None
    for version in versions:
        try:
            result = yield Ask(version, procedure, arguments)
        except OLDER as error:
            last = error
            continue
        return version, result
    assert last is not None
    raise last


def register(mapping: Mapping) -> Steps[bool]:
    """Register a mapping (SET); the registry decides whose it is.

    Returns:
        Whether it was granted.

    Raises:
        RegistryTooOld: The registry speaks version 2 only, which cannot name this transport.
        AuthenticationFailed: The registry takes changes from its own machine only.
    """
    argument = rpcbind.rpcb(mapping.program, mapping.version, mapping.netid, mapping.uaddr, mapping.owner)
    return (yield from _change(SET, argument, portmap_arguments(mapping)))


def unregister(program: int, version: int, netid: str = "", owner: str = "") -> Steps[bool]:
    """Remove a version's mappings (UNSET): of one netid, or of all.

    Version 2 removes TCP's and UDP's together.

    Returns:
        Whether it was granted; registries also grant the removal of what is not there.

    Raises:
        AuthenticationFailed: The registry takes changes from its own machine only.
    """
    argument = rpcbind.rpcb(program, version, netid, "", owner)
    return (yield from _change(UNSET, argument, portmap.mapping(program, version, 0, 0)))


def _change(procedure: int, argument: rpcbind.rpcb, older: portmap.mapping | None) -> Steps[bool]:
    for version in (4, 3):
        try:
            granted = yield Ask(version, procedure, (argument,))
        except OLDER:
            continue
        return bool(granted)
    if older is None:
        message = f"this registry speaks version 2 only, which cannot name {argument.r_netid}"
        raise RegistryTooOld(message)
    granted = yield Ask(PMAPVERS, procedure, (older,))
    return bool(granted)


def portmap_arguments(mapping: Mapping) -> portmap.mapping | None:
    """Return a mapping as version 2 writes it, or None if it cannot."""
    transport = transport_of(mapping.netid)
    if transport is None or transport.ip_protocol is None or mapping.port is None:
        return None
    return portmap.mapping(mapping.program, mapping.version, transport.ip_protocol, mapping.port)


def read_statistics() -> Steps[Statistics]:
    """Read the registry's statistics (GETSTAT, version 4 only).

    Raises:
        RegistryTooOld: It speaks no version 4.
    """
    try:
        answer = yield Ask(RPCBVERS4, GETSTAT)
    except OLDER as error:
        message = f"this registry keeps no statistics: {str(error) or type(error).__name__}"
        raise RegistryTooOld(message) from error
    read = Statistics()
    for counted, row in zip(read.by_version.values(), answer, strict=True):
        counted.calls = [*row.info]
        counted.sets, counted.unsets = row.setinfo, row.unsetinfo
        lookup, passed = row.addrinfo, row.rmtinfo
        while lookup is not None and len(counted.lookups) < ROWS_MAX:
            tally = Tally(lookup.success, lookup.failure)
            counted.lookups[lookup.prog, lookup.vers, lookup.netid] = tally
            lookup = lookup.next
        while passed is not None and len(counted.forwarded) < ROWS_MAX:
            tally = Tally(passed.success, passed.failure, passed.indirect)
            counted.forwarded[passed.prog, passed.vers, passed.proc, passed.netid] = tally
            passed = passed.next
    return read


def read_time() -> Steps[int]:
    """Read the registry's clock (GETTIME): seconds since 1970."""
    _, seconds = yield from newest(GETTIME, (4, 3))
    return int(seconds)


def find_transports(program: int, version: int) -> Steps[list[rpcbind.rpcb_entry]]:
    """List the addresses of a version on all transports of the line's family (GETADDRLIST, version 4 only)."""
    rows = yield Ask(RPCBVERS4, GETADDRLIST, (rpcbind.rpcb(program, version, "", "", ""),))
    found: list[rpcbind.rpcb_entry] = []
    while rows is not None and len(found) < ROWS_MAX:
        found.append(rows.rpcb_entry_map)
        rows = rows.rpcb_entry_next
    return found


@dataclass(frozen=True, slots=True)
class PassedOn:
    """What a call passed on by a registry gave.

    Attributes:
        uaddr: Universal address of the program that answered; from version 2 with the wildcard host.
        results: Its result, encoded.
    """

    uaddr: str
    results: bytes


def call_indirectly(
    program: int, version: int, procedure: int, arguments: bytes = b"", *, indirect: bool = True
) -> Steps[PassedOn]:
    """Have the registry call a program of its machine (INDIRECT; BCAST or CALLIT without errors).

    Use a line over UDP. Most registries refuse, or do not answer: it is switched off by default.

    Args:
        program: Program number.
        version: Version number.
        procedure: Procedure number.
        arguments: Encoded.
        indirect: Use version 4's INDIRECT, which answers errors; else BCAST, which answers successes only.
    """
    argument = rpcbind.rpcb_rmtcallargs(program, version, procedure, arguments)
    number = INDIRECT if indirect else CALLIT
    result = yield Ask(RPCBVERS4, number, (argument,))
    return PassedOn(result.addr, result.results)


def detect_version() -> Steps[int]:
    """Return the newest version that the registry answers procedure 0 of: 4, 3 or 2."""
    version, _ = yield from newest(0, (4, 3, 2))
    return version


def service_address(place: Place, netid: str, uaddr: str) -> Address:
    """Return where to connect to a program found at a universal address.

    The host is the one through which the registry was reached: what it calls itself can be wrong behind NAT or a
    tunnel, and a hostile one could send us anywhere.

    Raises:
        NotConnected: The address cannot be used from here.
    """
    port = port_of(netid, uaddr)
    if port is None:
        if uaddr.startswith("/") and place.is_local:
            return Address("unix", path=uaddr)
        message = f"{uaddr!r} is an address of {netid}, which cannot be connected to from here"
        raise NotConnected(message)
    host = place.host
    if place.is_local:
        host = "::1" if netid.endswith("6") else "127.0.0.1"
    return Address("udp" if netid.startswith("udp") else "tcp", host=host, port=port)


def default_netid(host: str, protocol: str = "tcp") -> str:
    """Return the netid of a protocol for a host: "tcp6" for an IPv6 address, else "tcp"."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return protocol
    return protocol + "6" if isinstance(address, ipaddress.IPv6Address) else protocol


def explain_refusal(error: RPCError) -> str:
    """Return one sentence on why a registry refused a change, and what to do."""
    if isinstance(error, AuthenticationFailed):
        return f"the registry refused ({error}): it takes changes from its own machine only; run this there"
    if isinstance(error, CallTimedOut):
        return "the registry did not answer in time; it may be stopped or overloaded"
    return f"the registry did not do it: {str(error) or type(error).__name__}"
