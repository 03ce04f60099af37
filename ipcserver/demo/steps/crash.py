"""Step 9: the server is killed, and comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ipcserver.demo import calls
from ipcserver.demo.host import describe_signal
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import safe, side_by_side, table, times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipcserver.demo.stage import Stage

__all__ = ["play"]

_KEPT: Final = b"written before the crash"
_LATER: Final = b"sent after the crash"
_TYPE: Final = 9
_AGAIN: Final = 0.5
_DOWN: Final = 1.2


def play(stage: Stage) -> Iterator[Screen]:
    """Leave a message, let a receive wait, kill the server, start it again, and see what is left."""
    host = stage.host
    stream = stage.tcp(stage.sparc1)
    queue = stage.new_queue(stream, 9)
    kept = stream.call(*calls.msgsnd(queue, 1, _KEPT))
    waiting = stage.udp(stage.sparc2)
    receive = waiting.prepare(*calls.msgrcv(queue, _TYPE, wait=True))
    receive.again = _AGAIN
    waiting.send(receive)
    began = receive.sent[0].at
    stage.pause(0.3)
    pid = host.pid
    yield Screen(
        [
            table(
                ("who", "what", "answer"),
                [
                    (
                        "sparc1, TCP",
                        f"MSGSND type 1, {safe(repr(_KEPT.decode()))}",
                        f"[good]{safe(kept.result.name)}[/]",
                    ),
                    ("sparc2, UDP", f"MSGRCV type {_TYPE}, xid 0x{receive.xid:08x}", "none yet: it waits"),
                ],
            ),
            "",
            (
                "RIPC_OK means that the message is on disk: the server commits to its journal first and answers "
                "then. sparc2 waits for a message that is not there, and sends its call again every half second, for "
                "it cannot know whether the server heard it. The server knows the xid, and drops the repetitions."
            ),
            "",
            (
                f"Portmapper, server and console are one process here, number [b]{pid}[/]. It is about to be killed "
                "with SIGKILL, which cannot be caught: nothing is flushed, nobody is told. A power cut, but for the "
                "disk."
            ),
        ],
        cue=f"is kill -9 {pid}",
        tick=lambda: (
            f"[b]sparc2 has waited {time.time() - began:.1f} s, and sent its call {times(len(receive.sent))}[/]"
        ),
    )

    before, refused = len(receive.sent), waiting.refusals
    status = host.kill()
    killed = time.time()
    stage.pause(_DOWN)
    yield Screen(
        [
            f"Process {pid} is dead: [bad]{describe_signal(status)}[/].",
            "",
            table(
                ("who", "what it sees"),
                [
                    (
                        "sparc1, TCP",
                        f"{(stream.lost_at - killed) * 1000:+.0f} ms: [bad]{safe(stream.lost)}[/]"
                        if stream.lost
                        else "nothing yet",
                    ),
                    (
                        "sparc2, UDP",
                        (
                            f"sent again {times(len(receive.sent) - before)}; {times(waiting.refusals - refused)} the "
                            "network answered: port unreachable"
                        ),
                    ),
                    ("the console", "no answer: your browser tries again"),
                ],
            ),
            "",
            (
                "sparc1's program gets an error, RPC_CANTRECV in Sun's library, and has to connect again. sparc2's "
                "has no connection that could break. It goes on asking; “NFS server not responding, still trying” "
                "was what workstations wrote on their consoles meanwhile."
            ),
            "",
            (
                "RFC 1094, 1.3, on NFS: “a client need only retry a request until the server responds; it does not "
                "even need to know that the server has crashed”."
            ),
        ],
        cue="starts the server again",
        tick=lambda: f"[b]sparc2 is still trying: sent {times(len(receive.sent))}[/]",
    )

    down = len(receive.sent)
    host.start()
    host.order("register")
    up = time.time()
    stage.loop.run(5, lambda: len(receive.sent) > down)
    again = stage.tcp(stage.sparc1)
    found = again.call(*calls.msgrcv(queue, 1, wait=False))
    send = again.call(*calls.msgsnd(queue, _TYPE, _LATER))
    waiting.wait(receive)
    journal = [line.partition(" info ")[2].strip() for line in host.log if "replayed in" in line]
    told = journal[0].rpartition(",")[2].strip() if journal else ""
    yield Screen(
        [
            (
                f"A new process, [b]{host.pid}[/], on the same ports; its journal was {safe(told) or 'replayed'}, "
                "before the port opened. The portmapper's list died with its process, so the server registered anew."
            ),
            "",
            side_by_side(
                "sparc1, TCP",
                "sparc2, UDP",
                [
                    (0.0, 1, f"[head]MSGRCV type {_TYPE} →[/] 0x{receive.xid:08x}"),
                    (killed - began, 0, "[bad]connection lost[/]"),
                    (killed - began, 1, "goes on sending"),
                    (up - began, 0, "connects again"),
                    (found.sent[0].at - began, 0, "[head]MSGRCV type 1 →[/]"),
                    (found.received[0].at - began, 0, f"[good]← {safe(repr(found.result.msg.mtext.decode()))}[/]"),
                    (send.sent[0].at - began, 0, f"[head]MSGSND type {_TYPE} →[/]"),
                    (receive.received[0].at - began, 1, f"[good]← {safe(repr(receive.result.msg.mtext.decode()))}[/]"),
                ],
            ),
            "",
            (
                "The message is there, once. And sparc2's receive, begun with a server that is dead, was answered by "
                f"its successor after {receive.seconds:.1f} s: {len(receive.sent)} datagrams, one transaction id."
            ),
            "",
            (
                "[aside]An old client cannot have everything: a crash between the taking of a message and the answer "
                "loses it. In a session the journal keeps the answer until the client says that it came.[/]"
            ),
        ]
    )
