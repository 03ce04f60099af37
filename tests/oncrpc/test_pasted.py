"""Hexadecimal in any dress, and whether it has record marks."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncrpc.explain import Programs
from oncrpc.pasted import explain_bytes, guess_form, parse_hex
from oncrpc.records import frame_record

CALL = struct.pack(">10I", 7, 0, 2, 100000, 2, 0, 0, 0, 0, 0)
REPLY = struct.pack(">6I", 7, 1, 0, 0, 0, 0)


@given(st.binary(), st.sampled_from(["", " ", ":", ", ", "\n", " 0x", "\\x", "-"]))
def test_digits_may_be_parted_by_anything_usual(data: bytes, between: str) -> None:
    assert parse_hex(between.join(f"{byte:02x}" for byte in data)) == data


@pytest.mark.parametrize(
    "dump",
    [
        "00000000: 8000 0018 6162 6320 6465 6667 6869 6a6b  ....abc defghijk\n00000010: 6162                     ab\n",
        "00000000  80 00 00 18 61 62 63 20  64 65 66 67 68 69 6a 6b  |....abc defghijk|\n00000010  61 62     |ab|\n",
        "0000  80 00 00 18 61 62 63 20 64 65 66 67 68 69 6a 6b   ....abc defghijk\n0010  61 62" + " " * 45 + "ab\n",
        "\t0x0000:  8000 0018 6162 6320 6465 6667 6869 6a6b  ....abc.defghijk\n\t0x0010:  6162                 ab\n",
    ],
    ids=["xxd", "hexdump", "tshark", "tcpdump"],
)
def test_dumps_of_known_programs_are_read(dump: str) -> None:
    assert parse_hex(dump) == b"\x80\x00\x00\x18abc defghijkab"


@pytest.mark.parametrize("text", ["8000001", "xyz", "80 00 <script>"])
def test_what_is_no_hexadecimal_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        parse_hex(text)


@pytest.mark.parametrize("message", [CALL, REPLY])
def test_record_marks_are_found_out(message: bytes) -> None:
    assert guess_form(message) == "message"
    assert guess_form(frame_record(message)) == "stream"
    assert guess_form(frame_record(message) + frame_record(message)) == "stream"


def test_a_mark_of_the_wrong_length_is_still_a_mark() -> None:
    assert guess_form(struct.pack(">I", 0x80000099) + struct.pack(">I", 1) + CALL[4:]) == "stream"


@given(st.binary(max_size=200))
def test_nothing_makes_it_raise(data: bytes) -> None:
    for found in explain_bytes(data, Programs()):
        assert all(0 <= part.offset <= len(data) for part in found.parts)


def test_every_record_of_a_stream_is_explained() -> None:
    found = explain_bytes(frame_record(CALL) + frame_record(REPLY), Programs())
    assert [each.kind for each in found] == ["CALL", "REPLY"]
