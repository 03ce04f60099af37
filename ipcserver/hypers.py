"""64-bit values as ipc.x has them: two words, high word first."""

from __future__ import annotations

from typing import Final

from ipcserver._gen.ipc import ripc_hyper

__all__ = ["from_hyper", "to_hyper"]

_LOW: Final = 0xFFFFFFFF


def from_hyper(value: ripc_hyper) -> int:
    """Give the signed number that the two words stand for."""
    return value.hi << 32 | value.lo


def to_hyper(value: int) -> ripc_hyper:
    """Split a number from -2**63 to 2**63 - 1 into its two words."""
    return ripc_hyper(value >> 32, value & _LOW)
