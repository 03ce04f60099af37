"""Word to the service manager that the ports are served: systemd's sd_notify(3)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["notify"]


def notify(state: str, environ: Mapping[str, str]) -> bool:
    """Tell the service manager something, if one listens.

    Args:
        state: What to say: ``READY=1``, ``STOPPING=1``, ``STATUS=...``.
        environ: NOTIFY_SOCKET says where to.

    Returns:
        Whether it was said. A manager that is not there, or does not listen any more, is no error.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # a manager that does not read must not stop the server
            sock.connect(address)
            sock.send(state.encode())
    except OSError:
        return False
    return True
