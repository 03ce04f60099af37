"""Step 2: a client asks where a program is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipcserver._gen.ipc import IPCPROG, IPCVERS
from ipcserver.demo import calls
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import field_rows, hex_dump, table
from ipcserver.demo.steps.registration import MAPPING
from rpcbind_reg._gen.portmap import IPPROTO_TCP, IPPROTO_UDP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipcserver.demo.stage import Stage

__all__ = ["play"]

_MOUNT: Final = 100005


def play(stage: Stage) -> Iterator[Screen]:
    """Ask for our program, for one that is not there, and call at the port that was told."""
    ready = stage.host.ready
    asking = stage.sparc1.open("udp", ready.portmapper, anonymous=True)
    found = asking.call(*calls.getport(IPCPROG, IPCVERS, IPPROTO_TCP))
    question, answer = found.sent[0].data, found.received[0].data
    asked, told = stage.explain(found, question), stage.explain(found, answer, reply=True)
    yield Screen(
        [
            (
                "sparc1 wants to call program 536871512 over TCP, and knows the server's address and port "
                f"{ready.portmapper}. It asks, in one datagram of {len(question)} bytes:"
            ),
            "",
            hex_dump(question, asked),
            "",
            *field_rows(asked, question, only=("body",), sentences=MAPPING),
            "",
            f"and is told, in {len(answer)} bytes, {found.seconds * 1000:.1f} ms later:",
            "",
            hex_dump(answer, told),
            "",
            *field_rows(told, answer, only=("body",), sentences=MAPPING),
        ],
        cue="asks two questions more",
    )

    udp = asking.call(*calls.getport(IPCPROG, IPCVERS, IPPROTO_UDP))
    absent = asking.call(*calls.getport(_MOUNT, 1, IPPROTO_UDP))
    calling = stage.sparc1.open("tcp", found.result)
    null = calling.call(*calls.ipc_null())
    yield Screen(
        [
            table(
                ("program", "vers", "proto", "answer"),
                [
                    (str(IPCPROG), str(IPCVERS), "tcp", f"port {found.result}"),
                    (str(IPCPROG), str(IPCVERS), "udp", f"port {udp.result}"),
                    (f"{_MOUNT} (mountd of NFS)", "1", "udp", f"{absent.result}: not registered"),
                ],
            ),
            "",
            (
                f"Then sparc1 connected to port {found.result} and called procedure 0, which every program has and "
                f"which does nothing. The answer came after [b]{null.seconds * 1000:.1f} ms[/]: somebody is there."
            ),
            "",
            (
                "Only that call could tell. The portmapper answers from its list, and does not look whether the "
                "program still lives."
            ),
            "",
            (
                "[aside]The fixed port of the portmapper made the others free: NFS's mountd, the lock manager and "
                "the yellow pages took what the system gave them. The price came with firewalls, which like ports "
                "that stay where they are. This server has one too, 600, where it may have it.[/]"
            ),
        ]
    )
