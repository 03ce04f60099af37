"""RB: one bad client harms only itself. Good practice rather than the RFC's words; destructive ones on request."""

from __future__ import annotations

import random
import struct
import time
from contextlib import ExitStack
from typing import Final

from oncrpc.check import wire
from oncrpc.check.case import DATAGRAMS, STREAMS, Deviation, Register
from oncrpc.check.expect import null_success, still_alive
from oncrpc.check.probe import Closed, Conversation, Probe, Silence

register = Register()

PRACTICE: Final = "good practice"
SLOW_SECONDS: Final = 1.0
"""A NULL of another client that takes longer than this has been held up."""


def _others_served(probe: Probe, while_what: str) -> str:
    seconds = probe.null_seconds()
    if seconds >= probe.target.wait:
        raise Deviation(f"others are served while {while_what}", f"no answer within {probe.target.wait:g} s")
    if seconds > SLOW_SECONDS:
        raise Deviation(f"others are served at once while {while_what}", f"a NULL took {seconds:.1f} s", warn=True)
    return f"another client's NULL took {seconds:.3f} s"


@register.case(
    "RB-1",
    "a client that stops in the middle of a record holds up nobody else",
    PRACTICE,
    "(A server that reads one connection to its end before the next can be stopped by anybody with two bytes.)",
    transports=STREAMS,
)
def partial_record(probe: Probe) -> object:
    with probe.connect() as talk:
        probe.note("2 bytes of a record mark, then nothing", b"\x80\x00")
        talk.send_raw(b"\x80\x00")
        time.sleep(0.05)
        got = _others_served(probe, "a mark is unfinished")
    with probe.connect() as talk:
        data = wire.record(probe.null())[:30]
        probe.note("30 bytes of a call, then nothing", data)
        talk.send_raw(data)
        time.sleep(0.05)
        _others_served(probe, "a record is unfinished")
    return got


@register.case(
    "RB-2",
    "a client that half-closes still gets its reply",
    "RFC 9293, section 3.6",
    '(CLOSE means "I have no more data to send"; what was asked before is still to be answered.)',
    transports=STREAMS,
)
def half_close(probe: Probe) -> object:
    message = probe.null()
    probe.note("NULL, then FIN", wire.record(message))
    with probe.connect() as talk:
        talk.send(message)
        talk.finish_sending()
        outcome = talk.receive()
    if isinstance(outcome, Closed | Silence):
        raise Deviation("the reply, then the end of the connection", outcome, warn=True)
    return null_success(outcome, message)


@register.case(
    "RB-3",
    "a hundred idle connections hold up nobody",
    PRACTICE,
    "(Clients keep connections open between calls.)",
    transports=STREAMS,
)
def idle_connections(probe: Probe) -> object:
    probe.note("100 connections without a call")
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(probe.connect())
        return _others_served(probe, "100 connections idle")


@register.case(
    "RB-4",
    "ten thousand calls in one go are all answered",
    PRACTICE,
    '(RFC 5531, section 8.4.1, lets a client send "an arbitrarily large sequence of call messages".)',
    transports=STREAMS,
)
def long_pipeline(probe: Probe) -> object:
    probe.note("10,000 NULL calls, read as they come")
    calls = [probe.null() for _ in range(10_000)]
    wanted = {int.from_bytes(message[:4], "big") for message in calls}
    with probe.connect() as talk:
        outcomes = talk.pump(b"".join(map(wire.record, calls)), 10_000, 20.0)
    got = [outcome.xid for outcome in outcomes if isinstance(outcome, wire.Reply)]
    if len(got) != len(wanted) or set(got) != wanted:
        raise Deviation("10,000 replies, each xid once", f"{len(got)} replies, {len(wanted & set(got))} of the xids")
    return "10,000 replies, each xid once"


@register.case(
    "RB-5",
    "a thousand short connections leave the server as it was",
    PRACTICE,
    "(Descriptors must come back.)",
    transports=STREAMS,
)
def churn(probe: Probe) -> object:
    probe.note("1,000 connections opened and closed")
    for _ in range(1000):
        probe.connect().close()
    return _others_served(probe, "connections come and go")


