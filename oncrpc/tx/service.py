"""A Twisted service that serves programs on any number of endpoints."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred

from oncrpc.limits import Limits
from oncrpc.replay import ReplayCache
from oncrpc.server import Server
from oncrpc.session import StreamSession
from oncrpc.tx.datagram import DatagramListener
from oncrpc.tx.logs import NoticeLog
from oncrpc.tx.reactor import make_monotonic
from oncrpc.tx.reverse import call_back
from oncrpc.tx.sockets import ServedAddress, address_of, netid_of, open_endpoints
from oncrpc.tx.stream import StreamListener, StreamTransport, peer_credentials, prepare

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Generator, Sequence

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from oncrpc.flavors import Flavors
    from oncrpc.observe import Observer
    from oncrpc.program import Peer, Program
    from oncrpc.served_call import ServedCall
    from oncrpc.trust import Trust
    from oncrpc.tx.reactor import Reactor

__all__ = ["RPCService", "ServedAddress"]

ReplayChoice = Literal["none", "datagrams", "all"]

_TICK: Final = 1.0
_STOP_GRACE: Final = 3.0
# Descriptors that connections leave to everything else in the process: its database, its log.
_DESCRIPTOR_RESERVE: Final = 64
_LOCAL: Final = "local"


class RPCService(Service):
    """Serves programs over TCP, UDP and local sockets.

    privilegedStartService() listens, so that a process may drop its privileges afterwards;
    startService() begins to read. Stopping ends in good order: nothing more is accepted, calls in
    hand are answered, and after three seconds what is left is cut.

    Args:
        programs: What is served: one object for each version of each program.
        endpoints: Where: endpoint strings (see :func:`oncrpc.tx.sockets.parse_endpoint`), or
            sockets that are bound already.
        limits: The budget.
        reactor: Takes Twisted's own if None; its clock is made monotonic.
        observers: Told what happens; the log needs none.
        replay: For which transports retransmitted calls are answered from the replay cache.
            "datagrams" for UDP, "all" for streams too.
        trust: Whose AUTH_SYS is believed, and who may get long datagrams; loopback and local
            sockets by default.
        flavors: What is made of credentials; default_flavors(trust) if None.

    Attributes:
        addresses: Where it listens; filled by privilegedStartService().
        server: The core: its counters, for one.
        connections: The stream connections there are.

    Raises:
        ValueError: Two programs have the same number and version, or `replay` is none of the three.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        endpoints: Sequence[str | socket.socket],
        *,
        limits: Limits | None = None,
        reactor: Reactor | None = None,
        observers: Sequence[Observer] = (),
        replay: ReplayChoice = "datagrams",
        trust: Trust | None = None,
        flavors: Flavors | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor as default

            reactor = cast("Reactor", default)
        if replay not in {"none", "datagrams", "all"}:
            msg = f"replay is {replay!r}, none of 'none', 'datagrams', 'all'"
            raise ValueError(msg)
        make_monotonic(reactor)
        # Of the reactors, ours knows a shorter way to the end of what goes on now.
        self._soon: Callable[[Callable[[], object]], object]
        self._soon = getattr(reactor, "soon", partial(reactor.callLater, 0))
        self.limits = limits or Limits()
        self.reactor = reactor
        self.endpoints = list(endpoints)
        self.addresses: list[ServedAddress] = []
        self.connections: set[StreamTransport] = set()
        self.server = Server(
            programs,
            limits=self.limits,
            flavors=flavors,
            trust=trust,
            observers=(*observers, NoticeLog(self.limits.log_burst, self.limits.log_interval, reactor.seconds)),
            clock=reactor.seconds,
            run_awaitable=_run_awaitable,
        )
        self.server.make_caller = lambda session: call_back(session, reactor, self.limits)
        self.now = reactor.seconds()
        cache = ReplayCache(self.limits.replay_entries, self.limits.replay_bytes, self.limits.replay_age)
        self.replay = cache
        self._datagram_replay = None if replay == "none" else cache
        self._stream_replay = cache if replay == "all" else None
        self._listeners: list[StreamListener] = []
        self._datagrams: list[DatagramListener] = []
        self._number = 0
        self._per_peer: dict[object, int] = {}
        self._assembly = 0
        self._dirty: list[StreamTransport] = []
        self._tick: IDelayedCall | None = None
        self._stopping: Deferred[None] | None = None
        self._stop_deadline: IDelayedCall | None = None
        self._grace_over = False
        self._cap = self.limits.max_connections

    # Service.

    def privilegedStartService(self) -> None:
        """Bind and listen everywhere, or nowhere.

        Raises:
            CannotServe: An endpoint cannot be listened on.
            ValueError: An endpoint string is none.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._listen()

    def startService(self) -> None:
        """Begin to serve; binds first, if privilegedStartService() was not called."""
        if self.running:
            return
        self._listen()
        super().startService()  # type: ignore[no-untyped-call]
        self._stopping = None
        self._cap = min(self.limits.max_connections, _descriptor_limit() - _DESCRIPTOR_RESERVE)
        for listener in self._listeners:
            listener.start()
        for datagrams in self._datagrams:
            datagrams.start()
        self._schedule_tick()

    def stopService(self) -> Deferred[None]:
        """Accept nothing more, let calls in hand be answered for up to three seconds, close.

        Returns:
            A Deferred that fires when every socket is closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._stopping is not None:
            return self._stopping
        stopping = self._stopping = Deferred()
        self._grace_over = False
        for listener in self._listeners:
            listener.stop()
        for datagrams in self._datagrams:
            datagrams.pause()
            datagrams.datagrams.hang_up()
        for transport in list(self.connections):
            transport.session.end_of_input()
            transport.turn()
        self._stop_deadline = self.reactor.callLater(_STOP_GRACE, self._stop_now)
        self._stopped_if_done()
        return stopping

    # What transports ask of the service (oncrpc.tx.stream.Streams).

    def accepted(self, listener: StreamListener, connection: socket.socket, peer: Peer) -> bool:
        """Take a connection in, if the caps allow."""
        process = peer_credentials(connection) if listener.netid == _LOCAL else None
        key = peer.host or (_LOCAL, process and process.uid)
        if self._per_peer.get(key, 0) >= self.limits.max_connections_per_peer:
            self.server.notice("too many connections", peer, f"{self._per_peer[key]} from this address are there")
            return False
        if len(self.connections) >= self._cap and not self.make_room():
            self.server.notice("too many connections", peer, f"{len(self.connections)} are there, none idle")
            return False
        if listener.netid != _LOCAL:
            prepare(connection)
        self._number += 1
        transport = StreamTransport(self, connection)
        session = StreamSession(
            self.server,
            self._number,
            peer,
            listener.netid,
            wake=transport.wake,
            local=listener.local,
            process=process,
            replay=self._stream_replay,
            reserve=self._reserve,
        )
        self._per_peer[key] = self._per_peer.get(key, 0) + 1
        self.connections.add(transport)
        self.server.opened(session)
        transport.start(session)
        return True

    def closed(self, transport: StreamTransport) -> None:
        """Forget a connection."""
        self.connections.discard(transport)
        session = transport.session
        key = session.peer.host or (_LOCAL, session.process and session.process.uid)
        left = self._per_peer.get(key, 0) - 1
        if left > 0:
            self._per_peer[key] = left
        else:
            self._per_peer.pop(key, None)
        if self._stopping is not None:
            self._stopped_if_done()

    def make_room(self) -> bool:
        """Close the connection idle longest, if it is idle for long enough to be asked to go."""
        before = self.now - self.limits.idle_grace
        longest = min(
            (each for each in self.connections if each.active <= before and each.session.idle),
            key=lambda each: each.active,
            default=None,
        )
        if longest is None:
            return False
        self.server.notice("connection cut", longest.session.peer, "idle longest, and others want to come in")
        longest.abort("idle, and others wanted to come in")
        return True

    def soon(self, transport: StreamTransport) -> None:
        """Give a connection its turn when everything that goes on now is done."""
        if not self._dirty:
            self._soon(self._turns)
        self._dirty.append(transport)

    def later(self, seconds: float, function: Callable[[], object]) -> IDelayedCall:
        """Have `function` called later."""
        return self.reactor.callLater(seconds, function)

    def notice(self, kind: str, peer: Peer | None, text: str) -> None:
        """Something for the log."""
        self.server.notice(kind, peer, text)

    # The rest is ours.

    def _listen(self) -> None:
        if self._listeners or self._datagrams:
            return
        for bound in open_endpoints(self.endpoints):
            netid = netid_of(bound)
            self.addresses.append(address_of(bound))
            if netid.startswith("udp"):
                self._datagrams.append(
                    DatagramListener(self.reactor, self.server, bound, netid, replay=self._datagram_replay)
                )
            else:
                self._listeners.append(StreamListener(self, bound, netid))

    def _turns(self) -> None:
        dirty, self._dirty = self._dirty, []
        for transport in dirty:
            transport.late()

    def _reserve(self, change: int) -> bool:
        """Count the bytes of unfinished large records."""
        if change > 0 and self._assembly + change > self.limits.max_assembly:
            return False
        self._assembly += change
        return True

    def _schedule_tick(self) -> None:
        self._tick = self.reactor.callLater(_TICK, self._ticked)

    def _ticked(self) -> None:
        """Once a second: look at every deadline. One sweep is cheaper than a timer for each."""
        now = self.now = self.reactor.seconds()
        for transport in list(self.connections):
            transport.tick(now)
        if self.running or self.connections:
            self._schedule_tick()

    def _stop_now(self) -> None:
        for transport in list(self.connections):
            transport.abort("the server stops")
        self._grace_over = True
        self._stopped_if_done()

    def _stopped_if_done(self) -> None:
        if self.connections or (not self._grace_over and any(each.datagrams.in_hand() for each in self._datagrams)):
            if self._stop_deadline is not None and not self.connections:
                # Datagram calls are in hand: look again soon, nobody tells when they are answered.
                self._stop_deadline.reset(min(0.1, _STOP_GRACE))
            return
        stopping = self._stopping
        if stopping is None or stopping.called:
            return
        for datagrams in self._datagrams:
            datagrams.stop()
        self._listeners, self._datagrams, self.addresses = [], [], []
        for delayed in (self._tick, self._stop_deadline):
            if delayed is not None and delayed.active():
                delayed.cancel()
        stopping.callback(None)


def _descriptor_limit() -> int:
    """Return how many descriptors this process may have."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
    except ImportError:
        return 1 << 20
    soft = getrlimit(RLIMIT_NOFILE)[0]
    return 1 << 20 if soft == RLIM_INFINITY else soft


def _run_awaitable(awaitable: Awaitable[Any], call: ServedCall) -> None:
    """Answer a call when an awaitable fires; cancel it when the caller is gone."""
    deferred: Deferred[Any]
    if isinstance(awaitable, Deferred):
        deferred = awaitable
    else:
        deferred = ensureDeferred(cast("Generator[Deferred[Any], object, Any]", _awaiting(awaitable)))

    def answered(value: Any) -> None:
        if not call.answered:
            call.reply(value)

    def failed(failure: Failure) -> None:
        if not call.answered:
            call.fail(failure.value or RuntimeError("failed without a reason"))

    deferred.addCallbacks(answered, failed)
    if not call.answered:
        call.on_cancel(deferred.cancel)


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    """Turn any awaitable into a coroutine: Twisted runs those."""
    return await awaitable
