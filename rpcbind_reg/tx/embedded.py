"""A registry as a Twisted service: rpcbind in Python.

::

    portmapper = PortmapperService(default_endpoints(), state_file=Path("/run/rpcbind/rpcbind.xdr"))
    portmapper.setServiceParent(application)

It serves versions 2, 3 and 4 over everything it is told to listen on, and is safe as it comes: it listens on loopback,
takes changes from its own machine only, knows whose they are, passes no calls on, answers strangers' datagrams with
nothing longer than what they sent, and bounds what each owner may register.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from oncrpc.limits import Limits
from oncrpc.trust import Trust
from oncrpc.tx.service import RPCService
from rpcbind_reg.broadcast import MULTICAST_GROUP
from rpcbind_reg.client import REGISTRY_PORT, SOCKET_PATHS
from rpcbind_reg.interfaces import list_interfaces
from rpcbind_reg.mappings import REGISTRY_PROGRAM, SUPERUSER, Mapping, SetOutcome, UnsetOutcome
from rpcbind_reg.owners import uid_of_socket
from rpcbind_reg.program import Portmapper, Rpcbind3, Rpcbind4
from rpcbind_reg.registry import Registry, RegistryPolicy
from rpcbind_reg.state import StateError, decode_state, encode_state
from rpcbind_reg.tx.forward import UDPForwarder
from rpcbind_reg.uaddr import join, transport_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from twisted.python.failure import Failure

    from oncrpc.observe import Observer
    from oncrpc.tx.service import ServedAddress
    from rpcbind_reg.access import Caller
    from rpcbind_reg.addresses import Interface

LIMITS: Final = Limits(max_assembly=16 * 1024 * 1024, max_connections=2000, max_connections_per_peer=1000)
"""Calls to a registry are short; a dump of a full table is about 1 MB. Registrars keep a connection each."""

INTERFACES_AGE: Final = 5.0
"""Seconds for which the list of interfaces is believed: a flood of lookups does not ask the system each time."""

SAVE_DELAY: Final = 0.05
"""Seconds in which changes are gathered into one writing of the state file."""

log = Logger()


def default_endpoints(
    hosts: Iterable[str] = ("127.0.0.1", "::1"),
    *,
    port: int = REGISTRY_PORT,
    path: str | None = SOCKET_PATHS[0],
) -> list[str]:
    """Return endpoints for TCP and UDP on each host, and the local socket.

    Args:
        hosts: IP addresses; "0.0.0.0" and "::" for every network, which is an explicit choice.
        port: Where clients look for a registry is 111, a privileged port.
        path: The local socket, by which registrants are known; None for none.
    """
    found = [f"{kind}:{port}:interface={host}" for host in hosts for kind in ("tcp", "udp")]
    return [f"unix:{path}:mode=666", *found] if path else found


class PortmapperService(Service):
    """Serves a registry.

    Args:
        endpoints: Where to listen, as RPCService takes them: strings or sockets. Default: default_endpoints().
        policy: What is allowed.
        trust: Networks whose datagrams may be answered with more than they sent; loopback by default.
        state_file: Kept up to date, and read at the start (warm start); None keeps nothing.
        limits: Budget of the RPC server.
        observers: Passed to RPCService.
        reactor: The global one if None.

    Attributes:
        registry: The table, its statistics and its rules.
        addresses: Where it listens; known once it is started.
    """

    def __init__(
        self,
        endpoints: Sequence[str | socket.socket] | None = None,
        *,
        policy: RegistryPolicy | None = None,
        trust: Trust | None = None,
        state_file: Path | None = None,
        limits: Limits = LIMITS,
        observers: Sequence[Observer] = (),
        reactor: Any = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._state_file = state_file
        self._saving: Deferred[None] | None = None
        self._save_timer: Any = None
        self._dirty = False
        self._group: socket.socket | None = None
        self._watch = _Watch(self)
        interfaces = _Interfaces(reactor)
        self.registry = Registry(policy, interfaces=interfaces.current, observer=self._watch)
        callit = self.registry.policy.callit.enabled
        self._forwarder = UDPForwarder(reactor) if callit else None
        programs = [
            kind(self.registry, now=time.time, identify=uid_of_socket, forwarder=self._forwarder)
            for kind in (Portmapper, Rpcbind3, Rpcbind4)
        ]
        self._service = RPCService(
            programs,
            default_endpoints() if endpoints is None else endpoints,
            limits=limits,
            trust=trust or Trust(),
            observers=observers,
            reactor=reactor,
        )

    @property
    def addresses(self) -> Sequence[ServedAddress]:
        """Where it listens."""
        return self._service.addresses

    def privilegedStartService(self) -> None:
        """Bind the ports, which are privileged, and read the state file.

        Raises:
            CannotListenError: A port is taken or not allowed.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._service.privilegedStartService()
        self._warm_start()
        for mapping in own_mappings(self._service.addresses):
            self.registry.mappings.set(mapping, reserved=True)
        everywhere = any((address.netid, address.host) == ("udp6", "::") for address in self._service.addresses)
        if self._forwarder is not None and everywhere:
            self._group = join_group()

    def startService(self) -> None:
        """Begin to answer."""
        super().startService()  # type: ignore[no-untyped-call]
        self._service.startService()
        where = ", ".join(str(address) for address in self._service.addresses)
        log.info("registry: serving portmap 2 and rpcbind 3, 4 on {where}", where=where)

    def stopService(self) -> Deferred[None]:
        """Stop answering, and write the state file a last time.

        Returns:
            Fires when both are done.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._forwarder is not None:
            self._forwarder.close()
        if self._group is not None:
            self._group.close()
            self._group = None
        stopping: Deferred[Any] = maybeDeferred(self._service.stopService)
        return stopping.addCallback(lambda _: self._save_now())

    def register(self, mappings: Iterable[Mapping]) -> list[SetOutcome]:
        """Register mappings of this very process, as the super-user's; an entry in the way is replaced.

        Args:
            mappings: See rpcbind_reg.registration.registrations().
        """
        outcomes: list[SetOutcome] = []
        for mapping in mappings:
            present = self.registry.mappings.find_exactly(mapping.program, mapping.version, mapping.netid)
            if present is not None and present.uaddr != mapping.uaddr:
                # A warm start brought back what our predecessor had registered.
                self.registry.unset(mapping.program, mapping.version, mapping.netid, None)
            own = Mapping(mapping.program, mapping.version, mapping.netid, mapping.uaddr, SUPERUSER)
            outcomes.append(self.registry.set(own, None))
        return outcomes

    def unregister(self, mappings: Iterable[Mapping]) -> None:
        """Remove what register() registered."""
        for mapping in mappings:
            self.registry.unset(mapping.program, mapping.version, mapping.netid, None)

    def notice(self, sentence: str) -> None:
        """Write one line to the log, of which there can be many: some are written, all are counted."""
        self._service.server.notice("registry", None, sentence)

    # The state file.

    def _warm_start(self) -> None:
        path = self._state_file
        if path is None:
            return
        try:
            mappings = decode_state(path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, StateError) as error:
            # Kept aside for whoever wants to look; a registry that does not start is worse than one that starts empty.
            aside = path.with_suffix(path.suffix + ".bad")
            with suppress(OSError):
                path.rename(aside)
            log.error("registry: {path} cannot be read ({error}); starting empty", path=str(path), error=error)  # noqa: TRY400
            return
        taken = [mapping for mapping in mappings if self.registry.mappings.set(mapping).granted]
        log.info("registry: warm start with {count} registrations from {path}", count=len(taken), path=str(path))

    def changed(self) -> None:
        """Have the state file written soon."""
        self._dirty = True
        if self._state_file is not None and self._save_timer is None and self.running:
            self._save_timer = self._reactor.callLater(SAVE_DELAY, self._save)

    def _save(self) -> None:
        self._save_timer = None
        if self._saving is None:
            self._saving = self._write().addBoth(self._saved)

    def _save_now(self) -> Deferred[None]:
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None
        if self._saving is not None:
            after: Deferred[None] = Deferred()
            self._saving.addBoth(lambda _: self._write().chainDeferred(after))
            return after
        return self._write()

    def _write(self) -> Deferred[None]:
        if self._state_file is None or not self._dirty:
            return succeed(None)
        self._dirty = False
        content = encode_state(self.registry.mappings)
        pool = self._reactor.getThreadPool()
        writing: Deferred[None] = deferToThreadPool(self._reactor, pool, write_atomically, self._state_file, content)
        return writing.addErrback(self._not_written)

    def _saved(self, _result: object) -> None:
        self._saving = None
        if self._dirty:
            self.changed()

    def _not_written(self, failure: Failure) -> None:
        log.error("registry: {path} was not written: {error}", path=str(self._state_file), error=failure.value)


def join_group() -> socket.socket:
    """Return a socket that keeps this machine in the registries' multicast group, on every interface that can.

    Its own port receives nothing: the registry's socket, bound to every address, gets what comes for the group.
    (rpcbind joins too, but closes the socket, and so leaves again at once.)
    """
    member = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    group = socket.inet_pton(socket.AF_INET6, MULTICAST_GROUP)
    for index, name in socket.if_nameindex():
        request = group + struct.pack("@I", index)
        try:
            member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        except OSError as error:
            log.debug("registry: {name} joins no multicast group: {error}", name=name, error=error)
    return member


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file as a whole, so that a crash leaves the old or the new one; readable by its owner only.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(mode=0o770, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def own_mappings(addresses: Iterable[ServedAddress]) -> list[Mapping]:
    """Return the registry's own entries: versions 4, 3 and, on TCP and UDP over IPv4, 2."""
    found: dict[tuple[int, str], Mapping] = {}
    for address in addresses:
        transport = transport_of(address.netid)
        versions = (4, 3, 2) if transport is not None and transport.ip_protocol is not None else (4, 3)
        uaddr = address.path or join(address.host, address.port)
        for version in versions:
            mapping = Mapping(REGISTRY_PROGRAM, version, address.netid, uaddr, SUPERUSER)
            found.setdefault((version, address.netid), mapping)
    return list(found.values())


