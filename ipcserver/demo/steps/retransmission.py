"""Step 7: the same call twice, done once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ipcserver.demo import calls
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import hex_line, safe, table
from ipcserver.demo.stage import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipcserver.demo.stage import Stage

__all__ = ["play"]

_TEXT: Final = b"pay 100 to bob"
_WAIT: Final = 1.0


def play(stage: Stage) -> Iterator[Screen]:
    """Send one datagram twice, and count what became of it in three places."""
    asking = stage.tcp(stage.sparc1)
    queue = stage.new_queue(asking, 7)
    wire = stage.udp(stage.sparc1)
    call = wire.prepare(*calls.msgsnd(queue, 1, _TEXT))
    wire.send(call)
    wire.wait(call)
    yield Screen(
        [
            (
                "UDP loses datagrams. A client that gets no answer cannot know whether its call was lost or the "
                "answer; all that it can do is to send the call again."
            ),
            "",
            f"sparc1 sent {safe(repr(_TEXT.decode()))} to queue {queue}, over UDP:",
            "",
            table(
                ("time", "datagram", "xid", "bytes"),
                [
                    (clock(call.sent[0].at), "call →", f"0x{call.xid:08x}", str(len(call.sent[0].data))),
                    (
                        clock(call.received[0].at),
                        f"← answer, {safe(call.result.name)}",
                        f"0x{call.xid:08x}",
                        str(len(call.received[0].data)),
                    ),
                ],
            ),
            "",
            (
                "Now suppose that the answer was lost on its way: we throw it away. After a second without an answer "
                "sparc1 will do what every client does, and send [b]the same bytes[/] again, with the same "
                "transaction id."
            ),
        ],
        cue="sends it again",
    )

    stage.pause(max(0.0, call.sent[0].at + _WAIT - time.time()))
    first = call.received[0]
    wire.send(call)
    wire.wait(call, 2)
    second = call.received[1]
    outcomes = stage.outcomes(call, 2)
    length = once = asking.call(*calls.msgstat(queue)).result.ds.qnum
    kept = stage.journalled(call.xid)
    same_call = call.sent[0].data == call.sent[1].data
    yield Screen(
        [
            table(
                ("time", "datagram", "its first 8 bytes", "the server says"),
                [
                    row
                    for index, (sent, got) in enumerate(zip(call.sent, call.received, strict=True))
                    for row in (
                        (clock(sent.at), "call →", hex_line(sent.data[:8]), ""),
                        (
                            clock(got.at),
                            "← answer",
                            hex_line(got.data[:8]),
                            f"[b]{outcomes[index].outcome}[/]" if index < len(outcomes) else "",
                        ),
                    )
                ],
            ),
            "",
            (
                f"Both calls are the same to the byte: [b]{'yes' if same_call else 'no'}[/]. Both answers: "
                f"[b]{'yes' if first.data == second.data else 'no'}[/]. And how often was the message put into the "
                "queue?"
            ),
            "",
            table(
                ("who was asked", "answer"),
                [
                    ("the queue: how many messages?", f"[good]{length}[/]"),
                    (f"the journal on disk: commands with xid 0x{call.xid:08x}", f"[good]{kept}[/]"),
                    (
                        "the replay cache: answered again so far",
                        f"[good]{outcomes[-1].resent if outcomes else 0}[/]",
                    ),
                ],
            ),
            "",
            (
                "The second call never reached the program. The server remembers caller, xid, procedure and a digest "
                "of all the bytes of recent calls, and sends the answer that it gave before. RFC 5531, 5 allows that "
                "and does not demand it."
            ),
        ],
        cue="sends the message in a new call",
    )

    other = wire.call(*calls.msgsnd(queue, 1, _TEXT))
    length = asking.call(*calls.msgstat(queue)).result.ds.qnum
    yield Screen(
        [
            "Then the same message in a new call:",
            "",
            table(
                ("xid", "the server says", "messages in the queue"),
                [
                    (f"0x{call.xid:08x}", ", ".join(each.outcome for each in outcomes), str(once)),
                    (
                        f"0x{other.xid:08x}",
                        ", ".join(each.outcome for each in stage.outcomes(other, 1)),
                        f"[b]{length}[/]",
                    ),
                ],
            ),
            "",
            (
                "The transaction id makes the difference, and the client chooses it. A client that takes a new one "
                "for each attempt pays twice."
            ),
            "",
            (
                "[aside]NFS lived with this from its beginning. Reading a block twice does no harm; removing a file "
                "twice tells the client that the file that it has just removed is not there. RFC 1813 refers to Chet "
                "Juszczak's description of a cache like this one, and warns of the same limits: it holds only so "
                "much, and seldom survives its server.[/]"
            ),
            "",
            (
                "Ours is in memory too. What must be done once even over a crash needs more than RPC has: numbers "
                "that the journal keeps, which ipc.x calls a session."
            ),
        ]
    )
