from __future__ import annotations

import pickle

from ipcserver.journal import errors


def test_every_error_about_a_file_names_it_and_the_reason() -> None:
    for name in ("NotAJournal", "NewerFormat", "StoreDamaged", "StoreLocked", "JournalFull", "JournalUnwritable"):
        error = getattr(errors, name)("/a/store", "is not well")
        assert str(error) == "/a/store: is not well"
        assert (error.path, error.reason) == ("/a/store", "is not well")
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_what_refuses_to_start_and_what_fails_later_are_told_apart() -> None:
    assert issubclass(errors.StoreLocked, errors.StoreRefused)
    assert issubclass(errors.JournalFull, errors.CommitFailed)
    assert not issubclass(errors.CommitFailed, errors.StoreRefused)
