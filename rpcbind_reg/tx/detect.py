"""Finding this machine's registry, and saying in one sentence what was found."""

from __future__ import annotations

import enum
import os
import random
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectBindError, ConnectError, ConnectionLost, UserError
from twisted.internet.protocol import Factory

from oncrpc.errors import NotConnected, RPCError
from oncrpc.observe import StreamTap
from oncrpc.program import Peer
from oncrpc.tx.client import StreamCaller
from rpcbind_reg import client as conversations
from rpcbind_reg.client import PMAPVERS, SOCKET_PATHS, Line, Place
from rpcbind_reg.mappings import SUPERUSER, owner_name
from rpcbind_reg.tx.client import drive

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from twisted.internet.interfaces import IAddress, IStreamClientEndpoint

    from oncrpc.observe import Observer

PLACES: Final = (*(Place(path) for path in SOCKET_PATHS), Place("127.0.0.1"), Place("::1"))
"""Where a registry of this machine is looked for, the best place first: over its local socket it knows who we are."""

RESERVED_PORTS: Final = range(700, 1024)
"""Source ports that only root may use; rpcbind takes a loopback caller with one for the super-user. Those from 600 are
left to servers."""

_numbers = count(1)
"""Of connections, for observers."""


class Presence(enum.Enum):
    """What was found of a registry."""

    LOCAL_SOCKET = "local socket"
    LOOPBACK = "loopback"
    VERSION_2_ONLY = "version 2 only"
    REFUSED = "refused"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found, and where.

    Attributes:
        presence: In one word.
        sentence: In one sentence, with what to do if nothing usable was found.
        place: Where it answers; None if it does not.
        version: Its newest version; 0 if it does not answer.
    """

    presence: Presence
    sentence: str
    place: Place | None = None
    version: int = 0

    @property
    def usable(self) -> bool:
        """Whether programs can be registered there."""
        return self.version != 0

    @property
    def owner(self) -> str:
        """Whose a registration made there by this process is, as rpcbind judges it; "" if it cannot be foreseen."""
        if self.place is None:
            return ""
        if self.place.is_local:
            return owner_name(os.geteuid())
        return SUPERUSER if os.geteuid() == 0 else ""


def detect(places: Sequence[Place] = PLACES, *, timeout: float = 2.0, reactor: Any = None) -> Deferred[Detection]:
    """Look for a registry of this machine.

    Args:
        places: Where to look, best first.
        timeout: Seconds for each place.
        reactor: The global one if None.

    Returns:
        A Deferred of what was found; it does not fail.
    """
    return ensureDeferred(_detect(places, timeout, reactor))


def _detect(places: Sequence[Place], timeout: float, reactor: Any) -> Coroutine[Deferred[Any], Any, Detection]:
    async def look() -> Detection:
        line, detection = await search(places, seconds=timeout, reactor=reactor)
        if line is not None:
            await maybeDeferred(line.close)
        return detection

    return look()


async def search(
    places: Sequence[Place],
    *,
    seconds: float,
    reactor: Any = None,
    on_lost: Callable[[RPCError], None] | None = None,
    observers: Sequence[Observer] = (),
) -> tuple[Line | None, Detection]:
    """Look for a registry, and keep the line to it open.

    Args:
        places: Where to look, best first.
        seconds: For each connection, and for each call on it.
        reactor: The global one if None.
        on_lost: Called when the line that is returned is lost.
        observers: Told of every message, as the registry would see it.

    Returns:
        The line (None if nothing usable was found), and what was found.
    """
    if reactor is None:
        from twisted.internet import reactor
    obstacles: list[str] = []
    for place in _distinct(places):
        try:
            caller = await _connect(place, reactor, seconds, on_lost)
        except NotConnected as error:
            # A path that is not there is no obstacle; one that is there and does not let us in is.
            if place.is_local and _exists(place.host):
                obstacles.append(str(error))
            continue
        if observers:
            caller.tap = _tap(place, caller, observers)
        line = Line(caller)
        try:
            version = await drive(conversations.detect_version(), line)
        except RPCError as error:
            obstacles.append(f"{place} accepts connections but is no registry: {str(error) or type(error).__name__}")
            caller.forget()
            await maybeDeferred(line.close)
            continue
        except BaseException:
            # Cancelled, when a registrar stops: the connection must not stay behind.
            caller.forget()
            maybeDeferred(line.close)
            raise
        return line, _found(place, version)
    if obstacles:
        sentence = f"no registry can be used: {'; '.join(obstacles)}"
        return None, Detection(Presence.REFUSED, sentence)
    looked = ", ".join(str(place) for place in places)
    return None, Detection(
        Presence.ABSENT, f"no registry runs here (looked at {looked}); start rpcbind, or rpcbind-reg serve"
    )


def _distinct(places: Sequence[Place]) -> list[Place]:
    """Leave out local sockets that are another one's by a symbolic link, as /var/run is of /run."""
    found: dict[object, Place] = {}
    for place in places:
        found.setdefault(Path(place.host).resolve() if place.is_local else place, place)
    return list(found.values())


