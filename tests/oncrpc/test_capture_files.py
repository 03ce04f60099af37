"""pcap and pcapng, from any machine, whole or damaged."""

from __future__ import annotations

import io
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncrpc.capture_files import CaptureError, CaptureFile, is_capture
from oncrpc.observe import MessageSeen
from oncrpc.pcapng import PcapngWriter
from oncrpc.program import Peer
from tests.oncrpc.captures import ETHERNET, RAW, call, pcap, pcapng
from tests.peers import require

if TYPE_CHECKING:
    from pathlib import Path

    from oncrpc.capture_files import Packet

DATA = [b"first", b"second packet", b""]


def packets(data: bytes) -> list[Packet]:
    return list(CaptureFile(data).packets())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_is_read_in_both_byte_orders_and_resolutions(order: str, nano: bool) -> None:
    found = packets(pcap(DATA, ETHERNET, order=order, nano=nano))
    assert [each.data for each in found] == DATA
    assert [each.number for each in found] == [1, 2, 3]
    assert [each.at for each in found] == [0.0, 0.001, 0.002]
    assert {each.link for each in found} == {ETHERNET}


def test_pcap_tells_how_much_of_a_packet_was_not_kept() -> None:
    (found,) = packets(pcap([b"x" * 100], snap=96))
    assert (len(found.data), found.size) == (96, 100)


def test_flags_above_the_link_type_are_not_the_link_type() -> None:
    data = bytearray(pcap(DATA, ETHERNET))
    data[23] = 0x14
    assert packets(bytes(data))[0].link == ETHERNET


def test_every_interface_of_pcapng_has_its_own_link_type_and_clock() -> None:
    data = pcapng(
        [
            ("<", [(ETHERNET, 6), (RAW, 9), (113, 0x80 | 10)], [(0, 2_000_000, b"a"), (1, 2 * 10**9, b"b")]),
            (">", [(RAW, 3)], [(0, 2000, b"c")]),
        ]
    )
    assert [(each.link, each.at, each.data) for each in packets(data)] == [
        (ETHERNET, 2.0, b"a"),
        (RAW, 2.0, b"b"),
        (RAW, 2.0, b"c"),
    ]


def test_simple_and_old_packet_blocks_are_packets_and_other_blocks_are_not() -> None:
    data = pcapng([("<", [(RAW, 6)], [])])
    simple = struct.pack("<III", 3, 20, 4) + b"abcd" + struct.pack("<I", 20)
    old = struct.pack("<IIHHIIII", 2, 36, 0, 0, 0, 5, 4, 4) + b"efgh" + struct.pack("<I", 36)
    other = struct.pack("<II", 5, 16) + bytes(4) + struct.pack("<I", 16)
    found = packets(data + simple + other + old)
    assert [each.data for each in found] == [b"abcd", b"efgh"]
    assert [each.number for each in found] == [1, 2]


@pytest.mark.parametrize("whole", [pcap(DATA), pcapng([("<", [(RAW, 6)], [(0, 1, each) for each in DATA])])])
def test_a_file_that_was_cut_gives_the_packets_before_and_a_note(whole: bytes) -> None:
    for size in range(len(whole)):
        cut = whole[:size]
        if not is_capture(cut):
            with pytest.raises(CaptureError):
                CaptureFile(cut)
            continue
        file = CaptureFile(cut)
        try:
            found = list(file.packets())
        except CaptureError:
            continue
        assert [each.data for each in found] == DATA[: len(found)]
        # Between two packets a cut cannot be seen.
        assert bool(file.notes) or whole.startswith(cut)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "neither pcap nor pcapng"),
        (b"\x80\x00\x00\x28" + bytes(40), "neither"),
        (b"\x1f\x8b\x08\x00", "gunzip"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "neither"),
        (b"\xd4\xc3\xb2\xa1" + bytes(40), "neither"),
    ],
)
def test_what_is_no_capture_is_refused_with_a_reason(data: bytes, why: str) -> None:
    with pytest.raises(CaptureError, match=why):
        CaptureFile(data)


def test_a_packet_of_an_interface_that_is_not_described_is_an_error() -> None:
    with pytest.raises(CaptureError, match="interface 3"):
        packets(pcapng([("<", [(RAW, 6)], [(3, 0, b"x")])]))


@given(st.sampled_from([pcap(DATA), pcapng([("<", [(RAW, 6)], [(0, 1, each) for each in DATA])])]), st.data())
def test_damage_anywhere_is_an_error_or_a_note_and_nothing_else(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = packets(bytes(damaged))
    except CaptureError:
        return
    assert sum(len(each.data) for each in found) <= len(damaged)


def written(count: int = 3) -> bytes:
    file = io.BytesIO()
    writer = PcapngWriter(file, clock=lambda: 1_700_000_000.25)
    for xid in range(count):
        message = (call(xid),)
        writer.message_seen(MessageSeen(Peer("192.0.2.1", 7), Peer("192.0.2.2", 111), "udp", 0, False, message))
    return file.getvalue()


def test_what_we_write_we_read() -> None:
    found = packets(written())
    assert [each.at for each in found] == [1_700_000_000.25] * 3
    assert all(call(number) in each.data for number, each in enumerate(found))


@pytest.mark.parametrize("form", ["pcap", "nsecpcap", "pcapng", "modpcap"])
def test_what_wiresharks_tools_write_we_read_or_refuse(tmp_path: Path, form: str) -> None:
    require("editcap")
    (tmp_path / "ours").write_bytes(written())
    subprocess.run(["editcap", "-F", form, "ours", "theirs"], cwd=tmp_path, check=True, timeout=60)
    theirs = (tmp_path / "theirs").read_bytes()
    if form == "modpcap":
        with pytest.raises(CaptureError):
            CaptureFile(theirs)
        return
    assert [(each.at, each.data) for each in packets(theirs)] == [(each.at, each.data) for each in packets(written())]


def test_a_merged_capture_keeps_the_link_type_of_each_interface(tmp_path: Path) -> None:
    require("mergecap")
    (tmp_path / "one").write_bytes(written())
    (tmp_path / "two").write_bytes(pcap([b"x" * 60], ETHERNET))
    subprocess.run(["mergecap", "-w", "both", "one", "two"], cwd=tmp_path, check=True, timeout=60)
    assert sorted({each.link for each in packets((tmp_path / "both").read_bytes())}) == [ETHERNET, RAW]
