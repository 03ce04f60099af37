from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ipcserver.demo.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_what_can_be_read_is_read_even_without_time(loop: Loop, pipe: tuple[int, int]) -> None:
    heard: list[bytes] = []
    loop.add(pipe[0], lambda: heard.append(os.read(pipe[0], 10)))
    os.write(pipe[1], b"x")
    assert not loop.run(0)
    assert heard == [b"x"]
    loop.remove(pipe[0])
    os.write(pipe[1], b"y")
    loop.run(0)
    assert heard == [b"x"]


def test_it_ends_as_soon_as_what_is_waited_for_is_there(loop: Loop, pipe: tuple[int, int]) -> None:
    heard: list[bytes] = []
    loop.add(pipe[0], lambda: heard.append(os.read(pipe[0], 10)))
    os.write(pipe[1], b"x")
    assert loop.run(60, lambda: heard)


def test_timers_are_looked_at_until_they_are_removed(loop: Loop) -> None:
    looks: list[int] = []

    def look() -> None:
        looks.append(1)

    loop.add_timer(look)
    loop.run(0)
    assert looks
    loop.remove_timer(look)
    looks.clear()
    loop.run(0)
    assert looks == []
