"""Reads: INFO, STAT by index, lists."""

from __future__ import annotations

import pytest

from ipcserver._gen.ipc import RIPC_BY_INDEX, RIPC_BY_INDEX_ANY, RIPC_CHUNK, RIPC_EACCES, RIPC_EINVAL, RIPC_UNDO
from ipcserver.hypers import from_hyper
from tests.ipcserver.machine.lab import Lab, Process


@pytest.fixture
def lab() -> Lab:
    return Lab(boot=-77)


@pytest.fixture
def me(lab: Lab) -> Process:
    return lab.process()


def test_info_tells_limits_and_use(lab: Lab, me: Process) -> None:
    queue, set_, segment = me.msgget(), me.semget(0, 3), me.shmget(0, 100)
    me.msgget()
    me.msgrmid(queue)
    other = lab.process()
    other.hello()
    other.send(me.msgget(), 1, b"abc")
    other.receive(32768, 5)
    me.attach(segment)
    me.semop(set_, (0, 1, RIPC_UNDO))
    info = lab.machine.read.info()
    assert from_hyper(info.boot) == -77
    assert (info.limits.msgmax, info.limits.semvmx) == (8192, 32767)
    assert (info.queues.used, info.queues.highest, from_hyper(info.queues.parts), from_hyper(info.queues.bytes_)) == (
        2,
        1,
        1,
        3,
    )
    assert (info.sets.used, from_hyper(info.sets.parts)) == (1, 3)
    assert (info.segments.used, from_hyper(info.segments.parts), from_hyper(info.segments.bytes_)) == (1, 1, 100)
    assert (info.sessions, info.waiters) == (1, 1)


def test_an_empty_machine_has_no_highest_index(lab: Lab) -> None:
    assert lab.machine.read.info().queues.highest == -1


def test_stat_by_index_gives_the_id(lab: Lab, me: Process) -> None:
    me.msgrmid(me.msgget())
    id = me.msgget(mode=0)
    assert me.msgstat(0, RIPC_BY_INDEX).id == id == 32768
    assert me.msgstat(1, RIPC_BY_INDEX) is RIPC_EINVAL
    assert me.msgstat(-1, RIPC_BY_INDEX) is RIPC_EINVAL
    stranger = lab.process(uid=9)
    assert stranger.msgstat(0, RIPC_BY_INDEX) is RIPC_EACCES
    assert stranger.msgstat(0, RIPC_BY_INDEX_ANY).id == id


@pytest.mark.parametrize("kind", ["msg", "sem", "shm"])
def test_a_list_goes_on_where_the_page_ended(me: Process, kind: str) -> None:
    ids = [getattr(me, f"{kind}get")() for _ in range(7)]
    getattr(me, f"{kind}rmid")(ids.pop(2))
    pages, at = [], 0
    while True:
        page, at = me.list(f"{kind}list", at, 2)
        pages.append(page)
        if not at:
            break
    assert pages == [ids[0:2], ids[2:4], ids[4:6]]
    assert me.list(f"{kind}list", 100) == ([], 0)
    assert me.list(f"{kind}list", 2**32 - 1) == ([], 0)


def test_a_page_is_bounded(me: Process) -> None:
    for _ in range(101):
        me.msgget()
    assert [len(me.list("msglist", 0, 2**32 - 1)[0]), me.list("msglist")[1]] == [100, 100]


def test_what_a_read_gave_does_not_change_later(me: Process) -> None:
    id = me.msgget()
    before = me.msgstat(id)
    set_ = me.semget()
    values = me.getall(set_)
    me.msgset(id, 5, 5, 0, 5)
    me.setval(set_, 0, 3)
    assert (before.perm.uid, before.perm.mode, values) == (0, 0o600, [0])


def test_a_read_of_a_segment_is_bounded(me: Process) -> None:
    segment = me.shmget(0, RIPC_CHUNK + 10)
    assert len(me.read(segment, 0, 2**32 - 1)[1]) == RIPC_CHUNK


def test_getval_of_no_semaphore_is_einval(me: Process) -> None:
    set_ = me.semget()
    assert (me.getval(set_, 1), me.getval(set_, -1), me.getall(set_ + 1)) == (RIPC_EINVAL,) * 3
