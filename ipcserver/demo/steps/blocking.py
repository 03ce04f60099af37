"""Step 6: a call whose answer is somebody else's doing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ipcserver.demo import calls
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import safe, side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipcserver.demo.stage import Stage

__all__ = ["play"]

_TYPE: Final = 7
_TEXT: Final = b"wake up, sparc1"


def play(stage: Stage) -> Iterator[Screen]:
    """Let sparc1 wait for a message, and sparc2 send it."""
    left, right = stage.tcp(stage.sparc1), stage.tcp(stage.sparc2)
    queue = stage.new_queue(left, 6)
    receive = left.prepare(*calls.msgrcv(queue, _TYPE, wait=True))
    left.send(receive)
    stage.pause(0.3)
    waiters = stage.waiters(stage.sparc2)
    began = receive.sent[0].at
    yield Screen(
        [
            (
                f"sparc1 calls RIPC_MSGRCV: a message of type {_TYPE} out of queue {queue}, and if there is none, "
                "wait. There is none."
            ),
            "",
            side_by_side(
                f"sparc1, {stage.sparc1.user}",
                f"sparc2, {stage.sparc2.user}",
                [(0.0, 0, f"[head]MSGRCV type {_TYPE} →[/]  and waits")],
            ),
            "",
            (
                f"Nothing goes over the wire now. The call is in the server's hands, which says that [b]{waiters} "
                f"call{'' if waiters == 1 else 's'}[/] of its clients wait{'s' if waiters == 1 else ''}; the console "
                "lists it under Waiters."
            ),
            "",
            (
                "In System V the kernel put the process to sleep. Here the process sleeps on its socket, on another "
                "machine, and the server keeps a record of a few hundred bytes for it, not a thread."
            ),
            "",
            (
                "A client has to be patient for that. The stubs that rpcgen writes give a call 25 seconds; whoever "
                "wants to wait longer says so with clnt_control()."
            ),
        ],
        cue="lets sparc2 send it",
        tick=lambda: f"[b]sparc1 has been waiting for {time.time() - began:.1f} s[/]",
    )

    send = right.prepare(*calls.msgsnd(queue, _TYPE, _TEXT))
    right.send(send)
    right.wait(send)
    left.wait(receive)
    woken = receive.received[0].at
    message = receive.result.msg.mtext
    yield Screen(
        [
            "One send, two answers. Seconds since sparc1 called, by one clock:",
            "",
            side_by_side(
                f"sparc1, {stage.sparc1.user}",
                f"sparc2, {stage.sparc2.user}",
                [
                    (0.0, 0, f"[head]MSGRCV type {_TYPE} →[/]  and waits"),
                    (send.sent[0].at - began, 1, f"[head]MSGSND type {_TYPE} →[/]"),
                    (woken - began, 0, f"[body]← {receive.result.status.name}, {safe(repr(message.decode()))}[/]"),
                    (send.received[0].at - began, 1, f"[body]← {safe(send.result.name)}[/]"),
                ],
            ),
            "",
            (
                f"sparc1 waited [b]{woken - began:.3f} s[/], and had the message "
                f"[b]{(woken - send.sent[0].at) * 1000:.1f} ms[/] after sparc2 had sent it. In between it was written "
                "to the server's journal, on disk: what is answered is kept."
            ),
            "",
            (
                f"Nobody polled. sparc1's connection carried {len(receive.sent[0].data)} bytes there and "
                f"{len(receive.received[0].data)} back, however long it took."
            ),
        ]
    )
