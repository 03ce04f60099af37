"""The sockets of a server, bound before anything else happens: privileged ports need root only for that.

A socket here is bound and not yet listening, so that nobody connects before the journal is replayed.
"""

from __future__ import annotations

import errno
import socket
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ipcserver.config import PORT, UNPRIVILEGED_PORT, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ipcserver.config import Config

__all__ = ["BindError", "Sockets", "bind_address", "bind_local", "bind_service"]

_FREE_PORT_TRIES = 20


class BindError(ConfigError):
    """An address cannot be bound; the text names it, the reason, and who may be in the way."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.errno = number


@dataclass(slots=True)
class Sockets:
    """What was bound, and what the operator should be told about it."""

    bound: list[socket.socket] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    port: int = 0

    def close(self) -> None:
        """Give every socket up."""
        for sock in self.bound:
            sock.close()
        self.bound.clear()


def _explain(error: OSError, host: str, port: int, transport: str) -> BindError:
    """Say in one line why an address could not be bound."""
    where = f"{transport} port {port} on {host}"
    if error.errno == errno.EADDRINUSE:
        text = f"{where} is taken; see who holds it with: ss -lntup 'sport = :{port}'"
        if 512 <= port < 1024 and port != 111:
            text += (
                ". It may be an RPC program of this machine (ypbind, statd, mountd, an NFS mount): bindresvport(3)"
                f" hands out ports from 600 on. Put {port} into /etc/bindresvport.blacklist and start early"
            )
        elif port == 111:
            text += ". It is most likely rpcbind"
        return BindError(text, error.errno)
    if error.errno == errno.EACCES:
        return BindError(f"{where} is privileged, and this user may not bind it", error.errno)
    return BindError(f"{where}: {error.strerror}", error.errno or 0)


def bind_address(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Bind one TCP or UDP socket.

    Args:
        host: A numeric IPv4 or IPv6 address.
        port: 0 takes a free one.
        kind: SOCK_STREAM or SOCK_DGRAM.

    Raises:
        BindError: It cannot be bound.
    """
    transport = "TCP" if kind is socket.SOCK_STREAM else "UDP"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)[0]
    except (OSError, UnicodeError):
        message = f"{host!r} is not an IPv4 or IPv6 address"
        raise BindError(message, errno.EINVAL) from None
    try:
        sock = socket.socket(family, kind)
    except OSError as error:
        raise _explain(error, host, port, transport) from None
    try:
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise _explain(error, host, port, transport) from None
    sock.setblocking(False)
    return sock


def bind_local(path: Path) -> socket.socket:
    """Bind a local stream socket, in the place of one that a killed server left.

    Raises:
        BindError: Somebody listens there, the place holds something else, or it cannot be written.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if path.exists() or path.is_symlink():
            if not stat.S_ISSOCK(path.lstat().st_mode):
                message = f"local socket {path}: something else is there"
                raise BindError(message, errno.EEXIST)
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                    probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                message = f"local socket {path} is taken: another server is running"
                raise BindError(message, errno.EADDRINUSE)
        sock.bind(str(path))
        path.chmod(0o666)  # who calls is what the kernel says of the peer; permissions are the objects' own
    except BindError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        message = f"local socket {path}: {error.strerror or error}"
        raise BindError(message, error.errno or 0) from None
    sock.setblocking(False)
    return sock


def _bind_pair(hosts: Sequence[str], port: int, *, skip_absent: bool) -> Sockets:
    """Bind TCP and UDP on every host, all on one port.

    Raises:
        BindError: One of them cannot be bound; then none stays bound.
    """
    sockets = Sockets()
    try:
        for host in hosts:
            try:
                stream = bind_address(host, sockets.port or port, socket.SOCK_STREAM)
            except BindError as error:
                if skip_absent and sockets.bound and error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    sockets.notes.append(f"{host} is not there on this machine; not served")
                    continue
                raise
            sockets.bound.append(stream)
            sockets.port = stream.getsockname()[1]
            sockets.bound.append(bind_address(host, sockets.port, socket.SOCK_DGRAM))
    except BindError:
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
        BindError: One of them cannot be bound; then none stays bound.
    """
    for _ in range(_FREE_PORT_TRIES - 1 if port == 0 else 0):
        try:
            return _bind_pair(hosts, 0, skip_absent=skip_absent)
        except BindError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return _bind_pair(hosts, port, skip_absent=skip_absent)


def bind_service(config: Config) -> Sockets:
    """Bind what a configuration asks for: TCP and UDP on each address, and the local socket.

    Without a port in the configuration it is 600; where this user may not bind that, 6600, with a note.

    Raises:
        BindError: A port is taken, or cannot be had; then nothing stays bound.
    """
    default_hosts = config.listen == type(config)().listen
    try:
        sockets = bind_hosts(config.listen, PORT if config.port is None else config.port, skip_absent=default_hosts)
    except BindError as error:
        if config.port is not None or error.errno != errno.EACCES:
            raise
        sockets = bind_hosts(config.listen, UNPRIVILEGED_PORT, skip_absent=default_hosts)
    try:
        sockets.bound.append(bind_local(config.socket_path))
    except BindError:
        sockets.close()
        raise
    return sockets


