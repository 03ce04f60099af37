from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncrpc.auth import AuthSys
from oncrpc.client import Answered, DatagramClient, Failed
from oncrpc.datagrams import Datagrams
from oncrpc.limits import Limits
from oncrpc.program import NO_REPLY, Peer
from oncrpc.replay import ReplayCache
from oncrpc.server import Server
from oncrpc.testing import DatagramPipe, call_message
from tests.oncrpc.served import PROGRAM, Notices, Served

PLACES = {"here": Peer("127.0.0.1", 700), "there": Peer("192.0.2.1", 700)}


def word(value: int) -> bytes:
    return value.to_bytes(4, "big")


class Bench:
    def __init__(self, *, limits: Limits | None = None, replay: bool = True) -> None:
        self.program = Served()
        self.notices = Notices()
        self.server = Server([self.program], limits=limits, observers=[self.notices])
        self.late: list[tuple[bytes, str, object]] = []
        self.datagrams = Datagrams(
            self.server,
            "udp",
            replay=ReplayCache(100, 100_000, 120) if replay else None,
            peer_of=lambda address: PLACES.get(address) or Peer("127.0.0.1", 1),
            send=lambda *what: self.late.append(what),
        )

    def call(self, procedure: int, arguments: bytes = b"", xid: int = 1, place: str = "here") -> bytes | None:
        return self.datagrams.receive(call_message(PROGRAM, 1, procedure, arguments, xid=xid), place)


def test_a_datagram_is_answered_by_a_datagram() -> None:
    bench = Bench()
    assert bench.call(2, word(1) + word(2)) == word(1) + word(1) + bytes(16) + word(3)
    for xid in (5, 6):
        assert bench.call(0, xid=xid) == word(xid) + word(1) + bytes(16)
    assert bench.call(0, bytes(4)) == word(1) + word(1) + bytes(16)
    assert bench.server.counters.surplus_bytes == 4


def test_late_replies_go_where_the_call_came_from_by_the_same_way() -> None:
    bench = Bench()
    message = call_message(PROGRAM, 1, 4, bytes(4))
    assert bench.datagrams.receive(message, "here", "this interface") is None
    bench.program.calls[0].reply(b"")
    assert bench.late == [(word(1) + word(1) + bytes(20), "here", "this interface")]


def test_a_call_that_is_not_to_be_answered_is_not_even_later() -> None:
    bench = Bench(replay=False)
    assert bench.call(4, word(0)) is None
    bench.program.calls[0].reply(NO_REPLY)
    assert bench.late == []


@pytest.mark.parametrize("replay", [True, False])
def test_with_and_without_a_cache_the_answers_are_the_same(replay: bool) -> None:
    bench = Bench(replay=replay)
    for xid in range(3):
        head = word(xid) + word(1) + bytes(12)
        assert bench.call(1, word(4) + b"abcd", xid) == head + word(0) + word(4) + b"abcd"
        assert (
            bench.call(1, word(4) + b"abcd" + bytes(8), xid + 10)
            == word(xid + 10) + head[4:] + word(0) + word(4) + b"abcd"
        )
        assert bench.call(1, word(9), xid + 20) == word(xid + 20) + head[4:] + word(4)
        assert bench.call(5, word(0), xid + 30) == word(xid + 30) + head[4:] + word(5)
        assert bench.call(7, word(9000), xid + 40) == word(xid + 40) + head[4:] + word(5)
        assert bench.call(6, b"", xid + 50) is None
        assert bench.call(4, bytes(4), xid + 60) is None
    assert len(bench.program.calls) == 9
    assert bench.datagrams.in_hand() == 3
    assert len([notice for notice in bench.notices.notices if notice.kind == "handler failed"]) == 3


class TestReplay:
    """At most once, while the server lives."""

    def test_a_retransmitted_call_gets_the_same_reply_and_is_not_executed_again(self) -> None:
        bench = Bench()
        first = bench.call(8)
        assert [bench.call(8) for _ in range(4)] == [first] * 4
        assert bench.program.count == 1

    def test_a_retransmission_of_a_call_in_hand_is_dropped(self) -> None:
        bench = Bench()
        assert bench.call(4, bytes(4)) is None
        assert bench.call(4, bytes(4)) is None
        assert len(bench.program.calls) == 1
        bench.program.calls[0].reply(b"")
        assert len(bench.late) == 1
        assert bench.call(4, bytes(4)) == bench.late[0][0]

    def test_another_xid_argument_procedure_caller_or_place_is_another_call(self) -> None:
        bench = Bench()
        bench.call(8)
        bench.call(8, xid=2)
        bench.call(8, bytes(4))
        bench.call(8, place="elsewhere")
        message = call_message(PROGRAM, 1, 8, credential=AuthSys(0, "", 7, 7))
        bench.datagrams.receive(message, "here")
        assert bench.program.count == 5

    def test_a_program_may_name_procedures_that_are_safe_to_repeat(self) -> None:
        class Repeatable(Served):
            _repeatable = frozenset({"served_count"})

        bench = Bench()
        program = Repeatable()
        bench.datagrams.server = Server([program])
        bench.call(8)
        bench.call(8)
        assert program.count == 2

    def test_a_failed_call_fails_the_same_way_again(self) -> None:
        bench = Bench()
        assert bench.call(5, word(0)) == bench.call(5, word(0))
        assert len(bench.notices.notices) == 1

    def test_without_a_cache_every_datagram_is_executed(self) -> None:
        bench = Bench(replay=False)
        bench.call(8)
        bench.call(8)
        assert bench.program.count == 2


