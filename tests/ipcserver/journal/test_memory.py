from __future__ import annotations

from typing import TYPE_CHECKING

from ipcserver.journal import JournalClosed, MemoryJournal

if TYPE_CHECKING:
    from ipcserver.journal import JournalError
from tests.ipcserver.journal.stores import at_once


def test_an_append_is_settled_before_it_returns() -> None:
    journal = MemoryJournal()
    journal.open()
    journal.start(at_once)
    fates: list[JournalError | None] = []
    journal.append([b"a"], fates.append)
    assert fates == [None]
    assert journal.batches == []
    assert not journal.keeps


def test_a_journal_that_keeps_gives_everything_back_after_the_snapshot() -> None:
    journal = MemoryJournal(keep=True)
    journal.open()
    journal.start(at_once)
    fates: list[JournalError | None] = []
    for command in (b"a", b"b", b"c"):
        journal.append([command], fates.append)
    journal.save_snapshot(2, iter([b"A", b"B"]), fates.append)
    journal.reclaim(fates.append)
    journal.close()
    recovered = journal.open()
    assert (recovered.snapshot, recovered.snapshot_number, recovered.commands) == (b"AB", 2, 1)
    assert [batch.commands for batch in recovered.batches] == [[b"c"]]
    assert fates == [None] * 5
    assert journal.settled == 3


def test_an_append_after_close_is_refused() -> None:
    journal = MemoryJournal()
    fates: list[JournalError | None] = []
    journal.append([b"a"], fates.append)
    assert isinstance(fates[0], JournalClosed)


def test_the_scratch_file_holds_what_is_written() -> None:
    with MemoryJournal().scratch() as file:
        assert file.write(b"abc") == 3
