"""How an operation says no."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipcserver._gen.ipc import ripc_status

__all__ = ["Refused", "SnapshotUnreadable"]


class Refused(Exception):
    """The operation is refused, and nothing has changed.

    Attributes:
        status: What the caller is told.
    """

    def __init__(self, status: ripc_status) -> None:
        super().__init__(status)
        self.status = status


class SnapshotUnreadable(Exception):
    """A snapshot is damaged, or of a format that this version does not know."""
