"""Calls over Twisted: connections and datagram sockets.

Everything that knows the protocol is in :mod:`oncrpc.client`; here bytes are moved, timers armed, Deferreds fired.
"""

from __future__ import annotations

import math
import os
import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IPushProducer,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.logger import Logger
from zope.interface import implementer

from oncrpc.address import Address, parse_address
from oncrpc.client import Answered, Called, DatagramClient, Failed, Retransmission, StreamClient
from oncrpc.errors import LocalRPCError, NotConnected, RPCError
from oncrpc.identity import NOBODY, Identity
from oncrpc.limits import Limits
from oncrpc.stubs import CodecTable, ProcedureCodec
from oncrpc.tx.reactor import make_monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IAddress, IConsumer, IDelayedCall, ITCPTransport
    from twisted.python.failure import Failure

    from oncrpc.auth import Credential
    from oncrpc.observe import StreamTap
    from oncrpc.program import ClientStub, Procedure, Program

__all__ = [
    "DEFAULT_TIMEOUT",
    "CallerFactory",
    "DatagramCaller",
    "StreamCaller",
    "choose_reactor",
    "connect",
    "connect_endpoint",
    "identity_of",
    "serve_on",
    "stream_endpoint",
]

DEFAULT_TIMEOUT: Final = 25.0
"""Seconds for a call and for making a connection, as libtirpc's generated clients have it."""

MAX_PACKET: Final = 65536
"""Twisted cuts datagrams at 8,192 bytes unless told otherwise."""

S = TypeVar("S", bound="ClientStub")
_Token = tuple["Deferred[Any]", ProcedureCodec]

log = Logger()


def _first_xid() -> int:
    return int.from_bytes(os.urandom(4), "big")


def identity_of(credential: Credential | Identity | None) -> Identity:
    """Return what a credential, an identity or nothing (AUTH_NONE) means.

    Raises:
        ValueError: A field of the credential does not fit.
    """
    if credential is None:
        return NOBODY
    return credential if isinstance(credential, Identity) else Identity(credential)


class _Timer:
    """One delayed call that follows a core's get_timer()."""

    def __init__(self, clock: IReactorTime, core: StreamClient | DatagramClient, due: Callable[[], None]) -> None:
        self._clock, self._core, self._due = clock, core, due
        self._call: IDelayedCall | None = None
        self._when = math.inf

    def follow(self) -> None:
        """Arm for the core's next time. A timer that is merely too early is left: it costs one idle turn."""
        when = self._core.get_timer()
        if when is None or (self._call is not None and self._when <= when):
            return
        self.stop()
        self._when = when
        self._call = self._clock.callLater(max(0.0, when - self._clock.seconds()), self._fire)

    def stop(self) -> None:
        """Disarm."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _fire(self) -> None:
        self._call = None
        self._due()


class _Calling(ABC):
    """What both transports share on the way from a stub to its core and back."""

    _core: StreamClient | DatagramClient

    def __init__(self, clock: IReactorTime, identity: Identity, timeout: float) -> None:
        self._clock = clock
        self._timeout = timeout
        self._codecs = CodecTable()
        self.identity = identity
        """Who calls; may be changed, and holds for the calls made from then on."""

    def call(
        self, stub: ClientStub, procedure: Procedure, arguments: Sequence[Any], *, timeout: float | None
    ) -> Deferred[Any]:
        """Send one call.

        Args:
            stub: Knows program and version.
            procedure: Which to call.
            arguments: One value for each of its arguments.
            timeout: Seconds until CallTimedOut; None takes the default, math.inf waits for ever.

        Returns:
            A Deferred of the result. It fails with an RPCError. Cancelling it forgets the call: its timer, its
            xid, and its bytes if they are not yet with the transport.
        """
        try:
            codec = self._codecs.of(procedure)
            data = codec.encode(arguments)
            wait = self._timeout if timeout is None else timeout
            answer: Deferred[Any] = Deferred(lambda _: self._cancel(xid))
            xid = self._start((answer, codec), stub, procedure, data, None if wait == math.inf else wait)
        except RPCError as error:
            return fail(error)
        return answer

    @abstractmethod
    def _start(self, token: _Token, stub: ClientStub, procedure: Procedure, data: bytes, timeout: float | None) -> int:
        """Give a call to the core; return its xid."""

    def _cancel(self, xid: int) -> None:
        self._core.cancel(xid)

    def _take_events(self) -> None:
        core = self._core
        while (event := core.next_event()) is not None:
            if type(event) is Answered:
                answer, codec = event.token
                try:
                    value = codec.decode(event.results)
                except RPCError as error:
                    answer.errback(error)
                else:
                    answer.callback(value)
            elif type(event) is Failed:
                event.token[0].errback(event.error)
            elif type(event) is Called:
                self._called(event.message)

    def _called(self, message: bytes) -> None:  # noqa: B027 - a hook
        """Take a call of the peer's; by default nobody serves it."""


