"""Blocking calls for scripts: no Twisted, no reactor, no callbacks.

::

    from oncrpc import sync

    with sync.connect(IPCPROG_1_SyncClient, "tcp:127.0.0.1:600") as ipc:
        print(ipc.ripc_null())

The sockets are driven through the same core as under Twisted (:mod:`oncrpc.client`). A stub belongs to one thread at
a time.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from oncrpc.address import Address, parse_address
from oncrpc.client import Answered, DatagramClient, Failed, Retransmission, StreamClient
from oncrpc.errors import CallTimedOut, NotConnected
from oncrpc.identity import NOBODY, Identity
from oncrpc.limits import Limits
from oncrpc.stubs import CodecTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oncrpc.auth import Credential
    from oncrpc.program import ClientStub, Procedure

__all__ = ["DEFAULT_TIMEOUT", "DatagramCaller", "StreamCaller", "connect", "open_caller"]

DEFAULT_TIMEOUT: Final = 25.0
"""Seconds for a call and for making a connection, as libtirpc's generated clients have it."""

READ_SIZE: Final = 65536

S = TypeVar("S", bound="ClientStub")


def _first_xid() -> int:
    return int.from_bytes(os.urandom(4), "big")


class _Blocking(ABC):
    """What both transports share: one call from its arguments to its result."""

    _core: StreamClient | DatagramClient
    _socket: socket.socket

    def __init__(self, identity: Identity, timeout: float) -> None:
        self.identity = identity
        """Who calls; may be changed."""
        self._timeout = timeout
        self._codecs = CodecTable()

    def call(self, stub: ClientStub, procedure: Procedure, arguments: Sequence[Any], *, timeout: float | None) -> Any:
        """Call and wait for the result.

        Args:
            stub: Knows program and version.
            procedure: Which to call.
            arguments: One value for each of its arguments.
            timeout: Seconds to the complete reply; None takes the default, math.inf waits for ever.

        Raises:
            RPCError: One subclass for each outcome; see oncrpc.errors.
        """
        codec = self._codecs.of(procedure)
        results = self.call_raw(stub.program, stub.version, procedure.number, codec.encode(arguments), timeout=timeout)
        return codec.decode(results)

    def call_raw(
        self, program: int, version: int, procedure: int, arguments: bytes, *, timeout: float | None = None
    ) -> bytes:
        """Call with encoded arguments and wait for the encoded results.

        Args:
            program: Program number.
            version: Its version.
            procedure: Procedure number.
            arguments: Encoded.
            timeout: As for call().

        Raises:
            RPCError: One subclass for each outcome; see oncrpc.errors.
        """
        wait = self._timeout if timeout is None else timeout
        token = object()
        xid = self._start(token, program, version, procedure, arguments, wait)
        try:
            while True:
                while (event := self._core.next_event()) is not None:
                    # Events of calls that were interrupted before (KeyboardInterrupt) belong to nobody.
                    if isinstance(event, Answered) and event.token is token:
                        return bytes(event.results)
                    if isinstance(event, Failed) and event.token is token:
                        raise event.error
                self._wait()
        finally:
            self._core.cancel(xid)

    @abstractmethod
    def _start(  # noqa: PLR0917, the fields of a call
        self, token: object, program: int, version: int, procedure: int, arguments: bytes, wait: float
    ) -> int:
        """Give a call to the core; return its xid."""

    @abstractmethod
    def _wait(self) -> None:
        """Send what is due, then take bytes or let the timer strike."""

    def _receive(self) -> bytes | None:
        """Bytes, or None when the core's time has come."""
        due = self._core.get_timer()
        left = None if due is None else due - time.monotonic()
        if left is not None and left <= 0:
            return None
        self._socket.settimeout(left)
        try:
            return self._socket.recv(READ_SIZE)
        except TimeoutError:
            return None


