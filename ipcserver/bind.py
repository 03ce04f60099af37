"""The sockets of a server, bound before anything else happens: privileged ports need root only for that.

A socket here is bound and not yet listening, so that nobody connects before the journal is replayed.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ipcserver.config import PORT, UNPRIVILEGED_PORT, Config
from oncrpc.tx.sockets import CannotServe, open_endpoints, passed_descriptors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Sockets", "bind_hosts", "bind_service"]

_FREE_PORT_TRIES = 20
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@dataclass(slots=True)
class Sockets:
    """What was bound, and what the operator should be told about it."""

    bound: list[socket.socket] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    port: int = 0
    """The TCP and UDP port."""
    fell_back: bool = False
    """Whether the usual port was wanted and could not be had."""
    files: list[Path] = field(default_factory=list)
    """Local sockets that were made here, to be taken away at the end."""

    def bind_local(self, path: Path) -> None:
        """Bind a local socket too, open to every user: who calls is what the kernel says of the peer.

        Raises:
            CannotServe: Somebody listens there, something else is there, or the place cannot be written.
        """
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            place = f"unix {path}"
            raise CannotServe(place, error) from None
        escaped = str(path).replace(":", r"\:")
        self.bound += open_endpoints([f"unix:{escaped}:mode=666"], listen=False)
        self.files.append(path)

    def close(self) -> None:
        """Give every socket up."""
        for sock in self.bound:
            sock.close()
        for path in self.files:
            path.unlink(missing_ok=True)
        self.bound.clear()
        self.files.clear()


def _bind_all(hosts: Sequence[str], port: int, *, skip_absent: bool) -> Sockets:
    """Bind TCP and UDP on every host, all on one port.

    Raises:
        CannotServe: One of them cannot be bound; then none stays bound.
    """
    sockets = Sockets(port=port)
    try:
        for host in hosts:
            try:
                sockets.bound += open_endpoints([f"tcp:{sockets.port}:interface={host}"], listen=False)
            except CannotServe as error:
                if skip_absent and sockets.bound and error.socketError.errno in _ABSENT:
                    sockets.notes.append(f"{host} is not there on this machine; not served")
                    continue
                raise
            sockets.port = sockets.bound[-1].getsockname()[1]
            sockets.bound += open_endpoints([f"udp:{sockets.port}:interface={host}"], listen=False)
    except CannotServe:
        sockets.close()
        raise
    return sockets


def bind_hosts(hosts: Sequence[str], port: int, *, skip_absent: bool) -> Sockets:
    """Bind TCP and UDP on every host, all on one port; port 0 looks for one that is free on all.

    Args:
        hosts: Numeric addresses.
        port: The port, or 0.
        skip_absent: Whether an address that this machine does not have is noted and left out (never the first).

    Raises:
        CannotServe: One of them cannot be bound; then none stays bound.
    """
    for _ in range(_FREE_PORT_TRIES - 1 if port == 0 else 0):
        try:
            return _bind_all(hosts, 0, skip_absent=skip_absent)
        except CannotServe as error:
            if error.socketError.errno != errno.EADDRINUSE:
                raise
    return _bind_all(hosts, port, skip_absent=skip_absent)


def _activated() -> Sockets | None:
    """Return the sockets that systemd passed to this process, if it did (sd_listen_fds(3))."""
    descriptors = passed_descriptors()
    if not descriptors:
        return None
    sockets = Sockets()
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        sockets.bound.append(sock)
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            sockets.port = sock.getsockname()[1]
    return sockets


def bind_service(config: Config) -> Sockets:
    """Bind what a configuration asks for: TCP and UDP on each address, and the local socket.

    Sockets that systemd passed take the place of the addresses and the port. Without a port in the configuration it
    is 600; where this user may not bind that, 6600.

    Raises:
        CannotServe: A port is taken, or cannot be had; then nothing stays bound.
    """
    sockets = _activated() or _bind_configured(config)
    if any(sock.family == socket.AF_UNIX for sock in sockets.bound):
        return sockets
    try:
        sockets.bind_local(config.socket_path)
    except CannotServe:
        sockets.close()
        raise
    return sockets


def _bind_configured(config: Config) -> Sockets:
    """Bind the addresses and the port of a configuration."""
    skip_absent = config.listen == Config().listen
    try:
        return bind_hosts(config.listen, PORT if config.port is None else config.port, skip_absent=skip_absent)
    except CannotServe as error:
        if config.port is not None or error.socketError.errno != errno.EACCES:
            raise
    sockets = bind_hosts(config.listen, UNPRIVILEGED_PORT, skip_absent=skip_absent)
    sockets.fell_back = True
    return sockets
