"""What the page may do: requests in JSON become commands, and nothing else does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcserver._gen import ipc, machine
from ipcserver.console.actions import ACTIONS, LONGEST_WAIT_MS, BadAction, read_action, told
from ipcserver.hypers import to_hyper
from ipcserver.machine import body

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


def read(name: str, **members: Any) -> Any:
    return read_action(name, json.dumps(members).encode(), pid=42)


def test_a_send_is_a_msgsnd_that_does_not_wait_unless_asked_to() -> None:
    action = read("send", id=5, mtype="9007199254740993", text="grüß")
    assert action.operation == machine.OP_MSGSND
    args = action.argument
    assert (args.id, args.flags, args.wait_ms, args.ctx.pid) == (5, ipc.RIPC_NOWAIT, 0, 42)
    assert (args.mtype, args.mtext) == (to_hyper(9007199254740993), "grüß".encode())
    waiting = read("send", id=5, hex="00 ff", wait_ms=1000).argument
    assert (waiting.flags, waiting.wait_ms, waiting.mtext) == (0, 1000, b"\x00\xff")


def test_a_receive_takes_any_size_and_may_look_without_taking() -> None:
    args = read("receive", id=5, msgtyp=-3).argument
    assert (args.flags, args.msgtyp, args.msgsz) == (ipc.RIPC_NOWAIT, to_hyper(-3), to_hyper(ipc.RIPC_MSGMAX))
    assert read("receive", id=5, copy=True, wait_ms=5).argument.flags == ipc.RIPC_COPY | ipc.RIPC_NOWAIT


def test_a_semop_does_all_of_it_at_once_or_nothing() -> None:
    args = read("semop", id=7, operations=[{"num": 0, "op": -1}, {"num": 1, "op": 2}]).argument
    assert args.sops == [ipc.ripc_sembuf(0, -1, ipc.RIPC_NOWAIT), ipc.ripc_sembuf(1, 2, ipc.RIPC_NOWAIT)]


@pytest.mark.parametrize(
    ("kind", "operation"),
    [("queue", machine.OP_MSGRMID), ("set", machine.OP_SEMRMID), ("segment", machine.OP_SHMRMID)],
)
def test_a_remove_says_what_it_removes(kind: str, operation: int) -> None:
    action = read("remove", kind=kind, id=9)
    assert (action.operation, action.argument.id, action.line) == (operation, 9, f"remove of {kind} 9")


@pytest.mark.parametrize(
    ("name", "members", "told_of"),
    [
        ("send", {"text": "x"}, "id"),
        ("send", {"id": 1}, "text or hex"),
        ("send", {"id": 1, "text": "x", "hex": "00"}, "not both"),
        ("send", {"id": 1, "hex": "0"}, "hexadecimal"),
        ("send", {"id": 1, "text": 5}, "text"),
        ("send", {"id": 1, "text": "x" * 65537}, "65536"),
        ("send", {"id": 1, "text": "x", "mtype": 0}, "mtype"),
        ("send", {"id": True, "text": "x"}, "id"),
        ("send", {"id": 1, "text": "x", "wait_ms": LONGEST_WAIT_MS + 1}, "wait_ms"),
        ("receive", {"id": 1, "except": 1}, "except"),
        ("receive", {"id": 1, "undo": True}, "undo"),
        ("semop", {"id": 1, "operations": []}, "operations"),
        ("semop", {"id": 1, "operations": [{"num": 0, "op": 1}] * 501}, "500"),
        ("semop", {"id": 1, "operations": [5]}, "object"),
        ("semop", {"id": 1, "operations": [{"num": 0, "op": 1, "flags": 1}]}, "flags"),
        ("remove", {"id": 1, "kind": "session"}, "kind"),
        ("remove", {"id": 1, "kind": ["queue"]}, "kind"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(name: str, members: dict[str, Any], told_of: str) -> None:
    with pytest.raises(BadAction, match=told_of):
        read(name, **members)


@pytest.mark.parametrize("text", [b"", b"[]", b"5", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(BadAction, match="JSON object"):
        read_action("send", text, pid=1)


@given(st.sampled_from(sorted(ACTIONS)), st.dictionaries(st.sampled_from(["id", "kind", "operations", "hex"]), JSON))
def test_whatever_comes_is_refused_or_a_command_that_can_be_written(name: str, members: dict[str, Any]) -> None:
    try:
        action = read(name, **members)
    except BadAction:
        return
    assert body(action.operation, action.argument).op == action.operation


def test_an_outcome_is_told_by_name_and_bytes_as_hexadecimal() -> None:
    assert told(ipc.RIPC_EAGAIN)["status"] == "RIPC_EAGAIN"
    message = ipc.ripc_msg(to_hyper(2**60), b"\xff\x00")
    found = told(ipc.ripc_msgrcv_res_RIPC_OK(message))
    assert found == {"status": "RIPC_OK", "mtype": str(2**60), "hex": "ff00", "text": None}
    assert told(ipc.ripc_msgrcv_res_default(ipc.RIPC_ENOMSG), "receive") == {
        "status": "RIPC_ENOMSG",
        "meaning": "receive: no message of this type (ENOMSG)",
    }
