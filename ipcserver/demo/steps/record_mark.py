"""Step 3: how messages are told apart in a stream of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from ipcserver.demo import calls
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import bits, hex_dump, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipcserver.demo.stage import Stage

__all__ = ["play"]

_FRAGMENTS: Final = (10, 17)
_MARK: Final = 4


def play(stage: Stage) -> Iterator[Screen]:
    """Make the smallest call there is by datagram, over a stream, and over a stream in pieces."""
    ready = stage.host.ready
    datagrams = stage.sparc1.open("udp", ready.port, anonymous=True)
    stream = stage.sparc1.open("tcp", ready.port, anonymous=True)
    by_udp = datagrams.call(*calls.ipc_null())
    by_tcp = stream.call(*calls.ipc_null())
    udp, tcp = by_udp.sent[0].data, by_tcp.sent[0].data
    yield Screen(
        [
            (
                "A datagram has a beginning and an end. TCP is a stream of bytes and has neither, so over TCP each "
                "message gets a [mark]record mark[/] in front [offset](RFC 5531, 11)[/]."
            ),
            "",
            f"The smallest call there is, procedure 0 without a credential. Over UDP, {len(udp)} bytes:",
            "",
            hex_dump(udp, stage.explain(by_udp, udp)),
            "",
            f"Over TCP, {len(tcp)} bytes:",
            "",
            hex_dump(tcp, stage.explain(by_tcp, tcp)),
            "",
            (
                "But for the mark and the transaction id they are the same. Both were answered: the answer over UDP "
                f"has {len(by_udp.received[0].data)} bytes, that over TCP {len(by_tcp.received[0].data)}."
            ),
        ],
        cue="shows the mark, byte by byte",
    )

    mark = tcp[:_MARK]
    size = int.from_bytes(mark, "big") & 0x7FFFFFFF
    yield Screen(
        [
            "The four bytes of the mark of this call:",
            "",
            table(
                ("byte", "hex", "bits", "says"),
                [
                    (
                        str(index + 1),
                        f"[mark]{byte:02x}[/]",
                        f"{byte:08b}",
                        "highest bit: the last fragment; the others begin the length"
                        if index == 0
                        else f"the length: {byte}"
                        if byte
                        else "part of the length: 0",
                    )
                    for index, byte in enumerate(mark)
                ],
            ),
            "",
            Text.assemble(bits(mark), f"   last: {'yes' if mark[0] & 0x80 else 'no'}, length: {size}"),
            "",
            (
                "A fragment has at most 2,147,483,647 bytes, for 31 bits count them. The RFC adds: “Note that this "
                "record specification is NOT in XDR standard form!” A flag and a number share a word."
            ),
            "",
            (
                "[aside]A server that believes the length before it has the bytes lends two gigabytes to whoever "
                "sends four bytes. This one refuses what is over its limit at the mark, and reserves memory as bytes "
                "come.[/]"
            ),
        ],
        cue="sends one call in three fragments",
    )

    pieces = stream.prepare(*calls.ipc_null())
    stream.send(pieces, fragments=_FRAGMENTS)
    stream.wait(pieces)
    data = pieces.sent[0].data
    rows, at = [], 0
    while at < len(data):
        word = data[at : at + _MARK]
        length = int.from_bytes(word, "big") & 0x7FFFFFFF
        rows.append(
            (
                f"[mark]{word.hex(' ')}[/]",
                "yes" if word[0] & 0x80 else "no",
                str(length),
                data[at + _MARK : at + _MARK + length].hex(" ", -4),
            )
        )
        at += _MARK + length
    yield Screen(
        [
            (
                "A record may come in several fragments: a sender that does not know yet how long a message will be "
                "sends what it has. sparc1 sent the same call once more, cut at odd places:"
            ),
            "",
            table(("mark", "last", "bytes", "fragment"), rows),
            "",
            (
                f"The answer came in {pieces.seconds * 1000:.1f} ms, and is the same but for the transaction id: "
                f"[b]{pieces.received[0].data[_MARK:].hex(' ', -4)}[/]"
            ),
            "",
            (
                "[aside]OpenVMS sends calls of more than 4,000 bytes in this way. Many a younger implementation was "
                "only ever tried with one fragment, and fails here. How TCP cuts the bytes has nothing to do with "
                "it: a receiver counts, and never takes one read for one message.[/]"
            ),
        ]
    )
