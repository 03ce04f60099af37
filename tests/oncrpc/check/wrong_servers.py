"""One right server, written by hand on threads, and many that are each wrong in one way."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from types import TracebackType

PROGRAM, VERSION = 0x20000601, 3
LAST = 0x80000000


class Hangup(Exception):
    """The connection is to be closed."""


class RightServer:
    """Serves procedures 0 (nothing) and 1 (one int, doubled) as RFC 5531 says; TCP and UDP on loopback."""

    fails: ClassVar[frozenset[str]] = frozenset()
    """Codes of the checks that must notice it."""
    transport: ClassVar[str] = "tcp"
    """Over which they notice it."""

    def __enter__(self) -> Self:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self.listener.getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.datagrams.bind(("127.0.0.1", 0))
        self.udp_port: int = self.datagrams.getsockname()[1]
        self.lock = threading.Lock()
        for target in (self._accept, self._serve_datagrams):
            threading.Thread(target=target, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self.listener, self.datagrams):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, Hangup):
            self.converse(connection)

    def converse(self, connection: socket.socket) -> None:
        """Answer records until the peer is done."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            message = self.read_record(connection)
            if (reply := self.answer(message)) is not None:
                self.send(connection, reply)

    def send(self, connection: socket.socket, reply: bytes) -> None:
        connection.sendall(struct.pack(">I", LAST | len(reply)) + reply)

    def read(self, connection: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = connection.recv(size - len(data))
            if not piece:
                raise Hangup
            data += piece
        return data

    def read_record(self, connection: socket.socket) -> bytes:
        data, last = b"", False
        while not last:
            (mark,) = struct.unpack(">I", self.read(connection, 4))
            last = bool(mark & LAST)
            self.check_fragment(mark & ~LAST, last=last)
            data += self.read(connection, mark & ~LAST)
        return data

    def check_fragment(self, length: int, *, last: bool) -> None:
        if length > 1_000_000:
            raise Hangup

    def _serve_datagrams(self) -> None:
        while True:
            try:
                data, peer = self.datagrams.recvfrom(65536)
                if peer and (reply := self.answer(self.datagram(data))) is not None:
                    self.datagrams.sendto(reply, peer)
            except Hangup:
                continue
            except OSError:
                return

    def datagram(self, data: bytes) -> bytes:
        return data

    def answer(self, message: bytes) -> bytes | None:
        """The reply to a message, None if there is none."""
        if len(message) < 12:
            return None
        xid, mtype, rpcvers = struct.unpack_from(">3I", message)
        if mtype != 0:
            return self.not_a_call(xid, mtype)
        if rpcvers != 2 and self.checks_rpcvers:
            return self.rpc_mismatch(xid)
        try:
            program, version, procedure, flavor, size = struct.unpack_from(">5I", message, 12)
            if size > 400:
                return self.auth_error(xid, 1)
            at = 32 + self.rounded(size)
            body = message[32 : 32 + size]
            _verifier_flavor, verifier_size = struct.unpack_from(">2I", message, at)
            if verifier_size > 400:
                return self.auth_error(xid, 3)
        except struct.error:
            return None
        arguments = message[at + 8 + self.rounded(verifier_size) :]
        if at + 8 + verifier_size > len(message):
            return None
        if (stat := self.authenticate(flavor, body)) is not None:
            return self.auth_error(xid, stat)
        return self.dispatch(xid, program, version, procedure, arguments)

    checks_rpcvers: ClassVar[bool] = True

    def rounded(self, size: int) -> int:
        return size + 3 & ~3

    def not_a_call(self, xid: int, mtype: int) -> bytes | None:
        return None

    def rpc_mismatch(self, xid: int) -> bytes | None:
        return struct.pack(">6I", xid, 1, 1, 0, 2, 2)

    def auth_error(self, xid: int, stat: int) -> bytes | None:
        return struct.pack(">5I", xid, 1, 1, 1, stat)

    def authenticate(self, flavor: int, body: bytes) -> int | None:
        """The auth_stat of a bad credential; None for a good one."""
        if flavor == 0:
            return None
        if flavor != 1:
            return 2
        try:
            _, length = struct.unpack_from(">2I", body)
            at = 8 + self.rounded(length)
            _, _, count = struct.unpack_from(">3I", body, at)
        except struct.error:
            return 1
        if length > 255 or count > 16 or len(body) != at + 12 + 4 * count or any(body[8 + length : at]):
            return 1
        return None

    def dispatch(self, xid: int, program: int, version: int, procedure: int, arguments: bytes) -> bytes | None:
        if program != PROGRAM:
            return self.accepted(xid, 1)
        if version != VERSION:
            return self.accepted(xid, 2, struct.pack(">2I", 2, 4))
        if procedure == 0:
            return self.accepted(xid, 0)
        if procedure != 1:
            return self.accepted(xid, 3)
        if len(arguments) < 4:
            return self.garbage(xid)
        return self.accepted(xid, 0, arguments[:4])

    def garbage(self, xid: int) -> bytes | None:
        return self.accepted(xid, 4)

    def accepted(self, xid: int, stat: int, rest: bytes = b"") -> bytes | None:
        return struct.pack(">6I", xid, 1, 0, 0, 0, stat) + rest


class ForgetsXids(RightServer):
    fails = frozenset({"HD-1", "HD-8", "RM-1", "RM-11", "ER-1", "AU-1"})

    def accepted(self, xid: int, stat: int, rest: bytes = b"") -> bytes | None:
        return super().accepted(xid ^ 0x80, stat, rest)


class OneFragmentOnly(RightServer):
    """Takes every fragment for a whole record, as libtirpc does in non-blocking mode."""

    fails = frozenset({"RM-2", "RM-3", "RM-4", "RM-6", "RM-8"})

    def read_record(self, connection: socket.socket) -> bytes:
        (mark,) = struct.unpack(">I", self.read(connection, 4))
        return self.read(connection, mark & ~LAST)


class NoEmptyFragments(RightServer):
    fails = frozenset({"RM-5", "RM-6"})

    def check_fragment(self, length: int, *, last: bool) -> None:
        if not length and not last:
            raise Hangup


class EmptyLastFragmentIsNoEnd(RightServer):
    fails = frozenset({"RM-7"})

    def check_fragment(self, length: int, *, last: bool) -> None:
        if not length:
            raise Hangup


class FewFragments(RightServer):
    fails = frozenset({"RM-8"})

    def read_record(self, connection: socket.socket) -> bytes:
        self.count = 0
        return super().read_record(connection)

    def check_fragment(self, length: int, *, last: bool) -> None:
        self.count += 1
        if self.count > 1000:
            raise Hangup


class OneReadIsOneRecord(RightServer):
    """Believes that recv() gives a whole record."""

    fails = frozenset({"RM-9", "RM-10"})

    def converse(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            if (reply := self.answer(data[4:])) is not None:
                self.send(connection, reply)


class AnswersTwice(RightServer):
    fails = frozenset({"RM-10", "RM-11", "RM-12", "RB-4"})

    def send(self, connection: socket.socket, reply: bytes) -> None:
        super().send(connection, reply)
        super().send(connection, reply)


class WrongMark(RightServer):
    fails = frozenset({"RM-1", "RM-12"})

    def send(self, connection: socket.socket, reply: bytes) -> None:
        connection.sendall(struct.pack(">I", LAST | len(reply) + 2) + reply + b"\0\0")


class AnswersNothing(RightServer):
    """Answers even an empty record."""

    fails = frozenset({"RM-13"})

    def answer(self, message: bytes) -> bytes | None:
        return super().answer(message) if message else self.accepted(0, 5)


class OneAtATime(RightServer):
    """Reads one connection to its end before the next one, with a deadline that nobody waits for."""

    fails = frozenset({"RM-14", "RB-1", "RB-3"})

    def converse(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with self.lock:
            super().converse(connection)

    def check_fragment(self, length: int, *, last: bool) -> None:
        pass


class ReplyVerifierWrong(RightServer):
    fails = frozenset({"HD-2", "AU-6"})

    def accepted(self, xid: int, stat: int, rest: bytes = b"") -> bytes | None:
        return struct.pack(">6I", xid, 1, 0, 1, 0, stat) + rest


class AnyRPCVersion(RightServer):
    fails = frozenset({"HD-3", "HD-4"})
    checks_rpcvers = False


class SilentAboutRPCVersions(RightServer):
    fails = frozenset({"HD-3", "HD-4"})
    transport = "udp"

    def rpc_mismatch(self, xid: int) -> bytes | None:
        return None


class AnswersReplies(RightServer):
    fails = frozenset({"HD-5"})
    transport = "udp"

    def not_a_call(self, xid: int, mtype: int) -> bytes | None:
        return self.accepted(xid, 4) if mtype == 1 else None


class AnyMessageIsACall(RightServer):
    fails = frozenset({"HD-6", "HD-5"})

    def answer(self, message: bytes) -> bytes | None:
        return super().answer(message[:4] + bytes(4) + message[8:])


class StaleBuffer(RightServer):
    """Decodes beyond the datagram, into what an earlier one left, as libtirpc does."""

    fails = frozenset({"HD-7"})
    transport = "udp"
    before = b""

    def datagram(self, data: bytes) -> bytes:
        self.before = data + self.before[len(data) :]
        return self.before


class XidsMustAscend(RightServer):
    fails = frozenset({"HD-8"})

    def converse(self, connection: socket.socket) -> None:
        highest = -1
        while True:
            message = self.read_record(connection)
            (xid,) = struct.unpack_from(">I", message)
            if xid > highest and (reply := self.answer(message)) is not None:
                self.send(connection, reply)
            highest = max(highest, xid)


class CacheOfAllClients(RightServer):
    """A reply cache that knows xids and nothing else."""

    fails = frozenset({"HD-9"})
    transport = "udp"

    def __enter__(self) -> Self:
        self.cache: dict[bytes, bytes | None] = {}
        return super().__enter__()

    def answer(self, message: bytes) -> bytes | None:
        if message[:4] not in self.cache:
            self.cache[message[:4]] = super().answer(message)
        return self.cache[message[:4]]


class AnswersAnXidOnce(RightServer):
    fails = frozenset({"HD-10"})

    def __enter__(self) -> Self:
        self.seen: set[bytes] = set()
        return super().__enter__()

    def answer(self, message: bytes) -> bytes | None:
        if message[:4] in self.seen:
            return None
        self.seen.add(message[:4])
        return super().answer(message)


class NeverAnswersTheSameDatagram(AnswersAnXidOnce):
    fails = frozenset({"UD-3"})
    transport = "udp"


class NullGivesResults(RightServer):
    fails = frozenset({"ER-1", "AU-1", "RM-1"})

    def accepted(self, xid: int, stat: int, rest: bytes = b"") -> bytes | None:
        return super().accepted(xid, stat, rest or (bytes(4) if stat == 0 else b""))


class UnavailableForMismatch(RightServer):
    """As oncrpc4j: PROG_UNAVAIL where PROG_MISMATCH belongs."""

    fails = frozenset({"ER-3", "ER-4", "ER-6", "ER-7"})

    def accepted(self, xid: int, stat: int, rest: bytes = b"") -> bytes | None:
        return super().accepted(xid, 1) if stat == 2 else super().accepted(xid, stat, rest)


class RangeWithoutUs(RightServer):
    fails = frozenset({"ER-3", "ER-4"})

    def accepted(self, xid: int, stat: int, rest: bytes = b"") -> bytes | None:
        return super().accepted(xid, stat, struct.pack(">2I", 0, 0) if stat == 2 else rest)


class ServesAnyProgram(RightServer):
    fails = frozenset({"ER-2", "ER-6", "ER-7"})

    def dispatch(self, xid: int, program: int, version: int, procedure: int, arguments: bytes) -> bytes | None:
        return super().dispatch(xid, PROGRAM, version, procedure, arguments)


class NoSuchProcedureIsGarbage(RightServer):
    fails = frozenset({"ER-5", "HD-9"})

    def accepted(self, xid: int, stat: int, rest: bytes = b"") -> bytes | None:
        return super().accepted(xid, 4 if stat == 3 else stat, rest)


class ErrorsWithABody(RightServer):
    fails = frozenset({"ER-2", "ER-5", "ER-7"})

    def accepted(self, xid: int, stat: int, rest: bytes = b"") -> bytes | None:
        return super().accepted(xid, stat, rest + (b"why?" if stat else b""))


class HangsUpOnErrors(RightServer):
    fails = frozenset({"ER-8"})

    def converse(self, connection: socket.socket) -> None:
        while True:
            reply = self.answer(self.read_record(connection))
            if reply is not None:
                self.send(connection, reply)
                if reply[20:24] != bytes(4):
                    raise Hangup


class NoAuthNone(RightServer):
    fails = frozenset({"AU-1", "ER-1"})

    def authenticate(self, flavor: int, body: bytes) -> int | None:
        return None if flavor == 1 else 9


class NoBodyInAuthNone(RightServer):
    """Does not step over the body that an AUTH_NONE credential may have."""

    fails = frozenset({"AU-2"})

    def answer(self, message: bytes) -> bytes | None:
        if message[24:28] == bytes(4) != message[28:32]:
            return self.accepted(int.from_bytes(message[:4], "big"), 4)
        return super().answer(message)


class BelievesEverybody(RightServer):
    fails = frozenset({"AU-7", "AU-8", "AU-9", "AU-10", "AU-12", "AU-16", "AU-18"})

    def authenticate(self, flavor: int, body: bytes) -> int | None:
        return None


class BelievesUnknownFlavors(RightServer):
    """Lawful for procedure 0, but worth a word."""

    fails = frozenset({"AU-11", "AU-17"})

    def authenticate(self, flavor: int, body: bytes) -> int | None:
        return None if flavor in (7, 0x7FFFFFF7) else super().authenticate(flavor, body)


class FewerGroups(RightServer):
    """Off by one at each of AUTH_SYS's bounds."""

    fails = frozenset({"AU-4"})

    def authenticate(self, flavor: int, body: bytes) -> int | None:
        return 1 if len(body) > 300 else super().authenticate(flavor, body)


class NoEmptyNames(RightServer):
    fails = frozenset({"AU-5"})

    def authenticate(self, flavor: int, body: bytes) -> int | None:
        return 1 if flavor == 1 and len(body) < 24 else super().authenticate(flavor, body)


class NoAuthSys(RightServer):
    fails = frozenset({"AU-3", "AU-4", "AU-5", "AU-6"})

    def auth_error(self, xid: int, stat: int) -> bytes | None:
        return super().auth_error(xid, 1)

    def authenticate(self, flavor: int, body: bytes) -> int | None:
        return 1 if flavor else None


class SilentAboutBigCredentials(RightServer):
    fails = frozenset({"AU-13", "AU-14"})

    def auth_error(self, xid: int, stat: int) -> bytes | None:
        raise Hangup


class BelievesLengths(RightServer):
    """Steps over what the credential announces only as far as there is something."""

    fails = frozenset({"AU-15"})

    def answer(self, message: bytes) -> bytes | None:
        if len(message) == 40 and message[28:32] != bytes(4):
            return self.accepted(int.from_bytes(message[:4], "big"), 0)
        return super().answer(message)


class ForgetsPadding(RightServer):
    fails = frozenset({"XD-1", "XD-2"})

    def rounded(self, size: int) -> int:
        return size

    def answer(self, message: bytes) -> bytes | None:
        xid, flavor = int.from_bytes(message[:4], "big"), message[32:36]
        if (
            len(message) > 40
            and message[36:40] in {bytes((0, 0, 0, size)) for size in (1, 2, 3)}
            and flavor == bytes(4)
        ):
            return self.accepted(xid, 4)
        return super().answer(message)


class LenientCredentials(RightServer):
    """Looks neither at padding nor behind the last gid, as most do."""

    fails = frozenset({"XD-3", "XD-4"})

    def authenticate(self, flavor: int, body: bytes) -> int | None:
        if flavor == 1 and (b"\xff" in body or body.endswith(b"surplus!")):
            return None
        return super().authenticate(flavor, body)


class SurplusIsAFault(RightServer):
    fails = frozenset({"XD-5"})

    def dispatch(self, xid: int, program: int, version: int, procedure: int, arguments: bytes) -> bytes | None:
        return self.accepted(xid, 5) if arguments else super().dispatch(xid, program, version, procedure, arguments)


class OddLengthsKillIt(RightServer):
    fails = frozenset({"XD-6"})
    transport = "udp"

    def datagram(self, data: bytes) -> bytes:
        if len(data) % 4:
            self.datagrams.close()
        return data


class RuntsKillIt(RightServer):
    """As ntirpc until 2021: one short datagram stops the socket for good."""

    fails = frozenset({"UD-2"})
    transport = "udp"

    def datagram(self, data: bytes) -> bytes:
        if len(data) < 16:
            self.datagrams.close()
        return data


class GarbageIsASystemError(RightServer):
    """As ShenanigaNFS."""

    fails = frozenset({"XD-7", "XD-8"})

    def garbage(self, xid: int) -> bytes | None:
        return self.accepted(xid, 5)


class AnswersFromElsewhere(RightServer):
    fails = frozenset({"UD-1"})
    transport = "udp"

    def _serve_datagrams(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            while True:
                try:
                    data, peer = self.datagrams.recvfrom(65536)
                except OSError:
                    return
                if peer and (reply := self.answer(data)) is not None:
                    other.sendto(reply, peer)


class Talkative(RightServer):
    """Error replies longer than their calls."""

    fails = frozenset({"UD-4"})
    transport = "udp"

    def accepted(self, xid: int, stat: int, rest: bytes = b"") -> bytes | None:
        return super().accepted(xid, stat, rest + bytes(40 if stat else 0))


class TakesMarksInDatagrams(RightServer):
    fails = frozenset({"UD-5"})
    transport = "udp"

    def datagram(self, data: bytes) -> bytes:
        return data[4:] if data[:1] == b"\x80" else data


class OneCallForEachPeer(RightServer):
    """Answers the call before the last one."""

    fails = frozenset({"UD-6"})
    transport = "udp"

    def dispatch(self, xid: int, program: int, version: int, procedure: int, arguments: bytes) -> bytes | None:
        return super().dispatch(xid, program, version, 0, arguments)


class HalfCloseIsTheEnd(RightServer):
    """As stock Twisted: what was not sent when the FIN came is dropped."""

    fails = frozenset({"RB-2"})

    def send(self, connection: socket.socket, reply: bytes) -> None:
        time.sleep(0.05)
        connection.settimeout(0.001)
        try:
            if connection.recv(1, socket.MSG_PEEK) == b"":
                raise Hangup
        except TimeoutError:
            pass
        connection.settimeout(None)
        super().send(connection, reply)


class FewConnections(RightServer):
    """Never gives a connection's place back."""

    fails = frozenset({"RB-5"})
    count = 0

    def _serve(self, connection: socket.socket) -> None:
        self.count += 1
        if self.count > 300:
            connection.close()
        else:
            super()._serve(connection)


class NoiseKillsIt(RightServer):
    fails = frozenset({"RB-6"})
    transport = "udp"

    def answer(self, message: bytes) -> bytes | None:
        if len(message) >= 12 and struct.unpack_from(">I", message, 4)[0] > 100:
            self.datagrams.close()
        return super().answer(message)


class EmptyDatagramsCostDearly(RightServer):
    fails = frozenset({"RB-7"})
    transport = "udp"

    def datagram(self, data: bytes) -> bytes:
        if not data:
            time.sleep(0.01)
        return data


WRONG: tuple[type[RightServer], ...] = (*tuple(RightServer.__subclasses__()), NeverAnswersTheSameDatagram)
