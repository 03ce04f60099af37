"""The tour's client machines: two old Unix boxes that speak plain RPC, each on sockets of its own.

They know no sessions and no more than a client of 1988: a credential, an xid, a record mark or a datagram. Everything
that goes over their sockets is kept as it went, with its time.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ipcserver.demo.errors import DemoError
from ipcserver.demo.host import HOST
from oncrpc.auth import AUTH_NONE, AuthSys
from oncrpc.errors import RPCError
from oncrpc.identity import Identity
from oncrpc.records import frame_record
from oncrpc.replies import parse_reply
from oncrpc.stubs import CodecTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipcserver.demo.loop import Loop
    from oncrpc.program import ClientStub, Procedure

__all__ = ["Exchange", "Piece", "Station", "Wire"]

_HEADER: Final = struct.Struct(">6I")
_MARK: Final = 4
_LAST: Final = 0x80000000
_READ: Final = 1 << 16
_PATIENCE: Final = 20.0
_CODECS: Final = CodecTable()


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that went over a socket at once.

    Attributes:
        at: Seconds since 1970.
        data: The bytes, record mark included.
    """

    at: float
    data: bytes


@dataclass(slots=True)
class Exchange:
    """One call, as its client saw it.

    Attributes:
        station: Who called.
        netid: "tcp" or "udp".
        procedure: What.
        numbers: Program, version, procedure.
        xid: Transaction id.
        message: The call without record marks.
        sent: What was sent, every time it was.
        received: What came back.
        result: The decoded result of the last answer.
        error: What the last answer said instead.
        answered: Whether an answer came.
        again: Seconds after which it is sent again, over and over; 0: never.
    """

    station: Station
    netid: str
    procedure: Procedure
    numbers: tuple[int, int, int]
    xid: int
    message: bytes
    sent: list[Piece] = field(default_factory=list)
    received: list[Piece] = field(default_factory=list)
    result: Any = None
    error: RPCError | None = None
    answered: bool = False
    again: float = 0.0

    @property
    def seconds(self) -> float:
        """From the first sending to the first answer."""
        return self.received[0].at - self.sent[0].at


class Station:
    """A client machine and its user.

    Args:
        name: What it calls itself in AUTH_SYS.
        user: Who works there, for people.
        uid: Their number.
        gid: Their group.
        address: Where its calls come from; another address of this machine's loopback network, if there is one.
        loop: Hears its sockets.

    Attributes:
        wires: Its open sockets.
        sent: Told of everything that it sends.
    """

    def __init__(self, name: str, user: str, uid: int, *, gid: int, address: str, loop: Loop) -> None:
        self.name, self.user, self.uid, self.gid = name, user, uid, gid
        self._loop = loop
        self.address = address if _is_ours(address) else HOST
        self.wires: list[Wire] = []
        self.sent: Callable[[Wire, Piece], object] = lambda _wire, _piece: None
        self._xid = int.from_bytes(os.urandom(4), "big") & 0x7FFF_FFFF

    def credential(self, uid: int | None = None, name: str | None = None) -> AuthSys:
        """Return what its calls say: the truth, or another user or machine."""
        return AuthSys(
            int(time.time()), self.name if name is None else name, self.uid if uid is None else uid, self.gid, ()
        )

    def open(self, netid: Literal["tcp", "udp"], port: int, *, anonymous: bool = False) -> Wire:
        """Return a socket of this machine's, connected to a port of the server's.

        Args:
            netid: Stream or datagrams.
            port: Its port.
            anonymous: Calls carry AUTH_NONE.

        Raises:
            DemoError: There is no connection.
        """
        kind = socket.SOCK_STREAM if netid == "tcp" else socket.SOCK_DGRAM
        made = socket.socket(socket.AF_INET, kind)
        try:
            made.bind((self.address, 0))
            made.settimeout(_PATIENCE)
            made.connect((HOST, port))
            if netid == "tcp":
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setblocking(False)
        except OSError as error:
            made.close()
            message = f"{self.name} cannot connect to {netid} port {port}: {error.strerror or error}"
            raise DemoError(message) from error
        wire = Wire(self, netid, made, self._loop, anonymous=anonymous)
        self.wires.append(wire)
        return wire

    def next_xid(self) -> int:
        """Return a new transaction id."""
        self._xid = self._xid + 1 & 0xFFFFFFFF
        return self._xid

    def close(self) -> None:
        """Close all its sockets."""
        for wire in tuple(self.wires):
            wire.close()


