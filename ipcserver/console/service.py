"""The console as part of a server: its socket, its recorder, and the events that pages listen to."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.server import Site
from zope.interface import implementer

from ipcserver._gen.ipc import IPCPROG_1_Server
from ipcserver.console.acting import Actor
from ipcserver.console.resources import BoundedRequest, root
from ipcserver.console.traffic import Recorder
from ipcserver.console.views import machine_view
from oncrpc.explain import Programs
from oncrpc.tx.sockets import CannotServe
from rpcbind_reg.program import Portmapper, Rpcbind3, Rpcbind4

if TYPE_CHECKING:
    from twisted.web.http import Request

    from ipcserver.service import IPCService
    from oncrpc.observe import Observer

__all__ = ["INTERVAL", "LISTENERS", "REFUSED_PORTS", "Console", "Listener"]

INTERVAL: Final = 0.5
"""Seconds between two events: twice a second is as fast as anybody reads."""

LISTENERS: Final = 32
"""Pages that may listen at a time."""

REFUSED_PORTS: Final = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, *range(6665, 6670), 6679, 6697, 10080}
)
"""Ports above 1023 that no browser opens (Fetch standard, "bad port")."""

_IDLE: Final = 2.0
_NEWEST: Final = 50
_REQUEST_SECONDS: Final = 60


@implementer(IPushProducer)
class Listener:
    """A page that listens to events; one that does not read them misses some."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.paused = False
        request.registerProducer(self, True)

    def send(self, events: bytes) -> None:
        """Send events, all of them or none, if the last ones were read."""
        if not self.paused:
            self.request.write(events)

    def pauseProducing(self) -> None:
        """The page does not read."""
        self.paused = True

    def resumeProducing(self) -> None:
        """It does again."""
        self.paused = False

    def stopProducing(self) -> None:
        """It is gone."""
        self.paused = True


