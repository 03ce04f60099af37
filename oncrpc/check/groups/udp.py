"""UD: one datagram is one message (RFC 5531, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oncrpc.check import wire
from oncrpc.check.case import DATAGRAMS, Deviation, Register
from oncrpc.check.expect import null_success, reply, still_alive

if TYPE_CHECKING:
    from oncrpc.check.probe import Probe

register = Register()

SECTION: Final = "RFC 5531, section 5"
RETRANSMITS: Final = (
    "it must implement its own time-out, retransmission, and duplicate detection policies as the RPC protocol does not "
    "provide these services"
)


@register.case(
    "UD-1",
    "the reply comes from the address and port that were called",
    SECTION,
    "The main use of this transaction ID is by the client RPC entity in matching replies to calls.",
    transports=DATAGRAMS,
)
def right_source(probe: Probe) -> object:
    message = probe.null()
    # The socket is connected: a datagram from anywhere else never reaches it.
    return null_success(probe.ask("NULL from a connected socket", message), message)


@register.case(
    "UD-2",
    "datagrams too short for a header do not stop the server",
    "RFC 5531, section 9",
    "All messages start with a transaction identifier, xid, followed by a two-armed discriminated union.",
    transports=DATAGRAMS,
)
def runts(probe: Probe) -> object:
    probe.note("datagrams of 0 to 39 bytes")
    whole = probe.null()
    with probe.connect() as talk:
        for length in range(40):
            talk.send_raw(whole[:length])
    still_alive(probe, "runts")
    return "still served"


@register.case(
    "UD-3",
    "a retransmitted call is answered again, with the same bytes",
    SECTION,
    "a client application may choose to reuse its previous transaction ID when retransmitting a call",
    transports=DATAGRAMS,
)
def retransmission(probe: Probe) -> object:
    message = probe.null()
    probe.note("the same NULL call three times", message)
    answers = set()
    with probe.connect() as talk:
        for _ in range(3):
            got = reply(talk.exchange(message), "an answer each time")
            null_success(got, message)
            answers.add(got.raw)
    if len(answers) != 1:
        raise Deviation("the same bytes each time", f"{len(answers)} different replies")
    return "three equal replies"


@register.case(
    "UD-4",
    "an error reply is no longer than its call",
    "RFC 5531, section 14",
    "(Good practice: an answer longer than the question lets anybody aim the server at a third party.)",
    transports=DATAGRAMS,
)
def amplification(probe: Probe) -> object:
    worst = 0.0
    for what, changes in (
        ("unknown program", {"program": 0x5FFFFFF7}),
        ("unknown version", {"version": 0x7FFFFFF7}),
        ("unknown procedure", {"procedure": 0x7FFFFFF7}),
    ):
        message = probe.null(**changes)
        got = reply(probe.ask(what, message), "a reply")
        worst = max(worst, len(got.raw) / len(message))
    if worst > 1:
        raise Deviation("at most 1 byte for each byte sent", f"{worst:.2f} bytes", warn=True)
    return f"{worst:.2f} bytes for each byte sent"


@register.case(
    "UD-5",
    "a record mark has no place in a datagram",
    "RFC 5531, section 11",
    "When RPC messages are passed on top of a byte stream transport protocol (like TCP), it is necessary to delimit "
    "one message from another",
    transports=DATAGRAMS,
)
def marked_datagram(probe: Probe) -> object:
    message = wire.record(probe.null())
    outcome = probe.ask("NULL with a record mark before it", message)
    if isinstance(outcome, wire.Reply) and outcome.succeeded:
        raise Deviation("no SUCCESS: the first word is the xid, the second is no msg_type", outcome)
    still_alive(probe, "a marked datagram")
    return outcome


@register.case(
    "UD-6",
    "two calls from one socket are told apart by their xids",
    SECTION,
    RETRANSMITS,
    transports=DATAGRAMS,
)
def two_calls(probe: Probe) -> object:
    good, bad = probe.null(), probe.null(procedure=0x7FFFFFF7)
    probe.note("NULL and an unknown procedure, one right behind the other", good)
    with probe.connect() as talk:
        talk.send(good)
        talk.send(bad)
        expected = "SUCCESS to the first, PROC_UNAVAIL to the second"
        got = {answer.xid: answer for answer in (reply(outcome, expected) for outcome in talk.replies(2))}
    first, second = (got.get(int.from_bytes(message[:4], "big")) for message in (good, bad))
    if first is None or second is None or not first.succeeded or second.stat != wire.PROC_UNAVAIL:
        raise Deviation(expected, ", ".join(f"{xid:#010x}: {answer}" for xid, answer in got.items()))
    return expected
