"""RM: records and fragments on byte streams (RFC 5531, section 11)."""

from __future__ import annotations

import struct
import time
from typing import Final

from oncrpc.check import wire
from oncrpc.check.case import STREAMS, Deviation, Register
from oncrpc.check.expect import null_success, reply, still_alive
from oncrpc.check.probe import Closed, Probe, Silence

register = Register()

SECTION: Final = "RFC 5531, section 11"
ONE_OR_MORE: Final = "A record is composed of one or more record fragments."
ZERO_BYTES: Final = "A record fragment is a four-byte header followed by 0 to (2**31) - 1 bytes of fragment data."


def _send_cut(probe: Probe, what: str, data: bytes, message: bytes) -> str:
    """Send a record as given and expect its NULL answered."""
    probe.note(what, data)
    with probe.connect() as talk:
        talk.send_raw(data)
        return null_success(talk.receive(), message)


@register.case("RM-1", "a record of one fragment is answered", SECTION, ONE_OR_MORE, transports=STREAMS)
def one_fragment(probe: Probe) -> object:
    message = probe.null()
    return _send_cut(probe, "NULL in one fragment", wire.record(message), message)


@register.case("RM-2", "a record of two fragments is answered", SECTION, ONE_OR_MORE, transports=STREAMS)
def two_fragments(probe: Probe) -> object:
    message = probe.null()
    return _send_cut(probe, "NULL in fragments of 20 and 20 bytes", wire.record(message, 20), message)


@register.case("RM-3", "fragments may be cut inside a word", SECTION, ONE_OR_MORE, transports=STREAMS)
def odd_fragments(probe: Probe) -> object:
    message = probe.null()
    return _send_cut(probe, "NULL in fragments of 3, 1, 7 and 29 bytes", wire.record(message, 3, 1, 7), message)


@register.case("RM-4", "a record may consist of fragments of one byte", SECTION, ONE_OR_MORE, transports=STREAMS)
def byte_fragments(probe: Probe) -> object:
    message = probe.null()
    return _send_cut(probe, "NULL in 40 fragments of 1 byte", wire.record(message, *[1] * 39), message)


@register.case("RM-5", "an empty fragment may stand first", SECTION, ZERO_BYTES, transports=STREAMS)
def empty_first(probe: Probe) -> object:
    message = probe.null()
    return _send_cut(probe, "an empty fragment, then NULL", wire.record(message, 0), message)


@register.case("RM-6", "an empty fragment may stand between others", SECTION, ZERO_BYTES, transports=STREAMS)
def empty_between(probe: Probe) -> object:
    message = probe.null()
    return _send_cut(probe, "NULL with an empty fragment in the middle", wire.record(message, 20, 0), message)


@register.case("RM-7", "an empty fragment may be the last", SECTION, ZERO_BYTES, transports=STREAMS)
def empty_last(probe: Probe) -> object:
    message = probe.null()
    return _send_cut(probe, "NULL with an empty last fragment", wire.record(message, len(message)), message)


@register.case("RM-8", "a record may have over a thousand fragments", SECTION, ONE_OR_MORE, transports=STREAMS)
def thousand_fragments(probe: Probe) -> object:
    expected = "SUCCESS (surplus arguments ignored), or GARBAGE_ARGS"
    message = probe.null(args=bytes(1000))
    data = wire.record(message, *[1] * 1039)
    probe.note("NULL with 1,000 bytes of surplus arguments, in 1,040 fragments of 1 byte", data)
    with probe.connect() as talk:
        talk.send_raw(data)
        got = reply(talk.receive(), expected)
    if not got.accepted or got.stat not in (wire.SUCCESS, wire.GARBAGE_ARGS):
        raise Deviation(expected, got)
    return got


@register.case(
    "RM-9",
    "bytes may arrive one at a time",
    SECTION,
    "When RPC messages are passed on top of a byte stream transport protocol (like TCP), it is necessary to delimit "
    "one message from another",
    transports=STREAMS,
)
def byte_at_a_time(probe: Probe) -> object:
    message = probe.null()
    probe.note("NULL, each byte in a segment of its own", wire.record(message))
    with probe.connect() as talk:
        for byte in wire.record(message):
            talk.send_raw(bytes((byte,)))
            time.sleep(0.001)
        return null_success(talk.receive(), message)


