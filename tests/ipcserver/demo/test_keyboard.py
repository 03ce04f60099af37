from __future__ import annotations

import os
import pty
import termios

import pytest

from ipcserver.demo.keyboard import Keyboard, meaning_of
from ipcserver.demo.loop import Loop


@pytest.mark.parametrize(
    ("key", "meaning"),
    [
        (b"\r", "next"),
        (b"\n", "next"),
        (b" ", "next"),
        (b"\x1b[C", "next"),
        (b"q", "quit"),
        (b"", "quit"),
        (b"7", "7"),
        (b"0", ""),
        (b"x", ""),
        (b"\x1b", ""),
        (b"12", ""),
    ],
)
def test_keys_mean_what_the_screen_says(key: bytes, meaning: str) -> None:
    assert meaning_of(key) == meaning


def test_keys_come_one_by_one_and_the_terminal_is_as_before() -> None:
    mine, terminal = pty.openpty()
    loop = Loop()
    try:
        before = termios.tcgetattr(terminal)
        with Keyboard(terminal, loop) as keyboard:
            os.write(mine, b"7")
            assert loop.run(5, lambda: keyboard.pressed)
            assert keyboard.pressed == "7"
            keyboard.forget()
            assert keyboard.pressed == ""
        assert termios.tcgetattr(terminal) == before
    finally:
        loop.close()
        os.close(mine)
        os.close(terminal)
