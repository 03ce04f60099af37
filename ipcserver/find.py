"""Where the server is, when the user did not say or said only a host."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from ipcserver._gen import ipc as gen
from ipcserver.config import PORT, Config
from oncrpc.address import Address, parse_address
from rpcbind_reg.sync import find_port

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ServerNotFound", "find_server"]


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
        for path in dict.fromkeys((Config().socket_path, Config(state=None).socket_path)):
            if _answers(path):
                return f"unix:{path}"
        where = "localhost"
    if where.startswith(("tcp:", "udp:", "unix:")):
        try:
            return str(parse_address(where))
        except ValueError as error:
            raise ServerNotFound(str(error)) from None
    host, port = _split(where)
    if port is None:
        port = find_port(host, gen.IPCPROG_1_Client.program, gen.IPCPROG_1_Client.version, transport)
    return str(Address("udp" if transport == "udp" else "tcp", host, port))


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
    if not text.isdecimal() or not 0 < int(text) < 65536:
        message = f"{where!r} has no port from 1 to 65535 behind the colon"
        raise ServerNotFound(message)
    return host, int(text)
