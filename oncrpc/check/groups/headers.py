"""HD: the fields of the call and of the reply (RFC 5531, sections 8 and 9)."""

from __future__ import annotations

from typing import Final

from oncrpc.check import wire
from oncrpc.check.case import STREAMS, Deviation, Register
from oncrpc.check.expect import null_success, reply, same_xid, still_alive
from oncrpc.check.probe import Closed, Outcome, Probe, Silence, Undecodable

register = Register()

SECTION: Final = "RFC 5531, section 9"
XID_MATCHES: Final = "The xid of a REPLY message always matches that of the initiating CALL message."
VERSIONS: Final = (
    "In case of an RPC version mismatch, the server returns the lowest and highest supported RPC version numbers."
)
NO_SEQUENCE: Final = "the service side cannot treat this id as any type of sequence number"


@register.case("HD-1", "any xid comes back as it was sent", SECTION, XID_MATCHES)
def xid_echoed(probe: Probe) -> object:
    xids = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
    for xid in xids:
        message = probe.null(xid)
        probe.note(f"NULL with xid {xid:#x}", message)
        with probe.connect() as talk:
            null_success(talk.exchange(message), message)
    return f"{len(xids)} xids came back"


@register.case(
    "HD-2",
    "a call without authentication is answered with an empty AUTH_NONE verifier",
    "RFC 5531, section 10.1",
    'In this case, the flavor of the RPC message\'s credential, verifier, and reply verifier is "AUTH_NONE".',
)
def reply_verifier(probe: Probe) -> object:
    message = probe.null()
    got = reply(probe.ask("NULL with AUTH_NONE", message), "SUCCESS with verifier AUTH_NONE")
    if got.verifier.flavor != wire.AUTH_NONE:
        raise Deviation("verifier AUTH_NONE", f"verifier flavor {got.verifier.flavor}")
    if got.verifier.body:
        raise Deviation("a verifier of length zero (recommended)", f"{len(got.verifier.body)} bytes", warn=True)
    return "verifier AUTH_NONE, 0 bytes"


def _rpcvers(probe: Probe, rpcvers: int) -> object:
    expected = "MSG_DENIED, RPC_MISMATCH 2..2"
    message = probe.null(rpcvers=rpcvers)
    got = reply(probe.ask(f"NULL with rpcvers {rpcvers}", message), expected)
    same_xid(got, int.from_bytes(message[:4], "big"), expected)
    if got.accepted or got.stat != 0 or not got.low <= 2 <= got.high or got.low <= rpcvers <= got.high or got.body:
        raise Deviation(expected, got)
    return got


@register.case("HD-3", "RPC version 3 is refused with RPC_MISMATCH", SECTION, VERSIONS)
def rpcvers_above(probe: Probe) -> object:
    return _rpcvers(probe, 3)


@register.case("HD-4", "RPC versions 0, 1 and 2**32 - 1 are refused with RPC_MISMATCH", SECTION, VERSIONS)
def rpcvers_others(probe: Probe) -> object:
    for rpcvers in (0, 1, 0xFFFFFFFF):
        got = _rpcvers(probe, rpcvers)
    return got


@register.case(
    "HD-5", "a REPLY sent to the server is not answered", SECTION, "A reply to a call message can take on two forms"
)
def reply_not_answered(probe: Probe) -> object:
    message = probe.null(mtype=1)
    outcome = probe.ask("a REPLY message", message)
    if isinstance(outcome, wire.Reply | Undecodable):
        raise Deviation("no answer: two servers would answer each other for ever", outcome)
    still_alive(probe, "a REPLY message")
    return outcome


@register.case("HD-6", "a message of unknown type is not executed", SECTION, "enum msg_type { CALL = 0, REPLY = 1 };")
def unknown_type(probe: Probe) -> object:
    message = probe.null(mtype=2)
    outcome = probe.ask("a NULL call with msg_type 2", message)
    if isinstance(outcome, wire.Reply) and outcome.succeeded:
        raise Deviation("no answer, or an error", outcome)
    still_alive(probe, "msg_type 2")
    return outcome


def _cut_short(probe: Probe, talk_first: bytes, cut: bytes) -> Outcome:
    with probe.connect() as talk:
        null_success(talk.exchange(talk_first), talk_first, "a whole call is answered")
        talk.send(cut)
        return talk.receive(0.1)


@register.case(
    "HD-7",
    "a header that ends early is never executed, not even with bytes of the call before it",
    SECTION,
    "All messages start with a transaction identifier, xid, followed by a two-armed discriminated union.",
)
def truncated_header(probe: Probe) -> object:
    whole = probe.null()
    probe.note("a NULL call cut at bytes 4, 8, ... 36, each behind a whole call", whole)
    answers = set()
    for length in range(4, 40, 4):
        outcome = _cut_short(probe, probe.null(), probe.null()[:length])
        if isinstance(outcome, wire.Reply) and outcome.succeeded:
            raise Deviation("no SUCCESS", f"{outcome} to the first {length} bytes")
        if isinstance(outcome, Undecodable):
            raise Deviation("no answer, or an RPC error", outcome)
        answers.add(str(outcome))
    still_alive(probe, "truncated headers")
    return "; ".join(sorted(answers))


@register.case("HD-8", "xids need not ascend", SECTION, NO_SEQUENCE)
def descending_xids(probe: Probe) -> object:
    probe.note("three NULL calls with descending xids on one conversation")
    top = probe.next_xid() | 0xFF
    with probe.connect() as talk:
        for xid in (top, top - 1, top - 200):
            message = probe.null(xid)
            null_success(talk.exchange(message), message)
    return "all answered"


@register.case(
    "HD-9",
    "the same xid from another client is another call",
    "RFC 5531, section 5",
    "A server may wish to remember previously granted requests from a client and not regrant them",
)
def same_xid_elsewhere(probe: Probe) -> object:
    xid = probe.next_xid()
    good, bad = probe.null(xid), probe.null(xid, procedure=0xFFFFFFFE)
    probe.note("NULL, then from another socket an unknown procedure, with the same xid", bad)
    with probe.connect() as first, probe.connect() as second:
        null_success(first.exchange(good), good)
        got = reply(second.exchange(bad), "PROC_UNAVAIL")
    if not got.accepted or got.stat != wire.PROC_UNAVAIL:
        raise Deviation("PROC_UNAVAIL, not the other client's answer", got)
    return got


@register.case(
    "HD-10",
    "a second call with an xid in use on the connection is answered too",
    "RFC 5531, section 5",
    "The server is not allowed to examine this ID in any other way except as a test for equality.",
    transports=STREAMS,
)
def same_xid_again(probe: Probe) -> object:
    message = probe.null()
    probe.note("the same NULL call twice on one connection", message)
    with probe.connect() as talk:
        null_success(talk.exchange(message), message)
        outcome = talk.exchange(message)
    if isinstance(outcome, Closed | Silence):
        raise Deviation("an answer (again, or from a reply cache)", outcome, warn=True)
    return null_success(outcome, message)
