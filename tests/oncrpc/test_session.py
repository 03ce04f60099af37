from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncrpc.client import StreamClient
from oncrpc.errors import NotConnected
from oncrpc.limits import Limits
from oncrpc.observe import MessageSeen, Observer
from oncrpc.program import LATER, NO_REPLY, Call, LaterType, Peer
from oncrpc.records import frame_fragments, frame_record
from oncrpc.replay import ReplayCache
from oncrpc.server import Server
from oncrpc.session import StreamSession
from oncrpc.testing import Pipe, call_message
from tests.oncrpc.served import PROGRAM, Notices, Served, Watcher

NULL = frame_record(call_message(PROGRAM, 1, 0))
ECHO = frame_record(call_message(PROGRAM, 1, 1, (1000).to_bytes(4, "big") + bytes(1000)))
LATER_CALL = frame_record(call_message(PROGRAM, 1, 4, bytes(4)))


class Bench:
    def __init__(self, *, limits: Limits | None = None, replay: ReplayCache | None = None) -> None:
        self.program = Served()
        self.woken = 0
        self.notices = Notices()
        self.server = Server([self.program], limits=limits, observers=[self.notices])
        self.session = StreamSession(self.server, 1, Peer("127.0.0.1", 1), "tcp", wake=self.wake, replay=replay)

    def wake(self) -> None:
        self.woken += 1

    def receive(self, data: bytes) -> bool:
        self.session.receive_data(data)
        return self.session.run()

    def sent(self) -> bytes:
        data = b"".join(self.session.data_to_send())
        self.session.bytes_sent(len(data))
        return data


@pytest.mark.parametrize("size", [1, 2, 3, 5, 43, 44, 45, 100, 1000])
def test_pieces_of_any_size_bring_the_same_replies(size: int) -> None:
    stream = (NULL + ECHO + NULL) * 3 + frame_record(call_message(PROGRAM, 1, 0), 9) + NULL
    whole, pieces = Bench(), Bench()
    whole.receive(stream)
    for at in range(0, len(stream), size):
        pieces.receive(stream[at : at + size])
    replies = whole.sent()
    assert len(replies) == 8 * 28 + 3 * 1032
    assert pieces.sent() == replies


class Quick(Bench):
    """Takes the shortest way where it is open, as a transport does that can send everything at once."""

    def take(self, data: bytes) -> bytes:
        session, out = self.session, b""
        if session.quick:
            replies = session.answer(data)
            while replies is not None:
                out += replies
                if not session.more:
                    return out
                replies = session.go_on()
        else:
            session.receive_data(data)
        return out + self.turn()

    def turn(self) -> bytes:
        while self.session.run():
            pass
        return self.sent()


def records(stream: bytes) -> dict[int, bytes]:
    """Replies by their xid."""
    found = {}
    while stream:
        size = int.from_bytes(stream[:4], "big") & 0x7FFFFFFF
        xid = int.from_bytes(stream[4:8], "big")
        assert xid not in found
        found[xid] = stream[8 : 4 + size]
        stream = stream[4 + size :]
    return found


KINDS = {
    "null": (0, b""),
    "null with more": (0, bytes(8)),
    "echo": (1, (20).to_bytes(4, "big") + bytes(20)),
    "fragments": (1, (4).to_bytes(4, "big") + b"abcd"),
    "later": (4, bytes(4)),
    "garbage": (1, b"\xff" * 4),
    "none": (99, b""),
    "break": (5, bytes(4)),
}


