"""Step 4: one call and its answer, every field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipcserver.demo import calls
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import field_rows, hex_dump, legend, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipcserver.demo.stage import Stage

__all__ = ["FIELDS", "play"]

FIELDS: Final = {
    "ctx": "Which session the call is part of.",
    "session": "0 in both words: an old client has none.",
    "slot": "Of the session.",
    "seq": "Of the session.",
    "pid": "The caller's process, for people who look.",
    "key": "The name of the queue, as the programs have agreed on it.",
    "flags": "512 is 01000, IPC_CREAT: make it if it is not there.",
    "mode": "Permissions; 438 is 0666.",
    "status": "What became of it; where it is not RIPC_OK, nothing follows.",
    "id": "What later calls name the queue by.",
}
"""The fields of ipc.x that are shown here."""


def play(stage: Stage) -> Iterator[Screen]:
    """Make a queue, and take the call apart."""
    station = stage.sparc1
    wire = stage.tcp(station)
    made = wire.call(*calls.msgget(calls.KEY + 4))
    question, answer = made.sent[0].data, made.received[0].data
    asked, told = stage.explain(made, question), stage.explain(made, answer, reply=True)
    yield Screen(
        [
            (
                f"{station.user} on {station.name} asks for a message queue with the key 0x{calls.KEY + 4:x}, to be "
                f"made if it is not there: msgget(2), here procedure RIPC_MSGGET. The call takes {len(question)} "
                "bytes:"
            ),
            "",
            hex_dump(question, asked),
            "",
            legend(asked),
            "",
            (
                "Read it aloud: call; RPC 2; program 536871512, version 1, procedure 10; from alice of sparc1; no "
                "proof; this key, these flags, this mode."
            ),
        ],
        cue="shows every field",
    )
    yield Screen(
        [
            *field_rows(asked, question, sentences=FIELDS),
            "",
            (
                "The record mark and the header to the verifier are the same for every program in the world. The "
                "rest has the types of ipc.x: both sides know them, and nothing of them is in the bytes."
            ),
        ],
        cue="shows the answer",
    )
    yield Screen(
        [
            f"The answer, {len(answer)} bytes, {made.seconds * 1000:.1f} ms later:",
            "",
            hex_dump(answer, told),
            "",
            *field_rows(told, answer, sentences=FIELDS),
            "",
            (
                "The transaction id is that of the call, and nothing else says what this is an answer to. The "
                f"queue's id is [b]{safe(made.result.id)}[/]."
            ),
        ]
    )
