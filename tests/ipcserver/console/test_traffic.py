"""The last calls: bounded, matched with their answers, and told by name."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ipcserver._gen.ipc import IPCPROG_1_Server
from ipcserver.console.traffic import MESSAGE_BYTES, Recorder
from oncrpc.captured import read_messages
from oncrpc.explain import Programs
from oncrpc.observe import CallSeen, MessageSeen
from oncrpc.program import Peer
from oncrpc.records import frame_fragments

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE, THERE = Peer("127.0.0.1", 600), Peer("127.0.0.1", 50000)


def recorder(**bounds: int) -> Recorder:
    return Recorder(Programs([IPCPROG_1_Server]), wall=lambda: 1000.0, **bounds)


def call(xid: int, more: bytes = b"") -> bytes:
    return struct.pack(">10I", xid, 0, 2, IPCPROG_1_Server.program, 1, 0, 0, 0, 0, 0) + more


def reply(xid: int) -> bytes:
    return struct.pack(">6I", xid, 1, 0, 0, 0, 0)


def message(*parts: bytes, outgoing: bool = False, netid: str = "tcp", peer: Peer = THERE) -> MessageSeen:
    kept: Sequence[bytes] = parts
    return MessageSeen(peer, HERE, netid, 0 if netid == "udp" else 3, outgoing, kept)


def ended(xid: int, outcome: str = "SUCCESS", name: str = "RIPC_NULL", seconds: float = 0.001) -> CallSeen:
    program = IPCPROG_1_Server.program
    return CallSeen(xid, program, 1, 0, "IPCPROG", name, 0, THERE, "tcp", 3, 40, 0.0, outcome, 24, seconds)


def test_an_answer_finds_its_call() -> None:
    found = recorder()
    for xid in (5, 6):
        found.message("server", message(call(xid)))
    found.message("server", message(reply(6)[:8], reply(6)[8:], outgoing=True))
    found.ended("server", ended(6))
    first, second = (found.summary(each) for each in found.exchanges.values())
    assert (first["xid"], first["done"]) == (5, False)
    assert (second["xid"], second["done"], second["outcome"]) == (6, True, "SUCCESS")
    assert (second["title"], second["call_bytes"], second["reply_bytes"]) == ("IPCPROG.1 RIPC_NULL", 40, 24)


def test_the_same_xid_of_another_client_or_server_is_another_call() -> None:
    found = recorder()
    for peer in (THERE, Peer("127.0.0.1", 50001)):
        found.message("server", message(call(5), netid="udp", peer=peer))
    found.message("portmapper", message(call(5), netid="udp"))
    found.message("server", message(reply(5), outgoing=True, netid="udp"))
    assert [each.reply is not None for each in found.exchanges.values()] == [True, False, False]


def test_only_so_many_calls_and_bytes_are_kept_whatever_comes() -> None:
    found = recorder(calls=10, total=1000)
    for xid in range(100):
        found.message("server", message(call(xid)))
    assert len(found.exchanges) == 10
    assert len(found.changed) == 10
    found.message("server", message(call(200, bytes(990))))
    assert len(found.exchanges) == 0
    found.message("server", message(call(201)))
    assert [each.xid for each in found.exchanges.values()] == [201]


def test_the_fragments_of_messages_count_among_the_bytes_that_are_kept() -> None:
    found = recorder(calls=1000, total=100_000)
    for xid in range(100):
        found.message("server", MessageSeen(THERE, HERE, "tcp", 3, False, (call(xid, bytes(4056)),), (1,) * 4096))
    assert len(found.exchanges) == 100_000 // (4096 + 8 * 4096)
    found.message("server", MessageSeen(THERE, HERE, "tcp", 3, False, (call(200, bytes(1 << 20)),), (300,) * 4096))
    assert found.exchanges[101].call.fragments == (), "of no use without all bytes"


def test_of_a_large_message_the_beginning_is_kept_and_its_size_told() -> None:
    found = recorder()
    found.message("server", message(call(1), bytes(1 << 20)))
    (exchange,) = found.exchanges.values()
    assert (len(exchange.call.data), exchange.call.size) == (MESSAGE_BYTES, 40 + (1 << 20))
    detail = found.detail(exchange.number)
    assert detail is not None
    assert detail["messages"][0]["whole"] is False


def test_what_peers_invent_does_not_fill_the_counters() -> None:
    found = recorder()
    for number in range(1000):
        found.ended("server", ended(number, outcome=f"odd {number}", name=f"made up {number}"))
    assert len(found.outcomes) <= 65
    assert len(found.procedures) <= 65
    assert sum(found.outcomes.values()) == 1000


def test_a_kept_buffer_is_a_copy() -> None:
    found = recorder()
    buffer = bytearray(call(1))
    found.message("server", MessageSeen(THERE, HERE, "tcp", 3, False, (buffer,)))
    buffer[:] = bytes(len(buffer))
    assert next(iter(found.exchanges.values())).call.data == call(1)


def test_a_stream_is_shown_with_its_record_mark_and_a_datagram_without() -> None:
    found = recorder()
    for netid in ("tcp", "udp"):
        found.message("server", message(call(1), netid=netid))
    shown = [found.detail(number) for number in found.exchanges]
    assert [each["messages"][0]["explanation"]["parts"][0]["name"] for each in shown if each] == ["record mark", "xid"]


def test_changes_are_told_once_and_the_newest_of_too_many() -> None:
    found = recorder()
    for xid in range(20):
        found.message("server", message(call(xid)))
    calls, left_out = found.take_changed(5)
    assert ([each["xid"] for each in calls], left_out) == ([15, 16, 17, 18, 19], 15)
    assert found.take_changed(5) == ([], 0)


def test_plots_have_a_value_for_every_second() -> None:
    now = 1000.0
    found = Recorder(Programs(), wall=lambda: now)
    found.ended("server", ended(1, seconds=0.003))
    found.ended("server", ended(2, outcome="SYSTEM_ERR", seconds=0.003))
    now = 1001.0
    plots = found.plots()
    assert {len(row) for row in plots.values()} == {120}
    assert (plots["calls"][-1], plots["errors"][-1], plots["calls"][-2]) == (2, 1, 0)
    assert plots["median_ms"][-1] == 4.096
    assert plots["median_ms"][-2] is None


def test_a_capture_holds_the_messages_asked_for() -> None:
    found = recorder()
    for xid in (5, 6):
        found.message("server", message(call(xid)))
    both, one, none = found.capture(None), found.capture([2]), found.capture([99])
    assert len(both) > len(one) > len(none) > 0
    assert found.capture([2] * 1000) == one, "asking for one message again and again makes no large file"
    assert call(6) in one
    assert call(5) not in one


def test_what_the_server_asks_rpcbind_is_a_call_of_its_own_with_the_outcome_of_the_reply() -> None:
    found = recorder()
    there = Peer("", 0, "/run/rpcbind.sock")
    denied = struct.pack(">5I", 2, 1, 1, 1, 5)
    mismatch = struct.pack(">6I", 3, 1, 1, 0, 2, 2)
    replies = {1: reply(1), 2: denied, 3: mismatch, 4: struct.pack(">4I", 4, 1, 0, 0), 5: struct.pack(">3I", 5, 1, 9)}
    for xid, answer in replies.items():
        found.message("rpcbind", MessageSeen(Peer("", 0), there, "local", 1, False, (call(xid),)))
        found.message("rpcbind", MessageSeen(Peer("", 0), there, "local", 1, True, (answer,)))
    rows = [found.summary(each) for each in found.exchanges.values()]
    assert [row["outcome"] for row in rows] == ["SUCCESS", "AUTH_ERROR", "RPC_MISMATCH", "MALFORMED", "MALFORMED"]
    assert {row["client"] for row in rows} == {"this server"}


def test_fragments_are_shown_and_captured_as_they_came_where_that_is_known() -> None:
    found = recorder()
    found.message("server", MessageSeen(THERE, HERE, "tcp", 3, False, (call(1),), (8, 0, 20)))
    detail = found.detail(1)
    assert detail is not None
    (shown,) = detail["messages"]
    marks = [part["value"] for part in shown["explanation"]["parts"] if part["name"] == "record mark"]
    assert (shown["fragments"], marks) == ([8, 0, 20], ["00000008", "00000000", "00000014", "8000000c"])
    assert frame_fragments(call(1), (8, 0, 20)) in found.capture(None)


def test_connections_of_different_servers_are_different_streams_of_a_capture() -> None:
    found = recorder()
    for lane in ("server", "portmapper"):
        found.message(lane, message(call(5), netid="local", peer=Peer("", 0)))
    captured = read_messages(found.capture(None)).messages
    assert [each.xid for each in captured] == [5, 5]


def test_what_changed_is_not_noted_while_nobody_looks() -> None:
    found = recorder()
    found.watched = False
    found.message("server", message(call(1)))
    assert found.changed == {}