class Wire:
    """One socket of a station, and what went over it.

    Attributes:
        exchanges: Its calls, by xid.
        lost: Why nothing more can come; "" while that is not so.
        refusals: How often the network said that nobody listens there (datagrams only).
    """

    def __init__(
        self, station: Station, netid: Literal["tcp", "udp"], connected: socket.socket, loop: Loop, *, anonymous: bool
    ) -> None:
        self.station, self.netid = station, netid
        self._socket, self._loop, self._anonymous = connected, loop, anonymous
        self.local: tuple[str, int] = connected.getsockname()
        self.exchanges: dict[int, Exchange] = {}
        self.lost = ""
        self.lost_at = 0.0
        self.refusals = 0
        self._buffer = b""
        loop.add(connected.fileno(), self._read)
        loop.add_timer(self._look)

    # -- calling ---------------------------------------------------------------------------

    def prepare(
        self, stub: type[ClientStub], number: int, *arguments: Any, credential: AuthSys | None = None
    ) -> Exchange:
        """Return a call that was not sent yet.

        Args:
            stub: A generated client class: knows program and version.
            number: The procedure's.
            arguments: As it is declared.
            credential: Who calls; the station's user by default.
        """
        procedure = next(each for each in stub.procedures if each.number == number)
        xid = self.station.next_xid()
        who = AUTH_NONE if self._anonymous else credential or self.station.credential()
        header = _HEADER.pack(xid, 0, 2, stub.program, stub.version, number)
        message = Identity(who).seal(header, _CODECS.of(procedure).encode(arguments))
        exchange = Exchange(self.station, self.netid, procedure, (stub.program, stub.version, number), xid, message)
        self.exchanges[xid] = exchange
        return exchange

    def send(self, exchange: Exchange, *, fragments: Sequence[int] = ()) -> Piece:
        """Send a call, for the first time or once more.

        Args:
            exchange: The call.
            fragments: Bytes of each fragment but the last, over TCP; by default there is one.

        Returns:
            The bytes, as they went.
        """
        if self.netid == "udp":
            data = exchange.message
        else:
            data, at = b"", 0
            for size in fragments:
                data += size.to_bytes(_MARK, "big") + exchange.message[at : at + size]
                at += size
            data += frame_record(exchange.message[at:])
        piece = Piece(time.time(), data)
        exchange.sent.append(piece)
        self.station.sent(self, piece)
        try:
            self._socket.send(data)
        except ConnectionRefusedError:
            self.refusals += 1
        except OSError as error:
            self._end(error.strerror or str(error))
        return piece

    def wait(self, exchange: Exchange, answers: int = 1, *, seconds: float = _PATIENCE) -> Exchange:
        """Wait for the answer.

        Args:
            exchange: The call.
            answers: How many answers it must have in all.
            seconds: How long at most.

        Raises:
            DemoError: None came.
        """
        self._loop.run(seconds, lambda: len(exchange.received) >= answers or self.lost)
        if len(exchange.received) < answers:
            why = self.lost or f"no answer within {seconds:g} seconds"
            message = f"{exchange.procedure.name} of {self.station.name}: {why}"
            raise DemoError(message)
        return exchange

    def call(self, stub: type[ClientStub], number: int, *arguments: Any, credential: AuthSys | None = None) -> Exchange:
        """Call and wait for the answer.

        Raises:
            DemoError: None came.
        """
        exchange = self.prepare(stub, number, *arguments, credential=credential)
        self.send(exchange)
        return self.wait(exchange)

    # -- what comes back -----------------------------------------------------------------------

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return
        except ConnectionRefusedError:
            self.refusals += 1
            return
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        now = time.time()
        if self.netid == "udp":
            self._answer(Piece(now, data), data)
            return
        if not data:
            self._end("the server closed the connection")
            return
        self._buffer += data
        while (size := _record_size(self._buffer)) is not None:
            raw, self._buffer = self._buffer[:size], self._buffer[size:]
            self._answer(Piece(now, raw), raw[_MARK:])

    def _answer(self, piece: Piece, message: bytes) -> None:
        """Take an answer: the server sends each as one fragment."""
        exchange = self.exchanges.get(int.from_bytes(message[:4], "big"))
        if exchange is None:
            return
        exchange.received.append(piece)
        exchange.again = 0.0
        exchange.result = exchange.error = None
        try:
            results = message[parse_reply(message).results :]
            exchange.result = _CODECS.of(exchange.procedure).decode(results)
        except RPCError as error:
            exchange.error = error
        exchange.answered = True

    def _look(self) -> None:
        """Send again what is due."""
        for exchange in self.exchanges.values():
            if exchange.again and exchange.sent and time.time() - exchange.sent[-1].at >= exchange.again:
                self.send(exchange)

    def _end(self, why: str) -> None:
        if not self.lost:
            self.lost, self.lost_at = why, time.time()
            self._loop.remove(self._socket.fileno())

    def close(self) -> None:
        """Close the socket."""
        if self in self.station.wires:
            self.station.wires.remove(self)
            self._loop.remove_timer(self._look)
            if not self.lost:
                self._loop.remove(self._socket.fileno())
            self._socket.close()


def _record_size(data: bytes) -> int | None:
    """Return the bytes of the record that data begins with, marks included; None while it is not complete."""
    at = 0
    while len(data) - at >= _MARK:
        mark = int.from_bytes(data[at : at + _MARK], "big")
        at += _MARK + (mark & ~_LAST)
        if mark & _LAST:
            return at if at <= len(data) else None
    return None


def _is_ours(address: str) -> bool:
    """Return whether this machine has an address: all of 127.0.0.0/8 on Linux, 127.0.0.1 alone elsewhere."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return True
    return False
