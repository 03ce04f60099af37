"""Step 5: XDR puts everything on multiples of four bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from ipcserver.demo import calls
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import field_rows, hex_line, safe, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipcserver.demo.stage import Stage

__all__ = ["play"]

_TEXTS: Final = (b"sun", b"suns", b"sunny")
_UNIT: Final = 4
_FIELDS: Final = {
    "ctx": "A structure in a structure: it leaves no trace in the bytes.",
    "session": "A hyper, as two words.",
    "flags": "Bits, in a number.",
    "wait_ms": "0: as long as it takes.",
    "mtype": "A hyper again: 1.",
    "mtext": "A length, the bytes, and padding.",
}


def _coloured(text: bytes, data: bytes) -> Text:
    """Return a length, a text and its padding, each in its colour."""
    end = _UNIT + len(text)
    line = Text.assemble((hex_line(data[:_UNIT]), "head"))
    for index, byte in enumerate(data[_UNIT:], _UNIT):
        line.append("  " if index % _UNIT == 0 else " ")
        line.append(f"{byte:02x}", style="body" if index < end else "pad")
    return line


def play(stage: Stage) -> Iterator[Screen]:
    """Send texts of three lengths, a number of 64 bits, and two calls that are wrong."""
    wire = stage.tcp(stage.sparc1)
    queue = stage.new_queue(wire, 5)
    sent = [(text, wire.call(*calls.msgsnd(queue, 1, text))) for text in _TEXTS]
    rows: list[Text] = []
    for text, exchange in sent:
        tail = exchange.message[-(_UNIT + len(text) + -len(text) % _UNIT) :]
        name = Text(f"{text.decode()!r:<8}", style="fact")
        rows.append(Text.assemble(name, "  ", _coloured(text, tail), f"   {exchange.result.name}"))
    yield Screen(
        [
            (
                "XDR writes everything in units of four bytes, the highest byte first [offset](RFC 4506, 3)[/]. What "
                "is shorter gets zeros behind it. sparc1 sent three messages; this is the end of each call, from "
                "where the text begins:"
            ),
            "",
            Text.assemble("          ", ("length      ", "head"), ("text and ", "body"), ("padding", "pad")),
            *rows,
            "",
            (
                "The length counts the text and not the padding. So 3, 4 and 5 characters take 8, 8 and 12 bytes, "
                "and whatever follows is at a multiple of four again."
            ),
            "",
            (
                "[aside]“Why is the XDR unit four bytes wide?” asks RFC 1014 of 1987, and answers: as a compromise. "
                "“Four is big enough to support most architectures efficiently, except for rare machines such as the "
                "eight-byte aligned Cray”, and small enough not to waste much.[/]"
            ),
        ],
        cue="shows how other types look",
    )

    told = stage.explain(sent[0][1], sent[0][1].sent[0].data)
    data = sent[0][1].sent[0].data
    yield Screen(
        [
            (
                "The arguments of the first of these calls. An enumeration, a flag and a short number each take four "
                "bytes; a number of 64 bits (hyper) takes eight. ipc.x declares those as two words, high and low, "
                "which is the same to the byte: the oldest rpcgen knows no hyper."
            ),
            "",
            *field_rows(told, data, only=("body",), sentences=_FIELDS),
            "",
            "There are no names and no types in it. Who has not got ipc.x sees numbers.",
        ],
        cue="sends two calls that are not right",
    )

    odd = wire.prepare(*calls.msgsnd(queue, 1, b"sun"))
    odd.message = odd.message[:-1] + b"!"
    wire.send(odd)
    wire.wait(odd)
    short = wire.prepare(*calls.msgsnd(queue, 1, b"sun"))
    short.message = short.message[: -2 * _UNIT] + (9).to_bytes(_UNIT, "big") + short.message[-_UNIT:]
    wire.send(short)
    wire.wait(short)
    shown = stage.explain(short, short.sent[0].data)
    outcome = stage.outcomes(short, 1)
    yield Screen(
        [
            (
                "Padding is to be zero. There are clients that leave in it what lay there, so a server does well not "
                "to look. sparc1 sent an exclamation mark in the padding:"
            ),
            "",
            table(
                ("end of the call", "answer"),
                [
                    (
                        f"{odd.message[-2 * _UNIT :].hex(' ', 4)}",
                        safe(odd.result.name if odd.result is not None else odd.error),
                    )
                ],
            ),
            "",
            "A wrong length is another matter. Here it says 9, and there are four bytes:",
            "",
            table(
                ("end of the call", "answer"),
                [
                    (
                        f"{short.message[-2 * _UNIT :].hex(' ', 4)}",
                        safe(outcome[0].outcome if outcome else short.error),
                    )
                ],
            ),
            "",
            (
                "[b]GARBAGE_ARGS[/] is all that the protocol has to say [offset](RFC 5531, 9)[/]. Our explainer says "
                f"where: [b]{safe(shown.fault)}[/]"
            ),
            "",
            "The connection is none the worse for it: the record mark told where the next call begins.",
        ]
    )
