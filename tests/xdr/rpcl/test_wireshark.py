"""The dissectors that the compiler writes, run by the real tshark."""

from __future__ import annotations

import json
import struct
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import xdr
from ipcserver._gen import ipc
from oncrpc._gen import rpc_msg
from tests import peers
from tests.xdr.rpcl.pcap import capture, record, tcp, udp
from xdr.rpcl.compiler import check_text, read_file
from xdr.rpcl.wireshark import emit_dissector

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NONE = rpc_msg.opaque_auth(0, b"")
ODD = """
enum colour { RED = 1, BLUE = -2 };
typedef opaque mac[6];
typedef colour palette<4>;
struct node { int value; node *next; };
union choice switch (unsigned int which) {
case 0: void;
case 1: case 2: string text<8>;
default: hyper big;
};
struct everything {
    bool yes; float f; double d; quadruple q; unsigned hyper u; mac address; palette colours; node *list;
    choice chosen; struct { int a; int b; } pair[2]; opaque empty<>;
};
program ODDPROG {
    version ODDVERS {
        everything ODD_TAKE(everything, int number) = 7;
    } = 3;
} = 0x20000999;
"""


def call(xid: int, program: int, version: int, procedure: int, arguments: bytes) -> bytes:
    """Encode a call without credentials."""
    body = rpc_msg.call_body(2, program, version, procedure, NONE, NONE)
    return xdr.encode(rpc_msg.rpc_msg, rpc_msg.rpc_msg(xid, rpc_msg.msg_body_CALL(body))) + arguments


def reply(xid: int, results: bytes) -> bytes:
    """Encode a reply to a call that was executed."""
    accepted = rpc_msg.accepted_reply(NONE, rpc_msg.reply_data_SUCCESS())
    body = rpc_msg.msg_body_REPLY(rpc_msg.reply_body_MSG_ACCEPTED(accepted))
    return xdr.encode(rpc_msg.rpc_msg, rpc_msg.rpc_msg(xid, body)) + results


