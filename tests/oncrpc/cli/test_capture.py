"""``oncrpc explain`` with a capture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from oncrpc.records import frame_record
from tests.oncrpc.captures import CLIENT, SERVER, call, ip, pcap, reply, tcp, udp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Any]

GETPORT = bytes.fromhex("20000258 00000001 00000006 00000000")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A call over TCP, its reply, and a call over UDP that lacks its last argument."""
    back = ip(tcp(frame_record(reply(7, bytes(3) + b"\x02")), 1, SERVER[1], CLIENT[1]), 6, SERVER[0], CLIENT[0])
    packets = [
        ip(tcp(b"", 0, flags=2), 6),
        ip(tcp(frame_record(call(7, 3, GETPORT)), 1), 6),
        back,
        ip(udp(call(8, 3, GETPORT[:-4])), 17),
    ]
    path = tmp_path / "seen.pcap"
    path.write_bytes(pcap(packets))
    return path


def test_a_capture_is_a_list_to_choose_from(run: Run, capture: Path) -> None:
    result = run("explain", capture)
    assert result.exit_code == 1  # one of them is wrong
    lines = [line for line in result.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert ["CALL PMAP_PROG.2 PMAPPROC_GETPORT" in line for line in lines] == [True, False, True]
    assert "REPLY PMAP_PROG.2 PMAPPROC_GETPORT SUCCESS" in lines[1]
    assert "bytes are left" in lines[2] or "needed" in lines[2], lines[2]


def test_chosen_messages_are_taken_apart_and_a_reply_by_its_call(run: Run, capture: Path) -> None:
    result = run("explain", capture, "--number", 2)
    assert (result.exit_code, "SUCCESS" in result.stdout, "results" in result.stdout) == (0, True, True)
    (found,) = json.loads(run("explain", "-f", capture, "-n", 1, "--json").stdout)
    assert (found["kind"], found["procedure"], found["parts"][0]["name"]) == ("CALL", 3, "record mark")


def test_the_list_as_json_has_the_bytes(run: Run, capture: Path) -> None:
    found = json.loads(run("explain", capture, "--json").stdout)
    first, second, third = found["messages"]
    assert first["hex"] == frame_record(call(7, 3, GETPORT)).hex()
    assert (first["answered_by"], second["answers"], second["call"]) == (2, 1, "100000.2.3")
    assert (third["wrong"], third["form"], found["left_out"]) == (True, "message", 0)


@pytest.mark.parametrize(
    ("content", "arguments", "why"),
    [
        (b"\x1f\x8b\x08", (), "gunzip"),
        (pcap([])[:20], (), "ends within its header"),
        (pcap([ip(udp(call(1)), 17)]), ("-n", 2), "no message 2"),
    ],
)
def test_what_cannot_be_read_is_told(run: Run, tmp_path: Path, content: bytes, arguments: Any, why: str) -> None:
    (tmp_path / "odd.pcap").write_bytes(content)
    result = run("explain", tmp_path / "odd.pcap", *arguments)
    assert (result.exit_code, why in result.stderr) == (2, True), result.stderr


def test_a_capture_without_rpc_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "none.pcap").write_bytes(pcap([ip(bytes(8), 1)]))
    result = run("explain", tmp_path / "none.pcap")
    assert (result.exit_code, "There is no RPC in this capture." in result.stdout) == (1, True)
    assert "left out: 1 packets: other transports" in result.stdout


def test_nothing_from_a_capture_reaches_the_terminal_as_a_command(run: Run, tmp_path: Path) -> None:
    escape = call(1, 5, GETPORT[:4] + b"\0\0\0\x01\0\0\0\x01\0\0\0\x08\x1b]0;own\x07")
    (tmp_path / "seen.pcap").write_bytes(pcap([ip(udp(escape), 17)]))
    for arguments in ((), ("-n", 1)):
        assert "\x1b" not in run("explain", tmp_path / "seen.pcap", *arguments).stdout


def test_an_installed_specification_is_known_by_its_name(run: Run) -> None:
    result = run("explain", "--spec", "rpcbind_reg/rpcbind.x", call(1).hex())
    assert result.exit_code == 0, result.output
    assert run("explain", "--spec", "nobody/none.x", call(1).hex()).exit_code == 2