@register.case(
    "RB-6",
    "random bytes do not stop the server",
    PRACTICE,
    "(The seed is fixed: a failure repeats.)",
)
def random_bytes(probe: Probe) -> object:
    chance = random.Random(5531)  # noqa: S311, test data
    probe.note("50 messages of random bytes, 50 of mutated calls (seed 5531)")
    for number in range(100):
        data = bytearray(probe.null() if number % 2 else chance.randbytes(chance.randrange(1, 200)))
        for _ in range(chance.randrange(1, 4)):
            # The procedure stays 0: what is meant as noise must not be executed as something else.
            data[chance.choice([at for at in range(len(data)) if not 20 <= at < 24] or [0])] = chance.randrange(256)
        with probe.connect() as talk:
            talk.send(bytes(data))
    still_alive(probe, "random bytes")
    return _others_served(probe, "random bytes come")


@register.case(
    "RB-7",
    "a burst of empty datagrams holds up nobody",
    PRACTICE,
    "(A read loop that counts bytes never ends on empty datagrams.)",
    transports=DATAGRAMS,
)
def empty_datagrams(probe: Probe) -> object:
    probe.note("2,000 empty datagrams")
    with probe.connect() as talk:
        probe.flood(talk, [b""] * 2000)
        return _others_served(probe, "empty datagrams come")


@register.case(
    "RB-20",
    "a record without end is refused",
    PRACTICE,
    "(256 MiB in fragments of 1 MiB, none of them the last.)",
    transports=STREAMS,
    destructive=True,
)
def endless_record(probe: Probe) -> object:
    piece = wire.fragment(bytes(1 << 20), last=False)
    probe.note("256 fragments of 1 MiB, none the last")
    with probe.connect() as talk:
        taken = probe.flood(talk, [piece] * 256)
        _others_served(probe, "a record grows")
    if taken == 256:
        raise Deviation("the connection is closed at some limit", "256 MiB of one record were taken", warn=True)
    return f"closed after about {taken} MiB"


@register.case(
    "RB-21",
    "a million empty fragments are refused or swallowed, others are served",
    PRACTICE,
    "(They are lawful bytes that carry nothing.)",
    transports=STREAMS,
    destructive=True,
)
def empty_fragments(probe: Probe) -> object:
    probe.note("1,000,000 empty fragments")
    with probe.connect() as talk:
        taken = probe.flood(talk, [struct.pack(">I", 0) * 10_000] * 100)
        _others_served(probe, "empty fragments come")
    return f"closed after about {taken * 10_000} fragments" if taken < 100 else "swallowed"


@register.case(
    "RB-22",
    "a client that never reads is stopped, others are served",
    PRACTICE,
    "(Replies that nobody reads must not fill the server's memory.)",
    transports=STREAMS,
    destructive=True,
)
def never_reads(probe: Probe) -> object:
    probe.note("NULL calls without end, no reply read (64 MiB at most)")
    calls = b"".join(wire.record(probe.null()) for _ in range(1000))
    with probe.connect() as talk:
        taken = probe.flood(talk, [calls] * (64 * 1024 * 1024 // len(calls)))
        got = _others_served(probe, "a client does not read")
    if taken >= 64 * 1024 * 1024 // len(calls):
        raise Deviation("the server stops reading from it", "64 MiB of calls were taken", warn=True)
    return f"stopped after {taken * len(calls) / 1048576:.1f} MiB of calls; {got}"


@register.case(
    "RB-23",
    "two thousand connections do not lock others out for good",
    PRACTICE,
    "(CVE-2021-46828: descriptors used up.)",
    transports=STREAMS,
    destructive=True,
)
def many_connections(probe: Probe) -> object:
    probe.note("up to 2,000 connections without a call")
    talks: list[Conversation] = []
    try:
        for _ in range(2000):
            try:
                talks.append(probe.connect())
            except OSError:
                break
        held = probe.null_seconds()
    finally:
        for talk in talks:
            talk.reset()
    time.sleep(0.2)
    after = _others_served(probe, "the connections are gone again")
    return f"{len(talks)} connections; meanwhile a NULL took {held:.3f} s; afterwards {after}"


@register.case(
    "RB-24",
    "a burst of calls by datagram holds up nobody",
    PRACTICE,
    "(20,000 NULL calls from one socket.)",
    transports=DATAGRAMS,
    destructive=True,
)
def datagram_storm(probe: Probe) -> object:
    probe.note("20,000 NULL calls, no reply read")
    with probe.connect() as talk:
        probe.flood(talk, [probe.null() for _ in range(20_000)])
        time.sleep(0.5)
        return _others_served(probe, "a burst is worked off")
