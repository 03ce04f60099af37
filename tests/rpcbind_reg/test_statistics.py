"""What rpcinfo -m prints, and that a scan cannot make it grow."""

from __future__ import annotations

from rpcbind_reg.statistics import ROWS_MAX, Statistics


def test_calls_are_counted_by_version_and_procedure() -> None:
    counted = Statistics()
    counted.called(2, 3)
    counted.called(4, 12)
    counted.set_granted(3)
    counted.unset_granted(2)
    assert counted.by_version[2].calls[3] == counted.by_version[4].calls[12] == 1
    assert (counted.by_version[3].sets, counted.by_version[2].unsets) == (1, 1)


def test_lookups_are_counted_found_and_not_found() -> None:
    counted = Statistics()
    for found in (True, True, False):
        counted.looked_up(4, 100003, 3, "tcp", found=found)
    tally = counted.by_version[4].lookups[100003, 3, "tcp"]
    assert (tally.success, tally.failure) == (2, 1)


def test_calls_passed_on_are_counted() -> None:
    counted = Statistics()
    counted.passed_on(4, 100001, 3, 0, "udp", found=True, indirect=False)
    counted.passed_on(4, 100001, 3, 0, "udp", found=False, indirect=True)
    tally = counted.by_version[4].forwarded[100001, 3, 0, "udp"]
    assert (tally.success, tally.failure, tally.indirect) == (1, 1, 1)


def test_a_scan_of_programs_does_not_make_it_grow() -> None:
    counted = Statistics()
    for program in range(ROWS_MAX * 3):
        counted.looked_up(2, program, 1, "tcp", found=False)
        counted.looked_up(2, 100003, 3, "tcp", found=True)
    rows = counted.by_version[2].lookups
    assert len(rows) == ROWS_MAX
    assert rows[100003, 3, "tcp"].success == ROWS_MAX * 3  # what is in use stays
