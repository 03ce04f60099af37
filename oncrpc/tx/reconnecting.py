"""A connection that comes back: a Twisted service with a client stub."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.application.internet import ClientService, backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from oncrpc.address import Address, parse_address
from oncrpc.errors import CallTimedOut, NotConnected, RPCError
from oncrpc.limits import Limits
from oncrpc.tx.client import (
    DEFAULT_TIMEOUT,
    CallerFactory,
    StreamCaller,
    choose_reactor,
    identity_of,
    serve_on,
    stream_endpoint,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall, IProtocol
    from twisted.python.failure import Failure

    from oncrpc.auth import Credential
    from oncrpc.identity import Identity
    from oncrpc.program import ClientStub, Procedure, Program

__all__ = ["ReconnectingClient"]

S = TypeVar("S", bound="ClientStub")

log = Logger()


@implementer(IStreamClientEndpoint)
class _Watched:
    """An endpoint that tells why it could not connect."""

    def __init__(self, endpoint: IStreamClientEndpoint, tell: Callable[[Failure], None]) -> None:
        self._endpoint, self._tell = endpoint, tell

    def connect(self, protocolFactory: Any) -> Any:
        """Connect, and pass a failure on twice."""

        def failed(failure: Failure) -> Failure:
            self._tell(failure)
            return failure

        return self._endpoint.connect(protocolFactory).addErrback(failed)


class ReconnectingClient(Service, Generic[S]):
    """A connection that comes back: a Twisted service with a client stub.

    Calls made while there is no connection wait for the next one, as long as their own timeout lets them, and can
    be cancelled. Calls under way when a connection is lost fail with NotConnected: whether they were executed, only
    the program can find out.

    Args:
        stub_class: A generated ``..._Client`` class.
        address: ``tcp:HOST:PORT`` or ``unix:/PATH``, or any Twisted stream client endpoint.
        credential: As for connect().
        limits: As for connect().
        timeout: Seconds for each call that names no other time, the wait for a connection included.
        reactor: The global one if None.
        first_delay: Seconds before the first attempt to reconnect.
        longest_delay: Seconds; each wait is 1.5 times the one before it, with jitter, up to this.
        programs: Served on each connection, for calls that the server makes to us.
    """

    def __init__(
        self,
        stub_class: type[S],
        address: str | Address | IStreamClientEndpoint,
        *,
        credential: Credential | Identity | None = None,
        limits: Limits = Limits(),
        timeout: float = DEFAULT_TIMEOUT,
        reactor: Any = None,
        first_delay: float = 0.5,
        longest_delay: float = 30.0,
        programs: Sequence[Program] = (),
    ) -> None:
        self._clock = choose_reactor(reactor)
        self._programs = programs
        self._limits, self._timeout = limits, timeout
        self.identity = identity_of(credential)
        """Who calls, from the next connection on."""
        self.stub: S = stub_class(self)
        """The client stub; the same through all connections."""
        if isinstance(address, str):
            address = parse_address(address)
        if isinstance(address, Address):
            if address.transport == "udp":
                msg = "UDP has no connection to keep: use connect()"
                raise ValueError(msg)
            endpoint = stream_endpoint(self._clock, address, timeout)
        else:
            endpoint = address
        self._place = str(address)
        self._caller: StreamCaller | None = None
        self._newest: StreamCaller | None = None
        self._waiting: dict[Deferred[StreamCaller], IDelayedCall | None] = {}
        self._last_failure = "no connection yet"
        self._service = ClientService(
            _Watched(endpoint, self._failed_to_connect),
            CallerFactory(self._make_caller),
            retryPolicy=backoffPolicy(initialDelay=first_delay, maxDelay=longest_delay),
            clock=self._clock,
            prepareConnection=self._connected,
        )

    @property
    def connected(self) -> bool:
        """True while there is a connection."""
        return self._caller is not None

    def startService(self) -> None:
        """Begin to connect."""
        super().startService()  # type: ignore[no-untyped-call]
        self._service.startService()

    def stopService(self) -> Deferred[None]:
        """Close the connection and fail the calls that wait for one.

        Returns:
            Fires when it is closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._last_failure = "the client was stopped"
        for waiting in list(self._waiting):
            self._give_up(waiting, NotConnected(f"{self._place}: {self._last_failure}"))
        stopping: Deferred[None] = self._service.stopService()
        return stopping

    def call(
        self, stub: ClientStub, procedure: Procedure, arguments: Sequence[Any], *, timeout: float | None
    ) -> Deferred[Any]:
        """Send one call, now or when there is a connection; as StreamCaller.call()."""
        if self._caller is not None and self._caller.connected_now:
            return self._caller.call(stub, procedure, arguments, timeout=timeout)
        if not self.running:
            return fail(NotConnected(f"{self._place}: the client is not running"))
        wait = self._timeout if timeout is None else timeout
        begun = self._clock.seconds()
        connecting: Deferred[Any] = Deferred(self._forget)
        timer = None
        if wait != math.inf:
            timer = self._clock.callLater(wait, self._too_late, connecting)
        self._waiting[connecting] = timer

        def now_call(caller: StreamCaller) -> Deferred[Any]:
            left = wait - (self._clock.seconds() - begun)
            return caller.call(stub, procedure, arguments, timeout=left)

        return connecting.addCallback(now_call)

    def send(self, stub: ClientStub, procedure: Procedure, arguments: Sequence[Any]) -> None:
        """Send one call and expect no reply.

        Raises:
            NotConnected: There is no connection now.
            ArgumentsNotEncodable: They do not fit the declaration.
        """
        if self._caller is None:
            msg = f"{self._place}: {self._last_failure}"
            raise NotConnected(msg)
        self._caller.send(stub, procedure, arguments)

    def close(self) -> Deferred[None]:
        """The same as stopService()."""
        return self.stopService()

    def _make_caller(self) -> StreamCaller:
        self._newest = StreamCaller(
            self._clock,
            identity=self.identity,
            limits=self._limits,
            timeout=self._timeout,
            on_lost=self._lost,
        )
        return self._newest

    def _connected(self, protocol: IProtocol) -> None:
        # Twisted hands over a proxy, which takes attributes for itself; the last one made is what it stands for.
        del protocol
        caller = self._caller = self._newest
        assert caller is not None
        serve_on(caller, self._programs, self._limits, self._clock)
        log.info("connected to {place}", place=self._place)
        waiting, self._waiting = self._waiting, {}
        for connecting, timer in waiting.items():
            if timer is not None:
                timer.cancel()
            connecting.callback(caller)

    def _lost(self, error: RPCError) -> None:
        self._caller = None
        self._last_failure = str(error)
        if self.running:
            log.warn("the connection to {place} was lost: {error}", place=self._place, error=error)

    def _failed_to_connect(self, failure: Failure) -> None:
        self._last_failure = failure.getErrorMessage()
        log.info("no connection to {place}: {why}", place=self._place, why=self._last_failure)

    def _forget(self, waiting: Deferred[StreamCaller]) -> None:
        timer = self._waiting.pop(waiting, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _too_late(self, waiting: Deferred[StreamCaller]) -> None:
        self._give_up(waiting, CallTimedOut(f"not connected to {self._place}: {self._last_failure}"))

    def _give_up(self, waiting: Deferred[StreamCaller], error: RPCError) -> None:
        self._forget(waiting)
        waiting.errback(error)
