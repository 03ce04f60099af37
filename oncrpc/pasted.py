"""What people have in hand when they ask what a message is: hexadecimal in any dress, with record marks or without.

Pure. Hexadecimal may come bare, with blanks, colons or 0x, or as xxd, hexdump -C, tshark -x and tcpdump -x print it.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final, Literal, TypeAlias

from oncrpc.explain import Explanation, Programs, explain_message, explain_stream

__all__ = ["MAX_MESSAGES", "Form", "explain_bytes", "guess_form", "parse_hex"]

Form: TypeAlias = Literal["message", "stream"]
"""A bare message, as in a datagram; or a stream of records with their marks (RFC 5531, section 11)."""

MAX_MESSAGES: Final = 1000
"""Records of one stream that are explained: more help nobody."""

_OFFSET: Final = re.compile(r"^\s*(?:0x)?[0-9a-fA-F]{4,8}(:\s+|\s{2,})(?=[0-9a-fA-F]{2})")
_PREFIX: Final = re.compile(r"0[xX]|\\x")
_NOISE: Final = re.compile(r"[\s:,;.\-]+")
_WORD: Final = 4
_RPC_VERSION: Final = 2
_LAST_FRAGMENT: Final = 0x80000000


def parse_hex(text: str) -> bytes:
    """Read hexadecimal as people paste it.

    Args:
        text: Digits in pairs; blanks, colons, commas, dots, dashes and the prefixes of C between them do not count. If
            every line begins with an offset, as dumps have it, offsets and the text at the right are left out.

    Raises:
        ValueError: Something else is in it, or a digit is missing.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and all(_OFFSET.match(line) for line in lines):
        lines = [_without_columns(line) for line in lines]
    digits = _NOISE.sub("", _PREFIX.sub(" ", "\n".join(lines)))
    if wrong := re.search(r"[^0-9a-fA-F]", digits):
        message = f"{wrong[0]!r} is no hexadecimal digit"
        raise ValueError(message)
    if len(digits) % 2:
        message = f"{len(digits)} hexadecimal digits: one is missing or too many"
        raise ValueError(message)
    return bytes.fromhex(digits)


def _without_columns(line: str) -> str:
    """Return the middle of a line of a dump."""
    start = _OFFSET.match(line)
    assert start is not None
    rest = line[start.end() :].partition("|")[0].rstrip()
    # xxd and tcpdump put two blanks before the text, tshark three, and two in the middle of the bytes does hexdump -C.
    return re.split(r"\s{2,}" if ":" in start[1] else r"\s{3,}", rest)[0]


def guess_form(data: bytes) -> Form:
    """Return whether bytes begin with a record mark or with the message itself."""
    bare, marked = _is_message(data), _is_message(data[_WORD:])
    mark = int.from_bytes(data[:_WORD], "big")
    if bare and marked:
        # Few transactions are numbered like the mark of a last fragment of less than 16 MiB.
        return "stream" if mark >> 24 == _LAST_FRAGMENT >> 24 else "message"
    if not bare and not marked:
        return "stream" if mark == _LAST_FRAGMENT | max(len(data) - _WORD, 0) else "message"
    return "stream" if marked else "message"


def _is_message(data: bytes) -> bool:
    """Return whether bytes look like a call or a reply."""
    kind, version = data[_WORD : 2 * _WORD], int.from_bytes(data[2 * _WORD : 3 * _WORD], "big")
    if len(kind) < _WORD:
        return False
    return (int.from_bytes(kind, "big"), version) in {(0, _RPC_VERSION), (1, 0), (1, 1)}


def explain_bytes(
    data: bytes, programs: Programs, *, form: Form | None = None, call: tuple[int, int, int] | None = None
) -> list[Explanation]:
    """Take one message, or a stream of records, apart.

    Args:
        data: All of it.
        programs: What can be told by name.
        form: How it came; None: guessed.
        call: For replies: program, version and procedure of the call.

    Returns:
        An explanation for each message, at most MAX_MESSAGES.
    """
    if (form or guess_form(data)) == "message":
        return [explain_message(data, programs, call=call)]
    return list(islice(explain_stream(data, programs, call=call), MAX_MESSAGES))
