"""Step 1: a program tells the portmapper where it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ipcserver._gen.ipc import IPCPROG, IPCVERS
from ipcserver.demo import calls
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import field_rows, hex_dump, legend, safe, table
from ipcserver.demo.stage import clock
from oncrpc.explain import explain_message
from rpcbind_reg._gen.portmap import PMAP_PROG, PMAPPROC_SET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from ipcserver.demo.clients import Wire
    from ipcserver.demo.stage import Stage

__all__ = ["MAPPING", "play", "registered"]

MAPPING: Final = {
    "prog": "The program.",
    "vers": "Its version: each is registered for itself.",
    "prot": "The transport, by its number in IP: 6 is TCP, 17 is UDP.",
    "port": "The port; in a question it says nothing.",
}
"""The fields of the portmapper's arguments."""

_PROTOCOLS: Final = {6: "tcp", 17: "udp"}
_NAMES: Final = {PMAP_PROG: "portmapper", IPCPROG: "IPCPROG, ours"}


def registered(wire: Wire) -> Table:
    """Ask the portmapper for its list, and return it as ``rpcinfo -p`` would show it."""
    rows = []
    row = wire.call(*calls.dump()).result
    while row is not None:
        each, row = row.map, row.next
        protocol = _PROTOCOLS.get(each.prot, str(each.prot))
        rows.append((str(each.prog), str(each.vers), protocol, str(each.port), safe(_NAMES.get(each.prog, ""))))
    return table(("program", "vers", "proto", "port", "name"), rows)


def play(stage: Stage) -> Iterator[Screen]:
    """Show the list without the program, let it register, and show the list again."""
    ready = stage.host.ready
    stage.host.order("unregister")
    wire = stage.sparc1.open("tcp", ready.portmapper, anonymous=True)
    yield Screen(
        [
            (
                "A program of Sun RPC has a number, not a port: ours is [b]536871512[/] (0x20000258). On which port "
                "it listens is the affair of its machine, and may change with every start. The [b]portmapper[/], "
                "program 100000, keeps the list. It is the one program whose port everybody must know: 111, in the "
                "list of assigned numbers since October 1984 (RFC 923)."
            ),
            "",
            "sparc1 asks it for the whole list, PMAPPROC_DUMP, as [b]rpcinfo -p[/] does:",
            "",
            registered(wire),
            "",
            (
                "The portmapper knows itself. The IPC server runs already, but it has not registered: nobody could "
                "find it."
            ),
        ],
        cue="lets the server register",
    )

    since = time.time()
    stage.host.order("register")
    seen = stage.answers_on_tape(since, "portmapper")
    rows = []
    for question, answer in seen:
        told = explain_message(question.data, stage.programs)
        values = [part.value for part in told.parts if part.name in {"vers", "prot", "port"}][-3:]
        protocol = _PROTOCOLS.get(int(values[1]), values[1])
        granted = bool(int.from_bytes(answer.data[-4:], "big"))
        rows.append(
            (
                clock(question.at),
                told.title.rpartition(" ")[2],
                f"vers {values[0]}, proto {protocol}, port {values[2]}",
                "TRUE" if granted else "FALSE",
            )
        )
    sets = [question for question, _ in seen if int.from_bytes(question.data[20:24], "big") == PMAPPROC_SET]
    last = sets[-1].data
    told = explain_message(last, stage.programs)
    yield Screen(
        [
            "The server called the portmapper of its machine, over UDP. This is what the portmapper heard:",
            "",
            table(("time", "procedure", f"program {IPCPROG}", "answer"), rows),
            "",
            (
                "UNSET goes first, as servers have always done it: what a predecessor left that crashed would be in "
                "the way. Then one SET for each transport [offset](RFC 1833, 3.2)[/]."
            ),
            "",
            f"The last of these calls, all of its {len(last)} bytes:",
            "",
            hex_dump(last, told),
            legend(told),
        ],
        cue="shows what the arguments say",
    )

    other = stage.sparc2.open("tcp", ready.portmapper, anonymous=True)
    theft = other.call(*calls.unset(IPCPROG, IPCVERS))
    told_thief = safe(theft.error) if theft.error is not None else "TRUE" if theft.result else "FALSE"
    yield Screen(
        [
            "The arguments are four numbers. Nothing more is ever registered: no name, no types, no owner.",
            "",
            *field_rows(told, last, only=("body",), sentences=MAPPING),
            "",
            registered(wire),
            "",
            "May anybody do that? RFC 1833 lets only programs of the same machine change the list, and a source "
            "address is all that the first portmappers could go by."
            + (
                f" sparc2 just tried to remove the entry, from {other.local[0]}. The answer: [b]{told_thief}[/]."
                if stage.separate
                else ""
            ),
        ]
    )