class Tshark:
    """Runs tshark with one dissector."""

    def __init__(self, folder: Path, text: str, name: str) -> None:
        peers.require("tshark")
        module, _ = check_text(text, name)
        self.script = folder / "dissector.lua"
        self.script.write_text(emit_dissector(module, name, "0" * 64), encoding="utf-8")
        self.capture = folder / "capture.pcap"

    def run(self, frames: Iterable[bytes], *options: str) -> str:
        self.capture.write_bytes(capture(frames))
        command = ["tshark", "-n", "-X", f"lua_script:{self.script}", "-r", str(self.capture), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "Lua" not in done.stderr, done.stderr
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fields(self, frames: Iterable[bytes], *names: str) -> list[list[str]]:
        """Give the values of these fields, a list for each frame."""
        listed = [part for name in names for part in ("-e", name)]
        lines = self.run(frames, "-T", "fields", "-E", "separator=|", *listed).splitlines()
        return [line.split("|") for line in lines]

    def trees(self, frames: Iterable[bytes]) -> list[dict[str, Any]]:
        """Give all that tshark knows, a tree for each frame."""
        shown: list[dict[str, Any]] = json.loads(self.run(frames, "-T", "json", "--no-duplicate-keys"))
        return [frame["_source"]["layers"] for frame in shown]


@pytest.fixture
def ipc_tshark(tmp_path: Path) -> Tshark:
    """Wireshark with the IPC program's dissector."""
    return Tshark(tmp_path, read_file(str(peers.SPEC)), "ipc.x")


@pytest.fixture
def odd_tshark(tmp_path: Path) -> Tshark:
    """Wireshark with a dissector for every kind of type."""
    return Tshark(tmp_path, ODD, "odd.x")


SEND = xdr.encode(
    ipc.ripc_msgsnd_args,
    ipc.ripc_msgsnd_args(
        ctx=ipc.ripc_ctx(ipc.ripc_hyper(0, 0), 0, 0, 4711),
        id=12,
        flags=ipc.RIPC_NOWAIT,
        wait_ms=0,
        mtype=ipc.ripc_hyper(0, 3),
        mtext=b"hello",
    ),
)
SEND_CALL = call(0x1234, ipc.IPCPROG, 1, ipc.RIPC_MSGSND, SEND)
SEND_REPLY = reply(0x1234, xdr.encode(ipc.ripc_status, ipc.RIPC_EAGAIN))


class TestDatagrams:
    """Over UDP a message is a datagram."""

    def test_a_call_shows_its_procedure_and_the_fields_of_its_arguments(self, ipc_tshark: Tshark) -> None:
        names = ["procedure_name", "ripc_msgsnd_args.id", "ripc_ctx.pid", "ripc_msgsnd_args.mtext"]
        (found,) = ipc_tshark.fields([udp(SEND_CALL)], *(f"rpc_ipc.{name}" for name in names))
        assert found == ["RIPC_MSGSND", "12", "4711", b"hello".hex()]

    def test_a_reply_is_read_by_the_procedure_of_its_call(self, ipc_tshark: Tshark) -> None:
        frames = [udp(SEND_CALL), udp(SEND_REPLY, reply=True)]
        _, found = ipc_tshark.fields(
            frames, "rpc_ipc.procedure_name", "rpc_ipc.ipcprog_1.ripc_msgsnd.result", "rpc_ipc.call_frame"
        )
        assert found == ["RIPC_MSGSND", "5", "1"]

    def test_the_summary_line_names_program_procedure_and_xid(self, ipc_tshark: Tshark) -> None:
        lines = ipc_tshark.run([udp(SEND_CALL), udp(SEND_REPLY, reply=True)]).splitlines()
        assert "IPCPROG" in lines[0]
        assert "V1 RIPC_MSGSND Call XID 0x1234" in lines[0]
        assert "V1 RIPC_MSGSND Reply XID 0x1234" in lines[1]

    def test_an_enum_shows_the_name_of_its_value(self, ipc_tshark: Tshark) -> None:
        assert "RIPC_EAGAIN (5)" in ipc_tshark.run([udp(SEND_CALL), udp(SEND_REPLY, reply=True)], "-V")

    def test_other_programs_are_left_to_wireshark(self, ipc_tshark: Tshark) -> None:
        frame = udp(call(1, 100000, 2, 4, b""), port=111)
        assert ipc_tshark.fields([frame], "rpc_ipc.program", "rpc.program") == [["", "100000"]]

    def test_arguments_cut_short_are_shown_as_far_as_they_go(self, ipc_tshark: Tshark) -> None:
        (found,) = ipc_tshark.fields([udp(SEND_CALL[:-8])], "rpc_ipc.ripc_msgsnd_args.id", "rpc_ipc.malformed")
        assert found[0] == "12"
        assert "mtext" in ipc_tshark.run([udp(SEND_CALL[:-8])], "-V")

    def test_surplus_bytes_are_shown(self, ipc_tshark: Tshark) -> None:
        (found,) = ipc_tshark.fields([udp(SEND_CALL + b"\xde\xad\xbe\xef")], "rpc_ipc.surplus")
        assert found == ["deadbeef"]


class TestStreams:
    """Over TCP messages are records of fragments, and segments end anywhere."""

    def test_a_record_cut_into_segments_is_put_together(self, ipc_tshark: Tshark) -> None:
        data = record(SEND_CALL)
        cut = 60
        frames = [tcp(data[:cut], sequence=1), tcp(data[cut:], sequence=1 + cut)]
        assert ipc_tshark.fields(frames, "rpc_ipc.ripc_msgsnd_args.mtext")[-1] == [b"hello".hex()]

    def test_a_record_of_several_fragments_is_put_together(self, ipc_tshark: Tshark) -> None:
        data = record(SEND_CALL[:41], b"", SEND_CALL[41:])
        assert ipc_tshark.fields([tcp(data, sequence=1)], "rpc_ipc.ripc_msgsnd_args.mtext") == [[b"hello".hex()]]

    def test_several_records_in_one_segment_are_all_read(self, ipc_tshark: Tshark) -> None:
        other = call(0x1235, ipc.IPCPROG, 1, ipc.RIPC_SEMGETALL, (77).to_bytes(4, "big"))
        (found,) = ipc_tshark.fields([tcp(record(SEND_CALL) + record(other), sequence=1)], "rpc_ipc.procedure_name")
        assert found == ["RIPC_MSGSND,RIPC_SEMGETALL"]

    def test_a_reply_on_the_connection_is_read_by_its_call(self, ipc_tshark: Tshark) -> None:
        data = record(SEND_CALL)
        frames = [
            tcp(data, sequence=1),
            tcp(record(SEND_REPLY), sequence=1, acknowledged=1 + len(data), reply=True),
        ]
        assert ipc_tshark.fields(frames, "rpc_ipc.ipcprog_1.ripc_msgsnd.result")[-1] == ["5"]


class TestTypes:
    """Every type of the language has its place in the tree."""

    def _arguments(self) -> bytes:
        words = [
            struct.pack(">I", 1),
            struct.pack(">f", 1.5),
            struct.pack(">d", -2.25),
            bytes(range(16)),
            struct.pack(">Q", 2**64 - 1),
            b"\x00\x11\x22\x33\x44\x55\0\0",
            struct.pack(">Iii", 2, 1, -2),
            struct.pack(">IiIiI", 1, 10, 1, 20, 0),
            struct.pack(">II4s", 2, 3, b"abc\0"),
            struct.pack(">iiii", 1, 2, 3, 4),
            struct.pack(">I", 0),
            struct.pack(">i", -5),
        ]
        return b"".join(words)

    def test_values_of_all_types_are_read(self, odd_tshark: Tshark) -> None:
        names = {
            "everything.yes": "1",
            "everything.f": "1.5",
            "everything.d": "-2.25",
            "everything.q": bytes(range(16)).hex(),
            "everything.u": str(2**64 - 1),
            "everything.address": "001122334455",
            "everything.colours": "1,-2",
            "node.value": "10,20",
            "choice.which": "2",
            "choice.text": "abc",
            "everything_pair.a": "1,3",
            "oddprog_3.odd_take.number": "-5",
        }
        frame = udp(call(9, 0x20000999, 3, 7, self._arguments()), port=2000)
        (found,) = odd_tshark.fields([frame], *(f"rpc_odd.{name}" for name in names))
        assert found == list(names.values())

    def test_a_length_beyond_its_bound_is_malformed(self, odd_tshark: Tshark) -> None:
        bad = self._arguments()[:48] + (5).to_bytes(4, "big")
        shown = odd_tshark.run([udp(call(9, 0x20000999, 3, 7, bad), port=2000)], "-V")
        assert "colours: 5 items announced, 4 allowed, at byte" in shown


LIST = """
struct node { int value; node *next; };
typedef node *list;
program P { version V { list GET(void) = 1; } = 1; } = 99;
"""


def test_a_long_list_is_shown_whole(tmp_path: Path) -> None:
    shark = Tshark(tmp_path, LIST, "list.x")
    entries = 1000
    frames = [
        udp(call(5, 99, 1, 1, b""), port=2000),
        udp(reply(5, b"\0\0\0\1\0\0\0\7" * entries + bytes(4)), port=2000, reply=True),
    ]
    assert shark.fields(frames, "rpc_list.node.value")[1][0].count("7") == entries


def test_the_same_file_gives_the_same_text() -> None:
    module, _ = check_text(ODD, "odd.x")
    again, _ = check_text(ODD, "odd.x")
    assert emit_dissector(module, "odd.x", "0") == emit_dissector(again, "odd.x", "0")


@pytest.mark.parametrize("spec", ["oncrpc/spec/rpc_msg.x", "rpcbind_reg/spec/rpcbind.x"])
def test_the_dissector_of_every_spec_is_lua_that_wireshark_takes(tmp_path: Path, spec: str) -> None:
    path = peers.ROOT / spec
    shark = Tshark(tmp_path, read_file(str(path)), path.name)
    assert "UDP" in shark.run([udp(b"nothing that anybody knows")])
