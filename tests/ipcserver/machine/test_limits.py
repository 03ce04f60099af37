"""Limits: presets, bounds, and that they travel in the journal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcserver.machine import LINUX, SOLARIS_2, Limits, Machine, start
from tests.ipcserver.machine.lab import Lab


def test_the_defaults_are_those_of_linux() -> None:
    assert Limits() == LINUX
    assert (LINUX.msgmax, LINUX.msgmnb, LINUX.msgmni) == (8192, 16384, 32000)
    assert (LINUX.semmsl, LINUX.semopm, LINUX.semmni, LINUX.semvmx) == (32000, 500, 32000, 32767)


def test_solaris_2_was_smaller() -> None:
    assert (SOLARIS_2.msgmax, SOLARIS_2.msgmni, SOLARIS_2.semmni, SOLARIS_2.semmsl) == (2048, 50, 10, 25)


@given(
    msgmax=st.integers(0, 65536),
    shmmax=st.integers(0, 2**62),
    owner_memory=st.integers(0, 2**62),
    lease_ms=st.integers(1000, 3_600_000),
)
def test_limits_survive_encoding(msgmax: int, shmmax: int, owner_memory: int, lease_ms: int) -> None:
    limits = Limits(msgmax=msgmax, shmmax=shmmax, owner_memory=owner_memory, lease_ms=lease_ms)
    assert Limits.from_xdr(limits.to_xdr()) == limits


@pytest.mark.parametrize(
    "wrong",
    [
        {"msgmax": -1},
        {"msgmax": 65537},
        {"semopm": 501},
        {"session_slots": 65},
        {"msgmni": 32769},
        {"msgmnb": 2**31},
        {"shmmax": 2**63},
        {"lease_ms": 10},
        {"lease_min_ms": 0},
    ],
)
def test_limits_beyond_the_protocol_or_reason_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).partition("_m")[0]):
        Limits(**wrong)


def test_new_limits_hold_from_the_start_that_brings_them() -> None:
    lab = Lab(Limits(msgmni=1))
    me = lab.process()
    assert me.msgget() == 0
    assert me.msgget().name == "RIPC_ENOSPC"
    lab.submit(start(2, Limits(msgmni=2)))
    assert me.msgget() == 1
    assert Machine.restore(lab.machine.snapshot()).limits == Limits(msgmni=2)


def test_less_than_is_used_already_takes_nothing_away() -> None:
    lab = Lab()
    me = lab.process(uid=5)
    me.hello()
    ids = [me.msgget() for _ in range(3)]
    me.receive(ids[0])
    lab.restart(limits=Limits(msgmni=1, owner_objects=1, owner_sessions=1, owner_waiters=1, sessions=1))
    lab.restart()
    assert [me.msgstat(id).id for id in ids] == ids
    assert lab.machine.read.info().waiters == 1
