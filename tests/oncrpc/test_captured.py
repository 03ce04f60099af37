"""The messages of a capture, whatever became of their packets on the way."""

from __future__ import annotations

import io
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from oncrpc import captured
from oncrpc.capture_files import CaptureError
from oncrpc.captured import Captured, Found, read_messages
from oncrpc.observe import MessageSeen
from oncrpc.pcapng import PcapngWriter
from oncrpc.program import Peer
from oncrpc.records import frame_fragments, frame_record
from tests import peers
from tests.oncrpc.captures import CLIENT, SERVER, call, ethernet, ip, pcap, pcapng, reply, tcp, udp

if TYPE_CHECKING:
    import random
    from pathlib import Path

    import pytest

ISN = 0xFFFFFF00
"""The streams of these tests go past the end of the sequence numbers."""


def segments(stream: bytes, sizes: list[int], first: int = ISN + 1) -> list[bytes]:
    """A stream from the client in packets of these sizes, the last one taking the rest."""
    out, at = [], 0
    for size in [*sizes, len(stream)]:
        if piece := stream[at : at + size]:
            out.append(ip(tcp(piece, first + at), 6))
        at += size
    return out


SYN = ip(tcp(b"", ISN, flags=2), 6)


def read(*packets: bytes) -> Captured:
    return read_messages(pcap(packets))


def answer(data: bytes, sequence: int = 1) -> bytes:
    return ip(tcp(data, sequence, SERVER[1], CLIENT[1]), 6, SERVER[0], CLIENT[0])


class TestDatagrams:
    """A datagram is a message."""

    def test_a_reply_knows_its_call_and_a_call_its_reply(self) -> None:
        back = ip(udp(reply(9), SERVER[1], CLIENT[1]), 17, SERVER[0], CLIENT[0])
        found = read(ip(udp(call(9, 3)), 17), back).messages
        assert [(each.kind, each.xid, each.numbers) for each in found] == [
            ("CALL", 9, (100000, 2, 3)),
            ("REPLY", 9, (100000, 2, 3)),
        ]
        assert (found[0].answered_by, found[1].answers) == (2, 1)

    def test_a_retransmission_names_what_it_repeats(self) -> None:
        packet = ip(udp(call(9)), 17)
        assert [each.repeats for each in read(packet, packet).messages] == [None, 1]

    def test_the_same_xid_of_another_client_is_another_call(self) -> None:
        other = ip(udp(call(9)), 17, "192.0.2.77")
        back = ip(udp(reply(9), SERVER[1], CLIENT[1]), 17, SERVER[0], "192.0.2.77")
        assert read(ip(udp(call(9)), 17), other, back).messages[2].answers == 2

    def test_an_answer_to_a_broadcast_comes_from_another_address(self) -> None:
        asked = ip(udp(call(9)), 17, CLIENT[0], "255.255.255.255")
        back = ip(udp(reply(9), SERVER[1], CLIENT[1]), 17, SERVER[0], CLIENT[0])
        assert read(asked, back).messages[1].answers == 1

    def test_other_datagrams_are_counted_and_left_out(self) -> None:
        dns = bytes.fromhex("1234010000010000000000000377777706") + bytes(20)
        found = read(ip(udp(dns), 17), ip(bytes(8), 1), ip(udp(call(1)), 17))
        assert [each.packet for each in found.messages] == [3]
        assert found.notes == ["left out: 1 datagrams that are not RPC", "left out: 1 packets: other transports"]

    def test_a_datagram_whose_end_was_not_captured_says_so(self) -> None:
        found = read_messages(pcap([ip(udp(call(1, 3, bytes(100))), 17)], snap=100))
        assert found.messages[0].note == "68 of its bytes are not in the capture"

    def test_a_datagram_in_fragments_is_one_message_and_a_lost_fragment_is_told(self) -> None:
        whole = udp(call(1, 3, bytes(1000)))
        first, second = ip(whole[:800], 17, more=True), ip(whole[800:], 17, offset=800)
        assert read(second, first).messages[0].data == call(1, 3, bytes(1000))
        partly = read(first)
        assert partly.messages[0].note == "IP fragments of it are not in the capture"
        assert "1 IP datagrams whose fragments" in partly.notes[0]


