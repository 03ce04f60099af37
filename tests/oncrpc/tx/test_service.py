"""oncrpc.tx.service with its transports: real sockets, on a reactor that the test turns."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred

from oncrpc.auth import AuthSys
from oncrpc.limits import Limits
from oncrpc.program import Procedure, Program
from oncrpc.records import frame_record
from oncrpc.testing import call_message
from tests.oncrpc.served import PROGRAM, Integer, Served, Watcher
from tests.oncrpc.tx.loop import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from oncrpc.program import Call

NULL = call_message(PROGRAM, 1, 0)
NULL_REPLY = frame_record(b"\0\0\0\x01\0\0\0\x01" + bytes(16))
BIG = call_message(PROGRAM, 1, 7, (1 << 20).to_bytes(4, "big"))

Make = "Callable[..., Bench]"


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*programs: Program, endpoints: Any = ("tcp:0",), **more: Any) -> Bench:
        made.append(Bench(programs or [Served()], endpoints, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


class TestTransports:
    """One service, many endpoints."""

    @pytest.mark.parametrize("endpoint", ["tcp:0", "tcp:0:interface=::1", "unix"])
    def test_streams_are_served(self, bench: Callable[..., Bench], endpoint: str, tmp_path: Path) -> None:
        if endpoint == "unix":
            endpoint = f"unix:{tmp_path / 'rpc.sock'}"
        served = bench(endpoints=[endpoint])
        client = served.connect()
        for _ in range(3):
            assert frame_record(served.call(client, NULL)) == NULL_REPLY

    @pytest.mark.parametrize("interface", ["127.0.0.1", "0.0.0.0", "::1", "::"])
    def test_datagrams_are_served_and_answered_from_where_they_were_sent_to(
        self, bench: Callable[..., Bench], interface: str
    ) -> None:
        served = bench(endpoints=[f"udp:0:interface={interface}"])
        port = served.service.addresses[0].port
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        client = socket.socket(family, socket.SOCK_DGRAM)
        client.setblocking(False)
        served.clients.append(client)
        # Another address of the same machine than the one that a reply would take by itself.
        host = {"0.0.0.0": "127.0.0.3", "::": "::1"}.get(interface, interface)
        client.connect((host, port))
        assert frame_record(served.ask(client, NULL)) == NULL_REPLY
        assert len(served.ask(client, call_message(PROGRAM, 1, 1, (8000).to_bytes(4, "big") + bytes(8000)))) == 8028

    def test_one_service_serves_many_endpoints_and_programs(self, bench: Callable[..., Bench]) -> None:
        class Other(Served):
            program = PROGRAM + 1

        served = bench(Served(), Other(), endpoints=["tcp:0", "tcp:0:interface=::1", "udp:0"])
        assert [address.netid for address in served.service.addresses] == ["tcp", "tcp6", "udp"]
        for index in (0, 1):
            client = served.connect(index)
            for program in (PROGRAM, PROGRAM + 1):
                assert served.call(client, call_message(program, 1, 0))[4:] == b"\0\0\0\x01" + bytes(16)

    def test_sockets_that_are_ready_are_served_as_they_are(self, bench: Callable[..., Bench]) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        ports = [listening.getsockname()[1], datagrams.getsockname()[1]]
        served = bench(endpoints=[listening, datagrams])
        assert [address.port for address in served.service.addresses] == ports
        assert frame_record(served.call(served.connect(), NULL)) == NULL_REPLY
        assert frame_record(served.ask(served.datagram_client(1), NULL)) == NULL_REPLY

    def test_over_a_local_socket_the_kernel_says_who_calls(self, bench: Callable[..., Bench], tmp_path: Path) -> None:
        program = Served()
        served = bench(program, endpoints=[f"unix:{tmp_path / 's'}"])
        client = served.connect()
        me = AuthSys(0, "x", os.geteuid(), os.getegid())
        reply = served.call(client, call_message(PROGRAM, 1, 1, bytes(4), credential=me))
        assert reply[8:] == bytes(20)
        connection = program.calls[0].connection
        assert connection is not None
        assert connection.peer_credentials is not None
        assert connection.peer_credentials.pid == os.getpid()
        if os.geteuid() == 0:
            assert program.calls[0].credential == me


class TestWriting:
    def test_all_replies_to_one_read_are_one_write(self, bench: Callable[..., Bench]) -> None:
        served = bench()
        client = served.connect()
        client.send(frame_record(NULL) * 300)
        assert served.receive(client, 300 * 28) == NULL_REPLY * 300

    def test_late_replies_of_one_turn_go_out_together(self, bench: Callable[..., Bench]) -> None:
        program = Served()
        served = bench(program)
        client = served.connect()
        served.send(client, frame_record(call_message(PROGRAM, 1, 4, bytes(4))) * 20)
        served.loop.until(lambda: len(program.calls) == 20)
        for call in program.calls:
            call.reply(b"")
        with pytest.raises(BlockingIOError):
            client.recv(1)
        served.loop.turn()
        assert len(client.recv(10_000)) == 20 * 32

    def test_large_replies_arrive_whole(self, bench: Callable[..., Bench]) -> None:
        served = bench()
        client = served.connect()
        body = os.urandom(1 << 20)
        reply = served.call(client, call_message(PROGRAM, 1, 1, len(body).to_bytes(4, "big") + body))
        assert reply[28:] == body

    def test_ten_thousand_pipelined_calls_are_all_answered(self, bench: Callable[..., Bench]) -> None:
        served = bench()
        client = served.connect()
        got = bytearray()
        data = b"".join(frame_record(call_message(PROGRAM, 1, 0, xid=xid)) for xid in range(10_000))
        view = memoryview(data)
        while len(got) < 280_000:
            if view:
                with contextlib.suppress(BlockingIOError):
                    view = view[client.send(view) :]
            served.loop.turn(0.001)
            with contextlib.suppress(BlockingIOError):
                got += client.recv(1 << 16)
        assert [struct.unpack_from(">I", got, at + 4)[0] for at in range(0, len(got), 28)] == list(range(10_000))


class TestTheFiveTraps:
    """What stock Twisted would do to an RPC server (docs/explanation/way-of-a-call.md)."""

    def test_a_half_closed_client_gets_every_reply(self, bench: Callable[..., Bench]) -> None:
        served = bench()
        client = served.connect()
        client.send(frame_record(NULL) * 100)
        client.shutdown(socket.SHUT_WR)
        assert served.receive(client, 100_000) == NULL_REPLY * 100

    def test_a_half_closed_client_gets_replies_that_do_not_fit_the_socket_buffer(
        self, bench: Callable[..., Bench]
    ) -> None:
        served = bench()
        client = served.connect()
        client.send(frame_record(BIG) * 8)
        client.shutdown(socket.SHUT_WR)
        assert len(served.receive(client, 100 << 20)) == 8 * (32 + (1 << 20))

    def test_a_half_closed_client_gets_replies_that_come_later(self, bench: Callable[..., Bench]) -> None:
        program = Served()
        served = bench(program)
        client = served.connect()
        client.send(frame_record(call_message(PROGRAM, 1, 4, bytes(4))))
        client.shutdown(socket.SHUT_WR)
        served.loop.until(lambda: program.calls)
        served.loop.advance(5)
        program.calls[0].reply(b"late")
        assert served.receive(client, 1000)[-4:] == b"late"

    def test_a_client_that_never_reads_bounds_our_memory_and_is_cut(self, bench: Callable[..., Bench]) -> None:
        watcher = Watcher()
        served = bench(observers=[watcher], limits=Limits(drain_timeout=30))
        client = served.connect()
        other = served.connect()
        (transport,) = [t for t in served.service.connections if t.session.id == 1]
        data = memoryview(frame_record(BIG) * 200)
        for _ in range(200):
            with contextlib.suppress(BlockingIOError):
                data = data[client.send(data) :]
            served.loop.turn()
        assert transport.session.unsent < 3 << 20
        assert not transport.session.reading
        assert frame_record(served.call(other, NULL)) == NULL_REPLY
        served.loop.advance(29)
        assert not transport.gone
        served.loop.advance(2)
        assert transport.gone
        assert "connection cut" in {notice.kind for notice in watcher.notices}

    def test_timeouts_do_not_follow_the_wall_clock(self) -> None:
        import time

        from twisted.internet.selectreactor import SelectReactor

        from oncrpc.tx.service import RPCService

        reactor = SelectReactor()
        waiting = reactor.callLater(100, int)
        RPCService([Served()], [], reactor=reactor)
        assert reactor.seconds is time.monotonic
        assert 99 < waiting.getTime() - time.monotonic() <= 100
        for each in reactor._internalReaders:
            each.connectionLost(None)

    def test_datagrams_are_taken_whole_up_to_their_largest(self, bench: Callable[..., Bench]) -> None:
        served = bench(endpoints=["udp:0"], limits=Limits(max_datagram_reply=65507))
        size = 65460
        message = call_message(PROGRAM, 1, 1, size.to_bytes(4, "big") + b"\1" * size)
        assert served.ask(served.datagram_client(), message)[28 : 28 + size] == b"\1" * size

    def test_a_flood_of_empty_datagrams_does_not_hold_streams_up(self, bench: Callable[..., Bench]) -> None:
        served = bench(endpoints=["tcp:0", "udp:0"], limits=Limits(datagrams_per_turn=64))
        flood = served.datagram_client(1)
        client = served.connect()
        for _ in range(250):
            flood.send(b"")
        client.send(frame_record(NULL))
        served.loop.turn()
        assert client.recv(100) == NULL_REPLY


class TestDeadlines:
    """Three clocks of a connection: record, drain, idle. All monotonic."""

    def test_a_record_must_be_complete_in_time_however_it_trickles(self, bench: Callable[..., Bench]) -> None:
        served = bench(limits=Limits(record_timeout=45))
        client = served.connect()
        data = frame_record(NULL)
        for at in range(43):
            client.send(data[at : at + 1])
            served.loop.turn(0.01)
            served.loop.advance(1)
        assert not served.closed(client)
        served.loop.advance(1)
        served.loop.advance(2)
        served.loop.until(lambda: served.closed(client))

    def test_a_record_that_follows_another_has_its_own_time(self, bench: Callable[..., Bench]) -> None:
        served = bench(limits=Limits(record_timeout=10))
        client = served.connect()
        data = frame_record(NULL)
        client.send(data[:10])
        served.loop.turn(0.01)
        for _ in range(5):
            served.loop.advance(6)
            client.send(data[10:] + data[:10])
            assert served.receive(client, 28) == NULL_REPLY
        served.loop.advance(12)
        served.loop.until(lambda: served.closed(client))

    def test_an_idle_connection_is_closed_in_the_end(self, bench: Callable[..., Bench]) -> None:
        served = bench(limits=Limits(idle_timeout=100))
        client = served.connect()
        served.loop.advance(98)
        assert not served.closed(client)
        served.loop.advance(4)
        served.loop.until(lambda: served.closed(client))

    def test_a_connection_with_a_call_in_hand_is_not_idle(self, bench: Callable[..., Bench]) -> None:
        program = Served()
        served = bench(program, limits=Limits(idle_timeout=100))
        client = served.connect()
        client.send(frame_record(call_message(PROGRAM, 1, 4, bytes(4))))
        served.loop.until(lambda: program.calls)
        served.loop.advance(300)
        assert not served.closed(client)


class TestCaps:
    def test_connections_over_the_cap_for_one_address_are_refused(self, bench: Callable[..., Bench]) -> None:
        watcher = Watcher()
        served = bench(limits=Limits(max_connections_per_peer=3), observers=[watcher])
        for _ in range(3):
            served.connect()
        extra = socket.create_connection((served.service.addresses[0].host, served.service.addresses[0].port))
        extra.setblocking(False)
        served.clients.append(extra)
        served.loop.until(lambda: served.closed(extra))
        assert watcher.notices[-1].kind == "too many connections"
        served.clients[0].close()
        served.loop.until(lambda: len(served.service.connections) == 2)
        assert frame_record(served.call(served.connect(), NULL)) == NULL_REPLY

    def test_over_the_cap_in_all_the_connection_idle_longest_makes_room(self, bench: Callable[..., Bench]) -> None:
        served = bench(limits=Limits(max_connections=2, idle_grace=15))
        first, second = served.connect(), served.connect()
        served.loop.advance(20)
        assert frame_record(served.call(first, NULL)) == NULL_REPLY
        address = served.service.addresses[0]
        third = socket.create_connection((address.host, address.port))
        third.setblocking(False)
        served.clients.append(third)
        served.loop.until(lambda: served.closed(second))
        assert frame_record(served.call(third, NULL)) == NULL_REPLY
        assert frame_record(served.call(first, NULL)) == NULL_REPLY

    def test_over_the_cap_with_none_idle_the_new_one_is_refused(self, bench: Callable[..., Bench]) -> None:
        served = bench(limits=Limits(max_connections=1))
        first = served.connect()
        address = served.service.addresses[0]
        second = socket.create_connection((address.host, address.port))
        second.setblocking(False)
        served.clients.append(second)
        served.loop.until(lambda: served.closed(second))
        assert frame_record(served.call(first, NULL)) == NULL_REPLY

    def test_unfinished_large_records_have_a_budget_together(self, bench: Callable[..., Bench]) -> None:
        served = bench(limits=Limits(max_assembly=200_000))
        clients = [served.connect() for _ in range(4)]
        for client in clients:
            client.send((0x80000000 | (1 << 20)).to_bytes(4, "big") + bytes(20_000))
            served.loop.turn(0.01)
        served.loop.until(lambda: len(served.service.connections) == 1 or served.loop.advance(1))


class TestEnds:
    def test_a_malformed_message_ends_its_connection_after_earlier_replies(self, bench: Callable[..., Bench]) -> None:
        served = bench()
        client, other = served.connect(), served.connect()
        client.send(frame_record(NULL) + frame_record(b"nonsense") + bytes(10_000))
        assert served.receive(client, 1000) == NULL_REPLY
        assert frame_record(served.call(other, NULL)) == NULL_REPLY

    def test_a_reset_connection_cancels_its_calls(self, bench: Callable[..., Bench]) -> None:
        program = Served()
        served = bench(program)
        client = served.connect()
        client.send(frame_record(call_message(PROGRAM, 1, 4, bytes(4))))
        served.loop.until(lambda: program.calls)
        told: list[int] = []
        program.calls[0].on_cancel(lambda: told.append(1))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        served.loop.until(lambda: told)
        program.calls[0].reply(b"")

    def test_a_reset_is_noticed_though_nothing_is_read_or_written(self, bench: Callable[..., Bench]) -> None:
        program = Served()
        served = bench(program)
        client = served.connect()
        client.send(frame_record(call_message(PROGRAM, 1, 4, bytes(4))))
        client.shutdown(socket.SHUT_WR)
        (transport,) = served.service.connections
        served.loop.until(lambda: transport.session.half_closed)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        served.loop.until(lambda: transport.gone or served.loop.advance(1))

    def test_stopping_answers_what_is_in_hand_first(self, bench: Callable[..., Bench]) -> None:
        program = Served()
        served = bench(program)
        client = served.connect()
        client.send(frame_record(call_message(PROGRAM, 1, 4, bytes(4))))
        served.loop.until(lambda: program.calls)
        program.calls[0].on_hangup(lambda: program.calls[0].reply(b"stop"))
        stopped = served.service.stopService()
        assert served.receive(client, 1000)[-4:] == b"stop"
        served.loop.until(lambda: stopped.called)

    def test_stopping_cuts_what_does_not_end_in_three_seconds(self, bench: Callable[..., Bench]) -> None:
        program = Served()
        served = bench(program)
        client = served.connect()
        client.send(frame_record(call_message(PROGRAM, 1, 4, bytes(4))))
        served.loop.until(lambda: program.calls)
        stopped = served.service.stopService()
        served.loop.advance(2)
        assert not stopped.called
        served.loop.advance(2)
        served.loop.until(lambda: stopped.called)

    def test_a_stopped_service_may_start_again(self, bench: Callable[..., Bench]) -> None:
        served = bench()
        stopped = served.service.stopService()
        served.loop.until(lambda: stopped.called)
        served.service.startService()
        assert frame_record(served.call(served.connect(), NULL)) == NULL_REPLY


class TestAwaiting:
    """Procedures may return Deferreds and awaitables."""

    class Waiting(Program):
        program = PROGRAM
        version = 1
        procedures = (
            Procedure(1, "DEFERRED", "deferred", (), Integer),
            Procedure(2, "COROUTINE", "coroutine", (), Integer),
        )

        def __init__(self) -> None:
            self.answers: list[Deferred[int]] = []
            self.cancelled = 0

        def deferred(self, call: Call) -> Deferred[int]:
            def cancelled(_: object) -> None:
                self.cancelled += 1

            self.answers.append(Deferred(cancelled))
            return self.answers[-1]

        async def coroutine(self, call: Call) -> int:
            answer: Deferred[int] = Deferred()
            self.answers.append(answer)
            return await answer + 1

    @pytest.mark.parametrize("procedure", [1, 2])
    def test_they_are_answered_when_they_fire(self, bench: Callable[..., Bench], procedure: int) -> None:
        program = self.Waiting()
        served = bench(program)
        client = served.connect()
        client.send(frame_record(call_message(PROGRAM, 1, procedure)))
        served.loop.until(lambda: program.answers)
        program.answers[0].callback(41)
        assert served.receive(client, 32)[-4:] == (41 + procedure - 1).to_bytes(4, "big")

    @pytest.mark.parametrize("procedure", [1, 2])
    def test_failing_ones_are_system_errors(self, bench: Callable[..., Bench], procedure: int) -> None:
        program = self.Waiting()
        watcher = Watcher()
        served = bench(program, observers=[watcher])
        client = served.connect()
        client.send(frame_record(call_message(PROGRAM, 1, procedure)))
        served.loop.until(lambda: program.answers)
        program.answers[0].errback(ValueError("broken"))
        assert served.receive(client, 28)[-4:] == b"\0\0\0\x05"
        assert [type(notice.error) for notice in watcher.notices] == [ValueError]

    def test_a_deferred_is_cancelled_with_its_connection(self, bench: Callable[..., Bench]) -> None:
        program = self.Waiting()
        served = bench(program)
        client = served.connect()
        client.send(frame_record(call_message(PROGRAM, 1, 1)))
        served.loop.until(lambda: program.answers)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        served.loop.until(lambda: program.cancelled)


def test_a_full_table_of_descriptors_refuses_some_and_harms_nobody(bench: Callable[..., Bench]) -> None:
    resource = pytest.importorskip("resource")
    watcher = Watcher()
    served = bench(limits=Limits(idle_grace=5), observers=[watcher])
    first = served.connect()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    address = served.service.addresses[0]
    waiting = [socket.socket() for _ in range(30)]
    served.clients += waiting
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    fillers = []
    with contextlib.suppress(OSError):
        while True:
            fillers.append(os.open(os.devnull, os.O_RDONLY))
    try:
        for client in waiting:
            client.setblocking(False)
            client.connect_ex((address.host, address.port))
        for _ in range(50):
            served.loop.turn()
        assert frame_record(served.call(first, NULL)) == NULL_REPLY
        assert "descriptors used up" in {notice.kind for notice in watcher.notices}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)
    for client in waiting:
        client.close()
    served.loop.advance(2)
    assert frame_record(served.call(served.connect(), NULL)) == NULL_REPLY
