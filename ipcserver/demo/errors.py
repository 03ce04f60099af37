"""How a tour can end early."""

from __future__ import annotations

__all__ = ["DemoError"]


class DemoError(Exception):
    """The tour cannot go on; the text says why, for people."""
