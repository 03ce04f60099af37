"""Disk space held back, so that a full disk can still be emptied.

To receive or remove a message is to log a command, and that takes space: on a full disk even taking things away
fails. So a file of fixed size stands beside the store; when the disk is full its blocks are given back, the
commands that free something live on them, and it is taken up again when there is space.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Reserve"]

_SMALLEST: Final = 64 << 10
"""Bytes below which a reserve is not worth a file."""


class Reserve:
    """A file whose blocks are allocated but never used.

    Args:
        path: The file.
        size: Bytes to hold back; 0 for none.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size

    def take(self) -> bool:
        """Allocate the blocks if they are not. Return whether all of them are held now."""
        return self.size == 0 or self._allocate(self.size)

    def take_again(self) -> bool:
        """Allocate the blocks if a quarter as much would be left besides.

        Right after release() there is always space for the reserve: to take it up then would only be to give it back
        with the next batch.
        """
        if self.size == 0:
            return True
        if not self._allocate(self.size + self.size // 4):
            return False
        with contextlib.suppress(OSError):
            os.truncate(self.path, self.size)
        return True

    def take_what_there_is(self) -> None:
        """Allocate all, or half, or a quarter and so on."""
        size = self.size
        while size >= _SMALLEST and not self._allocate(size):
            size //= 2

    def _allocate(self, size: int) -> bool:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            # What was allocated before the end of the disk is of no use, and others may need it.
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
            return False
        finally:
            os.close(fd)
        return True

    def release(self) -> None:
        """Give the blocks back to the file system."""
        with contextlib.suppress(OSError):
            os.truncate(self.path, 0)
