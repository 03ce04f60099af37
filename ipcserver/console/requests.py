"""Who may ask: only pages of this server itself. Pure.

The console has no login, so what must not reach it is a foreign page in the browser of somebody who may: a name that
its owner points at 127.0.0.1 (DNS rebinding), or a form that posts here.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

__all__ = ["HEADERS", "allowed_host", "allowed_origin"]

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer."""


def allowed_host(host: str | None) -> bool:
    """Return whether a Host header is one that no rebinding can have: an address, or localhost.

    Args:
        host: As it came; None if there was none.
    """
    try:
        name = urlsplit(f"//{host}").hostname if host else None
        if name is None or name == "localhost":
            return name is not None
        ip_address(name)
    except ValueError:
        return False
    return True


def allowed_origin(origin: str | None, host: str | None) -> bool:
    """Return whether a request that brings a body may come from there: from no page at all, or from ours.

    Args:
        origin: The Origin header.
        host: The Host header.
    """
    return origin is None or (host is not None and origin == f"http://{host}")