@given(
    kinds=st.lists(st.sampled_from([*KINDS, *["null"] * 8]), min_size=1, max_size=100),
    sizes=st.lists(st.integers(1, 3000)),
    in_hand=st.integers(1, 5),
)
def test_the_shortest_way_gives_the_same_answers_in_any_split(kinds: list[str], sizes: list[int], in_hand: int) -> None:
    stream = b"".join(
        frame_record(call_message(PROGRAM, 1, *KINDS[kind], xid=xid), 9 if kind == "fragments" else 0)
        for xid, kind in enumerate(kinds)
    )
    bench, out, at = Quick(limits=Limits(max_calls_in_hand=in_hand)), b"", 0
    for procedure, arguments in KINDS.values():
        # Only headers that were accepted before are answered by the shortest way.
        bench.take(frame_record(call_message(PROGRAM, 1, procedure, arguments)))
    for call in bench.program.calls:
        if call in bench.session.in_hand:
            call.reply(b"")
    bench.turn()
    sizes = [*sizes, len(stream)]
    waiting = bench.program.calls
    while at < len(stream) or bench.session.in_hand:
        if at < len(stream) and bench.session.reading:
            size = sizes.pop(0) if sizes else len(stream)
            out += bench.take(stream[at : at + size])
            at += size
            continue
        # The transport would not read now: the oldest call is answered.
        next(call for call in waiting if call in bench.session.in_hand).reply(b"late")
        out += bench.turn()
    assert not bench.session.more
    plain = Bench(limits=Limits(max_calls_in_hand=1000))
    plain.receive(stream)
    for call in plain.program.calls:
        if call in plain.session.in_hand:
            call.reply(b"late")
    assert records(out) == records(plain.sent())
    assert sorted(records(out)) == list(range(len(kinds)))


def test_what_the_shortest_way_left_is_not_said_to_be_left_when_a_turn_has_answered_it() -> None:
    bench = Quick()
    bench.take(NULL)
    replies = bench.session.answer(NULL * 100)
    assert replies is not None
    assert bench.session.more
    # Here its transport finds that not all can be sent.
    assert len(replies + bench.turn()) == 100 * 28
    assert bench.session.quick
    assert not bench.session.more


def test_all_replies_of_one_read_come_out_at_once_and_in_order() -> None:
    bench = Bench()
    stream = b"".join(frame_record(call_message(PROGRAM, 1, 0, xid=xid)) for xid in range(500))
    bench.receive(stream)
    data = bench.sent()
    assert [int.from_bytes(data[at + 4 : at + 8], "big") for at in range(0, len(data), 28)] == list(range(500))


def test_outgoing_records_are_fragmented_as_the_limits_say() -> None:
    bench = Bench(limits=Limits(fragment_size=10))
    bench.receive(NULL)
    assert bench.sent()[:4] == b"\0\0\0\x0a"


class TestFairness:
    def test_a_turn_ends_after_its_share_and_the_rest_follows(self) -> None:
        bench = Bench(limits=Limits(calls_per_turn=10))
        assert bench.receive(NULL * 25)
        assert len(bench.sent()) == 10 * 28
        assert not bench.session.reading
        assert bench.session.run()
        assert not bench.session.run()
        assert len(bench.sent()) == 15 * 28
        assert bench.session.reading

    def test_calls_that_do_something_count_as_well(self) -> None:
        bench = Bench(limits=Limits(calls_per_turn=10))
        assert bench.receive(ECHO * 15)
        assert len(bench.program.calls) == 10


class TestBackpressure:
    """A client that never reads bounds our memory, and stalls only itself."""

    def test_nothing_is_read_or_executed_while_too_much_is_unsent(self) -> None:
        bench = Bench(limits=Limits(unsent_high=3000))
        bench.receive(ECHO * 20)
        assert len(bench.program.calls) == 3
        assert not bench.session.reading
        taken = sum(map(len, bench.session.data_to_send()))
        assert not bench.session.run()
        assert len(bench.program.calls) == 3
        bench.session.bytes_sent(taken)
        bench.session.run()
        assert len(bench.program.calls) == 6

    def test_everything_is_answered_in_the_end(self) -> None:
        bench = Bench(limits=Limits(unsent_high=3000))
        bench.receive(ECHO * 20 + NULL)
        total = 0
        while (data := bench.sent()) or bench.session.run():
            total += len(data)
            bench.session.run()
        assert total == 20 * 1032 + 28
        assert bench.session.reading

    def test_nothing_is_read_while_too_many_calls_are_in_hand(self) -> None:
        bench = Bench(limits=Limits(max_calls_in_hand=4))
        bench.receive(LATER_CALL * 10)
        assert len(bench.program.calls) == 4
        assert not bench.session.reading
        bench.program.calls[0].reply(b"")
        assert bench.woken == 1
        bench.session.run()
        assert len(bench.program.calls) == 5

    def test_late_replies_ask_for_a_turn(self) -> None:
        bench = Bench()
        bench.receive(LATER_CALL * 2)
        for call in bench.program.calls:
            call.reply(b"")
        assert bench.woken == 2
        assert len(bench.sent()) == 2 * 32