class Console:
    """The console of a server.

    Args:
        service: The server that is shown.
        host: Address to listen on.
        port: Its port; 0 takes a free one.
        reactor: The reactor.

    Attributes:
        recorder: The last calls.
        actor: Does what the page asks for; None where it may only look.
        registry: Prometheus's figures; None where its package is not installed.
        port: Where it listens, once it is bound.
    """

    _log = Logger(namespace="ipcserver")

    def __init__(self, service: IPCService, host: str, port: int, *, reactor: Any) -> None:
        self.service, self.host, self.port, self._reactor = service, host, port, reactor
        self.recorder = Recorder(Programs([IPCPROG_1_Server, Portmapper, Rpcbind3, Rpcbind4]), wall=time.time)
        self.recorder.watched = False
        self.actor = Actor(service.config, service.replica) if service.config.console_actions else None
        self.registry, self._metrics = _metrics()
        self._socket: socket.socket | None = None
        self._listening: Any = None
        self._listeners: list[Listener] = []
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor
        self._sent: tuple[int, int] = (-1, -1)
        self._sent_at = 0.0

    def observers(self, lane: str) -> tuple[Observer, ...]:
        """Return those who are to be told what a server does."""
        return (self.recorder.tap(lane), *(self._metrics if lane == "server" else ()))

    # -- beginning and end ------------------------------------------------------------------------------------

    def bind(self) -> None:
        """Take the port.

        Raises:
            CannotServe: It cannot be had.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self.host, self.port))
            made.listen(128)
        except OSError as error:
            made.close()
            place = f"{self.host} port {self.port} for the console"
            raise CannotServe(place, error) from None
        made.setblocking(False)
        self.port = made.getsockname()[1]
        self._socket = made

    def start(self) -> None:
        """Answer browsers."""
        assert self._socket is not None
        site = Site(root(self), requestFactory=BoundedRequest, timeout=_REQUEST_SECONDS)
        site.displayTracebacks = False
        site.noisy = False
        site.log = lambda _request: None  # type: ignore[method-assign,assignment]
        self._listening = self._reactor.adoptStreamPort(self._socket.fileno(), self._socket.family, site)
        self._socket.close()
        self._socket = None
        host = f"[{self.host}]" if ":" in self.host else self.host
        self._log.info("the console is at http://{host}:{port}/", host=host, port=self.port)
        if self.port in REFUSED_PORTS:
            self._log.warn(
                "browsers refuse port {port}, which is another protocol's: choose one as 8600", port=self.port
            )
        if not ip_address(self.host).is_loopback:
            self._log.warn("the console has no login: whoever reaches {host} sees every message", host=self.host)
        if self.actor is not None:
            self.actor.announce()

    async def stop(self) -> None:
        """Answer nobody any more."""
        for listener in self._listeners:
            with suppress(RuntimeError):
                listener.request.unregisterProducer()
                listener.request.loseConnection()
        self._listeners.clear()
        if self._ticking.running:
            self._ticking.stop()
        if self._listening is not None:
            await maybeDeferred(self._listening.stopListening)
            self._listening = None

    def close(self) -> None:
        """Give the port back, if it was never used."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # -- what pages see ------------------------------------------------------------------------------------------

    def health(self) -> str:
        """Return what is wrong; "" if nothing is."""
        if self.service.rpc is None:
            return "not serving yet, or no longer"
        if self.service.replica.full:
            return "the disk is full: calls that bring bytes are refused"
        return "the journal cannot be written" if self.service.replica.broken else ""

    def state(self) -> dict[str, Any]:
        """Return all but the traffic."""
        service, recorder = self.service, self.recorder
        rpc = service.rpc
        return {
            "health": self.health(),
            "actions": self.actor is not None,
            "addresses": [str(address) for address in service.addresses],
            "machine": machine_view(service.replica.machine),
            "registrations": self._registrations(),
            "journal": {"kind": service.config.journal, **service.replica.figures()},
            "connections": 0 if rpc is None else len(rpc.connections),
            "counters": {}
            if rpc is None
            else {name: getattr(rpc.server.counters, name) for name in rpc.server.counters.__slots__},
            "outcomes": dict(recorder.outcomes.most_common()),
            "procedures": dict(recorder.procedures.most_common(20)),
            "plots": recorder.plots(),
        }

    def _registrations(self) -> dict[str, Any]:
        """Return where the program is registered, and what else the builtin portmapper holds."""
        service = self.service
        if service.portmapper is not None:
            mappings = service.portmapper.registry.mappings
            rows = [(each, "registered", "") for each, _ in zip(mappings, range(200), strict=False)]
            where, total = "builtin portmapper", len(mappings)
        elif service.registrar is not None:
            state = service.registrar.state
            where = f"{state.phase.value}: {state.detection.sentence}"
            rows = [(each.mapping, each.status.name.lower(), each.sentence) for each in state.standings]
            total = len(rows)
        else:
            where, rows, total = "not registered: there is no portmapper", [], 0
        names = self.recorder.programs
        return {
            "where": where,
            "total": total,
            "rows": [
                {
                    "program": f"{each.program} {names.name(each.program, each.version)}",
                    "version": each.version,
                    "netid": each.netid,
                    "address": each.uaddr,
                    "owner": each.owner,
                    "status": status,
                    "why": why,
                }
                for each, status, why in rows
            ],
        }

    # -- events -----------------------------------------------------------------------------------------------------

    def listen(self, request: Request) -> bool:
        """Send events to a page from now on.

        Returns:
            False if too many listen already.
        """
        if len(self._listeners) >= LISTENERS:
            return False
        listener = Listener(request)
        self._listeners.append(listener)
        gone: Any = request.notifyFinish()
        gone.addBoth(lambda _: self._gone(listener))
        listener.send(_event("state", self.state()))
        if not self._ticking.running:
            self.recorder.watched = True
            self._ticking.start(INTERVAL, now=False)
        return True

    def _gone(self, listener: Listener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)
        if not self._listeners and self._ticking.running:
            self._ticking.stop()
            self._watch_no_more()

    def _watch_no_more(self) -> None:
        self.recorder.watched = False
        self.recorder.changed.clear()

    def _tick(self) -> None:
        """Send what changed, made once for all; nothing is made while nobody listens."""
        figures = self.service.replica.figures()
        now = (self.recorder.version, figures["commands"])
        if now == self._sent and self._reactor.seconds() - self._sent_at < _IDLE:
            return
        self._sent, self._sent_at = now, self._reactor.seconds()
        calls, left_out = self.recorder.take_changed(_NEWEST)
        events = _event("state", self.state())
        if calls:
            events += _event("traffic", {"calls": calls, "left_out": left_out})
        for listener in list(self._listeners):
            listener.send(events)


def _event(name: str, data: dict[str, Any]) -> bytes:
    """Return an event as it goes to a page."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _metrics() -> tuple[Any, tuple[Observer, ...]]:
    """Return a registry of Prometheus's and what fills it; nothing without its package."""
    try:
        from prometheus_client import CollectorRegistry

        from oncrpc.metrics import Metrics
    except ImportError:
        return None, ()
    registry = CollectorRegistry()
    return registry, (Metrics(registry),)
