"""oncrpc.client: the cores, with time and chance handed in and no sockets."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from oncrpc.client import (
    MANY_TIMERS,
    MAX_DATAGRAM,
    Answered,
    Called,
    DatagramClient,
    Event,
    Failed,
    Retransmission,
    StreamClient,
)
from oncrpc.errors import (
    ArgumentsNotEncodable,
    AuthenticationFailed,
    CallTimedOut,
    MalformedMessage,
    NotConnected,
    ProgramMismatch,
    RecordTooLarge,
)

PROGRAM = 0x20000601


def marked(data: bytes) -> bytes:
    return struct.pack(">I", 0x80000000 | len(data)) + data


def success(xid: int, results: bytes = b"") -> bytes:
    return struct.pack(">6I", xid, 1, 0, 0, 0, 0) + results


def events_of(core: StreamClient | DatagramClient) -> list[Event]:
    found = []
    while (event := core.next_event()) is not None:
        found.append(event)
    return found


def stream(**changes: int) -> StreamClient:
    return StreamClient(first_xid=1, **changes)


def start(core: StreamClient, token: object = "a", *, now: float = 0.0, timeout: float | None = 10.0) -> int:
    return core.start(token, PROGRAM, 1, 0, b"", now=now, timeout=timeout)


def send(core: DatagramClient, token: object = "a", *, now: float = 0.0, timeout: float | None = 10.0) -> int:
    return core.start(token, PROGRAM, 1, 0, b"", now=now, timeout=timeout, peer="server")


class TestStream:
    """Calls over one connection."""

    def test_a_call_is_one_record_with_the_header_of_rfc_5531(self) -> None:
        core = stream()
        core.start("a", PROGRAM, 3, 7, b"args", now=0)
        assert core.data_to_send() == marked(struct.pack(">6I", 1, 0, 2, PROGRAM, 3, 7) + bytes(16) + b"args")
        assert not core.wants_to_send

    def test_replies_may_come_in_any_order(self) -> None:
        core = stream()
        xids = [start(core, token) for token in "abc"]
        core.receive_data(b"".join(marked(success(xid, bytes(4) + bytes((xid,) * 4))) for xid in reversed(xids)))
        assert [event.token for event in events_of(core) if isinstance(event, Answered)] == ["c", "b", "a"]
        assert core.pending == 0

    @given(st.integers(0, 100))
    def test_replies_survive_any_split_of_the_stream(self, cut: int) -> None:
        core = stream()
        data = b"".join(marked(success(start(core, token), b"results!")) for token in "ab")
        core.receive_data(data[:cut])
        core.receive_data(data[cut:])
        assert [(event.token, bytes(event.results)) for event in events_of(core) if isinstance(event, Answered)] == [
            ("a", b"results!"),
            ("b", b"results!"),
        ]

    def test_an_error_reply_fails_its_call_with_its_own_class(self) -> None:
        core = stream()
        first, second = start(core, "a"), start(core, "b")
        core.receive_data(marked(struct.pack(">8I", first, 1, 0, 0, 0, 2, 3, 4)))
        core.receive_data(marked(struct.pack(">5I", second, 1, 1, 1, 5)))
        mismatch, refused = events_of(core)
        assert isinstance(mismatch, Failed)
        assert isinstance(mismatch.error, ProgramMismatch)
        assert (mismatch.error.low, mismatch.error.high) == (3, 4)
        assert isinstance(refused, Failed)
        assert isinstance(refused.error, AuthenticationFailed)

    def test_a_reply_with_a_verifier_gives_the_results_behind_it(self) -> None:
        core = stream()
        xid = start(core)
        core.receive_data(marked(struct.pack(">5I", xid, 1, 0, 2, 5) + b"short\0\0\0" + bytes(4) + b"rest"))
        (event,) = events_of(core)
        assert isinstance(event, Answered)
        assert bytes(event.results) == b"rest"

    @pytest.mark.parametrize(
        "body",
        [
            (1,),
            (1, 7),
            (1, 0, 0, 401, 0),
            (1, 0, 0, 0, 6),
            (1, 0, 0, 0, 2, 1),
            (1, 1, 2, 0),
            (1, 1, 0, 2),
            (1, 0, 0, 4),
            (5, 0, 0, 0, 0),
        ],
    )
    def test_a_malformed_reply_fails_its_call_and_no_other(self, body: tuple[int, ...]) -> None:
        core = stream()
        bad, good = start(core, "bad"), start(core, "good")
        core.receive_data(marked(struct.pack(f">{1 + len(body)}I", bad, *body)) + marked(success(good)))
        first, second = events_of(core)
        assert isinstance(first, Failed)
        assert isinstance(first.error, MalformedMessage)
        assert isinstance(second, Answered)

    def test_replies_to_nobody_are_counted_and_dropped(self) -> None:
        core = stream()
        start(core)
        core.receive_data(marked(success(99)) + marked(b"abc") + marked(b""))
        assert events_of(core) == []
        assert core.unmatched == 3

    def test_a_second_reply_is_dropped(self) -> None:
        core = stream()
        xid = start(core)
        core.receive_data(marked(success(xid)) * 2)
        assert len(events_of(core)) == 1
        assert core.unmatched == 1

    def test_a_call_in_the_reverse_direction_is_handed_over(self) -> None:
        core = stream()
        message = struct.pack(">10I", 5, 0, 2, 100, 1, 0, 0, 0, 0, 0)
        core.receive_data(marked(message))
        assert events_of(core) == [Called(message)]

    def test_a_record_too_large_ends_the_connection_from_its_mark(self) -> None:
        core = stream(max_record=1000)
        xid = start(core, "a")
        start(core, "b")
        core.receive_data(marked(success(xid)) + struct.pack(">I", 0x80000000 | 1001))
        first, second = events_of(core)
        assert isinstance(first, Answered)
        assert isinstance(second, Failed)
        assert isinstance(second.error, RecordTooLarge)
        assert core.closed is second.error
        with pytest.raises(NotConnected):
            start(core)

    def test_a_lost_connection_fails_every_call(self) -> None:
        core = stream()
        start(core, "a")
        start(core, "b")
        core.connection_lost(NotConnected("gone"))
        core.connection_lost(NotConnected("again"))
        assert [event.token for event in events_of(core) if isinstance(event, Failed)] == ["a", "b"]
        assert core.get_timer() is None
        assert core.data_to_send() == b""

    def test_the_timer_is_that_of_the_earliest_deadline(self) -> None:
        core = stream()
        assert core.get_timer() is None
        start(core, "late", timeout=30)
        early = start(core, "early", timeout=5)
        start(core, "never", timeout=None)
        assert core.get_timer() == 5
        core.cancel(early)
        assert core.get_timer() == 30

    def test_a_call_times_out_at_its_deadline_and_not_before(self) -> None:
        core = stream()
        start(core, timeout=5)
        core.data_to_send()
        core.handle_timer(4.999)
        assert events_of(core) == []
        core.handle_timer(5)
        (event,) = events_of(core)
        assert isinstance(event, Failed)
        assert isinstance(event.error, CallTimedOut)

    def test_a_call_that_was_not_sent_takes_its_bytes_with_it(self) -> None:
        core = stream()
        start(core, "a", timeout=5)
        kept = start(core, "b")
        cancelled = start(core, "c")
        core.cancel(cancelled)
        core.handle_timer(6)
        assert core.data_to_send()[4:8] == struct.pack(">I", kept)
        assert core.pending == 1

    def test_data_to_send_stops_at_the_limit_so_that_the_rest_can_be_cancelled(self) -> None:
        core = stream()
        xids = [start(core) for _ in range(4)]
        assert len(core.data_to_send(50)) == 88
        core.cancel(xids[3])
        assert core.data_to_send()[4:8] == struct.pack(">I", xids[2])

    def test_an_xid_in_use_is_not_given_again(self) -> None:
        core = StreamClient(first_xid=0xFFFFFFFF)
        assert [start(core) for _ in range(2)] == [0xFFFFFFFF, 0]
        core._next_xid = 0xFFFFFFFF
        assert start(core) == 1

    def test_a_one_way_call_waits_for_nothing(self) -> None:
        core = stream()
        core.send_one_way(PROGRAM, 1, 2, b"args")
        assert core.pending == 0
        assert core.get_timer() is None
        assert core.data_to_send()[4:8] == struct.pack(">I", 1)
        core.receive_data(marked(success(1)))
        assert events_of(core) == []

    def test_timers_of_answered_calls_do_not_pile_up(self) -> None:
        core = stream()
        for _ in range(5 * MANY_TIMERS):
            core.receive_data(marked(success(start(core))))
            core.next_event()
            core.data_to_send()
        assert len(core._timers) <= MANY_TIMERS + 2


class TestDatagrams:
    """Calls by datagram."""

    def test_a_call_is_sent_again_with_the_same_bytes(self) -> None:
        core = DatagramClient(first_xid=1)
        send(core)
        first = core.datagrams_to_send()
        assert core.get_timer() == 1.0
        core.handle_timer(1.0)
        assert core.datagrams_to_send() == first
        assert core.retransmitted == 1

    def test_waits_double_up_to_the_longest(self) -> None:
        core = DatagramClient(first_xid=1, retransmission=Retransmission(first=1, factor=2, longest=4, jitter=0))
        send(core, timeout=None)
        times = [0.0]
        for _ in range(5):
            when = core.get_timer()
            assert when is not None
            times.append(when)
            core.handle_timer(when)
        assert [after - before for before, after in itertools.pairwise(times)] == [1, 2, 4, 4, 4]

    @given(st.floats(0, 1), st.integers(1, 10_000))
    def test_jitter_stays_within_its_share(self, chance: float, sent: int) -> None:
        plain = Retransmission(jitter=0).wait(sent, chance)
        assert 0.75 * plain <= Retransmission().wait(sent, chance) <= 1.25 * plain

    def test_the_total_deadline_ends_the_call(self) -> None:
        core = DatagramClient(first_xid=1)
        send(core, timeout=2.5)
        for when in (1.0, 2.5):
            assert core.get_timer() == when or when == 2.5
            core.handle_timer(when)
        (event,) = events_of(core)
        assert isinstance(event, Failed)
        assert isinstance(event.error, CallTimedOut)
        assert core.get_timer() is None

    def test_no_transmission_is_made_after_the_deadline(self) -> None:
        core = DatagramClient(first_xid=1)
        send(core, timeout=0.5)
        core.datagrams_to_send()
        assert core.get_timer() == 0.5
        core.handle_timer(0.5)
        assert core.datagrams_to_send() == []

    def test_a_reply_from_another_peer_is_dropped(self) -> None:
        core = DatagramClient(first_xid=1)
        xid = send(core)
        core.receive_datagram(success(xid), "stranger")
        assert events_of(core) == []
        core.receive_datagram(success(xid), "server")
        assert len(events_of(core)) == 1
        assert core.unmatched == 1

    @pytest.mark.parametrize("datagram", [b"", b"abc", success(2), struct.pack(">2I", 1, 0), struct.pack(">2I", 1, 2)])
    def test_what_is_no_reply_to_the_call_is_dropped(self, datagram: bytes) -> None:
        core = DatagramClient(first_xid=1)
        send(core)
        core.receive_datagram(datagram, "server")
        assert events_of(core) == []
        assert core.unmatched == 1

    def test_a_late_second_reply_is_dropped(self) -> None:
        core = DatagramClient(first_xid=1)
        xid = send(core)
        core.receive_datagram(success(xid), "server")
        core.receive_datagram(success(xid), "server")
        assert len(events_of(core)) == 1

    def test_a_cancelled_call_is_neither_sent_nor_sent_again(self) -> None:
        core = DatagramClient(first_xid=1)
        assert core.cancel(send(core))
        assert core.datagrams_to_send() == []
        assert core.get_timer() is None
        assert not core.cancel(1)

    def test_an_unreachable_peer_fails_the_calls_to_it_alone(self) -> None:
        core = DatagramClient(first_xid=1)
        send(core, "a")
        core.start("b", PROGRAM, 1, 0, b"", now=0, peer="other")
        core.unreachable("server", NotConnected("refused"))
        assert [event.token for event in events_of(core) if isinstance(event, Failed)] == ["a"]
        assert core.pending == 1

    def test_a_message_too_large_for_a_datagram_is_refused(self) -> None:
        core = DatagramClient(first_xid=1)
        core.start("a", PROGRAM, 1, 0, bytes(MAX_DATAGRAM - 40), now=0, peer="server")
        with pytest.raises(ArgumentsNotEncodable):
            core.start("b", PROGRAM, 1, 0, bytes(MAX_DATAGRAM - 39), now=0, peer="server")
        assert core.pending == 1

    def test_close_fails_what_is_under_way(self) -> None:
        core = DatagramClient(first_xid=1)
        send(core)
        core.close(NotConnected("closed"))
        assert len(events_of(core)) == 1
        assert core.datagrams_to_send() == []


@settings(max_examples=30, stateful_step_count=40)
class CallsEndOnce(RuleBasedStateMachine):
    """Whatever happens in whatever order, a call ends exactly once: answered, failed or cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.core = StreamClient(first_xid=0xFFFFFFF0)
        self.now = 0.0
        self.open: dict[int, int] = {}
        self.ended: set[int] = set()
        self.number = 0

    @rule(timeout=st.one_of(st.none(), st.floats(0.1, 50)))
    def call(self, timeout: float | None) -> None:
        xid = self.core.start(self.number, PROGRAM, 1, 0, b"", now=self.now, timeout=timeout)
        assert xid not in self.open
        self.open[xid] = self.number
        self.number += 1

    @rule(limit=st.integers(1, 200))
    def transmit(self, limit: int) -> None:
        self.core.data_to_send(limit)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.core.receive_data(marked(success(data.draw(st.sampled_from(sorted(self.open))))))
        self.take()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        xid = data.draw(st.sampled_from(sorted(self.open)))
        assert self.core.cancel(xid)
        self.ended.add(self.open.pop(xid))

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.core.handle_timer(self.now)
        self.take()

    @rule(noise=st.integers(0, 0xFFFFFFFF))
    def stray_reply(self, noise: int) -> None:
        if noise not in self.open:
            self.core.receive_data(marked(success(noise)))
            assert self.core.next_event() is None

    def take(self) -> None:
        for event in events_of(self.core):
            assert not isinstance(event, Called)
            assert event.token not in self.ended
            self.ended.add(event.token)
            self.open = {xid: number for xid, number in self.open.items() if number != event.token}

    @invariant()
    def nothing_is_kept_of_what_ended(self) -> None:
        assert self.core.pending == len(self.open)
        assert set(self.core._unsent) <= set(self.open)
        timer = self.core.get_timer()
        assert timer is None or timer > self.now


TestCallsEndOnce = CallsEndOnce.TestCase
