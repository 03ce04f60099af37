"""Conversations with the server under test, over plain blocking sockets with a deadline on every wait."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Self

from oncrpc.check import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

__all__ = ["Closed", "Conversation", "Outcome", "Probe", "Silence", "Target", "Undecodable"]

MAX_REPLY: Final = 1 << 20
"""Most bytes of one reply that are read; no check asks for more than a NULL's 24."""

MAX_FRAGMENTS: Final = 4096
"""Most fragments of one reply, so that empty ones without end do not hold the suite up."""

MAX_DATAGRAM: Final = 65536

ROUND_TRIP_GRACE: Final = 0.25
"""Seconds after which a call that got no answer is compared with a NULL sent behind it."""


@dataclass(frozen=True, slots=True)
class Target:
    """The server under test.

    Args:
        transport: ``"tcp"``, ``"udp"`` or ``"unix"``.
        host: Host name or address; empty for ``unix``.
        port: Port; 0 for ``unix``.
        path: Socket file; empty unless ``unix``.
        program: Program number that it serves.
        version: Version that it serves.
        wait: Seconds after which an answer is given up.
        argument_procedures: Numbers of procedures that take arguments, for the checks of GARBAGE_ARGS.
    """

    transport: Literal["tcp", "udp", "unix"]
    host: str
    port: int
    program: int
    version: int
    path: str = ""
    wait: float = 2.0
    argument_procedures: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Where, as people write it."""
        return f"unix:{self.path}" if self.transport == "unix" else f"{self.transport}:{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer came in time."""

    waited: float

    def __str__(self) -> str:
        """Say so."""
        return "no answer"


@dataclass(frozen=True, slots=True)
class Closed:
    """The server ended the connection (or refused the datagram) before an answer."""

    how: str

    def __str__(self) -> str:
        """Say how."""
        return self.how


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Bytes came that are no RPC reply."""

    raw: bytes
    why: str

    def __str__(self) -> str:
        """Say why, and show the beginning."""
        return f"{len(self.raw)} bytes that are no reply: {self.why}"


Outcome = wire.Reply | Silence | Closed | Undecodable


def _understood(data: bytes) -> wire.Reply | Undecodable:
    try:
        return wire.read_reply(data)
    except wire.Unreadable as error:
        return Undecodable(data, str(error))


class Conversation:
    """One connection, or one datagram socket connected to the server.

    Args:
        target: Whom to talk to.

    Raises:
        OSError: No connection.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.stream = target.transport != "udp"
        self.marks: list[tuple[int, bool]] = []
        """Length and last-bit of each fragment of the reply read last."""
        self._buffer = bytearray()
        if target.transport == "unix":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._connect_unix()
        elif self.stream:
            self._socket = socket.create_connection((target.host, target.port), timeout=target.wait)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            family, _, _, _, place = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.connect(place)

    def __enter__(self) -> Self:
        """Nothing more than itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the socket."""
        self.close()

    def close(self) -> None:
        """Close the socket; more than once does no harm."""
        self._socket.close()

    def reset(self) -> None:
        """Close a connection with RST, so that nothing of it lingers at the server."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _connect_unix(self) -> None:
        """Connect; a full backlog is waited out, as TCP does by itself."""
        deadline = time.monotonic() + self.target.wait
        while True:
            try:
                self._socket.connect(self.target.path)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def pump(self, data: bytes, count: int, wait: float) -> list[Outcome]:
        """Send a long run of calls and read their replies meanwhile, so that neither side's buffers fill up.

        Returns:
            What came, up to so many outcomes; ends early after one that is no reply.
        """
        deadline = time.monotonic() + wait
        rest = memoryview(data)
        while rest and (left := deadline - time.monotonic()) > 0:
            readable, writable, _ = select.select([self._socket], [self._socket], [], left)
            self._socket.settimeout(0)
            try:
                if readable and (came := self._socket.recv(65536)):
                    self._buffer += came
                elif readable:
                    break
                if writable:
                    rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                continue
            except OSError:
                break
        return list(self.replies(count, max(0.001, deadline - time.monotonic())))

    def send(self, message: bytes) -> None:
        """Send one message: a record of one fragment, or one datagram. A connection already closed is not reported."""
        self.send_raw(wire.record(message) if self.stream else message)

    def send_raw(self, data: bytes) -> bool:
        """Send bytes as they are; False if the server has closed or does not read them in time."""
        self._socket.settimeout(self.target.wait)
        try:
            if self.stream:
                self._socket.sendall(data)
            else:
                self._socket.send(data)
        except OSError:
            return False
        return True

    def finish_sending(self) -> None:
        """Half-close: nothing more will be sent, answers are still read."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def receive(self, wait: float | None = None) -> Outcome:
        """The next reply, or what came instead.

        Args:
            wait: Seconds; the target's if None. It counts for the whole reply, however slowly that trickles in.
        """
        wait = self.target.wait if wait is None else wait
        deadline = time.monotonic() + wait
        try:
            data = self._read_record(deadline) if self.stream else self._read_datagram(deadline)
        except TimeoutError:
            return Silence(wait)
        except (ConnectionResetError, BrokenPipeError):
            return Closed("the connection was reset")
        except ConnectionRefusedError:
            return Closed("the port is closed (ICMP)")
        except OSError as error:
            return Closed(f"the socket failed: {error}")
        return data if isinstance(data, Closed | Undecodable) else _understood(data)

    def exchange(self, message: bytes, wait: float | None = None) -> Outcome:
        """Send one message and give the next reply."""
        self.send(message)
        return self.receive(wait)

    def replies(self, count: int, wait: float | None = None) -> Iterator[Outcome]:
        """Up to so many replies, one deadline for all; ends after the first outcome that is none."""
        wait = self.target.wait if wait is None else wait
        deadline = time.monotonic() + wait
        for _ in range(count):
            outcome = self.receive(max(0.001, deadline - time.monotonic()))
            yield outcome
            if isinstance(outcome, Silence | Closed):
                return

    def _fill(self, size: int, deadline: float) -> bool:
        """Have at least so many bytes in the buffer; False if the peer closed first."""
        while len(self._buffer) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(65536)
            if not data:
                return False
            self._buffer += data
        return True

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _read_record(self, deadline: float) -> bytes | Closed | Undecodable:
        parts: list[bytes] = []
        self.marks = []
        total, last = 0, False
        while not last:
            if not self._fill(4, deadline):
                cut = bool(self._buffer or parts)
                return Closed("the connection was closed" + (" inside a record" if cut else ""))
            (mark,) = struct.unpack(">I", self._take(4))
            length, last = mark & ~wire.LAST, bool(mark & wire.LAST)
            self.marks.append((length, last))
            total += length
            if total > MAX_REPLY or len(self.marks) > MAX_FRAGMENTS:
                return Undecodable(b"".join(parts), f"record mark {mark:#010x}: a record of over {MAX_REPLY} bytes")
            if not self._fill(length, deadline):
                return Closed("the connection was closed inside a record")
            parts.append(self._take(length))
        return b"".join(parts)

    def _read_datagram(self, deadline: float) -> bytes:
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        return self._socket.recv(MAX_DATAGRAM)


