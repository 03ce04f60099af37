from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncrpc.errors import RecordTooLarge
from oncrpc.records import (
    LAST_FRAGMENT,
    MAX_NOTED,
    RecordReader,
    frame_fragments,
    frame_record,
    frame_record_parts,
)

STREAM = b"\x80\0\0\x04abcd" + b"\0\0\0\x01e" + b"\0\0\0\0" + b"\x80\0\0\x02fg" + b"\x80\0\0\0"
RECORDS = [b"abcd", b"efg", b""]


def read_all(reader: RecordReader, *pieces: bytes) -> list[bytes]:
    records = []
    for piece in pieces:
        reader.receive_data(piece)
        while (record := reader.next_record()) is not None:
            records.append(bytes(record))
    return records


def mark(size: int, *, last: bool = True) -> bytes:
    return (size | (LAST_FRAGMENT if last else 0)).to_bytes(4, "big")


class TestReassembly:
    """RFC 5531, section 11: a record is one or more fragments."""

    @pytest.mark.parametrize("split", range(len(STREAM) + 1))
    def test_records_survive_any_split_of_the_stream(self, split: int) -> None:
        assert read_all(RecordReader(100), STREAM[:split], STREAM[split:]) == RECORDS

    def test_records_survive_byte_by_byte_arrival(self) -> None:
        assert read_all(RecordReader(100), *(STREAM[at : at + 1] for at in range(len(STREAM)))) == RECORDS

    @given(
        st.lists(st.binary(max_size=5000), max_size=5),
        st.integers(0, 3000),
        st.lists(st.integers(1, 4000), min_size=1, max_size=20),
    )
    def test_records_survive_any_fragmentation_and_any_split(
        self, records: list[bytes], fragment: int, splits: list[int]
    ) -> None:
        stream = b"".join(frame_record(record, fragment) for record in records)
        pieces = []
        at = index = 0
        while at < len(stream):
            pieces.append(stream[at : at + splits[index % len(splits)]])
            at += splits[index % len(splits)]
            index += 1
        assert read_all(RecordReader(10_000), *pieces) == records

    def test_a_record_of_thousands_of_one_byte_fragments_is_one_record(self) -> None:
        stream = b"".join(mark(1, last=False) + b"x" for _ in range(5000)) + mark(0)
        assert read_all(RecordReader(5000), stream) == [b"x" * 5000]

    def test_a_record_may_end_with_an_empty_fragment(self) -> None:
        assert read_all(RecordReader(10), mark(3, last=False) + b"abc" + mark(0)) == [b"abc"]

    def test_a_large_record_may_be_read_straight_into_its_place(self) -> None:
        reader = RecordReader(1 << 20)
        body = bytes(range(256)) * 1000
        reader.receive_data(mark(len(body)) + body[:1000])
        assert reader.next_record() is None
        at = 1000
        while (view := reader.buffer_to_fill(100)) is not None:
            with view:
                count = min(len(view), 70_000)
                view[:count] = body[at : at + count]
            reader.filled(count)
            at += count
            record = reader.next_record()
            if record is not None:
                break
        assert record == body
        assert not reader.mid_record

    def test_bytes_after_a_record_read_into_its_place_are_the_next_record(self) -> None:
        reader = RecordReader(1 << 20)
        reader.receive_data(mark(5000) + b"a")
        assert reader.next_record() is None
        with reader.buffer_to_fill(1) or memoryview(b"") as view:
            view[:4999] = b"b" * 4999
        reader.filled(4999)
        assert read_all(reader, frame_record(b"next")) == [b"a" + b"b" * 4999, b"next"]

    def test_mid_record_is_true_from_the_first_byte_to_the_last(self) -> None:
        reader = RecordReader(100)
        for at, byte in enumerate(frame_record(b"abcdefgh")):
            reader.receive_data(bytes([byte]))
            record = reader.next_record()
            assert reader.mid_record is (at < 11)
        assert record == b"abcdefgh"


def test_the_place_of_a_record_that_is_done_with_shows_nothing_of_it() -> None:
    secret, public = os.urandom(1 << 20), os.urandom((1 << 20) - 1000)
    for fragment in (0, 70_000):
        reader = RecordReader(1 << 24)
        reader.receive_data(frame_record(secret))
        record = reader.next_record()
        if isinstance(record, bytearray):
            reader.recycle(record)
        reader.receive_data(mark(1 << 20) + secret[:5000])
        assert reader.next_record() is None
        reader.receive_data(secret[5000:])
        record = reader.next_record()
        assert record == secret
        assert isinstance(record, bytearray)
        reader.recycle(record)
        assert read_all(RecordReader(1 << 24), *_pieces(frame_record(public, fragment), 65_536)) == [public]