class TestStreams:
    """Records are found however TCP cut the stream."""

    @given(
        st.lists(st.integers(0, 300), min_size=1, max_size=6),
        st.lists(st.integers(1, 200), max_size=12),
        st.booleans(),
        st.randoms(use_true_random=False),
    )
    def test_any_split_any_order_and_repetitions_give_the_same_messages(
        self, sizes: list[int], cuts: list[int], begun: bool, chance: random.Random
    ) -> None:
        messages = [call(number + 1, 3, bytes(4 * size)) for number, size in enumerate(sizes)]
        records = [frame_record(message) for message in messages]
        packets = segments(b"".join(records), cuts)
        again = chance.sample(packets, min(3, len(packets)))
        longer = segments(b"".join(records), [sum(cuts) // 2])[:1]
        packets = packets + again + longer
        chance.shuffle(packets)
        found = read(*([SYN] if begun else []), *packets).messages
        assert [each.data for each in sorted(found, key=lambda each: each.xid or 0)] == records
        assert not any(each.note for each in found)

    def test_a_byte_that_keeps_a_connection_alive_is_none_of_the_stream(self) -> None:
        """RFC 9293, section 3.8.4: a probe may bring one byte, whose number is that before the next."""
        probe = ip(tcp(b"\0", ISN), 6)
        found = read(SYN, probe, *segments(frame_record(call(9)), [], ISN + 1), probe)
        assert [(each.xid, each.note) for each in found.messages] == [(9, "")]

    def test_fragments_are_shown_with_their_marks_as_they_came(self) -> None:
        record = frame_fragments(call(5, 3, bytes(40)), [2, 0, 30])
        (found,) = read(SYN, *segments(record, [3, 4, 5])).messages
        assert (found.data, found.message, found.size) == (record, call(5, 3, bytes(40)), len(record))
        assert found.packet == 5

    def test_a_capture_that_begins_in_a_record_finds_the_next_one(self) -> None:
        stream = frame_record(call(1, 3, bytes(400))) + frame_record(call(2))
        found = read(*segments(stream[100:], [len(stream) - 44 - 100], ISN + 101)).messages
        assert [each.xid for each in found] == [2]

    def test_a_hole_is_told_and_the_next_record_found(self) -> None:
        records = [frame_record(call(number, 3, bytes(100))) for number in (1, 2, 3)]
        packets = segments(b"".join(records), [144, 50, 94])
        found = read(SYN, packets[0], packets[1], packets[3]).messages
        assert [(each.xid, bool(each.note)) for each in found] == [(1, False), (2, True), (3, False)]
        assert "94 bytes are not in the capture" in found[1].note

    def test_a_capture_that_ends_in_a_record_says_so(self) -> None:
        found = read(SYN, *segments(frame_record(call(1, 3, bytes(40)))[:60], [])).messages
        assert found[0].note == "24 bytes of its last fragment are missing: the capture ends"

    def test_two_connections_of_the_same_ends_are_two_streams(self) -> None:
        first = segments(frame_record(call(1)), [])
        second = ip(tcp(b"", 5000, flags=2), 6), ip(tcp(frame_record(call(2)), 5001), 6)
        assert [each.xid for each in read(SYN, *first, *second).messages] == [1, 2]

    def test_a_stream_that_is_not_rpc_is_counted_and_left_out(self) -> None:
        found = read(SYN, *segments(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", []), answer(b"HTTP/1.1 200 OK\r\n"))
        assert found.messages == []
        assert found.notes == ["left out: 2 directions of TCP connections that are not RPC"]

    def test_a_call_of_a_wrong_rpc_version_is_still_a_message(self) -> None:
        assert read(SYN, *segments(frame_record(call(1, rpcvers=3)), [])).messages[0].kind == "CALL"

    def test_an_answer_over_the_same_connection_finds_its_call(self) -> None:
        found = read(SYN, *segments(frame_record(call(7)), []), answer(frame_record(reply(7)))).messages
        assert (found[1].answers, found[0].answered_by) == (1, 2)


class TestHostility:
    """Whatever the file says, it costs what its size allows."""

    @given(st.lists(st.binary(max_size=120), max_size=10), st.sampled_from([0, 1, 101, 113, 276]))
    def test_no_packets_make_it_raise(self, packets: list[bytes], link: int) -> None:
        found = read_messages(pcap(packets, link))
        assert all(each.size >= len(each.data) for each in found.messages)

    @given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=40)), max_size=12))
    def test_no_segments_make_it_raise(self, pieces: list[tuple[int, bytes]]) -> None:
        found = read(*(ip(tcp(data, sequence), 6) for sequence, data in pieces))
        assert sum(len(each.data) for each in found.messages) <= sum(len(data) for _, data in pieces)

    @given(st.data())
    def test_no_damage_makes_it_raise(self, data: st.DataObject) -> None:
        packets = [SYN, *segments(frame_record(call(1, 3, bytes(60))), [30]), ip(udp(call(2)), 17)]
        whole = bytearray(pcapng([("<", [(1, 6)], [(0, 1, ethernet(each)) for each in packets])]))
        for _ in range(data.draw(st.integers(1, 6))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        with suppress(CaptureError):
            read_messages(bytes(whole))

    def test_records_without_bytes_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(captured, "MAX_MESSAGES", 10)
        monkeypatch.setattr(captured, "_ENOUGH", 40)
        stream = frame_record(call(1)) + frame_record(b"") * 1000
        found = read(SYN, *segments(stream, []))
        assert len(found.messages) == 10
        assert found.notes == ["there are more messages: the first 10 are shown"]

    def test_packets_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(captured, "MAX_PACKETS", 3)
        found = read(*(ip(udp(call(xid)), 17) for xid in range(9)))
        assert (len(found.messages), found.notes) == (3, ["only the first 3 packets are read"])

    def test_a_mark_of_two_gigabytes_is_no_length(self) -> None:
        stream = frame_record(call(1)) + b"\x16\x03\x01\x02" + bytes(40)
        found = read(SYN, *segments(stream, [])).messages
        assert "no length that anybody sends" in found[1].note


def test_an_empty_capture_says_so() -> None:
    assert read().notes == ["the capture holds no packets"]


def test_our_own_captures_come_back_message_by_message() -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file)
    here, there = Peer("192.0.2.2", 600), Peer("192.0.2.1", 50000)
    sent = [(call(1, 3, bytes(100_000)), False), (reply(1, bytes(4)), True), (call(2), False)]
    for data, outgoing in sent:
        writer.message_seen(MessageSeen(there, here, "tcp", 1, outgoing, (data,), (1000, 2000)))
    found = read_messages(file.getvalue()).messages
    assert [each.message for each in found] == [data for data, _ in sent]
    assert found[0].data[:4] == (1000).to_bytes(4, "big")
    assert found[1].answers == 1