@implementer(IPushProducer)
class StreamCaller(_Calling, Protocol):
    """Calls over one connection, pipelined.

    Args:
        clock: The reactor, or a Clock in tests.
        identity: Who calls.
        limits: Bounds what the server may send.
        timeout: Seconds for calls that name none.
        on_lost: Called once with the reason when the connection is gone.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        identity: Identity = NOBODY,
        limits: Limits = Limits(),
        timeout: float = DEFAULT_TIMEOUT,
        on_lost: Callable[[RPCError], None] | None = None,
    ) -> None:
        super().__init__(clock, identity, timeout)
        self._core: StreamClient = StreamClient(
            first_xid=_first_xid(),
            max_record=limits.max_record,
            max_empty_fragments=limits.max_empty_fragments,
            fragment_size=limits.fragment_size,
        )
        self._timer = _Timer(clock, self._core, self._on_timer)
        self._paused = False
        self._on_lost = [on_lost] if on_lost is not None else []
        self._closing: list[Deferred[None]] = []
        self._gone = False
        self.serve: Callable[[bytes], None] | None = None
        """Takes the calls that the server makes on this connection; they are dropped while it is None."""
        self.tap: StreamTap | None = None
        """Sees all bytes of this connection, if somebody wants to."""

    @property
    def connected_now(self) -> bool:
        """True while calls can be made."""
        return self._core.closed is None and not self._gone

    def connectionMade(self) -> None:
        """Have the transport say when it is full, so that what waits can still be cancelled."""
        assert self.transport is not None
        cast("IConsumer", self.transport).registerProducer(self, True)
        if callable(no_delay := getattr(self.transport, "setTcpNoDelay", None)):
            no_delay(True)

    def dataReceived(self, data: bytes) -> None:
        """Feed the core."""
        if self.tap is not None:
            self.tap.received(data)
        self._core.receive_data(data)
        self._take_events()
        if self._core.closed is not None and self.transport is not None:
            # A record too large, or fragments without end: there is no way back into step.
            cast("ITCPTransport", self.transport).abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail every call under way."""
        self._gone = True
        self._timer.stop()
        error = self._core.closed or NotConnected(reason.getErrorMessage())
        self._core.connection_lost(error)
        # Before the calls fail: who calls again at once must be made to wait for the next connection.
        for callback in self._on_lost:
            callback(error)
        self._take_events()
        closing, self._closing = self._closing, []
        for waiting in closing:
            waiting.callback(None)

    def _start(self, token: _Token, stub: ClientStub, procedure: Procedure, data: bytes, timeout: float | None) -> int:
        xid = self._core.start(
            token,
            stub.program,
            stub.version,
            procedure.number,
            data,
            now=self._clock.seconds(),
            timeout=timeout,
            identity=self.identity,
        )
        self._flush()
        self._timer.follow()
        return xid

    def send(self, stub: ClientStub, procedure: Procedure, arguments: Sequence[Any]) -> None:
        """Send one call and expect no reply.

        Raises:
            ArgumentsNotEncodable: They do not fit the declaration.
            NotConnected: The connection is gone.
        """
        data = self._codecs.of(procedure).encode(arguments)
        self._core.send_one_way(stub.program, stub.version, procedure.number, data, identity=self.identity)
        self._flush()

    def send_message(self, message: bytes) -> None:
        """Send a message of another kind: the reply to a call that the server made. Dropped after the end."""
        if self.connected_now:
            self._core.send_message(message)
            self._flush()

    def send_framed(self, data: bytes) -> None:
        """Send whole records with their marks: replies to calls that the server made. Dropped after the end."""
        if self.connected_now:
            self._core.send_framed(data)
            self._flush()

    def on_lost(self, callback: Callable[[RPCError], None]) -> None:
        """Have a callback called once with the reason when the connection is gone."""
        self._on_lost.append(callback)

    def close(self) -> Deferred[None]:
        """Close the connection; calls under way fail with NotConnected.

        Returns:
            Fires when it is closed.
        """
        if self._gone or self.transport is None:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closing.append(closed)
        self._core.connection_lost(NotConnected("closed by this client"))
        self._take_events()
        cast("IConsumer", self.transport).unregisterProducer()
        self.transport.loseConnection()
        return closed

    def _flush(self) -> None:
        while not self._paused and self._core.wants_to_send and self.transport is not None:
            # Small pieces: the transport says stop as soon as it holds enough.
            data = self._core.data_to_send(MAX_PACKET)
            if self.tap is not None:
                self.tap.sent(data)
            self.transport.write(data)

    def pauseProducing(self) -> None:
        """The transport is full: keep further calls here, where they can be cancelled."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport has room again."""
        self._paused = False
        self._flush()

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost() follows."""
        self._paused = True

    def _called(self, message: bytes) -> None:
        if self.serve is not None:
            self.serve(message)

    def _on_timer(self) -> None:
        self._core.handle_timer(self._clock.seconds())
        self._take_events()
        self._timer.follow()


class DatagramCaller(_Calling, DatagramProtocol):
    """Calls to one server by datagram, over a connected socket: the kernel drops what others send.

    Args:
        clock: The reactor, or a Clock in tests.
        host: The server's IP address.
        port: Its port.
        identity: Who calls.
        timeout: Seconds for calls that name none, all retransmissions included.
        retransmission: When to send again.
    """

    def __init__(
        self,
        clock: IReactorTime,
        host: str,
        port: int,
        *,
        identity: Identity = NOBODY,
        timeout: float = DEFAULT_TIMEOUT,
        retransmission: Retransmission = Retransmission(),  # noqa: B008, frozen
    ) -> None:
        super().__init__(clock, identity, timeout)
        self._core: DatagramClient = DatagramClient(
            first_xid=_first_xid(),
            retransmission=retransmission,
            chance=random.random,
        )
        self._timer = _Timer(clock, self._core, self._on_timer)
        self._peer = (host, port)
        self._closed = False

    def startProtocol(self) -> None:
        """Connect the socket, so that the network's refusals are heard."""
        assert self.transport is not None
        self.transport.connect(*self._peer)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Feed the core."""
        self._core.receive_datagram(datagram, tuple(addr)[:2])
        self._take_events()

    def connectionRefused(self) -> None:
        """Fail the calls under way: nobody listens there."""
        self._core.unreachable(self._peer, NotConnected(f"nobody listens on {self._peer[0]} UDP port {self._peer[1]}"))
        self._take_events()

    def stopProtocol(self) -> None:
        """Fail the calls under way."""
        self._closed = True
        self._timer.stop()
        self._core.close(NotConnected("closed by this client"))
        self._take_events()

    def _start(self, token: _Token, stub: ClientStub, procedure: Procedure, data: bytes, timeout: float | None) -> int:
        self._check_open()
        xid = self._core.start(
            token,
            stub.program,
            stub.version,
            procedure.number,
            data,
            now=self._clock.seconds(),
            peer=self._peer,
            timeout=timeout,
            identity=self.identity,
        )
        self._flush()
        self._timer.follow()
        return xid

    def send(self, stub: ClientStub, procedure: Procedure, arguments: Sequence[Any]) -> None:
        """Send one call, once, and expect no reply.

        Raises:
            ArgumentsNotEncodable: They do not fit the declaration, or a datagram.
            NotConnected: The socket is closed.
        """
        self._check_open()
        data = self._codecs.of(procedure).encode(arguments)
        self._core.send_one_way(
            stub.program, stub.version, procedure.number, data, peer=self._peer, identity=self.identity
        )
        self._flush()

    def close(self) -> Deferred[None]:
        """Close the socket; calls under way fail with NotConnected."""
        if self._closed or self.transport is None:
            return succeed(None)
        self._closed = True
        stopped: Deferred[None] | None = self.transport.stopListening()
        return succeed(None) if stopped is None else stopped

    def _check_open(self) -> None:
        if self._closed or self.transport is None:
            msg = "the socket is closed"
            raise NotConnected(msg)

    def _flush(self) -> None:
        assert self.transport is not None
        for datagram, _ in self._core.datagrams_to_send():
            try:
                self.transport.write(datagram)  # type: ignore[call-arg]
            except (OSError, MessageLengthError) as error:
                # No route, no buffer: the next transmission may fare better, and the deadline ends it.
                log.debug("a datagram to {peer} was not sent: {error}", peer=self._peer, error=error)

    def _on_timer(self) -> None:
        self._core.handle_timer(self._clock.seconds())
        self._flush()
        self._take_events()
        self._timer.follow()


def stream_endpoint(reactor: Any, address: Address, timeout: float) -> IStreamClientEndpoint:
    """Return the endpoint of a tcp or unix address; names are resolved, and all their addresses tried."""
    if address.transport == "unix":
        return UNIXClientEndpoint(reactor, address.path, timeout=timeout)
    if isIPAddress(address.host):
        return TCP4ClientEndpoint(reactor, address.host, address.port, timeout=timeout)
    if isIPv6Address(address.host):
        return TCP6ClientEndpoint(reactor, address.host, address.port, timeout=timeout)
    return HostnameEndpoint(reactor, address.host, address.port, timeout=timeout)


def choose_reactor(reactor: Any) -> Any:
    """Return a reactor, the global one for None, with a clock that nobody sets."""
    if reactor is None:
        from twisted.internet import reactor  # the reactor is chosen before anything imports it
    # Twisted's own clock follows the wall clock: a timeout would strike when somebody sets that.
    make_monotonic(reactor)
    return reactor


class CallerFactory(Factory):
    """Makes StreamCallers."""

    noisy = False

    def __init__(self, make: Callable[[], StreamCaller]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> StreamCaller:
        """Make one."""
        del addr
        caller = self._make()
        caller.factory = self
        return caller


def _not_connected(place: object) -> Callable[[Failure], Failure]:
    def translate(failure: Failure) -> Failure:
        if isinstance(failure.value, LocalRPCError | CancelledError):
            return failure
        msg = f"{place}: {failure.getErrorMessage()}"
        raise NotConnected(msg) from failure.value

    return translate


def connect_endpoint(
    stub_class: type[S],
    endpoint: IStreamClientEndpoint,
    *,
    credential: Credential | Identity | None = None,
    limits: Limits = Limits(),
    timeout: float = DEFAULT_TIMEOUT,
    reactor: Any = None,
    programs: Sequence[Program] = (),
) -> Deferred[S]:
    """Connect through any Twisted stream endpoint; for the rest see connect()."""
    clock = choose_reactor(reactor)
    identity = identity_of(credential)
    factory = CallerFactory(lambda: StreamCaller(clock, identity=identity, limits=limits, timeout=timeout))
    connecting = cast("Deferred[StreamCaller]", endpoint.connect(factory))

    def connected(caller: StreamCaller) -> S:
        serve_on(caller, programs, limits, clock)
        return stub_class(caller)

    return connecting.addCallbacks(connected, _not_connected(endpoint))


def serve_on(caller: StreamCaller, programs: Sequence[Program], limits: Limits, clock: Any) -> None:
    """Serve programs on a client's connection, if there are any."""
    if programs:
        # Only who serves needs the server; it builds on this module for its own calls in the reverse direction.
        from oncrpc.tx.callbacks import serve_callbacks

        serve_callbacks(caller, programs, limits=limits, reactor=clock)