class TestHalfClose:
    """A client may close its sending side and still read every reply (reliability: Twisted drops them)."""

    def test_replies_go_out_before_the_end(self) -> None:
        bench = Bench()
        bench.receive(NULL * 100)
        bench.session.end_of_input()
        assert len(bench.sent()) == 2800
        assert bench.session.finished

    def test_calls_in_hand_are_waited_for(self) -> None:
        bench = Bench()
        bench.receive(LATER_CALL)
        bench.session.end_of_input()
        assert not bench.session.finished
        assert not bench.session.reading
        bench.program.calls[0].reply(b"")
        assert bench.session.finished
        assert len(bench.sent()) == 32

    def test_whoever_waits_for_somebody_else_is_told_of_the_hangup(self) -> None:
        bench = Bench()
        bench.receive(LATER_CALL * 2)
        first, second = bench.program.calls
        first.on_hangup(lambda: first.reply(b"gave up"))
        bench.session.end_of_input()
        assert not bench.session.finished
        told: list[int] = []
        second.on_hangup(lambda: told.append(1))
        assert told == [1]
        second.reply(b"")
        assert bench.session.finished

    def test_what_waits_for_room_is_answered_before_the_end(self) -> None:
        bench = Bench(limits=Limits(unsent_high=3000))
        bench.receive(ECHO * 10)
        bench.session.end_of_input()
        total = 0
        while not bench.session.finished or bench.session.queued:
            total += len(bench.sent())
            bench.session.run()
        assert total + len(bench.sent()) == 10 * 1032


class TestRecords:
    def test_a_large_record_is_filled_in_place(self) -> None:
        bench = Bench()
        record = frame_record(call_message(PROGRAM, 1, 1, (1 << 20).to_bytes(4, "big") + bytes(1 << 20)))
        bench.receive(record[:50_000])
        at = 50_000
        while (view := bench.session.buffer_to_fill()) is not None:
            with view:
                count = min(len(view), 100_000)
                view[:count] = record[at : at + count]
            at += count
            bench.session.filled(count)
            bench.session.run()
        bench.receive(record[at:])
        assert len(bench.sent()) == 28 + 4 + (1 << 20)

    def test_a_record_over_the_limit_ends_the_connection_after_earlier_replies(self) -> None:
        bench = Bench()
        bench.receive(NULL + b"\xff\xff\xff\xff")
        assert bench.session.finished
        assert len(bench.sent()) == 28
        assert [notice.kind for notice in bench.notices.notices] == ["record too large"]
        assert not bench.receive(NULL)
        assert bench.sent() == b""

    def test_mid_record_is_what_the_record_deadline_is_for(self) -> None:
        bench = Bench()
        bench.receive(NULL[:20])
        assert bench.session.mid_record
        assert not bench.session.idle
        before = bench.session.records
        bench.receive(NULL[20:] + NULL[:1])
        assert bench.session.mid_record
        assert bench.session.records != before
        bench.receive(NULL[1:])
        assert not bench.session.mid_record


class TestConnection:
    def test_close_callbacks_are_called_once_and_at_once_when_it_is_over(self) -> None:
        bench = Bench()
        told: list[str] = []
        bench.session.on_close(lambda: told.append("a"))
        bench.session.on_close(lambda: 1 / 0)
        bench.session.on_close(lambda: told.append("b"))
        bench.session.connection_lost("reset")
        bench.session.connection_lost("again")
        bench.session.on_close(lambda: told.append("c"))
        assert told == ["a", "b", "c"]
        assert bench.session.closed

    def test_a_program_may_close_the_connection_after_its_answer(self) -> None:
        bench = Bench()
        bench.receive(LATER_CALL)
        (call,) = bench.program.calls
        assert call.connection is bench.session
        call.reply(b"")
        bench.session.close()
        assert bench.session.finished
        assert len(bench.sent()) == 32

    def test_nobody_is_called_on_a_connection_that_is_lost(self) -> None:
        bench = Bench()
        bench.session.connection_lost("reset")
        with pytest.raises(NotConnected):
            bench.session.caller()

    def test_replies_to_our_own_calls_go_to_our_client(self) -> None:
        bench = Bench()
        got: list[bytes] = []
        bench.session.reverse = lambda record: got.append(bytes(record))
        reply = bytes(4) + b"\0\0\0\x01" + bytes(16)
        bench.receive(frame_record(reply) + NULL)
        assert got == [reply]
        assert len(bench.sent()) == 28