def test_a_capture_of_real_programs_is_read_and_tshark_agrees(tmp_path: Path) -> None:
    """The real rpcinfo asks rpcbind over TCP and UDP, and dumpcap looks on."""
    peers.require("rpcbind", "rpcinfo", "dumpcap", "tshark")
    peers.require_root()
    seen = tmp_path / "seen.pcapng"
    with peers.namespace(tmp_path) as machine:
        machine.rpcbind()
        looking = machine.start("dumpcap", "-q", "-i", "lo", "-w", seen)
        looking.wait_for_output("File: ")
        for netid in ("tcp", "udp"):
            machine.run("rpcinfo", "-T", netid, "127.0.0.1", "100000")
        machine.run("rpcinfo", "-p", "127.0.0.1")

        def messages() -> list[Found]:
            try:
                return read_messages(seen.read_bytes()).messages
            except (CaptureError, OSError):
                return []

        def dumped() -> bool:
            found = messages()
            return any(each.numbers == (100000, 2, 4) and each.kind == "REPLY" for each in found)

        peers.wait_until(dumped, "the answer to PMAPPROC_DUMP in the capture")
        looking.stop()
    found = messages()
    wanted = [part for field in ("rpc.msgtyp", "rpc.xid") for part in ("-e", field)]
    shown = subprocess.run(
        ["tshark", "-r", seen, "-Y", "rpc", "-T", "fields", *wanted],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    theirs = sorted(tuple(int(word, 0) for word in line.split()) for line in shown.stdout.splitlines())
    assert sorted((each.kind == "REPLY", each.xid) for each in found) == theirs
    assert {each.transport for each in found} == {"tcp", "udp"}
    assert all(each.answers for each in found if each.kind == "REPLY")
