"""Keys, ids, indexes."""

from __future__ import annotations

import pytest

from ipcserver._gen.ipc import (
    RIPC_CREAT,
    RIPC_EEXIST,
    RIPC_EINVAL,
    RIPC_ENOENT,
    RIPC_ENOSPC,
    RIPC_EXCL,
    RIPC_OK,
)
from ipcserver.machine import Limits
from ipcserver.machine.ids import INDEXES, SEQUENCES
from tests.ipcserver.machine.lab import Lab, Process


@pytest.fixture
def me() -> Process:
    return Lab(Limits(msgmni=3)).process()


def test_an_id_is_the_index_and_how_often_it_was_used_before(me: Process) -> None:
    for used in range(3):
        id = me.msgget()
        assert id == used * INDEXES
        assert me.msgstat(id).perm.seq == used
        me.msgrmid(id)


def test_the_lowest_free_index_is_taken(me: Process) -> None:
    ids = [me.msgget() for _ in range(3)]
    assert me.msgget() is RIPC_ENOSPC
    me.msgrmid(ids[2])
    me.msgrmid(ids[0])
    assert me.msgget() == INDEXES
    assert me.msgget() == INDEXES + 2


def test_a_stale_id_is_nobody_elses_object(me: Process) -> None:
    stale = me.msgget(5)
    me.msgrmid(stale)
    assert me.msgget(5) != stale
    for refused in (me.send(stale), me.receive(stale), me.msgrmid(stale), me.msgstat(stale)):
        assert refused is RIPC_EINVAL


def test_sequence_numbers_go_round_within_a_positive_int(me: Process) -> None:
    me.lab.machine.queues.table.seqs.append(SEQUENCES - 1)
    me.lab.machine.queues.table._free.append(0)
    highest = me.msgget()
    assert 0 < highest < 2**31
    me.msgrmid(highest)
    assert me.msgget() == 0


@pytest.mark.parametrize("id", [-1, -32768, 2**31 - 1, 7])
def test_an_id_that_never_was_is_einval(me: Process, id: int) -> None:
    assert me.msgstat(id) is RIPC_EINVAL


def test_a_key_is_found_created_or_refused_as_the_flags_say(me: Process) -> None:
    assert me.msgget(7, 0) is RIPC_ENOENT
    made = me.msgget(7, RIPC_CREAT | RIPC_EXCL)
    assert me.msgget(7, 0) == made
    assert me.msgget(7, RIPC_CREAT) == made
    assert me.msgget(7, RIPC_EXCL) == made
    assert me.msgget(7, RIPC_CREAT | RIPC_EXCL) is RIPC_EEXIST
    assert me.msgrmid(made) is RIPC_OK
    assert me.msgget(7, 0) is RIPC_ENOENT


def test_the_same_key_means_another_object_of_another_kind(me: Process) -> None:
    assert (me.msgget(7), me.semget(7), me.shmget(7)) == (0, 0, 0)
    me.msgrmid(0)
    assert me.semget(7, 0, 0) == 0


def test_sequence_numbers_outlive_a_restart(me: Process) -> None:
    me.msgrmid(me.msgget())
    me.lab.restart()
    assert me.msgget() == INDEXES
