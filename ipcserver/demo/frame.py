"""What comes before the steps and after them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipcserver.config import PORT, PORTMAPPER_PORT
from ipcserver.demo.host import HOST
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import facts, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipcserver.demo.stage import Stage

__all__ = ["beginning", "end"]


def beginning(stage: Stage) -> Iterator[Screen]:
    """Tell what runs where."""
    host, ready = stage.host, stage.host.ready
    why = {int(note.split()[0]): note for note in ready.notes}
    stations = [
        (f"[b]{each.name}[/]", f"{each.address}, where {each.user} works, uid {each.uid}")
        for each in (stage.sparc1, stage.sparc2)
    ]
    yield Screen(
        [
            (
                "A tour of Sun RPC in nine steps. What you see happens now, on this machine: real programs, real "
                "sockets, and every byte is one that was sent."
            ),
            "",
            facts(
                [
                    (
                        "[b]portmapper[/]",
                        f"{HOST} port {ready.portmapper}{_instead(why.get(PORTMAPPER_PORT), PORTMAPPER_PORT)}",
                    ),
                    ("[b]ipcserver[/]", f"{HOST} port {ready.port}{_instead(why.get(PORT), PORT)}"),
                    ("", f"both in process {host.pid}; its journal is in {safe(host.journal.parent)}"),
                    *stations,
                    ("[b]console[/]", f"[b]{ready.console}[/]  open it beside this" if ready.console else "none"),
                ]
            ),
            "",
            (
                "The two client machines are two sets of sockets of this program. They speak plain RPC as a "
                "workstation of 1988 did, without anything that is ours."
            ),
            "",
            (
                "[aside]IANA lists port 600 as “ipcserver, Sun IPC server”. Sun's own protocol on it is lost: no "
                "source, no capture, no manual page is known, nor whether it was RPC at all. “IPC” there most likely "
                "meant Integrated PC, a PC on a card. We occupy the number; the program is ours.[/]"
            ),
        ],
        cue="begins",
    )


def _instead(why: str | None, usual: int) -> str:
    """Return why a port is not the usual one."""
    return "" if why is None else f", for {usual} is {why.partition(' is ')[2]}"


def end(stage: Stage) -> Iterator[Screen]:
    """Say where to go from here."""
    ready = stage.host.ready
    yield Screen(
        [
            (
                "A number that finds a port. Four bytes that end a record. A call of forty bytes, all of them zeros "
                "and small numbers. Four-byte units, the highest byte first. Answers that may take hours. A number "
                "that makes a repetition harmless. A name that proves nothing. A journal that outlives the process."
            ),
            "",
            (
                "All but the last are what Sun published in 1988, in RFC 1050 and RFC 1057, and speaks to this day: "
                "test instruments, NFS, and every machine that has an rpcbind. No byte of what you saw has changed "
                "since."
            ),
            "",
            "The server still runs. Try it, in another terminal:",
            "",
            facts(
                [
                    (f"ipcserver ipcs -H {HOST}:{ready.port}", "what the steps left behind"),
                    (f"rpcbind-reg list {HOST}:{ready.portmapper}", "the portmapper's list"),
                    (f"oncrpc ping {HOST} ipcprog --port {ready.port}", "procedure 0"),
                    ("oncrpc explain HEX", "any message, byte by byte"),
                ]
            ),
            "",
            "To read on: docs/explanation/history.md, with sources; docs/tutorial/demo.md for whoever shows this.",
        ],
        cue="ends the tour",
    )
