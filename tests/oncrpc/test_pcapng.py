from __future__ import annotations

import io
import subprocess
from typing import TYPE_CHECKING

import pytest

from oncrpc.auth import AuthSys
from oncrpc.datagrams import Datagrams
from oncrpc.pcapng import PcapngWriter
from oncrpc.program import Peer
from oncrpc.records import frame_record
from oncrpc.server import Server
from oncrpc.session import StreamSession
from oncrpc.testing import call_message
from tests import peers
from tests.oncrpc.served import PROGRAM, Served

if TYPE_CHECKING:
    from pathlib import Path

CALLS = [
    call_message(PROGRAM, 1, 0, xid=0x11),
    call_message(PROGRAM, 1, 2, bytes(8), xid=0x12, credential=AuthSys(0, "here", 5, 6)),
    call_message(PROGRAM, 7, 0, xid=0x13),
    call_message(PROGRAM, 1, 1, (100_000).to_bytes(4, "big") + bytes(100_000), xid=0x14),
]


FIELDS = (
    "rpc.xid",
    "rpc.msgtyp",
    "rpc.state_accept",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "frame.time_epoch",
    "tcp.analysis.flags",
    "tcp.port",
)


def dissected(path: Path) -> list[dict[str, str]]:
    peers.require("tshark")
    wanted = [part for field in FIELDS for part in ("-e", field)]
    decode = ["-d", "tcp.port==600,rpc", "-d", "udp.port==600,rpc", "-o", "rpc.dissect_unknown_programs:TRUE"]
    made = subprocess.run(
        ["tshark", "-r", path, *decode, "-T", "fields", *wanted],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in made.stdout.splitlines()]


@pytest.mark.parametrize(
    ("netid", "client", "server"),
    [("tcp", "192.0.2.1", "192.0.2.2"), ("tcp6", "2001:db8::1", "2001:db8::2"), ("udp", "192.0.2.1", "192.0.2.2")],
)
def test_tshark_reads_calls_and_replies_with_their_ends_and_times(
    tmp_path: Path, netid: str, client: str, server: str
) -> None:
    path = tmp_path / "seen.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file, clock=lambda: 1_700_000_000.25)
        core = Server([Served()], observers=[writer])
        if netid == "udp":
            datagrams = Datagrams(
                core,
                "udp",
                local=Peer(server, 600),
                replay=None,
                peer_of=lambda address: Peer(client, 700),
                send=lambda *what: None,
            )
            for call in CALLS[:3]:
                datagrams.receive(call, "somebody")
        else:
            session = StreamSession(core, 1, Peer(client, 700), netid, wake=lambda: None, local=Peer(server, 600))
            for call in CALLS:
                session.receive_data(frame_record(call))
                session.run()
    packets = dissected(path)
    messages = [packet for packet in packets if packet["rpc.xid"]]
    xids = [0x11, 0x12, 0x13] if netid == "udp" else [0x11, 0x12, 0x13, 0x14]
    assert [int(packet["rpc.xid"], 16) for packet in messages] == [xid for xid in xids for _ in range(2)]
    assert [packet["rpc.msgtyp"] for packet in messages] == ["0", "1"] * len(xids)
    assert messages[5]["rpc.state_accept"] == "2"
    family = "ipv6" if ":" in client else "ip"
    assert (packets[0][f"{family}.src"], packets[0][f"{family}.dst"]) == (client, server)
    assert float(packets[0]["frame.time_epoch"]) == 1_700_000_000.25
    assert [packet for packet in packets if packet["tcp.analysis.flags"]] == []


def test_a_local_socket_is_shown_as_a_connection_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "seen.pcapng"
    with path.open("wb") as file:
        core = Server([Served()], observers=[PcapngWriter(file)])
        session = StreamSession(core, 77, Peer("", 0), "local", wake=lambda: None)
        session.receive_data(frame_record(CALLS[0]))
        session.run()
    assert [packet["tcp.port"] for packet in dissected(path)] == ["77,0", "0,77"]


def test_a_forgotten_capture_fills_no_disk() -> None:
    file = io.BytesIO()
    core = Server([Served()], observers=[PcapngWriter(file, limit=2000)])
    session = StreamSession(core, 1, Peer("192.0.2.1", 700), "tcp", wake=lambda: None)
    for _ in range(100):
        session.receive_data(frame_record(CALLS[0]))
        session.run()
    assert len(file.getvalue()) <= 2000