def _exists(path: str) -> bool:
    return Path(path).exists()


def _found(place: Place, version: int) -> Detection:
    if version == PMAPVERS:
        sentence = f"a portmapper answers at {place}, version 2 only: it takes TCP and UDP over IPv4, nothing else"
        return Detection(Presence.VERSION_2_ONLY, sentence, place, version)
    if place.is_local:
        sentence = f"rpcbind answers on its local socket {place}, version {version}"
        return Detection(Presence.LOCAL_SOCKET, sentence, place, version)
    sentence = (
        f"rpcbind answers at {place}, version {version}, but not on a local socket, so it may not know whose we are"
    )
    return Detection(Presence.LOOPBACK, sentence, place, version)


class _Caller(StreamCaller):
    """A connection to a registry, which tells when it is lost, unless it was given up."""

    def forget(self) -> None:
        """Tell nobody when this connection is lost."""
        self._on_lost.clear()


def _tap(place: Place, caller: _Caller, observers: Sequence[Observer]) -> StreamTap:
    """Return what shows the messages of a connection to observers."""
    number = next(_numbers)
    if place.is_local:
        return StreamTap(
            observers, client=Peer("", 0), server=Peer("", 0, place.host), netid="local", connection=number
        )
    assert caller.transport is not None
    here: Any = caller.transport.getHost()
    netid = "tcp6" if ":" in place.host else "tcp"
    return StreamTap(
        observers,
        client=Peer(here.host, here.port),
        server=Peer(place.host, place.port),
        netid=netid,
        connection=number,
    )


class _Once(Factory):
    """Gives one caller to one connection, and is silent about it."""

    noisy = False

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    def buildProtocol(self, addr: IAddress | None) -> _Caller:
        """Give it."""
        del addr
        return self._caller


async def _connect(place: Place, reactor: Any, seconds: float, on_lost: Callable[[RPCError], None] | None) -> _Caller:
    last: Exception | None = None
    for bind in _sources(place):
        caller = _Caller(reactor, timeout=seconds, on_lost=on_lost)
        try:
            await _endpoint(place, reactor, seconds, bind).connect(_Once(caller))
        except (ConnectBindError, UserError) as error:
            last = error
        except (ConnectError, ConnectionLost, OSError) as error:
            message = f"{place}: {error}"
            raise NotConnected(message) from error
        else:
            return caller
    message = f"{place}: {last}"
    raise NotConnected(message) from last


def _sources(place: Place) -> list[int]:
    """Source ports to try: as root some reserved ones first, so that rpcbind takes us for root."""
    reserved = random.sample(RESERVED_PORTS, 4) if not place.is_local and os.geteuid() == 0 else []
    return [*reserved, 0]


def _endpoint(place: Place, reactor: Any, seconds: float, source: int) -> IStreamClientEndpoint:
    if place.is_local:
        return UNIXClientEndpoint(reactor, place.host, timeout=seconds)
    kind = TCP6ClientEndpoint if ":" in place.host else TCP4ClientEndpoint
    bind = (place.host, source) if source else None
    return kind(reactor, place.host, place.port, timeout=seconds, bindAddress=bind)
