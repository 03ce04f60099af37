"""The tape as a capture file."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

from oncrpc.pcapng import PcapngWriter

if TYPE_CHECKING:
    from ipcserver.demo.tape import Heard

__all__ = ["Capture"]

_LANES: Final = ("server", "portmapper")
_CONNECTIONS: Final = 1_000_000
"""Connections of one server in one life, for each numbers its own from 1."""


class Capture:
    """Writes what was heard.

    Args:
        file: Open for writing bytes; belongs to the caller.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._now = 0.0
        self._writer = PcapngWriter(file, clock=lambda: self._now)
        self.messages = 0
        """How many were written."""

    def write(self, heard: Heard, life: int = 0) -> None:
        """Write a message.

        Args:
            heard: The message.
            life: Which life of the server it is of, from 0.
        """
        self._now = heard.at
        self._writer.message_seen(heard.seen((len(_LANES) * life + _LANES.index(heard.lane)) * _CONNECTIONS))
        self.messages += 1
