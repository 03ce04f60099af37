"""Where the server is, when the user did not say or said only a host."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

from ipcserver._gen import ipc as gen
from ipcserver.config import HIGHEST_PORT, SYSTEM_STATE, Config
from oncrpc.address import Address, parse_address
from oncrpc.errors import RPCError
from rpcbind_reg import sync as registry
from rpcbind_reg.client import Place, default_netid, service_address

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ServerNotFound", "find_server"]

SYSTEM_SOCKET: Final = SYSTEM_STATE / "ipcserver.sock"
"""The local socket of a server that root runs."""


class ServerNotFound(Exception):
    """No server was found; the text says where was looked."""


def _answers(path: Path) -> bool:
    """Return whether somebody listens on a local socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(path))
    except OSError:
        return False
    return True


def find_server(where: str | None = None, *, transport: str = "tcp") -> str:
    """Return the address of a server, in the form that connect() takes.

    Args:
        where: ``HOST``, ``HOST:PORT``, ``[IPV6]:PORT`` or a whole address (``tcp:...``, ``unix:/path``); default:
            the variable IPCSERVER, else the local socket of this machine's server, else localhost. A host without a
            port is asked: its portmapper knows the port.
        transport: "tcp" or "udp", where ``where`` leaves it open.

    Raises:
        ServerNotFound: Nobody is there, or the text is no address.
    """
    where = where or os.environ.get("IPCSERVER")
    if not where:
        for path in (Config.load(None, dict(os.environ)).socket_path, SYSTEM_SOCKET):
            if _answers(path):
                return f"unix:{path}"
        where = "localhost"
    if where.startswith(("tcp:", "udp:", "unix:")):
        try:
            return str(parse_address(where))
        except ValueError as error:
            raise ServerNotFound(str(error)) from None
    host, port = _split(where)
    if port is not None:
        return str(Address("udp" if transport == "udp" else "tcp", host, port))
    place = Place(host)
    netid = default_netid(host, transport)
    stub = gen.IPCPROG_1_Client
    try:
        uaddr = registry.find(stub.program, stub.version, place, netid)
    except RPCError as error:
        message = f"no IPC server was found: {error}. If you know its port, say {host}:PORT"
        raise ServerNotFound(message) from None
    return str(service_address(place, netid, uaddr))


def _split(where: str) -> tuple[str, int | None]:
    """Return host and port of ``HOST[:PORT]``; an IPv6 address with a port stands in brackets."""
    if where.startswith("["):
        host, _, rest = where[1:].partition("]")
        text = rest.removeprefix(":")
    elif where.count(":") == 1:
        host, _, text = where.partition(":")
    else:
        return where, None
    if not text:
        return host, None
    if not text.isdecimal() or not 0 < int(text) <= HIGHEST_PORT:
        message = f"{where!r} has no port from 1 to 65535 behind the colon"
        raise ServerNotFound(message)
    return host, int(text)
