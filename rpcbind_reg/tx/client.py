"""Questions to a registry over Twisted; what is asked, and how it falls back, is in rpcbind_reg/client.py.

::

    ipc = await rpcbind_reg.tx.client.connect(IPCPROG_1_Client, "server.lab")
    await ipc.ripc_null()
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred

from oncrpc.errors import CallTimedOut, NotConnected, RPCError
from oncrpc.tx import client as calling
from rpcbind_reg import client as conversations
from rpcbind_reg.client import Line, Place, RegistryUnavailable, default_netid
from rpcbind_reg.sync import TIMEOUT, local_place

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from oncrpc.auth import Credential
    from oncrpc.program import ClientStub
    from rpcbind_reg.client import PassedOn, Steps
    from rpcbind_reg.mappings import Mapping
    from rpcbind_reg.statistics import Statistics

S = TypeVar("S", bound="ClientStub")
T = TypeVar("T")


async def drive(steps: Steps[T], line: Line) -> T:
    """Hold a conversation over a line that is open.

    Raises:
        RPCError: What the conversation ends with.
    """
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
            answer = await line.ask(ask)
        except RPCError as raised:
            error = raised


@dataclass(frozen=True, slots=True)
class _Way:
    """How to reach a registry: what every question takes."""

    place: Place
    netid: str
    timeout: float
    reactor: Any

    async def hold(self, steps: Steps[T]) -> T:
        """Hold a conversation over a line of its own."""
        try:
            address = self.place.address(self.netid)
            line = await calling.connect(Line, address, timeout=self.timeout, reactor=self.reactor)
        except NotConnected as error:
            raise RegistryUnavailable(str(self.place), str(error)) from error
        try:
            return await drive(steps, line)
        except (NotConnected, CallTimedOut) as error:
            raise RegistryUnavailable(str(self.place), str(error)) from error
        finally:
            await maybeDeferred(line.close)

    async def connect(self, stub_class: type[S], credential: Credential | None) -> S:
        """Find a program and connect to it."""
        wait = min(self.timeout, TIMEOUT)
        steps = conversations.find(stub_class.program, stub_class.version, self.netid, str(self.place), wait)
        uaddr = await _Way(self.place, self.netid, wait, self.reactor).hold(steps)
        address = conversations.service_address(self.place, self.netid, uaddr)
        return await calling.connect(
            stub_class, address, credential=credential, timeout=self.timeout, reactor=self.reactor
        )


def _deferred(coroutine: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    return ensureDeferred(coroutine)


def run(
    steps: Steps[T], place: Place, *, netid: str = "tcp", timeout: float = TIMEOUT, reactor: Any = None
) -> Deferred[T]:
    """Hold a conversation with a registry; for the arguments and errors see rpcbind_reg.sync.run()."""
    return _deferred(_Way(place, netid, timeout, reactor).hold(steps))


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
    reactor: Any = None,
) -> Deferred[str]:
    """Find where a program is; for the arguments and errors see rpcbind_reg.sync.find()."""
    place = _place(host, port)
    netid = netid or default_netid(place.host)
    steps = conversations.find(program, version, netid, str(place), timeout)
    return run(steps, place, netid=netid, timeout=timeout, reactor=reactor)


def connect(
    stub_class: type[S],
    host: str | Place,
    netid: str = "",
    *,
    port: int = conversations.REGISTRY_PORT,
    credential: Credential | None = None,
    timeout: float = calling.DEFAULT_TIMEOUT,
    reactor: Any = None,
) -> Deferred[S]:
    """Find a program through the registry of its machine, and connect a stub.

    For the arguments and errors see rpcbind_reg.sync.connect(); ``stub.close()`` ends it.
    """
    place = _place(host, port)
    netid = netid or default_netid(place.host)
    return _deferred(_Way(place, netid, timeout, reactor).connect(stub_class, credential))


def dump(
    host: str | Place | None = None,
    *,
    port: int = conversations.REGISTRY_PORT,
    timeout: float = TIMEOUT,
    reactor: Any = None,
) -> Deferred[list[Mapping]]:
    """List all registrations of a machine; of this one if `host` is None."""
    return run(conversations.dump(), _place(host, port), timeout=timeout, reactor=reactor)


def read_statistics(
    host: str | Place | None = None,
    *,
    port: int = conversations.REGISTRY_PORT,
    timeout: float = TIMEOUT,
    reactor: Any = None,
) -> Deferred[Statistics]:
    """Read a registry's statistics; fails with RegistryTooOld if it speaks no version 4."""
    return run(conversations.read_statistics(), _place(host, port), timeout=timeout, reactor=reactor)


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
    reactor: Any = None,
) -> Deferred[PassedOn]:
    """Have a machine's registry call one of its programs, over UDP."""
    steps = conversations.call_indirectly(program, version, procedure, arguments, indirect=indirect)
    netid = default_netid(host, "udp")
    return run(steps, Place(host, port), netid=netid, timeout=timeout, reactor=reactor)
