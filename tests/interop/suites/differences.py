"""Where a suite's verdict through the library is another than by the kernel, and why that stays so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KNOWN"]

KNOWN: Final[Mapping[str, str]] = {}
"""``suite: program test`` to the reason. A difference that is not here fails the test, and so does one that is gone."""
