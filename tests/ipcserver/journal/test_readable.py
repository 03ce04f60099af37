from __future__ import annotations

import json

from ipcserver._gen import ipc
from ipcserver._gen import machine as gen
from ipcserver.journal.readable import as_line, as_object, plain
from ipcserver.machine import LINUX, body, start

CTX = ipc.ripc_ctx(ipc.ripc_hyper(0, 5), 1, 7, 42)


def command(what: object, op: int) -> gen.machine_command:
    """Make a command around a procedure's argument."""
    return gen.machine_command(9, 10**9, 1_700_000_000, gen.machine_caller(1000, 100, [4]), 3, 0xABC, body(op, what))


def test_a_send_is_readable_with_its_text() -> None:
    send = command(ipc.ripc_msgsnd_args(CTX, 1, 0, 0, ipc.ripc_hyper(0, 2), b"hello"), 11)
    assert as_line(4, send) == (
        "       4         9 2023-11-14T22:13:20+00:00 uid 1000   conn 3     MSGSND             "
        "session=5/1/7 id=1 flags=0 wait_ms=0 mtype=2 mtext='hello'"
    )
    shown = json.loads(json.dumps(as_object(4, send)))
    assert (shown["op"], shown["uid"], shown["gids"], shown["time"]) == (
        "MSGSND",
        1000,
        [4],
        "2023-11-14T22:13:20+00:00",
    )
    assert shown["args"]["mtext"] == {"text": "hello"}


def test_bytes_that_are_no_text_are_shown_in_hex_and_long_ones_are_cut_in_lines_alone() -> None:
    send = command(ipc.ripc_msgsnd_args(CTX, 1, 0, 0, ipc.ripc_hyper(-1, 0xFFFFFFFF), b"\xff" * 500), 11)
    assert "... (1000 characters)" in as_line(1, send)
    assert as_object(1, send)["args"]["mtext"] == {"hex": "ff" * 500}
    assert as_object(1, send)["args"]["mtype"] == -1


def test_a_text_with_control_characters_cannot_reach_a_terminal() -> None:
    send = command(ipc.ripc_msgsnd_args(CTX, 1, 0, 0, ipc.ripc_hyper(0, 1), b"\x1b[2J"), 11)
    assert "\x1b" not in as_line(1, send)


def test_commands_without_arguments_and_the_start_are_readable() -> None:
    tick = gen.machine_command(1, 0, 0, gen.machine_caller(0, 0, []), 0, 0, body(gen.machine_op.OP_TICK))
    assert as_line(1, tick).endswith("TICK")
    assert as_object(1, tick)["args"] is None
    begun = gen.machine_command(1, 0, 10**15, gen.machine_caller(0, 0, []), 0, 0, start(7, LINUX))
    assert as_object(1, begun)["args"]["boot"] == 7
    assert "SERVER_STARTED" in as_line(1, begun)


def test_a_goodbye_shows_the_session() -> None:
    assert as_line(1, command(ipc.ripc_hyper(0, 5), 3)).endswith("GOODBYE            5")


def test_names_stand_for_enumerators() -> None:
    assert plain(ipc.RIPC_EIO) == "RIPC_EIO"