class TestLimits:
    """What a peer announces costs nothing before it comes."""

    def test_oversized_record_is_refused_from_its_header_alone(self) -> None:
        reader = RecordReader(100)
        reader.receive_data(mark(101))
        with pytest.raises(RecordTooLarge) as caught:
            reader.next_record()
        assert (caught.value.size, caught.value.limit) == (101, 100)

    def test_record_before_an_oversized_one_is_still_returned(self) -> None:
        reader = RecordReader(100)
        reader.receive_data(frame_record(b"ok") + mark(2**31 - 1))
        assert reader.next_record() == b"ok"
        with pytest.raises(RecordTooLarge):
            reader.next_record()

    @pytest.mark.parametrize("last", [True, False])
    def test_fragments_are_added_up_before_they_are_read(self, last: bool) -> None:
        reader = RecordReader(100)
        reader.receive_data(mark(60, last=False) + bytes(60) + mark(41, last=last))
        with pytest.raises(RecordTooLarge):
            reader.next_record()

    def test_a_record_of_just_the_limit_is_accepted(self) -> None:
        assert read_all(RecordReader(100), frame_record(bytes(100)), frame_record(bytes(100), 7)) == [bytes(100)] * 2

    def test_empty_fragments_are_accepted_up_to_their_limit(self) -> None:
        assert read_all(RecordReader(100, 5), mark(0, last=False) * 5 + mark(1) + b"x") == [b"x"]
        reader = RecordReader(100, 5)
        reader.receive_data(mark(0, last=False) * 6)
        with pytest.raises(RecordTooLarge):
            reader.next_record()

    def test_empty_fragments_are_counted_for_each_record_apart(self) -> None:
        one = mark(0, last=False) * 5 + mark(1) + b"x"
        assert read_all(RecordReader(100, 5), one, one, one) == [b"x"] * 3

    def test_an_announced_record_reserves_a_multiple_of_what_came_at_most(self) -> None:
        held = 0

        def reserve(change: int) -> bool:
            nonlocal held
            held += change
            return True

        reader = RecordReader(1 << 24, reserve=reserve)
        reader.receive_data(mark(1 << 24) + bytes(10_000))
        assert reader.next_record() is None
        assert held <= 32 * 10_000
        reader.close()
        assert held == 0

    def test_a_refused_reservation_is_a_record_too_large(self) -> None:
        reader = RecordReader(1 << 24, reserve=lambda change: change < 0)
        reader.receive_data(mark(1 << 20) + bytes(3000))
        with pytest.raises(RecordTooLarge):
            reader.next_record()

    def test_everything_reserved_is_given_back_with_the_record(self) -> None:
        held = 0

        def reserve(change: int) -> bool:
            nonlocal held
            held += change
            return True

        reader = RecordReader(1 << 24, reserve=reserve)
        for size in (3000, 100_000, 1 << 20):
            assert read_all(reader, *_pieces(frame_record(bytes(size), 50_000), 9999)) == [bytes(size)]
            assert held == 0


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


class TestFraming:
    def test_a_record_is_one_fragment_unless_told_otherwise(self) -> None:
        assert frame_record(b"abc") == b"\x80\0\0\x03abc"
        assert frame_record(b"") == b"\x80\0\0\0"

    def test_fragments_are_as_large_as_they_may_be(self) -> None:
        assert frame_record(b"abcde", 2) == b"\0\0\0\x02ab" + b"\0\0\0\x02cd" + b"\x80\0\0\x01e"

    def test_a_record_of_just_one_fragment_is_the_last(self) -> None:
        assert frame_record(b"ab", 2) == b"\x80\0\0\x02ab"

    def test_parts_are_not_copied(self) -> None:
        part = b"x" * 1000
        assert frame_record_parts([b"head", part])[2] is part


class TestFragments:
    """What a record came in can be told, and sent the same way again."""

    @given(st.binary(max_size=200), st.lists(st.integers(0, 60), max_size=8), st.integers(1, 50))
    def test_the_sizes_that_were_read_are_those_that_were_sent(self, data: bytes, sizes: list[int], step: int) -> None:
        stream = frame_fragments(data, sizes)
        reader = RecordReader(1000)
        records: list[bytes | bytearray] = []
        for at in range(0, len(stream), step):
            reader.receive_data(stream[at : at + step])
            while (record := reader.next_record()) is not None:
                records.append(record)
        assert [bytes(record) for record in records] == [data]
        if isinstance(records[0], bytearray):
            assert sum(reader.fragments) == len(data)
            assert frame_fragments(data, reader.fragments) == stream

    def test_sizes_that_cannot_be_are_one_fragment(self) -> None:
        assert frame_fragments(b"abcd", (3, 3)) == frame_record(b"abcd")

    def test_of_very_many_fragments_the_first_are_noted(self) -> None:
        reader = RecordReader(100_000)
        reader.receive_data(frame_fragments(bytes(MAX_NOTED + 10), [1] * (MAX_NOTED + 10)))
        assert reader.next_record() is not None
        assert reader.fragments == (1,) * MAX_NOTED
