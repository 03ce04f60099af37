"""Snapshots, and that equal commands give equal machines, to the byte."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcserver._gen.machine import MACHINE_FORMAT
from ipcserver.machine import Machine, SnapshotUnreadable
from ipcserver.machine.commands import decode
from tests.ipcserver.machine.lab import Lab
from tests.ipcserver.machine.scenario import fingerprint, program
from tests.peers import ROOT


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 400))
def test_a_machine_restored_from_a_snapshot_goes_on_as_the_original(seed: int, cut: int) -> None:
    original, restored = Machine(), Machine()
    for number, command in enumerate(program(seed, 400)):
        if number == cut:
            restored = Machine.restore(original.snapshot())
            assert restored.snapshot() == original.snapshot()
        outcomes = original.apply(command)
        if number >= cut:
            assert restored.apply(command) == outcomes
            assert restored.next_deadline() == original.next_deadline()
    assert restored.snapshot() == original.snapshot() or cut >= 400


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_restoring_before_every_command_changes_nothing(seed: int) -> None:
    original = restored = Machine()
    for command in program(seed, 120):
        restored = Machine.restore(restored.snapshot())
        assert restored.apply(command) == original.apply(command)
        assert restored.snapshot() == original.snapshot()
        assert _accounts(restored) == _accounts(original)


def _accounts(machine: Machine) -> list[object]:
    accounts = machine.accounts
    owners = sorted(
        (uid, usage.objects, usage.sessions, usage.waiters, usage.memory) for uid, usage in accounts._owners.items()
    )
    return [owners, accounts.message_memory, accounts.segment_memory, machine.read.info()]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_commands_that_were_encoded_and_decoded_do_the_same(seed: int) -> None:
    original, replayed = Machine(), Machine()
    for command in program(seed, 300):
        assert replayed.apply(decode(command.encode())) == original.apply(command)
    assert replayed.snapshot() == original.snapshot()


def test_processes_with_different_hash_seeds_come_to_the_same_state() -> None:
    expected = fingerprint(1234, 1500)
    for hash_seed in ("0", "1", "4294967295"):
        run = subprocess.run(
            [sys.executable, "-m", "tests.ipcserver.machine.scenario", "1234", "1500"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout == expected


def test_a_snapshot_of_another_format_says_which() -> None:
    data = Machine().snapshot()
    newer = (MACHINE_FORMAT + 1).to_bytes(4, "big") + data[4:]
    with pytest.raises(SnapshotUnreadable, match=f"format {MACHINE_FORMAT + 1}"):
        Machine.restore(newer)


def test_a_damaged_snapshot_is_refused_and_never_another_error() -> None:
    lab = Lab()
    me, other = lab.process(), lab.process()
    me.hello()
    queue = me.msgget()
    me.send(queue, 1, b"x")
    me.receive(queue)
    me.slot = 1
    me.seq = 0
    me.receive(queue)
    other.semop(other.semget(), (0, 1, 0x1000))
    data = lab.machine.snapshot()
    for end in range(len(data)):
        with pytest.raises(SnapshotUnreadable):
            Machine.restore(data[:end])
    for at in range(0, len(data), 4):
        damaged = data[:at] + b"\xff\xff\xff\xf0" + data[at + 4 :]
        with suppress(SnapshotUnreadable):
            Machine.restore(damaged)


def test_texts_and_their_sizes_must_go_together() -> None:
    lab = Lab()
    me = lab.process()
    me.send(me.msgget(), 1, b"four")
    data = lab.machine.snapshot()
    at = data.index(b"four") - 8
    assert data[at : at + 4] == (4).to_bytes(4, "big")
    with pytest.raises(SnapshotUnreadable, match="queue 0 has 4 bytes of text for messages of 5"):
        Machine.restore(data[:at] + (5).to_bytes(4, "big") + data[at + 4 :])


def test_an_empty_machine_is_small() -> None:
    assert len(Machine().snapshot()) < 400
