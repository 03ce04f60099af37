"""oncrpc.sync: blocking calls, against a real libtirpc server and hostile ones."""

# ruff: noqa: SIM117 - what is expected stands on a line of its own

from __future__ import annotations

import math
import socket
import struct
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from oncrpc import sync
from oncrpc.auth import AuthSys
from oncrpc.client import Retransmission
from oncrpc.errors import (
    ArgumentsNotEncodable,
    AuthenticationFailed,
    AuthStat,
    CallTimedOut,
    MalformedMessage,
    NotConnected,
    ProcedureUnavailable,
    ProgramMismatch,
    ProgramUnavailable,
    RecordTooLarge,
    SystemFailure,
)
from oncrpc.limits import Limits
from tests.oncrpc.libtirpc import CServer, c_server
from tests.oncrpc.sample import NowhereProgram, NowhereVersion, Pair, SampleSyncClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CServer]:
    with c_server(tmp_path_factory.mktemp("c")) as running:
        yield running


@pytest.fixture(params=["tcp", "udp", "unix"])
def address(request: pytest.FixtureRequest, server: CServer) -> str:
    places = {"tcp": f"tcp:127.0.0.1:{server.tcp}", "udp": f"udp:127.0.0.1:{server.udp}", "unix": f"unix:{server.path}"}
    return places[request.param]


class TestAgainstLibtirpc:
    """The C server answers what its source says."""

    def test_null_is_answered(self, address: str) -> None:
        with sync.connect(SampleSyncClient, address) as stub:
            stub.sample_null()

    def test_results_are_decoded(self, address: str) -> None:
        with sync.connect(SampleSyncClient, address) as stub:
            assert stub.sample_add(Pair(2, 40)) == 42
            assert stub.sample_echo(b"hello, world") == b"hello, world"

    def test_auth_sys_arrives_as_given(self, address: str) -> None:
        credential = AuthSys(7, "krypton", 1000, 100, (4, 24, 27))
        with sync.connect(SampleSyncClient, address, credential=credential) as stub:
            who = stub.sample_who()
        assert (who.flavor, who.uid, who.gid, who.gids, who.machine) == (1, 1000, 100, [4, 24, 27], "krypton")

    def test_the_identity_of_the_process_is_understood(self, address: str) -> None:
        with sync.connect(SampleSyncClient, address, credential=AuthSys.current()) as stub:
            assert stub.sample_who().uid == AuthSys.current().uid

    def test_no_credential_is_auth_none(self, address: str) -> None:
        with sync.connect(SampleSyncClient, address) as stub:
            assert stub.sample_who().flavor == 0

    def test_each_outcome_is_its_own_exception(self, address: str) -> None:
        with sync.connect(SampleSyncClient, address) as stub:
            with pytest.raises(ProcedureUnavailable):
                stub.sample_nowhere()
            with pytest.raises(SystemFailure):
                stub.sample_fail(0)
            with pytest.raises(AuthenticationFailed) as caught:
                stub.sample_fail(5)
            assert caught.value.auth_stat is AuthStat.AUTH_TOOWEAK
        with sync.connect(NowhereProgram, address) as elsewhere, pytest.raises(ProgramUnavailable):
            elsewhere.sample_null()
        with sync.connect(NowhereVersion, address) as later, pytest.raises(ProgramMismatch) as mismatch:
            later.sample_null()
        assert (mismatch.value.low, mismatch.value.high) == (1, 1)

    def test_large_results_come_over_streams(self, server: CServer) -> None:
        data = bytes(range(256)) * 4000
        with sync.connect(SampleSyncClient, f"tcp:127.0.0.1:{server.tcp}") as stub:
            assert stub.sample_echo(data) == data

    def test_small_fragments_are_understood_by_the_server(self, server: CServer) -> None:
        limits = Limits(fragment_size=100)
        with sync.connect(SampleSyncClient, f"tcp:127.0.0.1:{server.tcp}", limits=limits) as stub:
            assert stub.sample_echo(b"x" * 5000) == b"x" * 5000

    def test_one_way_calls_are_executed_before_the_next_call(self, server: CServer) -> None:
        with sync.connect(SampleSyncClient, f"tcp:127.0.0.1:{server.tcp}") as stub:
            before = stub.sample_count()
            for _ in range(10):
                stub.shout()
            assert stub.sample_count() == before + 11