def test_the_replay_cache_serves_streams_on_request() -> None:
    bench = Bench(replay=ReplayCache(10, 100_000, 120))
    count = frame_record(call_message(PROGRAM, 1, 8))
    bench.receive(count * 3)
    assert bench.program.count == 1
    replies = bench.sent()
    assert replies[:32] * 3 == replies


def test_watched_and_unwatched_servers_say_the_same() -> None:
    stream = NULL + ECHO + frame_record(call_message(PROGRAM, 1, 2, bytes(8))) + NULL
    plain = Bench()
    plain.receive(stream)
    server = Server([Served()], observers=[Watcher()])
    watched = Pipe(StreamClient(first_xid=1), server).session
    watched.receive_data(stream)
    watched.run()
    assert b"".join(watched.data_to_send()) == plain.sent()


def test_who_taps_the_wire_is_told_the_fragments_of_both_directions_for_every_call() -> None:
    class Tap(Observer):
        def __init__(self) -> None:
            self.seen: list[MessageSeen] = []

        def message_seen(self, message: MessageSeen) -> None:
            self.seen.append(message)

    tap = Tap()
    server = Server([Served()], limits=Limits(fragment_size=10), observers=[tap])
    session = StreamSession(server, 1, Peer("127.0.0.1", 1), "tcp", wake=lambda: None)
    call = call_message(PROGRAM, 1, 0)
    # The second call's header is known from the first.
    for sizes in ((40,), (25, 15), (16, 0, 24)):
        session.receive_data(frame_fragments(call, sizes[:-1]))
        session.run()
    assert [(each.outgoing, b"".join(each.parts) == call, tuple(each.fragments)) for each in tap.seen] == [
        (False, True, ()),
        (True, False, (10, 10, 4)),
        (False, True, (25, 15)),
        (True, False, (10, 10, 4)),
        (False, True, (16, 0, 24)),
        (True, False, (10, 10, 4)),
    ]


class Silent(Served):
    """Decides on its answer before its procedure returns."""

    decision: object = NO_REPLY

    def served_later(self, call: Call, arg: bytes) -> LaterType:
        call.reply(self.decision)
        return LATER


@pytest.mark.parametrize("observers", [(), (Watcher(),)])
@pytest.mark.parametrize("calls", [1, 3])
def test_no_reply_that_is_decided_before_the_procedure_returns_sends_nothing(
    observers: tuple[Observer, ...], calls: int
) -> None:
    session = StreamSession(Server([Silent()], observers=observers), 1, Peer("127.0.0.1", 1), "tcp", wake=lambda: None)
    for _ in range(calls):
        session.receive_data(LATER_CALL)
        session.run()
    assert session.data_to_send() == []
    assert session.idle


@pytest.mark.parametrize("value", [b"now", b"x" * 20_000, 5, NO_REPLY])
def test_a_late_reply_is_the_same_by_the_short_way_and_by_the_long_one(value: object) -> None:
    sent = []
    for observers in ((), (Watcher(),)):
        program = Served()
        server = Server([program], observers=observers)
        session = StreamSession(server, 1, Peer("127.0.0.1", 1), "tcp", wake=lambda: None)
        session.receive_data(NULL + LATER_CALL)
        session.run()
        program.calls[0].reply(value)
        sent.append(b"".join(session.data_to_send()))
        assert not session.in_hand
        with pytest.raises(RuntimeError, match="answered before"):
            program.calls[0].reply(b"again")
    assert sent[0] == sent[1]


def test_a_large_record_that_is_no_message_ends_its_connection_with_its_last_bytes() -> None:
    bench = Bench()
    record = frame_record(bytes(4) + b"\0\0\0\7" + bytes(100_000))
    bench.receive(NULL + record[:-100])
    bench.sent()
    data = bytearray(record[-100:] + NULL * 1000)
    taken = bench.session.receive_large(memoryview(data))
    assert taken
    assert bench.session.finished
    assert [notice.kind for notice in bench.notices.notices] == ["malformed message"]
    assert bench.server.counters.malformed == 1
