"""The budget: every bound that a server or a client keeps, in one frozen object.

A bound is looked at before anything is allocated for what it bounds: sizes in the record mark,
counts against the bytes that are there. What each one protects from is measured in
docs/explanation/way-of-a-call.md.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds for one server or one client. Times are seconds of a monotonic clock, sizes are bytes.

    Raises:
        ValueError: A bound is negative, or one that must be positive is zero.
    """

    max_record: int = 4 * 1024 * 1024
    """Most bytes in one record, all fragments together, received or sent. Wireshark stops at 4 MiB
    too; xdrpp takes 1 MiB, goxdr 10 MB, an NFS server about 1 MiB."""

    max_empty_fragments: int = 1024
    """Most zero-length fragments in one record. They are legal (RFC 5531, section 11), but each
    costs work and brings nothing nearer; ntirpc closes at the first."""

    max_assembly: int = 256 * 1024 * 1024
    """Most bytes of unfinished large records, over all connections of a server. A connection that
    would go over it is closed."""

    fragment_size: int = 0
    """Most bytes in one fragment that we send; 0 sends each record as one. OpenVMS clients have
    buffers of 4,000 bytes, and take larger records only in fragments."""

    max_depth: int = 256
    """Deepest nesting of XDR values that is decoded. libtirpc recurses until its stack is gone (at
    100,000 levels in 800 KB of data)."""

    max_datagram: int = 65_535
    """Largest UDP datagram received. Twisted's own default, 8,192, cuts legal ones."""

    max_datagram_reply: int = 8_800
    """Most bytes in one reply over UDP to a peer that is known: what every classic client can
    receive (UDPMSGSIZE). Other peers get no reply that is longer than their call."""

    max_connections: int = 10_000
    """Most connections of one server. Over it, the connection longest idle makes room, or the new
    one is closed. The process's limit of open files, less a reserve, counts as well. Of the senders
    of datagrams to one socket, as many may have calls in hand."""

    max_connections_per_peer: int = 4_096
    """Most connections from one address; local sockets count as one address for each user."""

    idle_grace: float = 15.0
    """How long a connection must be idle before it may be closed to make room (libtirpc: 15 s)."""

    idle_timeout: float = 3_600.0
    """A connection without calls in hand and without a byte for so long is closed; 0 is never.
    The kernel's NFS server takes 360 s, but its clients connect again by themselves."""

    record_timeout: float = 45.0
    """From the first byte of a record to its last, however the bytes trickle. (libtirpc: 35 s for
    each single byte, with everybody else waiting.)"""

    drain_timeout: float = 30.0
    """A peer that takes none of the bytes waiting for it for so long is cut."""

    unsent_high: int = 256 * 1024
    """A connection is not read from while more than this waits to be sent on it."""

    max_calls_in_hand: int = 1_024
    """A connection is not read from while it has so many calls that are not answered yet. Over
    UDP it is for each address, and further calls are dropped."""

    calls_per_turn: int = 1_024
    """Most calls of one connection that are answered before other connections have a turn."""

    datagrams_per_turn: int = 64
    """Most datagrams that are answered before connections have a turn. (Twisted counts bytes
    instead, and never stops at empty ones.)"""

    accepts_per_turn: int = 64
    """Most connections accepted before those that are there have a turn."""

    read_size: int = 256 * 1024
    """Most bytes taken from a connection at once, unless they belong to one large record."""

    replay_entries: int = 8_192
    """Most replies that a replay cache keeps."""

    replay_bytes: int = 16 * 1024 * 1024
    """Most bytes of replies that a replay cache keeps."""

    replay_age: float = 120.0
    """How long a reply is kept for a retransmitted call (the kernel's NFS server: 120 s)."""

    log_burst: int = 20
    """Log lines of one kind that are written at once; then they are counted."""

    log_interval: float = 10.0
    """One more line of that kind is written after this time, with the number left out."""

    def __post_init__(self) -> None:
        """Refuse bounds that would stop everything."""
        may_be_zero = {"fragment_size", "idle_timeout", "idle_grace", "max_empty_fragments", "log_burst"}
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name not in may_be_zero):
                msg = f"{field.name} is {value}, but must be {'0 or more' if field.name in may_be_zero else 'over 0'}"
                raise ValueError(msg)
