"""From packets to what TCP and UDP carried."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncrpc.packets import Carried, Fragments, NotCarried, carried
from tests.oncrpc.captures import CLIENT, ETHERNET, RAW, SERVER, ethernet, ip, ipv6_fragment, tcp, udp

if TYPE_CHECKING:
    import random

PACKET = ip(udp(b"hello"), 17)
SIX = "2001:db8::1", "2001:db8::2"


def take(link: int, data: bytes, missing: int = 0, fragments: Fragments | None = None) -> Carried | None:
    return carried(link, data, missing, fragments or Fragments(), at=0.0, number=1)


@pytest.mark.parametrize(
    ("link", "head"),
    [
        (RAW, b""),
        (12, b""),
        (228, b""),
        (0, b"\x02\0\0\0"),
        (108, b"\0\0\0\x02"),
        (113, bytes(14) + b"\x08\0"),
        (276, b"\x08\0" + bytes(18)),
        (ETHERNET, bytes(12) + b"\x08\0"),
        (ETHERNET, bytes(12) + b"\x81\0\0\x05\x88\xa8\0\x06\x08\0"),
    ],
    ids=["raw", "raw12", "ipv4", "null", "loop", "cooked", "cooked2", "ethernet", "vlans"],
)
def test_every_link_type_leads_to_the_same_datagram(link: int, head: bytes) -> None:
    assert take(link, head + PACKET) == Carried("udp", CLIENT, SERVER, b"hello")


def test_padding_behind_a_short_packet_is_not_data() -> None:
    found = take(ETHERNET, ethernet(PACKET, padding=13))
    assert found is not None
    assert found.data == b"hello"


def test_ipv6_headers_are_passed_over() -> None:
    options = struct.pack(">BB", 60, 0) + bytes(6) + struct.pack(">BB", 17, 1) + bytes(14)
    found = take(RAW, ip(options + udp(b"six"), 0, *SIX))
    assert found == Carried("udp", (SIX[0], CLIENT[1]), (SIX[1], SERVER[1]), b"six")


def test_a_segment_has_its_sequence_number_and_a_syn_counts_as_one() -> None:
    found = take(RAW, ip(tcp(b"abc", 1000), 6))
    assert found == Carried("tcp", CLIENT, SERVER, b"abc", sequence=1000)
    begun = take(RAW, ip(tcp(b"", 0xFFFFFFFF, flags=2), 6))
    assert begun is not None
    assert (begun.sequence, begun.syn) == (0, True)


def test_what_was_not_captured_is_told() -> None:
    for packet in (ip(udp(bytes(100)), 17), ip(tcp(bytes(100), 1), 6), ip(udp(bytes(100)), 17, *SIX)):
        found = take(RAW, packet[:-40], 40)
        assert found is not None
        assert (len(found.data), found.missing) == (60, 40)


def test_a_packet_that_the_card_cuts_has_no_length_and_is_taken_whole() -> None:
    packet = bytearray(ip(tcp(b"abc", 1), 6))
    packet[2:4] = bytes(2)
    found = take(RAW, bytes(packet))
    assert found is not None
    assert found.data == b"abc"


@pytest.mark.parametrize(
    ("link", "packet", "kind"),
    [
        (RAW, b"", "short"),
        (RAW, b"\x45", "short"),
        (RAW, b"\x60", "short"),
        (RAW, b"\x20" + bytes(40), "other network"),
        (ETHERNET, bytes(12) + b"\x08\x06" + bytes(28), "other network"),
        (ETHERNET, bytes(5), "other network"),
        (105, bytes(60), "link type 105"),
        (RAW, ip(bytes(8), 1), "other transports"),
        (RAW, ip(b"abc", 17), "short"),
        (RAW, ip(bytes(20), 6), "TCP headers"),
        (RAW, b"\x41" + PACKET[1:], "IP headers"),
        (RAW, ip(b"\0\0" * 200, 0, *SIX), "IP headers"),
    ],
)
def test_what_brings_nothing_is_named(link: int, packet: bytes, kind: str) -> None:
    with pytest.raises(NotCarried, match=kind):
        take(link, packet)


@given(st.binary(max_size=200), st.sampled_from([0, 1, 12, 101, 108, 113, 228, 276, 9999]))
def test_no_bytes_do_anything_else(data: bytes, link: int) -> None:
    with suppress(NotCarried):
        take(link, data)


class TestFragments:
    """RFC 791, section 3.2: fragments come in any order, and twice."""

    @given(st.binary(min_size=9, max_size=3000), st.integers(1, 60), st.randoms(use_true_random=False))
    def test_a_datagram_is_whole_whatever_the_order(self, data: bytes, units: int, chance: random.Random) -> None:
        whole = udp(data)
        step = units * 8
        pieces = [
            ip(whole[at : at + step], 17, ident=7, offset=at, more=at + step < len(whole))
            for at in range(0, len(whole), step)
        ]
        sent = pieces + chance.sample(pieces[:-1], min(2, len(pieces) - 1))
        chance.shuffle(sent)
        fragments = Fragments()
        found = [got for got in (take(RAW, packet, fragments=fragments) for packet in sent) if got is not None]
        assert found[:1] == [Carried("udp", CLIENT, SERVER, data)]

    def test_ipv6_fragments_are_put_together(self) -> None:
        whole = udp(b"x" * 50)
        first = ip(ipv6_fragment(whole[:32], 17, 9, 0, more=True), 44, *SIX)
        second = ip(ipv6_fragment(whole[32:], 17, 9, 32, more=False), 44, *SIX)
        fragments = Fragments()
        assert take(RAW, second, fragments=fragments) is None
        found = take(RAW, first, fragments=fragments)
        assert found is not None
        assert found.data == b"x" * 50

    def test_what_never_becomes_whole_is_counted_and_bounded(self) -> None:
        fragments = Fragments()
        for ident in range(3000):
            take(RAW, ip(bytes(8), 17, ident=ident, more=True), fragments=fragments)
        assert fragments.given_up == 2000
        assert len(fragments.rest()) == 1000

    def test_fragments_past_the_largest_datagram_are_refused(self) -> None:
        fragments = Fragments()
        assert take(RAW, ip(bytes(80), 17, offset=65_528), fragments=fragments) is None
        assert fragments.given_up == 1

    def test_overlaps_around_a_hole_are_tried_a_few_times_and_given_up(self) -> None:
        fragments = Fragments()
        take(RAW, ip(bytes(8), 17, offset=6400), fragments=fragments)
        for number in range(400):
            take(RAW, ip(bytes(800), 17, offset=8 * (number % 90) + 8, more=True), fragments=fragments)
        assert fragments.given_up >= 1
