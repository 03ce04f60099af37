"""Segments: ranges, words, waiting for change, attachments, memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcserver._gen.ipc import (
    RIPC_EACCES,
    RIPC_EIDRM,
    RIPC_EINVAL,
    RIPC_ENOMEM,
    RIPC_ENOSPC,
    RIPC_ETIMEDOUT,
    RIPC_OK,
    RIPC_RDONLY,
)
from ipcserver.machine import Limits
from ipcserver.machine.limits import PAGE
from ipcserver.machine.segments import CHANGES
from tests.ipcserver.machine.lab import Lab, Process

SIZE = 5 * PAGE + 100


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def me(lab: Lab) -> Process:
    return lab.process()


@pytest.fixture
def segment(me: Process) -> int:
    id = me.shmget(5, SIZE)
    assert isinstance(id, int)
    return id


class TestRanges:
    """Reading and writing."""

    @given(writes=st.lists(st.tuples(st.integers(0, SIZE), st.binary(max_size=3 * PAGE)), max_size=8))
    def test_what_was_written_is_read_and_the_rest_is_zero(self, writes: list[tuple[int, bytes]]) -> None:
        lab = Lab()
        me = lab.process()
        segment = me.shmget(5, SIZE)
        model = bytearray(SIZE)
        for offset, data in writes:
            fits = offset + len(data) <= SIZE
            assert (me.write(segment, offset, data) is not RIPC_EINVAL) == fits
            if fits:
                model[offset : offset + len(data)] = data
        assert me.read(segment, 0, SIZE)[1] == bytes(model)
        lab.restart()
        assert me.read(segment, 0, SIZE)[1] == bytes(model)
        assert me.read(segment, PAGE - 3, 7)[1] == bytes(model[PAGE - 3 : PAGE + 4])

    def test_a_read_ends_with_the_segment(self, me: Process, segment: int) -> None:
        assert me.read(segment, SIZE - 1, 10) == (0, b"\0")
        assert me.read(segment, SIZE, 10) == (0, b"")
        assert me.read(segment, SIZE + 1, 10) is RIPC_EINVAL
        assert me.read(segment, -1, 1) is RIPC_EINVAL

    def test_a_write_that_does_not_lie_within_the_segment_changes_nothing(self, me: Process, segment: int) -> None:
        for offset, data in ((SIZE - 1, b"xx"), (-1, b"x"), (2**62, b"")):
            assert me.write(segment, offset, data) is RIPC_EINVAL
        assert me.read(segment, 0, SIZE) == (0, bytes(SIZE))

    def test_every_change_has_the_next_stamp(self, me: Process, segment: int) -> None:
        assert [me.write(segment, 0, b"x") for _ in range(3)] == [1, 2, 3]
        assert me.write(segment, 0, b"") == 3
        assert me.read(segment, 0, 1)[0] == 3


class TestWords:
    """Compare and swap, fetch and add."""

    def test_a_word_is_swapped_only_if_it_is_as_expected(self, me: Process, segment: int) -> None:
        assert me.swap(segment, 8, 0, 7) == 0
        assert me.swap(segment, 8, 0, 9) == 7
        assert me.read(segment, 8, 4) == (1, b"\0\0\0\7")

    def test_adding_is_modulo_two_to_the_32nd(self, me: Process, segment: int) -> None:
        assert me.add(segment, 0, 0xFFFFFFFF) == 0
        assert me.add(segment, 0, 2) == 0xFFFFFFFF
        assert me.read(segment, 0, 4)[1] == b"\0\0\0\1"

    @pytest.mark.parametrize("offset", [2, -4, SIZE, SIZE - 2])
    def test_words_are_aligned_and_within_the_segment(self, me: Process, segment: int, offset: int) -> None:
        assert me.add(segment, offset, 1) is RIPC_EINVAL
        assert me.swap(segment, offset, 0, 1) is RIPC_EINVAL

    def test_words_need_read_and_write_permission(self, lab: Lab, me: Process, segment: int) -> None:
        me.shmset(segment, 0, 0, 0o602)
        stranger = lab.process(uid=9)
        assert stranger.add(segment, 0, 1) is RIPC_EACCES
        assert stranger.write(segment, 0, b"x") == 1
        assert stranger.read(segment, 0, 1) is RIPC_EACCES


class TestWaiting:
    """Waiting for a change of a range since a stamp."""

    def test_a_change_since_the_stamp_is_told_at_once(self, me: Process, segment: int) -> None:
        me.write(segment, 10, b"x")
        assert me.wait_change(segment, 10, 1, 0) == 1
        assert me.wait_change(segment, 0, SIZE, 0) == 1

    def test_only_a_change_of_the_range_ends_the_wait(self, lab: Lab, me: Process, segment: int) -> None:
        other = lab.process()
        assert me.wait_change(segment, 10, 5, 0) is None
        other.write(segment, 0, b"0123456789")
        other.write(segment, 15, b"x")
        assert me.result() is None
        other.write(segment, 14, b"x")
        assert me.result() == 3

    def test_ranges_over_many_pages_are_watched_too(self, lab: Lab, me: Process, segment: int) -> None:
        other = lab.process()
        assert me.wait_change(segment, 1, SIZE - 1, 0) is None
        other.write(segment, 0, b"x")
        assert me.result() is None
        other.add(segment, 4 * PAGE, 1)
        assert me.result() == 2

    def test_a_swap_that_fails_is_no_change(self, lab: Lab, me: Process, segment: int) -> None:
        other = lab.process()
        assert me.wait_change(segment, 0, 4, 0) is None
        other.swap(segment, 0, 5, 6)
        assert me.result() is None
        other.swap(segment, 0, 0, 6)
        assert me.result() == 1

    @pytest.mark.parametrize(
        ("offset", "count", "stamp"), [(-1, 1, 0), (0, 0, 0), (0, SIZE + 1, 0), (SIZE, 1, 0), (0, 1, 1), (0, 1, -1)]
    )
    def test_a_range_or_stamp_that_cannot_be_is_einval(
        self, me: Process, segment: int, offset: int, count: int, stamp: int
    ) -> None:
        assert me.wait_change(segment, offset, count, stamp) is RIPC_EINVAL

    @given(
        changes=st.lists(st.tuples(st.integers(0, SIZE - 9), st.integers(1, 9)), min_size=1, max_size=CHANGES + 40),
        start=st.integers(0, SIZE - 1),
        back=st.integers(0, 400),
    )
    def test_no_change_is_missed_and_the_latest_are_told_exactly(
        self, changes: list[tuple[int, int]], start: int, back: int
    ) -> None:
        lab = Lab()
        me = lab.process()
        segment = me.shmget(5, SIZE)
        for offset, count in changes:
            me.write(segment, offset, b"x" * count)
        stamp = max(0, len(changes) - back)
        end = min(start + 20, SIZE)
        really = any(offset < end and start < offset + count for offset, count in changes[stamp:])
        told = me.wait_change(segment, start, end - start, stamp) is not None
        assert told if really else (not told or back > CHANGES)

    def test_a_wait_ends_with_its_time_and_with_its_segment(self, lab: Lab, me: Process, segment: int) -> None:
        other = lab.process()
        me.wait_change(segment, 0, 4, 0, wait_ms=5)
        other.wait_change(segment, 0, SIZE, 0)
        lab.pass_time(6)
        assert me.result() is RIPC_ETIMEDOUT
        me.shmrmid(segment)
        assert other.result() is RIPC_EIDRM

    def test_a_change_while_the_waiter_was_away_is_told_when_it_is_back(
        self, lab: Lab, me: Process, segment: int
    ) -> None:
        other = lab.process()
        other.hello()
        other.wait_change(segment, 0, 4, 0)
        lab.close(other.connection)
        me.write(segment, 0, b"x")
        other.connection = 77
        assert other.again() == 1


class TestAttachments:
    """shmat, shmdt, IPC_RMID."""

    def test_attachments_are_counted_by_session(self, lab: Lab, me: Process, segment: int) -> None:
        other = lab.process()
        assert [me.attach(segment), me.attach(segment), other.attach(segment, RIPC_RDONLY)] == [1, 2, 3]
        assert other.detach(segment) is RIPC_OK
        assert other.detach(segment) is RIPC_EINVAL
        assert me.shmstat(segment).nattch == 2
        lab.close(me.connection)
        assert me.shmstat(segment).nattch == 0

    def test_a_removed_segment_goes_with_its_last_attachment(self, lab: Lab, me: Process, segment: int) -> None:
        me.attach(segment)
        me.write(segment, 0, b"x")
        assert me.shmrmid(segment) is RIPC_OK
        assert me.shmget(5, 1, 0).name == "RIPC_ENOENT"
        assert me.shmstat(segment).removed == 1
        assert me.read(segment, 0, 1)[1] == b"x"
        lab.restart()
        assert lab.process().shmstat(segment) is RIPC_EINVAL
        assert lab.machine.accounts.segment_memory == 0

    def test_attaching_needs_the_permission_it_asks_for(self, lab: Lab, me: Process, segment: int) -> None:
        me.shmset(segment, 0, 0, 0o604)
        stranger = lab.process(uid=9)
        assert stranger.attach(segment) is RIPC_EACCES
        assert stranger.attach(segment, RIPC_RDONLY) == 1


class TestLimits:
    """Memory."""

    def test_a_large_segment_costs_what_is_written(self, lab: Lab, me: Process) -> None:
        segment = me.shmget(6, 64 << 20)
        me.write(segment, 63 << 20, b"x")
        assert lab.machine.accounts.segment_memory == PAGE
        assert len(lab.machine.snapshot()) < 3 * PAGE

    def test_written_memory_is_bounded(self) -> None:
        lab = Lab(Limits(segment_memory=2 * PAGE))
        me = lab.process()
        segment = me.shmget(6, 10 * PAGE)
        assert me.write(segment, 0, bytes(2 * PAGE)) == 1
        assert me.write(segment, 2 * PAGE - 1, b"xx") is RIPC_ENOMEM
        assert me.read(segment, 2 * PAGE - 1, 1) == (1, b"\0")
        assert me.write(segment, 5, b"y") == 2

    def test_sizes_are_bounded(self) -> None:
        lab = Lab(Limits(shmmax=100, shmmin=10, shmall=150, shmmni=2))
        me = lab.process()
        assert me.shmget(0, 9) is RIPC_EINVAL
        assert me.shmget(0, 101) is RIPC_EINVAL
        assert isinstance(me.shmget(0, 100), int)
        assert me.shmget(0, 51) is RIPC_ENOSPC
        assert isinstance(me.shmget(0, 10), int)
        assert me.shmget(0, 10) is RIPC_ENOSPC
