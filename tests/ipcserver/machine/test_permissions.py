"""Who may do what (goal S11): every class of caller, every mode, every call."""

from __future__ import annotations

import pytest

from ipcserver._gen.ipc import (
    RIPC_BY_INDEX_ANY,
    RIPC_EACCES,
    RIPC_EINVAL,
    RIPC_EPERM,
    RIPC_NOWAIT,
    RIPC_OK,
    ripc_perm,
)
from ipcserver._gen.machine import machine_caller
from ipcserver.machine.permissions import READ, WRITE, allows, controls
from tests.ipcserver.machine.lab import Lab

CALLERS = {
    "owner": machine_caller(10, 99, []),
    "creator": machine_caller(11, 99, []),
    "group": machine_caller(90, 20, []),
    "creator's group": machine_caller(90, 21, []),
    "supplementary group": machine_caller(90, 99, [5, 20]),
    "supplementary creator's group": machine_caller(90, 99, [21]),
    "other": machine_caller(90, 99, [5]),
}
SHIFT = {"owner": 6, "creator": 6, "other": 0}


def perm(mode: int) -> ripc_perm:
    return ripc_perm(key=1, uid=10, gid=20, cuid=11, cgid=21, mode=mode, seq=0)


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("bits", [READ, WRITE, READ | WRITE])
def test_only_the_first_class_that_fits_decides(who: str, bits: int) -> None:
    for mode in range(0o1000):
        granted = mode >> SHIFT.get(who, 3) & 7
        assert allows(perm(mode), CALLERS[who], bits) == (granted & bits == bits)


def test_root_may_do_everything() -> None:
    root = machine_caller(0, 0, [])
    assert allows(perm(0), root, READ | WRITE)
    assert controls(perm(0), root)


def test_owner_and_creator_control_whatever_the_mode_says() -> None:
    assert {who for who, caller in CALLERS.items() if controls(perm(0), caller)} == {"owner", "creator"}


@pytest.fixture
def lab() -> Lab:
    return Lab()


class TestCalls:
    """Each call asks for what the manual says."""

    @pytest.mark.parametrize("mode", [0, 2, 4, 6])
    def test_queues(self, lab: Lab, mode: int) -> None:
        root, me = lab.process(), lab.process(uid=9)
        id = root.msgget(5, mode=0o600 | mode)
        root.send(id, 1, b"x")
        assert (me.msgstat(id) is RIPC_EACCES) == (not mode & 4)
        assert (me.send(id, 1, b"y", RIPC_NOWAIT) is RIPC_EACCES) == (not mode & 2)
        assert (me.receive(id, 1, 10, RIPC_NOWAIT) is RIPC_EACCES) == (not mode & 4)
        for wanted in (2, 4, 6):
            assert (me.msgget(5, 0, wanted) is RIPC_EACCES) == bool(wanted & ~mode)
        assert me.msgget(5, 0, 0) == id
        assert me.msgstat(id, RIPC_BY_INDEX_ANY).id == id
        assert me.msgset(id, 9, 9, 0o666, 10) is RIPC_EPERM
        assert me.msgrmid(id) is RIPC_EPERM

    @pytest.mark.parametrize("mode", [0, 2, 4, 6])
    def test_semaphores(self, lab: Lab, mode: int) -> None:
        root, me = lab.process(), lab.process(uid=9)
        id = root.semget(5, mode=0o600 | mode)
        for refused in (me.semstat(id), me.getval(id, 0), me.getall(id), me.semop(id, (0, 0))):
            assert (refused is RIPC_EACCES) == (not mode & 4)
        for refused in (me.semop(id, (0, 1)), me.setval(id, 0, 1), me.setall(id, [1])):
            assert (refused is RIPC_EACCES) == (not mode & 2)
        assert (me.semset(id, 9, 9, 0), me.semrmid(id)) == (RIPC_EPERM, RIPC_EPERM)

    @pytest.mark.parametrize("mode", [0, 2, 4, 6])
    def test_segments(self, lab: Lab, mode: int) -> None:
        root, me = lab.process(), lab.process(uid=9)
        id = root.shmget(5, mode=0o600 | mode)
        for refused in (me.shmstat(id), me.read(id, 0, 1), me.attach(id, 0x1000)):
            assert (refused is RIPC_EACCES) == (not mode & 4)
        assert (me.write(id, 0, b"x") is RIPC_EACCES) == (not mode & 2)
        for refused in (me.attach(id), me.add(id, 0, 1), me.swap(id, 0, 0, 1)):
            assert (refused is RIPC_EACCES) == (mode != 6)
        assert (me.shmset(id, 9, 9, 0), me.shmrmid(id)) == (RIPC_EPERM, RIPC_EPERM)


def test_ownership_can_be_given_away_and_the_creator_keeps_control(lab: Lab) -> None:
    creator, heir = lab.process(uid=5), lab.process(uid=6)
    id = creator.msgget(7)
    assert creator.msgset(id, 6, 6, 0o600, 100) is RIPC_OK
    assert heir.msgset(id, 6, 6, 0o400, 100) is RIPC_OK
    assert creator.msgset(id, 5, 5, 0o600, 100) is RIPC_OK
    assert heir.send(id) is RIPC_EACCES


def test_nobody_can_own_anything(lab: Lab) -> None:
    root = lab.process()
    id = root.msgget()
    assert root.msgset(id, 2**32 - 1, 0, 0o600, 100) is RIPC_EINVAL
    assert root.msgset(id, 0, 2**32 - 1, 0o600, 100) is RIPC_EINVAL


def test_only_root_raises_msg_qbytes_above_msgmnb(lab: Lab) -> None:
    owner, root = lab.process(uid=5), lab.process()
    id = owner.msgget()
    assert owner.msgset(id, 5, 5, 0o600, 16385) is RIPC_EPERM
    assert owner.msgset(id, 5, 5, 0o600, -1) is RIPC_EPERM
    assert root.msgset(id, 5, 5, 0o600, 16385) is RIPC_OK
    assert owner.msgset(id, 5, 5, 0o600, 16384) is RIPC_OK
    assert root.msgset(id, 5, 5, 0o600, -1) is RIPC_EINVAL
