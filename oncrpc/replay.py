"""The replay cache: a retransmitted call is answered again, not executed again.

UDP clients send a call again when no answer came in time; NFS and Windows clients do it over TCP
too. A call that is still being executed has its duplicate dropped; one that was answered gets
the same reply. The key holds everything that makes a call the same one (chimera 1548 shows what
happens without the credential), and a digest of all its argument bytes, not of the first 256.
In memory only: what must survive a crash is the program's own to keep.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Final

__all__ = ["IN_PROGRESS", "ReplayCache", "ReplayKey"]

ReplayKey = Hashable
"""(peer, xid, program, version, procedure, credential, digest of the arguments), made by the server"""


IN_PROGRESS: Final[Sequence[bytes]] = ()
"""what begin() says of a call that is being executed: there is no reply yet. Compare with ``is``"""

# What an entry costs besides its reply: key, tuple, address, digest, links. Measured at about 600.
_OVERHEAD: Final = 640


class ReplayCache:
    """Replies by call, bounded by count, bytes and age. Knows no clock: `now` is passed in.

    Entries in progress are bounded by whoever bounds calls in hand; they are never pushed out.

    Args:
        entries: Most finished replies kept.
        size: Most bytes of finished replies kept, with what keeping them costs.
        age: Seconds that a reply is kept.
    """

    def __init__(self, entries: int, size: int, age: float) -> None:
        self._entries = entries
        self._size = size
        self._age = age
        self._in_progress: set[ReplayKey] = set()
        # Oldest first.
        self._done: OrderedDict[ReplayKey, tuple[float, Sequence[bytes]]] = OrderedDict()
        self._bytes = 0
        self.resent = 0
        """duplicates that were answered from here"""
        self.dropped = 0
        """duplicates that were dropped, since the first is still being executed"""

    def __len__(self) -> int:
        return len(self._done) + len(self._in_progress)

    @property
    def bytes_held(self) -> int:
        """Bytes that the finished entries cost."""
        return self._bytes

    def begin(self, key: ReplayKey, now: float) -> Sequence[bytes] | None:
        """Look a call up, and note that it is being executed if it is new.

        Returns:
            None: it is new, execute it. IN_PROGRESS: drop it. Else the reply to send again.
        """
        if key in self._in_progress:
            self.dropped += 1
            return IN_PROGRESS
        self.expire(now)
        done = self._done.get(key)
        if done is not None:
            self.resent += 1
            return done[1]
        self._in_progress.add(key)
        return None

    def finish(self, key: ReplayKey, reply: Sequence[bytes], now: float) -> None:
        """Keep the reply of a call that begin() called new."""
        self._in_progress.discard(key)
        old = self._done.pop(key, None)
        if old is not None:
            self._bytes -= _cost(old[1])
        cost = _cost(reply)
        if cost > self._size:
            return
        self._done[key] = (now, reply)
        self._bytes += cost
        while self._bytes > self._size or len(self._done) > self._entries:
            self._drop_oldest()

    def forget(self, key: ReplayKey) -> None:
        """A call that begin() called new gets no reply: a retransmission is to be executed."""
        self._in_progress.discard(key)

    def expire(self, now: float) -> None:
        """Drop replies that are too old."""
        while self._done:
            since, _ = next(iter(self._done.values()))
            if now - since < self._age:
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (_, reply) = self._done.popitem(last=False)
        self._bytes -= _cost(reply)


def _cost(reply: Sequence[bytes]) -> int:
    return _OVERHEAD + sum(map(len, reply))
