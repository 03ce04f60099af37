"""What a client of the IPC service gets instead of an answer."""

from __future__ import annotations

import errno
import os
from typing import Final

from ipcserver._gen.ipc import ripc_status

__all__ = ["IPCError", "SessionLost"]

_ERRNO: Final = {
    status: getattr(errno, status.name.removeprefix("RIPC_"))
    for status in ripc_status
    if hasattr(errno, status.name.removeprefix("RIPC_"))
}
"""Those statuses that System V or this machine has a number for."""

_TEXT: Final = {
    ripc_status.RIPC_ETIMEDOUT: "nothing came of it in the time allowed",
    ripc_status.RIPC_ENOSESSION: "the session ended, or never was",
    ripc_status.RIPC_EMISORDERED: "the sequence number is not the slot's next",
    ripc_status.RIPC_EFALSERETRY: "another call had this slot and sequence number",
    ripc_status.RIPC_EBUSY: "the slot's call is still under way",
    ripc_status.RIPC_ETOOBIG: "the answer does not fit a datagram: use TCP",
    ripc_status.RIPC_EQUOTA: "a limit of this owner or address was met",
    ripc_status.RIPC_EIO: "the server's journal cannot be written; nothing was done",
    ripc_status.RIPC_ENOENT: "no object with this key",
    ripc_status.RIPC_EEXIST: "there is an object with this key",
    ripc_status.RIPC_EIDRM: "the object was removed",
    ripc_status.RIPC_ENOMSG: "no message of this type",
}
"""Where the server's meaning is not, or is more than, what the C library calls the number."""


class IPCError(OSError):
    """The server refused a call; nothing was done.

    An OSError, so that ``except OSError as error: error.errno == errno.ENOMSG`` does what it does with the kernel's
    own IPC.  ``errno`` is this machine's number of the same name, EPROTO for a status that has none.

    Attributes:
        status: The status as it came over the wire.
    """

    def __init__(self, status: ripc_status, call: str) -> None:
        number = _ERRNO.get(status, errno.EPROTO)
        text = _TEXT.get(status) or os.strerror(number)
        super().__init__(number, f"{call}: {text} ({status.name.removeprefix('RIPC_')})")
        self.status = status


class SessionLost(ConnectionError):
    """The session ended while a call was under way: whether it was executed is not known.

    The lease ran out while the server could not be reached. What the session had locked was undone, a message that it
    had received without acknowledging is back in its queue.
    """
