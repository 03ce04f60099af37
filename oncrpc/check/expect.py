"""Verdicts that many checks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oncrpc.check import wire
from oncrpc.check.case import Deviation
from oncrpc.check.probe import Closed, Outcome, Silence

if TYPE_CHECKING:
    from oncrpc.check.probe import Probe

__all__ = ["accept_stat", "auth_error", "null_success", "reply", "same_xid", "still_alive"]


def reply(outcome: Outcome, expected: str) -> wire.Reply:
    """The outcome, which must be a reply.

    Raises:
        Deviation: It is not.
    """
    if not isinstance(outcome, wire.Reply):
        raise Deviation(expected, outcome)
    return outcome


def same_xid(got: wire.Reply, xid: int, expected: str) -> None:
    """The reply must carry the xid of its call.

    Raises:
        Deviation: It carries another.
    """
    if got.xid != xid:
        raise Deviation(expected, f"{got} with xid {got.xid:#010x}, called with {xid:#010x}")


def null_success(outcome: Outcome, message: bytes, expected: str = "SUCCESS with no results") -> str:
    """The answer to a NULL call: its xid, SUCCESS, nothing behind.

    Args:
        outcome: What came.
        message: The call; its first 4 bytes are the xid.
        expected: For the report.

    Raises:
        Deviation: Anything else came.
    """
    got = reply(outcome, expected)
    same_xid(got, int.from_bytes(message[:4], "big"), expected)
    if not got.succeeded or got.body:
        raise Deviation(expected, got)
    return str(got)


def accept_stat(outcome: Outcome, message: bytes, stat: int) -> wire.Reply:
    """The answer must be accepted, with this accept_stat and nothing behind it.

    Raises:
        Deviation: Anything else came.
    """
    expected = wire.ACCEPT_STATS[stat]
    got = reply(outcome, expected)
    same_xid(got, int.from_bytes(message[:4], "big"), expected)
    if not got.accepted or got.stat != stat:
        raise Deviation(expected, got)
    if got.body:
        raise Deviation(f"{expected} and nothing behind it", got)
    return got


def auth_error(outcome: Outcome, message: bytes, *stats: int, silent: str = "") -> str:
    """The answer must be AUTH_ERROR with one of the stats (any failure if none are named).

    Args:
        outcome: What came.
        message: The call.
        stats: Good values of auth_stat.
        silent: Why no answer is lawful too (reported as a warning); a failure if empty.

    Raises:
        Deviation: Anything else came.
    """
    names = " or ".join(wire.AUTH_STATS[stat] for stat in stats) or "any reason"
    expected = f"AUTH_ERROR with {names}"
    if silent and isinstance(outcome, Silence | Closed):
        raise Deviation(f"{expected}; {silent}", outcome, warn=True)
    got = reply(outcome, expected)
    same_xid(got, int.from_bytes(message[:4], "big"), expected)
    if not got.denied_auth or got.body or got.auth_stat == 0:
        raise Deviation(expected, got)
    if stats and got.auth_stat not in stats:
        raise Deviation(expected, got, warn=True)
    return str(got)


def still_alive(probe: Probe, after: str) -> None:
    """A NULL on a fresh conversation must be answered.

    Raises:
        Deviation: It is not.
    """
    outcome = probe.alive()
    if not isinstance(outcome, wire.Reply):
        raise Deviation(f"the server goes on serving after {after}", outcome)