@dataclass(slots=True)
class Probe:
    """What a check works with: calls to the target with fresh xids, and a log of what was sent.

    Args:
        target: The server under test.
        destructive: Checks that may hurt the server were asked for.
    """

    target: Target
    sent: list[str] = field(default_factory=list)
    """One line for each message sent, for the report."""
    _xids: Iterator[int] = field(default_factory=lambda: itertools.count(int.from_bytes(os.urandom(3), "big") << 8))

    def next_xid(self) -> int:
        """A number not used before in this run."""
        return next(self._xids) & 0xFFFFFFFF

    def null(self, xid: int | None = None, **changes: object) -> bytes:
        """A call to procedure 0 of the served program and version, with changes by keyword as in wire.call()."""
        fields: dict[str, object] = {
            "program": self.target.program,
            "version": self.target.version,
            "procedure": 0,
            **changes,
        }
        return wire.call(self.next_xid() if xid is None else xid, **fields)  # type: ignore[arg-type]

    def connect(self) -> Conversation:
        """A new connection or datagram socket.

        Raises:
            OSError: No connection.
        """
        return Conversation(self.target)

    def note(self, text: str, data: bytes = b"") -> None:
        """Write down what is sent, with the bytes if they are few."""
        shown = f": {data.hex(' ', -4)}" if 0 < len(data) <= 120 else f": {len(data)} bytes" if data else ""
        self.sent.append(text + shown)

    def ask(self, what: str, message: bytes) -> Outcome:
        """Send one message on a fresh conversation and give the answer to its xid.

        Silence is told early: when a NULL call sent behind it has been answered and the message still has not.
        """
        self.note(what, message)
        with self.connect() as talk:
            talk.send(message)
            return self.answer_to(talk, int.from_bytes(message[:4], "big"))

    def answer_to(self, talk: Conversation, wanted: int) -> Outcome:
        """The reply with this xid, or what shows that none comes."""
        outcome = talk.receive(min(ROUND_TRIP_GRACE, self.target.wait))
        if not isinstance(outcome, Silence):
            return outcome
        follower = self.null()
        talk.send(follower)
        follower_xid = int.from_bytes(follower[:4], "big")
        deadline = time.monotonic() + self.target.wait
        while (left := deadline - time.monotonic()) > 0:
            outcome = talk.receive(left)
            if isinstance(outcome, wire.Reply) and outcome.xid == follower_xid and wanted != follower_xid:
                later = talk.receive(min(ROUND_TRIP_GRACE, max(0.001, deadline - time.monotonic())))
                return later if isinstance(later, wire.Reply) and later.xid == wanted else Silence(ROUND_TRIP_GRACE)
            return outcome
        return Silence(self.target.wait)

    def alive(self, attempts: int = 3) -> Outcome:
        """The answer to a NULL call on a fresh conversation; tried again where datagrams may be lost."""
        outcome: Outcome = Silence(0.0)
        for _ in range(attempts):
            try:
                with self.connect() as talk:
                    outcome = talk.exchange(self.null())
            except OSError as error:
                outcome = Closed(f"no connection: {error}")
            if isinstance(outcome, wire.Reply):
                return outcome
        return outcome

    def null_seconds(self) -> float:
        """How long a NULL on a fresh conversation takes; the whole wait if it is not answered."""
        begun = time.monotonic()
        if self.target.transport == "udp":
            # A datagram lost to a full buffer is sent again, as clients do.
            with self.connect() as talk:
                message = self.null()
                while time.monotonic() - begun < self.target.wait:
                    if isinstance(talk.exchange(message, ROUND_TRIP_GRACE), wire.Reply):
                        return time.monotonic() - begun
            return self.target.wait
        outcome = self.alive(attempts=1)
        return time.monotonic() - begun if isinstance(outcome, wire.Reply) else self.target.wait

    def flood(self, talk: Conversation, pieces: Sequence[bytes]) -> int:
        """Send pieces until the server closes or stops reading; how many went out."""
        for number, piece in enumerate(pieces):
            if not talk.send_raw(piece):
                return number
        return len(pieces)