class _Interfaces:
    """The list of interfaces, asked for anew when it is too old."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._known: list[Interface] = []
        self._until = float("-inf")

    def current(self) -> list[Interface]:
        """Return it."""
        now = self._clock.seconds()
        if now >= self._until:
            self._until = now + INTERFACES_AGE
            try:
                self._known = list_interfaces()
            except OSError as error:
                log.warn("registry: the network interfaces cannot be listed: {error}", error=error)
        return self._known


class _Watch:
    """Writes the log, and has the state file written."""

    def __init__(self, service: PortmapperService) -> None:
        self._service = service

    def on_set(self, mapping: Mapping, caller: Caller | None, outcome: SetOutcome) -> None:
        """Tell of new entries and of refusals; repetitions are no news."""
        if outcome is SetOutcome.ADDED:
            log.info("registry: {mapping} registered by {caller}", mapping=mapping, caller=caller or "ourselves")
            self._service.changed()
        elif not outcome.granted:
            self._refused(f"{mapping} not registered for {caller or 'ourselves'}: {outcome.value}")

    def on_unset(self, caller: Caller | None, outcome: UnsetOutcome) -> None:
        """Tell of what is gone and of what stays."""
        for mapping in outcome.removed:
            log.info("registry: {mapping} unregistered by {caller}", mapping=mapping, caller=caller or "ourselves")
            self._service.changed()
        if outcome.refused:
            first = outcome.refused[0]
            netids = ", ".join(mapping.netid for mapping in outcome.refused)
            what = f"program {first.program} version {first.version} on {netids}"
            self._refused(f"{what} stays: it belongs to {first.owner}, not to {caller}")

    def on_refused(self, caller: Caller, what: str) -> None:
        """Tell of it, but let nobody fill the log."""
        self._refused(f"refused {what}, from {caller}")

    def _refused(self, sentence: str) -> None:
        # By way of the server's notices, which are bounded: nobody can fill the log.
        self._service.notice(sentence)
