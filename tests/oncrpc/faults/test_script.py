"""oncrpc.faults.script: what each fault does to a reply."""

from __future__ import annotations

import struct
from random import Random

import pytest

from oncrpc.client import Answered, Failed, StreamClient
from oncrpc.errors import (
    AuthenticationFailed,
    GarbageArguments,
    MalformedMessage,
    ProcedureUnavailable,
    ProgramMismatch,
    ProgramUnavailable,
    RecordTooLarge,
    RPCVersionMismatch,
    SystemFailure,
)
from oncrpc.faults.rules import CallFacts, parse_rule
from oncrpc.faults.script import DRIBBLED, Close, Hold, Plan, Script, Send, Wait, facts_of
from oncrpc.message import encode_success


def play(*rules: str, over: str = "tcp", results: bytes = b"results!") -> Script:
    plan = Plan([parse_rule(text) for text in rules], Random(1))
    return plan.script(CallFacts(1, 5, 1, 0, over), encode_success(1) + results)


def sent(script: Script) -> bytes:
    return b"".join(step.data for step in script.steps if isinstance(step, Send))


def outcome(*rules: str) -> object:
    """What our own client makes of the answer: an error, the results, or None if nothing came of it."""
    client = StreamClient(first_xid=1, max_record=1 << 20)
    client.start("token", 5, 1, 0, b"", now=0)
    client.receive_data(sent(play(*rules)))
    event = client.next_event()
    if isinstance(event, Failed):
        return type(event.error)
    return bytes(event.results) if isinstance(event, Answered) else None


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("proc=9 drop", b"results!"),
        ("drop", None),
        ("fragment=1", b"results!"),
        ("fragment=5 empty-fragments=3", b"results!"),
        ("dribble", b"results!"),
        ("duplicate", b"results!"),
        ("wrong-xid", None),
        ("status=SUCCESS", b"results!"),
        ("status=PROG_UNAVAIL", ProgramUnavailable),
        ("status=PROG_MISMATCH", ProgramMismatch),
        ("status=PROC_UNAVAIL", ProcedureUnavailable),
        ("status=GARBAGE_ARGS", GarbageArguments),
        ("status=SYSTEM_ERR", SystemFailure),
        ("status=6", MalformedMessage),
        ("versions=2-4", ProgramMismatch),
        ("rpc-mismatch", RPCVersionMismatch),
        ("auth-error", AuthenticationFailed),
        ("auth-error=AUTH_REJECTEDCRED", AuthenticationFailed),
        ("reply-stat", MalformedMessage),
        ("as-call", None),
        ("verifier=8", b"results!"),
        ("verifier=400", b"results!"),
        ("verifier=401", MalformedMessage),
        ("truncate=4", None),
        ("truncate=20", MalformedMessage),
        ("truncate=28", b"resu"),
        ("oversize=4", b"results!\0\0\0\0"),
        ("announce=2147483647", RecordTooLarge),
        ("announce=100", None),
        ("empty-fragments=5000", RecordTooLarge),
        ("garbage", None),
        ("cut=10", None),
        ("cut", None),
        ("reset", None),
    ],
)
def test_our_own_client_sees_each_fault_for_what_it_is(rule: str, expected: object) -> None:
    assert outcome(rule) == expected


def test_a_delay_comes_before_the_answer() -> None:
    steps = play("delay=1.5", "delay=1").steps
    assert steps[0] == Wait(2.5)
    assert isinstance(steps[1], Send)


def test_a_held_answer_waits_for_the_next_call() -> None:
    assert play("hold").steps[0] == Hold()


def test_duplicates_are_sent_as_often_as_asked() -> None:
    assert len(play("duplicate=5").steps) == 5
    assert len(play("duplicate=5", over="udp").steps) == 5


def test_a_cut_closes_after_its_bytes() -> None:
    script = play("cut=10")
    assert script.steps[-1] == Close()
    assert len(sent(script)) == 10
    assert play("reset").steps == (Close(reset=True),)


def test_dribbled_bytes_are_single_and_bounded() -> None:
    script = play("dribble=0.5", results=bytes(4))
    assert [len(step.data) for step in script.steps if isinstance(step, Send)] == [1] * 32
    assert all(step.seconds == 0.5 for step in script.steps if isinstance(step, Wait))
    assert len(play("dribble", results=bytes(DRIBBLED * 2)).steps) == 2 * DRIBBLED + 1


def test_datagrams_are_neither_framed_nor_dribbled() -> None:
    assert play("fragment=1 dribble", over="udp").steps == (Send(encode_success(1) + b"results!"),)


def test_several_rules_add_up_and_are_counted() -> None:
    plan = Plan([parse_rule("duplicate"), parse_rule("oversize=4 delay=1")], Random(1))
    script = plan.script(CallFacts(1, 5, 1, 0, "udp"), encode_success(1))
    assert script.steps == (Wait(1), *[Send(encode_success(1) + bytes(4))] * 2)
    assert plan.applied == {"duplicate": 1, "oversize": 1, "delay": 1}
    assert str(script) == "xid 0x00000001 5.1.0: duplicate=2, oversize=4, delay=1"


def test_the_same_seed_gives_the_same_run() -> None:
    def run() -> list[Script]:
        plan = Plan([parse_rule("chance=0.5 garbage=20")], Random(7))
        return [plan.script(CallFacts(xid, 5, 1, 0, "tcp"), encode_success(xid)) for xid in range(50)]

    first = run()
    assert first == run()
    assert 5 < sum(bool(script.faults) for script in first) < 45


def test_facts_come_from_the_call() -> None:
    message = struct.pack(">10I", 7, 0, 2, 5, 3, 9, 0, 0, 0, 0)
    assert facts_of(message, "tcp") == CallFacts(7, 5, 3, 9, "tcp")
