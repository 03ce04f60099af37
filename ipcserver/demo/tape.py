"""What the server's process tells the tour of its traffic: one JSON object a line, over a pipe. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from oncrpc.observe import MessageSeen
from oncrpc.program import Peer

__all__ = ["Ended", "Entry", "Failed", "Heard", "Ready", "Said", "TapeReader", "encode"]


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that the server or its portmapper received or sent."""

    lane: str
    """"server" or "portmapper"."""
    at: float
    """Seconds since 1970."""
    netid: str
    connection: int
    """0 for datagrams."""
    peer: tuple[str, int]
    local: tuple[str, int]
    outgoing: bool
    data: bytes
    """Without record marks."""

    @property
    def xid(self) -> int:
        """Transaction id."""
        return int.from_bytes(self.data[:4], "big")

    def seen(self, first_connection: int = 0) -> MessageSeen:
        """Return it as observers are told of it.

        Args:
            first_connection: What to add to the connection's number, where several servers number their own.
        """
        number = self.connection + first_connection if self.connection else 0
        return MessageSeen(Peer(*self.peer), Peer(*self.local), self.netid, number, self.outgoing, (self.data,))


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that the server is done with."""

    lane: str
    at: float
    xid: int
    procedure: str
    outcome: str
    """As in oncrpc.observe.CallSeen."""
    resent: int
    """Retransmissions that the replay cache answered so far."""
    dropped: int
    """Retransmissions that were dropped so far, for the call was still under way."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The process serves."""

    port: int
    portmapper: int
    console: str
    """URL; "" if there is none."""
    notes: tuple[str, ...] = field(default=())
    """Why a port is not the usual one."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The process could not start."""

    why: str


@dataclass(frozen=True, slots=True)
class Said:
    """Something that it was told to do is done: "registered" or "unregistered"."""

    what: str


Entry = Heard | Ended | Ready | Failed | Said

_KINDS: Final[dict[str, Any]] = {kind.__name__: kind for kind in (Heard, Ended, Ready, Failed, Said)}


def encode(entry: Entry) -> bytes:
    """Return an entry as a line."""
    fields: dict[str, Any] = {name: getattr(entry, name) for name in entry.__slots__}
    if isinstance(entry, Heard):
        fields["data"] = entry.data.hex()
    return json.dumps({"kind": type(entry).__name__, **fields}).encode() + b"\n"


def _decode(line: bytes) -> Entry:
    fields = json.loads(line)
    kind = _KINDS[fields.pop("kind")]
    if kind is Heard:
        fields["data"] = bytes.fromhex(fields["data"])
    found: Entry = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
    return found


class TapeReader:
    """Puts lines together again; what a killed process left unfinished is dropped with the reader."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Entry]:
        """Take bytes in any split, and return what is complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [_decode(line) for line in lines]
