"""Blocking questions to a registry, for scripts and command lines: no Twisted.

::

    from rpcbind_reg import sync

    for mapping in sync.dump("instrument.lab"):
        print(mapping)
    with sync.connect(IPCPROG_1_SyncClient, "server.lab") as ipc:
        print(ipc.ripc_null())

Every function raises RegistryUnavailable when no registry answers, and RegistryError or another RPCError when it does
not do what it was asked to.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from oncrpc import sync as blocking
from oncrpc.errors import CallTimedOut, NotConnected, RPCError
from rpcbind_reg import client as conversations
from rpcbind_reg.broadcast import WAITS, Discovery, broadcast_addresses
from rpcbind_reg.client import SOCKET_PATHS, Line, Place, RegistryUnavailable, default_netid
from rpcbind_reg.interfaces import list_interfaces

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oncrpc.auth import Credential
    from oncrpc.program import ClientStub
    from rpcbind_reg.broadcast import Discovered
    from rpcbind_reg.client import PassedOn, Steps
    from rpcbind_reg.mappings import Mapping
    from rpcbind_reg.statistics import Statistics

TIMEOUT: Final = 10.0
"""Seconds for one question, its fallbacks to older versions included."""

S = TypeVar("S", bound="ClientStub")
T = TypeVar("T")


def local_place(port: int = conversations.REGISTRY_PORT) -> Place:
    """Return this machine's registry: its local socket if there is one, else 127.0.0.1."""
    if port == conversations.REGISTRY_PORT:
        for path in SOCKET_PATHS:
            if os.path.exists(path):  # noqa: PTH110 - may be a socket we may not stat further
                return Place(path)
    return Place("127.0.0.1", port)


def run(steps: Steps[T], place: Place, *, netid: str = "tcp", timeout: float = TIMEOUT) -> T:
    """Hold a conversation with a registry.

    Args:
        steps: From rpcbind_reg.client.
        place: The registry.
        netid: Transport to ask over.
        timeout: Seconds for each call, and for the connection.

    Raises:
        RegistryUnavailable: Nothing answers there.
        RPCError: What the conversation ends with.
    """
    try:
        caller = blocking.open_caller(place.address(netid), timeout=timeout)
    except NotConnected as error:
        raise RegistryUnavailable(str(place), str(error)) from error
    line = Line(caller)
    try:
        return _drive(steps, line)
    except (NotConnected, CallTimedOut) as error:
        raise RegistryUnavailable(str(place), str(error)) from error
    finally:
        caller.close()


def _drive(steps: Steps[T], line: Line) -> T:
    answer: Any = None
    error: RPCError | None = None
    while True:
        try:
            ask = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            value: T = end.value
            return value
        error = None
        try:
            answer = line.ask(ask)
        except RPCError as raised:
            error = raised


def _place(host: str | Place | None, port: int) -> Place:
    if isinstance(host, Place):
        return host
    return local_place(port) if host is None else Place(host, port)


def find(
    program: int,
    version: int,
    host: str | Place,
    netid: str = "",
    *,
    port: int = conversations.REGISTRY_PORT,
    timeout: float = TIMEOUT,
) -> str:
    """Find where a program is.

    Args:
        program: Program number.
        version: Version number.
        host: Name or address of its machine, or a Place.
        netid: Transport; "tcp" or "tcp6" after the host if "".
        port: The registry's port.
        timeout: Seconds, fallbacks included.

    Returns:
        A universal address; with the wildcard host where only the port is known.

    Raises:
        NotRegistered: The registry does not know it.
        RegistryUnavailable: No registry answers.
    """
    place = _place(host, port)
    netid = netid or default_netid(place.host)
    return run(conversations.find(program, version, netid, str(place), timeout), place, netid=netid, timeout=timeout)


@contextlib.contextmanager
def connect(
    stub_class: type[S],
    host: str | Place,
    netid: str = "",
    *,
    port: int = conversations.REGISTRY_PORT,
    credential: Credential | None = None,
    timeout: float = blocking.DEFAULT_TIMEOUT,
) -> Iterator[S]:
    """Find a program through the registry of its machine, and connect a stub for the length of a with block.

    Args:
        stub_class: A generated ``..._SyncClient`` class; its program and version are asked for.
        host: Name or address of the machine, or a Place.
        netid: Transport; "tcp" or "tcp6" after the host if "".
        port: The registry's port.
        credential: Who calls the program; the registry is asked without one.
        timeout: Seconds for each call, for the connection, and for the question to the registry.

    Raises:
        NotRegistered: The registry does not know it.
        RegistryUnavailable: No registry answers.
        NotConnected: The program does not answer where it is registered.
    """
    place = _place(host, port)
    netid = netid or default_netid(place.host)
    uaddr = find(stub_class.program, stub_class.version, place, netid, timeout=min(timeout, TIMEOUT))
    address = conversations.service_address(place, netid, uaddr)
    with blocking.connect(stub_class, address, credential=credential, timeout=timeout) as stub:
        yield stub