def connect(
    stub_class: type[S],
    address: str | Address,
    *,
    credential: Credential | Identity | None = None,
    limits: Limits = Limits(),
    timeout: float = DEFAULT_TIMEOUT,
    reactor: Any = None,
    retransmission: Retransmission = Retransmission(),  # noqa: B008, frozen
    programs: Sequence[Program] = (),
) -> Deferred[S]:
    """Connect a client stub to a server.

    Args:
        stub_class: A generated ``..._Client`` class.
        address: ``tcp:HOST:PORT``, ``udp:HOST:PORT`` or ``unix:/PATH``.
        credential: Who calls: AuthSys.current() for this process, another Credential, or an Identity of another
            flavor; None is AUTH_NONE.
        limits: Bounds what the server may send.
        timeout: Seconds to connect, and for each call that names no other time.
        reactor: The global one if None.
        retransmission: When calls over UDP are sent again.
        programs: Served on this same connection, for calls that the server makes to us; not over UDP.

    Returns:
        A Deferred of the stub; ``stub.close()`` ends it. It fails with NotConnected.

    Raises:
        ValueError: The address, or a field of the credential, is none.
    """
    place = parse_address(address) if isinstance(address, str) else address
    clock = choose_reactor(reactor)
    if place.transport == "udp":
        identity = identity_of(credential)

        def listen(host: str) -> S:
            caller = DatagramCaller(
                clock, host, place.port, identity=identity, timeout=timeout, retransmission=retransmission
            )
            clock.listenUDP(0, caller, interface="::" if ":" in host else "", maxPacketSize=MAX_PACKET)
            return stub_class(caller)

        return _resolve(clock, place.host, timeout).addCallback(listen).addErrback(_not_connected(place))
    connecting = connect_endpoint(
        stub_class,
        stream_endpoint(clock, place, timeout),
        credential=credential,
        limits=limits,
        timeout=timeout,
        reactor=clock,
        programs=programs,
    )
    return connecting.addErrback(_named(place))