def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(address: str) -> None:
    with sync.connect(SampleSyncClient, address) as stub:
        with pytest.raises(ArgumentsNotEncodable):
            stub.sample_add(Pair(2**40, 0))
        assert stub.sample_add(Pair(1, 2)) == 3


def test_a_call_too_big_for_a_datagram_is_refused(server: CServer) -> None:
    with sync.connect(SampleSyncClient, f"udp:127.0.0.1:{server.udp}") as stub:
        with pytest.raises(ArgumentsNotEncodable, match="use TCP"):
            stub.sample_echo(bytes(70_000))


def _free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_closed_tcp_port_is_not_connected() -> None:
    port = _free_port(socket.SOCK_STREAM)
    with pytest.raises(NotConnected, match=f"tcp:127.0.0.1:{port}: Connection refused"):
        sync.open_caller(f"tcp:127.0.0.1:{port}")


def test_a_closed_udp_port_is_told_at_once() -> None:
    port = _free_port(socket.SOCK_DGRAM)
    with sync.connect(SampleSyncClient, f"udp:127.0.0.1:{port}") as stub, pytest.raises(NotConnected, match="UDP"):
        stub.sample_null(timeout=20)


def test_a_missing_socket_file_is_not_connected(tmp_path: Path) -> None:
    with pytest.raises(NotConnected, match="No such file"):
        sync.open_caller(f"unix:{tmp_path}/nobody")