class StreamCaller(_Blocking):
    """Calls over one connection, one after the other.

    Args:
        connection: A connected stream socket; belongs to the caller from now on.
        identity: Who calls.
        limits: Bounds what the server may send.
        timeout: Seconds for calls that name none.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        identity: Identity = NOBODY,
        limits: Limits = Limits(),
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        super().__init__(identity, timeout)
        self._socket = connection
        self._core: StreamClient = StreamClient(
            first_xid=_first_xid(),
            max_record=limits.max_record,
            max_empty_fragments=limits.max_empty_fragments,
            fragment_size=limits.fragment_size,
        )

    def _start(  # noqa: PLR0917, the fields of a call
        self, token: object, program: int, version: int, procedure: int, arguments: bytes, wait: float
    ) -> int:
        now = time.monotonic()
        timeout = None if wait == float("inf") else wait
        xid = self._core.start(
            token, program, version, procedure, arguments, now=now, timeout=timeout, identity=self.identity
        )
        self._send(timeout)
        return xid

    def send(self, stub: ClientStub, procedure: Procedure, arguments: Sequence[Any]) -> None:
        """Send one call and expect no reply (RFC 5531, section 8.4.1).

        Raises:
            ArgumentsNotEncodable: They do not fit the declaration.
            NotConnected: The connection is gone.
            CallTimedOut: The server does not read.
        """
        data = self._codecs.of(procedure).encode(arguments)
        self._core.send_one_way(stub.program, stub.version, procedure.number, data, identity=self.identity)
        self._send(self._timeout)

    def close(self) -> None:
        """Close the connection."""
        self._core.connection_lost(NotConnected("closed by this client"))
        self._socket.close()

    def _send(self, timeout: float | None) -> None:
        data = self._core.data_to_send()
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(data)
        except TimeoutError:
            # Part of a record may be out: the stream cannot be brought into step again.
            error = CallTimedOut("the server did not read the whole call in time")
            self._core.connection_lost(error)
            self._socket.close()
        except OSError as error:
            self._lost(error)

    def _wait(self) -> None:
        try:
            data = self._receive()
        except OSError as error:
            self._lost(error)
            return
        if data is None:
            self._core.handle_timer(time.monotonic())
        elif not data:
            self._core.connection_lost(NotConnected("the server closed the connection"))
            self._socket.close()
        else:
            self._core.receive_data(data)
            if self._core.closed is not None:
                self._socket.close()
            elif (due := self._core.get_timer()) is not None and due <= time.monotonic():
                # Bytes that keep trickling in do not stretch the deadline.
                self._core.handle_timer(time.monotonic())

    def _lost(self, error: OSError) -> None:
        self._core.connection_lost(NotConnected(f"the connection was lost: {error.strerror or error}"))
        self._socket.close()


class DatagramCaller(_Blocking):
    """Calls by datagram, sent again until the reply comes or the time is over.

    Args:
        connected: A connected datagram socket; belongs to the caller from now on.
        identity: Who calls.
        timeout: Seconds for calls that name none, all retransmissions included.
        retransmission: When to send again.
    """

    def __init__(
        self,
        connected: socket.socket,
        *,
        identity: Identity = NOBODY,
        timeout: float = DEFAULT_TIMEOUT,
        retransmission: Retransmission = Retransmission(),  # noqa: B008, frozen
    ) -> None:
        super().__init__(identity, timeout)
        self._socket = connected
        self._closed = False
        self._core: DatagramClient = DatagramClient(
            first_xid=_first_xid(), retransmission=retransmission, chance=random.random
        )

    def _start(  # noqa: PLR0917, the fields of a call
        self, token: object, program: int, version: int, procedure: int, arguments: bytes, wait: float
    ) -> int:
        self._check_open()
        return self._core.start(
            token,
            program,
            version,
            procedure,
            arguments,
            now=time.monotonic(),
            peer=None,
            timeout=None if wait == float("inf") else wait,
            identity=self.identity,
        )

    def send(self, stub: ClientStub, procedure: Procedure, arguments: Sequence[Any]) -> None:
        """Send one call, once, and expect no reply.

        Raises:
            ArgumentsNotEncodable: They do not fit the declaration, or a datagram.
            NotConnected: The socket is closed.
        """
        self._check_open()
        data = self._codecs.of(procedure).encode(arguments)
        self._core.send_one_way(stub.program, stub.version, procedure.number, data, peer=None, identity=self.identity)
        self._send()

    def close(self) -> None:
        """Close the socket."""
        self._closed = True
        self._socket.close()

    def _check_open(self) -> None:
        if self._closed:
            msg = "the socket is closed"
            raise NotConnected(msg)

    def _send(self) -> None:
        for datagram, _ in self._core.datagrams_to_send():
            # No route or no buffer now: the next transmission may fare better, the deadline ends it.
            # A refusal that answers an earlier datagram is told again by recv().
            with contextlib.suppress(OSError):
                self._socket.send(datagram)

    def _wait(self) -> None:
        self._send()
        try:
            data = self._receive()
        except ConnectionRefusedError:
            self._core.unreachable(None, NotConnected("nobody listens on that UDP port"))
            return
        except OSError as error:
            self._core.unreachable(None, NotConnected(f"the socket failed: {error.strerror or error}"))
            return
        # The socket is connected: the kernel lets nobody but the server through.
        if data is not None:
            self._core.receive_datagram(data, None)
        if data is None or ((due := self._core.get_timer()) is not None and due <= time.monotonic()):
            self._core.handle_timer(time.monotonic())


def open_caller(
    address: str | Address,
    *,
    credential: Credential | Identity | None = None,
    limits: Limits = Limits(),
    timeout: float = DEFAULT_TIMEOUT,
    retransmission: Retransmission = Retransmission(),  # noqa: B008, frozen
) -> StreamCaller | DatagramCaller:
    """Connect, for one or more stubs; for the arguments see connect().

    Returns:
        What goes into a stub: ``IPCPROG_1_SyncClient(open_caller(...))``. ``close()`` ends it.

    Raises:
        NotConnected: There is no connection.
        ValueError: The address, or a field of the credential, is none.
    """
    place = parse_address(address) if isinstance(address, str) else address
    identity = (
        credential if isinstance(credential, Identity) else NOBODY if credential is None else Identity(credential)
    )
    try:
        if place.transport == "udp":
            datagrams = _connected_datagrams(place)
            return DatagramCaller(datagrams, identity=identity, timeout=timeout, retransmission=retransmission)
        return StreamCaller(_connected_stream(place, timeout), identity=identity, limits=limits, timeout=timeout)
    except OSError as error:
        msg = f"{place}: {error.strerror or error}"
        raise NotConnected(msg) from error


def _connected_stream(place: Address, timeout: float) -> socket.socket:
    if place.transport == "tcp":
        connection = socket.create_connection((place.host, place.port), None if timeout == float("inf") else timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(None if timeout == float("inf") else timeout)
        connection.connect(place.path)
    except OSError:
        connection.close()
        raise
    return connection


def _connected_datagrams(place: Address) -> socket.socket:
    family, _, _, _, where = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_DGRAM)[0]
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    try:
        datagrams.connect(where)
    except OSError:
        datagrams.close()
        raise
    return datagrams


@contextmanager
def connect(
    stub_class: type[S],
    address: str | Address,
    *,
    credential: Credential | Identity | None = None,
    limits: Limits = Limits(),
    timeout: float = DEFAULT_TIMEOUT,
    retransmission: Retransmission = Retransmission(),  # noqa: B008, frozen
) -> Iterator[S]:
    """Connect a blocking stub to a server for the length of a with block.

    Args:
        stub_class: A generated ``..._SyncClient`` class.
        address: ``tcp:HOST:PORT``, ``udp:HOST:PORT`` or ``unix:/PATH``.
        credential: Who calls: AuthSys.current() for this process, another Credential, or an Identity of another
            flavor; None is AUTH_NONE.
        limits: Bounds what the server may send.
        timeout: Seconds to connect, and for each call that names no other time; math.inf waits for ever.
        retransmission: When calls over UDP are sent again.

    Raises:
        NotConnected: There is no connection.
        ValueError: The address, or a field of the credential, is none.
    """
    caller = open_caller(address, credential=credential, limits=limits, timeout=timeout, retransmission=retransmission)
    try:
        yield stub_class(caller)
    finally:
        caller.close()
