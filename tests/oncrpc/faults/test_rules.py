"""oncrpc.faults.rules: rules as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncrpc.faults.rules import _DEFAULTS, _PLAIN, FAULTS, CallFacts, parse_rule


def call(procedure: int = 0, over: str = "tcp", program: int = 5, version: int = 1) -> CallFacts:
    return CallFacts(1, program, version, procedure, over)


def hits(text: str, count: int = 6) -> list[int]:
    """Which of so many equal calls a rule applies to, counted from 1."""
    rule = parse_rule(text)
    return [number for number in range(1, count + 1) if rule.applies(call(), lambda: 0.5)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drop", [1, 2, 3, 4, 5, 6]),
        ("nth=2 drop", [2]),
        ("first=2 drop", [1, 2]),
        ("after=4 drop", [5, 6]),
        ("every=3 drop", [3, 6]),
        ("after=1 every=2 first=4 drop", [2, 4]),
        ("chance=0.4 drop", []),
        ("chance=0.6 drop", [1, 2, 3, 4, 5, 6]),
        ("chance=0 drop", []),
        ("proc=1 drop", []),
    ],
)
def test_selectors_choose_calls_by_their_number(text: str, expected: list[int]) -> None:
    assert hits(text) == expected


def test_selectors_choose_calls_by_their_fields() -> None:
    rule = parse_rule("prog=5 vers=1,2 proc=3,4 over=udp drop")
    assert rule.applies(call(3, "udp"), lambda: 0)
    assert not rule.applies(call(3, "tcp"), lambda: 0)
    assert not rule.applies(call(5, "udp"), lambda: 0)
    assert not rule.applies(call(3, "udp", program=6), lambda: 0)
    assert not rule.applies(call(3, "udp", version=3), lambda: 0)


def test_calls_that_do_not_fit_are_not_counted() -> None:
    rule = parse_rule("proc=1 nth=2 drop")
    assert [rule.applies(call(procedure), lambda: 0) for procedure in (1, 0, 0, 1)] == [False, False, False, True]


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_every_fault_listed_is_understood(name: str) -> None:
    values = {"versions": "=1-3", "status": "=SYSTEM_ERR"}
    text = name if name in _PLAIN or name in _DEFAULTS else name + values.get(name, "=5")
    (fault,) = parse_rule(text).faults
    assert fault.name == name
    assert str(fault).startswith(name)


def test_states_are_named_or_numbered() -> None:
    assert [parse_rule(f"status={text}").faults[0].count for text in ("garbage_args", "4", "77")] == [4, 4, 77]
    assert [parse_rule(f"auth-error={text}").faults[0].count for text in ("AUTH_BADCRED", "99")] == [1, 99]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "proc=1",
        "explode",
        "drop=1",
        "delay",
        "delay=x",
        "delay=-1",
        "delay=1e99",
        "fragment=0",
        "fragment=2147483648",
        "duplicate=0",
        "duplicate=1000000",
        "status=NOPE",
        "versions=a-b",
        "chance=2 drop",
        "over=ipx drop",
        "nth=0 drop",
        "proc= drop",
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"needed|nothing|neither|no value"):
        parse_rule(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_rule(text).faults
