from __future__ import annotations

import io
import os
import socket
import tempfile
import threading
from typing import IO, TYPE_CHECKING, NoReturn

import pytest

from ipcserver.snapshots import PART_SIZE, fork_encoder, read_parts

if TYPE_CHECKING:
    from collections.abc import Callable


def encoded(encode: Callable[[], bytes], file: IO[bytes]) -> bool:
    """Have a child encode, and wait for it."""
    ended = threading.Event()
    results: list[bool] = []

    def done(whole: bool) -> None:
        results.append(whole)
        ended.set()

    fork_encoder(encode, file, done)
    assert ended.wait(30)
    return results[0]


def test_the_child_writes_what_was_there_at_the_moment_of_the_fork() -> None:
    state = [b"before"]
    ended = threading.Event()

    def encode() -> bytes:
        return b"".join(state) * 100_000

    with tempfile.TemporaryFile() as file:
        fork_encoder(encode, file, lambda whole: ended.set())
        state.append(b"after")
        assert ended.wait(30)
        assert b"".join(read_parts(file)) == b"before" * 100_000


def test_a_child_that_fails_says_so_and_never_comes_back_into_the_server() -> None:
    here = os.getpid()

    def fail() -> NoReturn:
        raise MemoryError

    with tempfile.TemporaryFile() as file:
        assert not encoded(fail, file)
    assert os.getpid() == here


def test_a_file_without_a_descriptor_is_refused_before_there_is_a_child() -> None:
    with pytest.raises(OSError, match="fileno"):
        fork_encoder(lambda: b"", io.BytesIO(), lambda whole: None)


def test_no_socket_outlives_the_server_in_its_child() -> None:
    with socket.socket() as listening, tempfile.TemporaryFile() as file:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def encode() -> bytes:
            try:
                os.fstat(listening.fileno())
            except OSError:
                return b"closed"
            return b"open"

        assert encoded(encode, file)
        assert b"".join(read_parts(file)) == b"closed"


def test_parts_are_of_one_size_and_the_file_is_closed_after_the_last() -> None:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - read_parts closes it
    file.write(bytes(2 * PART_SIZE + 1))
    assert [len(part) for part in read_parts(file)] == [PART_SIZE, PART_SIZE, 1]
    assert file.closed
