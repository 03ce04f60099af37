"""Where a server listens, as people write it: ``tcp:host:port``, ``udp:host:port``, ``unix:/path``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Address", "parse_address"]

Transport = Literal["tcp", "udp", "unix"]

MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """One server's place.

    Args:
        transport: ``"tcp"``, ``"udp"`` or ``"unix"`` (a Unix-domain stream socket).
        host: Name or literal address without brackets; empty for ``unix``.
        port: 1 to 65535; 0 for ``unix``.
        path: The socket's file; empty unless ``unix``.
    """

    transport: Transport
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        """The text that parse_address() reads back."""
        if self.transport == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}:{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read an address as people write it.

    Args:
        text: ``tcp:HOST:PORT``, ``udp:HOST:PORT`` or ``unix:/PATH``. An IPv6 literal stands in brackets
            (``tcp:[::1]:600``); without them the last colon separates the port.

    Raises:
        ValueError: The text has another shape; the message says what was expected.
    """
    transport, colon, rest = text.partition(":")
    if transport == "unix" and rest:
        return Address("unix", path=rest)
    if transport not in ("tcp", "udp") or not colon:
        msg = f"{text!r} is no address: tcp:HOST:PORT, udp:HOST:PORT or unix:/PATH is"
        raise ValueError(msg)
    host, colon, digits = rest.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not (digits.isascii() and digits.isdigit()) or not 1 <= int(digits) <= MAX_PORT:
        msg = f"{text!r} is no address: a host and a port from 1 to {MAX_PORT} must follow {transport}:"
        raise ValueError(msg)
    return Address("tcp" if transport == "tcp" else "udp", host=host, port=int(digits))