@register.case(
    "RM-10",
    "a record mark may be split and several records may arrive together",
    SECTION,
    "it is necessary to delimit one message from another in order to detect and possibly recover from protocol errors",
    transports=STREAMS,
)
def split_mark(probe: Probe) -> object:
    first, second = probe.null(), probe.null()
    data = wire.record(first) + wire.record(second)
    probe.note("two NULL calls in one write, the second mark cut in the middle", data)
    with probe.connect() as talk:
        talk.send_raw(data[:46])
        time.sleep(0.02)
        talk.send_raw(data[46:])
        expected = "both calls answered, each xid once"
        got = {reply(outcome, expected).xid for outcome in talk.replies(2)}
    if got != {int.from_bytes(message[:4], "big") for message in (first, second)}:
        raise Deviation(expected, f"xids {', '.join(f'{xid:#010x}' for xid in sorted(got))}")
    return expected


@register.case(
    "RM-11",
    "every call of a pipeline is answered once",
    "RFC 5531, section 9",
    "The xid of a REPLY message always matches that of the initiating CALL message.",
    transports=STREAMS,
)
def pipeline(probe: Probe) -> object:
    calls = [probe.null() for _ in range(100)]
    probe.note("100 NULL calls in one write", b"".join(map(wire.record, calls)))
    with probe.connect() as talk:
        talk.send_raw(b"".join(map(wire.record, calls)))
        outcomes = list(talk.replies(100))
    wanted = [int.from_bytes(message[:4], "big") for message in calls]
    got = [outcome.xid for outcome in outcomes if isinstance(outcome, wire.Reply)]
    if sorted(got) != sorted(wanted):
        raise Deviation("100 replies, each xid once", f"{len(got)} replies, {len(set(got) & set(wanted))} of the xids")
    return "100 replies, each xid once"


@register.case(
    "RM-12",
    "the reply's record marks are right",
    SECTION,
    "The boolean value is the highest-order bit of the header; the length is the 31 low-order bits.",
    transports=STREAMS,
)
def reply_marks(probe: Probe) -> object:
    message, follower = probe.null(), probe.null()
    probe.note("two NULL calls, one after the other", wire.record(message))
    with probe.connect() as talk:
        null_success(talk.exchange(message), message)
        marks = talk.marks
        null_success(talk.exchange(follower), follower, "the next record begins where the last one ended")
    if sum(length for length, _ in marks) % 4:
        raise Deviation("a record of whole words", f"fragments of {[length for length, _ in marks]} bytes")
    return f"{len(marks)} fragment{'s' * (len(marks) != 1)}, {sum(length for length, _ in marks)} bytes"


@register.case(
    "RM-13",
    "an empty record does not stop the server",
    SECTION,
    "One RPC message fits into one RM record.",
    transports=STREAMS,
)
def empty_record(probe: Probe) -> object:
    data = wire.fragment(b"", last=True)
    probe.note("a record of no bytes", data)
    with probe.connect() as talk:
        talk.send_raw(data)
        outcome = talk.receive(0.2)
    if not isinstance(outcome, Silence | Closed):
        raise Deviation("no reply, there was no call", outcome)
    still_alive(probe, "an empty record")
    return outcome


@register.case(
    "RM-14",
    "a mark of 2**31 - 1 bytes is answered by closing, or waited out, without harm to others",
    SECTION,
    ZERO_BYTES,
    transports=STREAMS,
)
def huge_mark(probe: Probe) -> object:
    data = struct.pack(">I", 0xFFFFFFFF)
    probe.note("a last fragment of 2147483647 bytes announced, none sent", data)
    with probe.connect() as talk:
        talk.send_raw(data)
        outcome = talk.receive(0.2)
        seconds = probe.null_seconds()
        if seconds >= probe.target.wait:
            raise Deviation("others are served meanwhile", "a NULL on another connection was not answered")
    return f"{outcome if isinstance(outcome, Closed) else 'still open'}; another client's NULL took {seconds:.3f} s"
