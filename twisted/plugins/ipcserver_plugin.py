"""Makes ``twistd ipcserver`` known to Twisted; everything else is in ipcserver.tap."""

from __future__ import annotations

from twisted.application.service import ServiceMaker

__all__ = ["ipcserver"]

ipcserver = ServiceMaker(
    "ipcserver",
    "ipcserver.tap",
    "System V message queues, semaphores and segments over Sun RPC, on port 600",
    "ipcserver",
)
