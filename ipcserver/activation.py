"""Sockets that a service manager bound for this process, and word to it that they are served.

The protocol of systemd's sd_listen_fds(3) and sd_notify(3), as plain environment variables and file descriptors.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

from ipcserver.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["inherited_sockets", "notify"]

_FIRST_DESCRIPTOR: Final = 3
"""SD_LISTEN_FDS_START."""

_SERVED: Final = {
    (socket.AF_INET, socket.SOCK_STREAM),
    (socket.AF_INET, socket.SOCK_DGRAM),
    (socket.AF_INET6, socket.SOCK_STREAM),
    (socket.AF_INET6, socket.SOCK_DGRAM),
    (socket.AF_UNIX, socket.SOCK_STREAM),
}


def inherited_sockets(environ: MutableMapping[str, str], *, first: int = _FIRST_DESCRIPTOR) -> list[socket.socket]:
    """Return the sockets that were passed to this process; empty if there are none.

    They are bound, and those of TCP and the local ones listen already. They are taken once: the variables are
    removed, so that neither a second call nor a child takes them again.

    Args:
        environ: LISTEN_PID and LISTEN_FDS are read and removed, LISTEN_FDNAMES is removed.
        first: The first descriptor.

    Raises:
        ConfigError: A descriptor is not a socket that can be served; then none is taken, and all are closed.
    """
    pid = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    sockets: list[socket.socket] = []
    try:
        for descriptor in range(first, first + int(count)):
            sockets.append(_take(descriptor))
    except ConfigError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _take(descriptor: int) -> socket.socket:
    """Return the socket of a descriptor.

    Raises:
        ConfigError: It is none, or none that can be served.
    """
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        message = f"passed descriptor {descriptor}: {error.strerror}; is LISTEN_FDS right?"
        raise ConfigError(message) from None
    if (sock.family, sock.type) not in _SERVED:
        sock.close()
        message = f"passed descriptor {descriptor}: neither TCP, UDP nor a local stream socket"
        raise ConfigError(message)
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def notify(state: str, environ: MutableMapping[str, str]) -> bool:
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
            sock.connect(address)
            sock.send(state.encode())
    except OSError:
        return False
    return True