def _named(place: Address) -> Callable[[Failure], Failure]:
    def translate(failure: Failure) -> Failure:
        if isinstance(failure.value, NotConnected) and failure.value.__cause__ is not None:
            msg = f"{place}: {failure.value.__cause__}"
            raise NotConnected(msg) from failure.value.__cause__
        return failure

    return translate


@implementer(IResolutionReceiver)
class _FirstAddress:
    """Keeps the first address that a name resolves to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.found: str | None = None
        self.done: Deferred[str] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Do nothing yet."""

    def addressResolved(self, address: IAddress) -> None:
        """Keep the first."""
        if self.found is None:
            self.found = getattr(address, "host", None)

    def resolutionComplete(self) -> None:
        """Give the result."""
        if self.done.called:
            return
        if self.found is None:
            self.done.errback(NotConnected(f"the name {self._name!r} has no address"))
        else:
            self.done.callback(self.found)


def _resolve(reactor: Any, host: str, timeout: float) -> Deferred[str]:
    if isIPAddress(host) or isIPv6Address(host):
        return succeed(host)
    receiver = _FirstAddress(host)
    resolver: IHostnameResolver = reactor.nameResolver
    resolver.resolveHostName(receiver, host, transportSemantics="UDP")
    return receiver.done.addTimeout(timeout, reactor)
