"""What comes before the steps and after them."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from ipcserver.config import PORT, PORTMAPPER_PORT
from ipcserver.demo.host import HOST
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import facts, safe, table
from ipcserver.demo.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
                "The two client machines are sets of sockets of this program. They speak plain RPC, as a workstation "
                "of 1988 did, without anything of ours."
            ),
            "",
            (
                "[aside]IANA lists port 600 as “ipcserver, Sun IPC server”. Sun's own protocol on it is lost: no "
                "source, no capture, no manual page is known, nor whether it was RPC at all. “IPC” there most likely "
                "meant Integrated PC, a PC on a card. We occupy the number; the program is ours.[/]"
            ),
            "",
            table(("the steps", ""), _in_two_columns([f"{n}  {step.title}" for n, step in enumerate(STEPS, 1)])),
        ],
        cue="begins",
    )


def _in_two_columns(items: Sequence[str]) -> list[tuple[str, str]]:
    """Return a list as rows of two, read downwards."""
    half = -(-len(items) // 2)
    return list(zip_longest(items[:half], items[half:], fillvalue=""))


def _instead(why: str | None, usual: int) -> str:
    """Return why a port is not the usual one."""
    return "" if why is None else f", for {usual} is {why.partition(' is ')[2]}"


def end(stage: Stage) -> Iterator[Screen]:
    """Say where to go from here."""
    ready = stage.host.ready
    yield Screen(
        [
            (
                "You have seen a number find a port, four bytes end a record, and a call of forty bytes, most of "
                "them zero; units of four bytes, the highest first; an answer that takes as long as it takes; a "
                "number that makes a repetition harmless; a name that proves nothing; and a journal that outlives "
                "its process."
            ),
            "",
            (
                "All but the journal is what Sun published in 1988, in RFC 1050 and RFC 1057, and what test "
                "instruments, NFS and every rpcbind still speak, byte for byte."
            ),
            "",
            "The server still runs. Try it, in another terminal:",
            "",
            facts(
                [
                    (f"ipcserver ipcs -H {HOST}:{ready.port}", "what the steps left behind"),
                    (f"rpcbind-reg list {HOST}:{ready.portmapper}", "the portmapper's list"),
                    (f"oncrpc ping -c 3 {HOST} ipcprog --port {ready.port}", "procedure 0"),
                    ("oncrpc explain HEX", "any message, byte by byte"),
                ]
            ),
            "",
            "To read on: docs/explanation/history.md, with sources; docs/tutorial/demo.md for whoever shows this.",
        ],
        cue="ends the tour",
    )
