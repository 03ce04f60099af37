"""Single keys from a terminal."""

from __future__ import annotations

import os
import termios
import tty
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

    from ipcserver.demo.loop import Loop

__all__ = ["Keyboard", "meaning_of"]

_NEXT: Final = frozenset({b"\r", b"\n", b" ", b"n", b"\x1b[C", b"\x1b[B", b"\x1b[6~"})
_QUIT: Final = frozenset({b"q", b"Q", b"\x04", b""})
_READ: Final = 64


def meaning_of(key: bytes) -> str:
    """Return what a key means: "next", "quit", a digit from 1 to 9 as it is, or "" for nothing.

    Args:
        key: The bytes that one read gave.
    """
    if key in _NEXT:
        return "next"
    if key in _QUIT:
        return "quit"
    return key.decode() if len(key) == 1 and key in b"123456789" else ""


class Keyboard:
    """Takes keys one by one, without echo, for the length of a ``with``; Ctrl-C stays a signal.

    Args:
        descriptor: The terminal.
        loop: Hears it.

    Attributes:
        pressed: What the last key meant; "" if nothing was pressed since it was set so.
    """

    def __init__(self, descriptor: int, loop: Loop) -> None:
        self._descriptor, self._loop = descriptor, loop
        self._before: list[Any] = []
        self.pressed = ""

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        self._loop.add(self._descriptor, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.remove(self._descriptor)
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def forget(self) -> None:
        """Drop what was pressed before there was something new to see."""
        termios.tcflush(self._descriptor, termios.TCIFLUSH)
        self.pressed = ""

    def _read(self) -> None:
        try:
            key = os.read(self._descriptor, _READ)
        except OSError:  # the terminal is gone
            key = b""
        self.pressed = meaning_of(key) or self.pressed
