"""From a right reply and the faults wanted to what is sent, waited for and cut: a script without I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from oncrpc.faults.rules import CallFacts, Fault, Rule
from oncrpc.message import parse_call
from oncrpc.records import LAST_FRAGMENT, frame_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

__all__ = ["Close", "Hold", "Plan", "Script", "Send", "Step", "Wait", "facts_of"]

_ACCEPTED: Final = 0
_DENIED: Final = 1
_PROG_MISMATCH: Final = 2
_HEADER: Final = 24
"""Bytes of the header of a right reply."""

DRIBBLED: Final = 1 << 16
"""Most bytes that are written singly; the rest follows at once, so that a script stays bounded."""

EMPTY_FRAGMENTS: Final = 1 << 20
"""Most empty fragments made for one reply."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes, or send them as one datagram."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Go on only after the next call of the same peer has been answered."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection; with reset, by RST. Nothing for datagrams."""

    reset: bool = False


Step = Send | Wait | Hold | Close


@dataclass(frozen=True, slots=True)
class Script:
    """What to do about one call.

    Args:
        call: The call.
        faults: What was applied; empty for a right answer.
        steps: What to do, in this order.
    """

    call: CallFacts
    faults: tuple[Fault, ...]
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """The call and the faults, for the log."""
        call = self.call
        done = ", ".join(map(str, self.faults)) or "right"
        return f"xid {call.xid:#010x} {call.program}.{call.version}.{call.procedure}: {done}"


def facts_of(message: bytes | bytearray, over: str) -> CallFacts:
    """What rules ask of a call.

    Raises:
        RPCError: The message is no call of RPC version 2, or its header is cut short.
    """
    header = parse_call(message)
    return CallFacts(header.xid, header.program, header.version, header.procedure, over)


@dataclass(slots=True)
class Plan:
    """All rules, and the chance they need.

    Args:
        rules: In the order in which they are applied.
        random: Seeded, so that a run can be repeated.
    """

    rules: Sequence[Rule]
    random: Random
    applied: dict[str, int] = field(default_factory=dict)
    """How often each kind of fault was applied."""

    def script(self, call: CallFacts, reply: bytes) -> Script:
        """What to do about a call.

        Args:
            call: The call.
            reply: The right answer, a whole message.
        """
        faults = [fault for rule in self.rules if rule.applies(call, self.random.random) for fault in rule.faults]
        for fault in faults:
            self.applied[fault.name] = self.applied.get(fault.name, 0) + 1
        if any(fault.name == "drop" for fault in faults):
            return Script(call, tuple(faults), ())
        for fault in faults:
            reply = self._spoil(fault, reply)
        steps = self._stage(faults, reply, stream=call.over != "udp")
        return Script(call, tuple(faults), tuple(steps))

    def _spoil(self, fault: Fault, reply: bytes) -> bytes:
        """The reply with one fault in its bytes."""
        xid = reply[:4]
        match fault.name:
            case "wrong-xid":
                return bytes((reply[0] ^ 0x55,)) + reply[1:]
            case "status":
                tail = struct.pack(">2I", 0, 0) if fault.count == _PROG_MISMATCH else b""
                return _accepted(xid, fault.count) + (reply[_HEADER:] if fault.count == _ACCEPTED else tail)
            case "versions":
                return _accepted(xid, _PROG_MISMATCH) + struct.pack(">2I", fault.low, fault.high)
            case "rpc-mismatch":
                return xid + struct.pack(">5I", 1, _DENIED, 0, fault.low, fault.high)
            case "auth-error":
                return xid + struct.pack(">4I", 1, _DENIED, 1, fault.count)
            case "reply-stat":
                return reply[:8] + struct.pack(">I", fault.count) + reply[12:]
            case "as-call":
                return reply[:4] + bytes(4) + reply[8:]
            case "verifier":
                size = fault.count
                return reply[:16] + struct.pack(">I", size) + bytes(min(size, 1 << 20) + 3 & ~3) + reply[20:]
            case "truncate":
                return reply[: fault.count]
            case "oversize":
                return reply + bytes(fault.count)
            case "garbage":
                return self.random.randbytes(fault.count)
            case _:
                return reply

    def _stage(self, faults: Sequence[Fault], reply: bytes, *, stream: bool) -> list[Step]:
        """How the bytes go out."""
        by_name = {fault.name: fault for fault in faults}
        steps: list[Step] = []
        if (delay := sum(fault.amount for fault in faults if fault.name == "delay")) > 0:
            steps.append(Wait(delay))
        if "hold" in by_name:
            steps.append(Hold())
        if "reset" in by_name:
            return [*steps, Close(reset=True)]
        data = _framed(by_name, reply) if stream else reply
        copies = by_name["duplicate"].count if "duplicate" in by_name else 1
        if "cut" in by_name:
            data, copies = data[: by_name["cut"].count], 1
        for _ in range(copies):
            if data and stream and "dribble" in by_name:
                steps += _dribble(data, by_name["dribble"].amount)
            elif data or not stream:
                steps.append(Send(data))
        return [*steps, Close()] if "cut" in by_name else steps


def _accepted(xid: bytes, stat: int) -> bytes:
    return xid + struct.pack(">5I", 1, _ACCEPTED, 0, 0, stat)


def _framed(by_name: dict[str, Fault], reply: bytes) -> bytes:
    if "announce" in by_name:
        return struct.pack(">I", LAST_FRAGMENT | by_name["announce"].count) + reply
    data = frame_record(reply, by_name["fragment"].count if "fragment" in by_name else 0)
    if "empty-fragments" in by_name:
        data = bytes(4 * min(by_name["empty-fragments"].count, EMPTY_FRAGMENTS)) + data
    return data


def _dribble(data: bytes, seconds: float) -> list[Step]:
    steps: list[Step] = []
    for at in range(min(len(data), DRIBBLED)):
        steps += [Send(data[at : at + 1]), Wait(seconds)]
    if len(data) > DRIBBLED:
        steps.append(Send(data[DRIBBLED:]))
    return steps