@contextmanager
def hostile_stream(answer: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """A server that reads one call and then does as told; its connection is closed when that returns."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(10)
            mark = connection.recv(4)
            call = connection.recv(struct.unpack(">I", mark)[0] & 0x7FFFFFFF)
            try:
                answer(connection, call)
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp:127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        thread.join()


def _marked(data: bytes) -> bytes:
    return struct.pack(">I", 0x80000000 | len(data)) + data


def _success(call: bytes, results: bytes = b"") -> bytes:
    return call[:4] + struct.pack(">5I", 1, 0, 0, 0, 0) + results


class TestHostileServer:
    """Row S13: lengths and counts bounded, one deadline for the whole call."""

    def test_a_record_mark_beyond_the_limit_ends_the_connection_at_once(self) -> None:
        def announce(connection: socket.socket, call: bytes) -> None:
            connection.sendall(b"\xff\xff\xff\xff")
            connection.recv(1)

        with hostile_stream(announce) as place:
            with sync.connect(SampleSyncClient, place) as stub:
                with pytest.raises(RecordTooLarge):
                    stub.sample_null(timeout=5)
                with pytest.raises(NotConnected):
                    stub.sample_null()

    def test_empty_fragments_without_end_end_the_connection(self) -> None:
        with hostile_stream(lambda connection, call: connection.sendall(bytes(4_000_000))) as place:
            with sync.connect(SampleSyncClient, place) as stub, pytest.raises(RecordTooLarge):
                stub.sample_null(timeout=5)

    def test_a_trickled_reply_does_not_stretch_the_deadline(self) -> None:
        def trickle(connection: socket.socket, call: bytes) -> None:
            for byte in _marked(_success(call, bytes(1000))):
                connection.sendall(bytes((byte,)))
                time.sleep(0.02)

        with hostile_stream(trickle) as place, sync.connect(SampleSyncClient, place) as stub:
            begun = time.monotonic()
            with pytest.raises(CallTimedOut):
                stub.sample_null(timeout=0.3)
            assert time.monotonic() - begun < 2

    def test_other_replies_without_end_do_not_stretch_the_deadline(self) -> None:
        def flood(connection: socket.socket, call: bytes) -> None:
            wrong = _marked(b"\0\0\0\0" + _success(call)[4:]) * 100
            for _ in range(100_000):
                connection.sendall(wrong)

        with hostile_stream(flood) as place, sync.connect(SampleSyncClient, place) as stub:
            with pytest.raises(CallTimedOut):
                stub.sample_null(timeout=0.3)

    def test_a_count_beyond_the_reply_is_refused(self) -> None:
        def lie(connection: socket.socket, call: bytes) -> None:
            connection.sendall(_marked(_success(call, b"\xff\xff\xff\xfcabcd")))

        with hostile_stream(lie) as place, sync.connect(SampleSyncClient, place) as stub:
            with pytest.raises(MalformedMessage, match="SAMPLE_ECHO"):
                stub.sample_echo(b"")

    @pytest.mark.parametrize("length", range(4, 24, 4))
    def test_a_reply_cut_short_fails_its_call(self, length: int) -> None:
        def cut(connection: socket.socket, call: bytes) -> None:
            connection.sendall(_marked(_success(call)[:length]))
            connection.recv(1)

        with hostile_stream(cut) as place, sync.connect(SampleSyncClient, place) as stub:
            with pytest.raises((MalformedMessage, CallTimedOut)):
                stub.sample_null(timeout=0.3)

    def test_a_connection_cut_is_told(self) -> None:
        with hostile_stream(lambda connection, call: None) as place, sync.connect(SampleSyncClient, place) as stub:
            with pytest.raises(NotConnected, match="closed the connection"):
                stub.sample_null()

    def test_a_server_that_does_not_read_is_given_up(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        with listener, sync.connect(SampleSyncClient, f"tcp:127.0.0.1:{listener.getsockname()[1]}") as stub:
            with pytest.raises(CallTimedOut, match="did not read"):
                stub.sample_echo(bytes(20_000_000), timeout=0.3)
            with pytest.raises(NotConnected):
                stub.sample_null()

    def test_a_call_goes_on_after_another_one_timed_out(self) -> None:
        def late(connection: socket.socket, call: bytes) -> None:
            connection.recv(44)
            connection.sendall(_marked(_success(call)))
            second = connection.recv(44)
            connection.sendall(_marked(_success(second[4:])))

        with hostile_stream(late) as place, sync.connect(SampleSyncClient, place) as stub:
            with pytest.raises(CallTimedOut):
                stub.sample_null(timeout=0.1)
            with pytest.raises(CallTimedOut):
                stub.sample_null(timeout=0.1)
            stub.sample_null(timeout=5)


class TestDatagrams:
    """Lost, doubled, late and forged datagrams."""

    def test_a_lost_call_is_sent_again(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.settimeout(10)
            seen: list[bytes] = []

            def serve() -> None:
                for _ in range(3):
                    call, peer = server.recvfrom(1000)
                    seen.append(call)
                server.sendto(_success(call), peer)

            thread = threading.Thread(target=serve)
            thread.start()
            place = f"udp:127.0.0.1:{server.getsockname()[1]}"
            with sync.connect(SampleSyncClient, place, retransmission=Retransmission(first=0.02)) as stub:
                stub.sample_null(timeout=math.inf)
            thread.join()
        assert len(set(seen)) == 1

    def test_the_deadline_counts_for_all_transmissions(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            place = f"udp:127.0.0.1:{server.getsockname()[1]}"
            with sync.connect(SampleSyncClient, place, retransmission=Retransmission(first=0.02)) as stub:
                with pytest.raises(CallTimedOut, match=r"sent [3-9] times"):
                    stub.sample_null(timeout=0.3)

    def test_a_closed_stub_says_so(self, server: CServer) -> None:
        with sync.connect(SampleSyncClient, f"udp:127.0.0.1:{server.udp}") as stub:
            stub.close()
            with pytest.raises(NotConnected):
                stub.sample_null()
            with pytest.raises(NotConnected):
                stub.shout()


def test_nonsense_is_no_address() -> None:
    for text in ("", "tcp", "tcp:host", "tcp:host:0", "tcp:host:65536", "udp::600", "unix:", "http:host:80"):
        with pytest.raises(ValueError, match="is no address"):
            sync.open_caller(text)