def dump(
    host: str | Place | None = None, *, port: int = conversations.REGISTRY_PORT, timeout: float = TIMEOUT
) -> list[Mapping]:
    """List all registrations of a machine; of this one if `host` is None."""
    return run(conversations.dump(), _place(host, port), timeout=timeout)


def read_statistics(
    host: str | Place | None = None, *, port: int = conversations.REGISTRY_PORT, timeout: float = TIMEOUT
) -> Statistics:
    """Read a registry's statistics.

    Raises:
        RegistryTooOld: It speaks no version 4.
    """
    return run(conversations.read_statistics(), _place(host, port), timeout=timeout)


def read_time(
    host: str | Place | None = None, *, port: int = conversations.REGISTRY_PORT, timeout: float = TIMEOUT
) -> int:
    """Read a registry's clock, in seconds since 1970."""
    return run(conversations.read_time(), _place(host, port), timeout=timeout)


def register(mapping: Mapping, *, place: Place | None = None, timeout: float = TIMEOUT) -> bool:
    """Register a mapping with this machine's registry; return whether it was granted."""
    return run(conversations.register(mapping), place or local_place(), timeout=timeout)


def unregister(
    program: int, version: int, netid: str = "", *, place: Place | None = None, timeout: float = TIMEOUT
) -> bool:
    """Remove a version's mappings from this machine's registry, of one netid or of all."""
    return run(conversations.unregister(program, version, netid), place or local_place(), timeout=timeout)


def call_indirectly(
    program: int,
    version: int,
    procedure: int,
    arguments: bytes = b"",
    *,
    host: str,
    port: int = conversations.REGISTRY_PORT,
    indirect: bool = True,
    timeout: float = TIMEOUT,
) -> PassedOn:
    """Have a machine's registry call one of its programs, over UDP."""
    steps = conversations.call_indirectly(program, version, procedure, arguments, indirect=indirect)
    return run(steps, Place(host, port), netid=default_netid(host, "udp"), timeout=timeout)


def discover(
    program: int,
    version: int,
    *,
    addresses: Sequence[str] = (),
    port: int = conversations.REGISTRY_PORT,
    wait: float = 4.0,
) -> Iterator[Discovered]:
    """Find the machines of the networks here that serve a program, by broadcast.

    Only registries that pass calls on answer; most are told not to.

    Args:
        program: Program number; 100000 finds the registries themselves.
        version: Version number.
        addresses: Broadcast and multicast addresses; those of all interfaces if empty.
        port: The registries' port.
        wait: Seconds to listen.

    Yields:
        Each machine once, as its answer comes.

    Raises:
        NotConnected: Nothing could be sent: there is no network that can broadcast.
    """
    targets = list(addresses) or broadcast_addresses(list_interfaces())
    search = Discovery(program, version, xid=int.from_bytes(os.urandom(4), "big"))
    families = {socket.AF_INET6 if ":" in target else socket.AF_INET for target in targets}
    start = time.monotonic()
    sendings = deque(start + delay for delay in WAITS)
    with contextlib.ExitStack() as stack:
        sockets = {family: stack.enter_context(_broadcaster(family)) for family in families}
        while (now := time.monotonic()) < start + wait:
            if sendings and sendings[0] <= now:
                sendings.popleft()
                _broadcast(search, sockets, targets, port)
            until = min(start + wait, sendings[0] if sendings else math.inf)
            ready, _, _ = select.select(sockets.values(), [], [], max(0.0, until - time.monotonic()))
            for each in ready:
                datagram, sender = each.recvfrom(65536)
                found = search.receive(datagram, sender[0], ipv6=each.family == socket.AF_INET6)
                if found is not None:
                    yield found


def _broadcaster(family: socket.AddressFamily) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setblocking(False)
    if family == socket.AF_INET:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    return made


def _broadcast(
    search: Discovery, sockets: dict[socket.AddressFamily, socket.socket], targets: Sequence[str], port: int
) -> None:
    errors: list[OSError] = []
    for target in targets:
        ipv6 = ":" in target
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        try:
            where = socket.getaddrinfo(target, port, family, socket.SOCK_DGRAM)[0][4]
            sockets[family].sendto(search.datagram(ipv6=ipv6), where)
        except OSError as error:
            errors.append(error)
    if len(errors) == len(targets):
        reason = errors[0].strerror if errors else "no interface is up that can broadcast"
        message = f"nothing could be broadcast: {reason}"
        raise NotConnected(message)


def wait_for_registry(place: Place, *, timeout: float = TIMEOUT) -> int:
    """Wait until a registry answers; return its newest version.

    Raises:
        RegistryUnavailable: None answered in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return run(conversations.detect_version(), place, timeout=max(0.1, deadline - time.monotonic()))
        except RegistryUnavailable:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.05)