class TestReflection:
    """Whoever forges a sender's address must not win anything by it."""

    @pytest.mark.parametrize("size", range(40))
    def test_an_answer_to_a_runt_is_not_longer_than_it(self, size: int) -> None:
        message = bytearray(call_message(PROGRAM, 1, 0))
        message[8:12] = word(3)
        reply = Bench().datagrams.receive(bytes(message[:size]), "here")
        assert reply is None or len(reply) <= size

    def test_unknown_peers_get_no_reply_longer_than_their_call(self) -> None:
        bench = Bench()
        reply = bench.call(7, word(1000), place="there")
        assert reply is not None
        assert reply[20:] == word(5)
        assert bench.call(1, word(8) + bytes(8), place="there") == word(1) + word(1) + bytes(16) + word(8) + bytes(8)

    @pytest.mark.parametrize("replay", [True, False])
    @pytest.mark.parametrize("size", [0, 4000])
    def test_of_an_unknown_peer_the_size_of_one_call_says_nothing_of_the_reply_to_another(
        self, size: int, replay: bool
    ) -> None:
        """A sender's address may be forged, so many small calls and one large one must not bring many large replies."""
        bench = Bench(replay=replay)
        assert bench.call(4, word(400) + bytes(400), place="there") is None
        assert bench.call(1, word(size) + bytes(size), xid=2, place="there") is not None
        (call,) = bench.program.calls[:1]
        assert call.reply_limit == 40 + 404 - 24
        call.reply(bytes(3000 if size else 300))
        ((reply, _, _),) = bench.late
        assert len(reply) == (24 if size else 24 + 304)

    def test_known_peers_get_what_every_classic_client_can_receive(self) -> None:
        bench = Bench()
        assert len(bench.call(7, word(8800 - 28)) or b"") == 8800
        assert len(bench.call(7, word(8800 - 27)) or b"") == 24

    def test_a_program_can_ask_how_much_it_may_answer(self) -> None:
        bench = Bench()
        bench.call(4, bytes(4))
        assert bench.program.calls[0].reply_limit == 8800 - 24

    def test_a_reply_is_never_answered(self) -> None:
        bench = Bench()
        assert bench.datagrams.receive(word(1) + word(1) + bytes(16), "here") is None

    def test_malformed_datagrams_are_forgotten_with_a_notice(self) -> None:
        bench = Bench()
        assert bench.datagrams.receive(b"", "here") is None
        assert bench.datagrams.receive(call_message(PROGRAM, 1, 0)[:33], "here") is None
        assert [notice.kind for notice in bench.notices.notices] == ["malformed message"] * 2


class TestBounds:
    def test_one_sender_has_a_bounded_number_of_calls_in_hand(self) -> None:
        bench = Bench(limits=Limits(max_calls_in_hand=3))
        for xid in range(10):
            bench.call(4, bytes(4), xid=xid)
        bench.call(4, bytes(4), place="elsewhere")
        assert len(bench.program.calls) == 4
        assert bench.datagrams.in_hand() == 4

    def test_any_number_of_senders_is_remembered_within_bounds(self) -> None:
        bench = Bench()
        bench.call(4, bytes(4), place="waits")
        for number in range(5000):
            bench.call(0, place=f"sender {number}")
        assert len(bench.datagrams._origins) <= 1024
        assert bench.datagrams.in_hand() == 1

    def test_senders_whose_calls_wait_are_bounded_as_connections_are(self) -> None:
        bench = Bench(limits=Limits(max_connections=3000), replay=False)
        for number in range(5000):
            bench.call(4, bytes(4), place=f"sender {number}")
        assert bench.datagrams.in_hand() == len(bench.program.calls) == 3000
        assert bench.server.counters.dropped == 2000
        # Whose call is answered makes room.
        for call in bench.program.calls[:10]:
            call.reply(b"")
        bench.call(4, bytes(4), place="one more")
        assert bench.datagrams.in_hand() == 2991


class TestLossyNetwork:
    """RFC 5531, section 5: the client retransmits, the cache keeps it from being done twice."""

    @settings(max_examples=50)
    @given(st.lists(st.sampled_from([0, 0, 1, 1, 1, 2, 3]), max_size=40))
    def test_every_call_is_executed_at_most_once_and_answered_truly(self, fates: list[int]) -> None:
        program = Served()
        client = DatagramClient(first_xid=1)
        pipe = DatagramPipe(
            client,
            Server([program]),
            replay=ReplayCache(1000, 1_000_000, 120),
            fate=lambda number: fates[number] if number < len(fates) else 1,
        )
        now = 0.0
        for number in range(5):
            client.start(number, PROGRAM, 1, 8, b"", now=now, peer="server", timeout=1000)
        events = []
        for _ in range(60):
            events += pipe.transfer()
            timer = client.get_timer()
            if timer is None:
                break
            now = timer
            client.handle_timer(now)
        assert not any(isinstance(event, Failed) for event in events)
        results = sorted(bytes(event.results) for event in events if isinstance(event, Answered))
        assert results == [word(number) for number in range(1, 6)]
        assert program.count == 5
