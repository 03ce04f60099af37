"""Record marking: messages on a byte stream (RFC 5531, section 11).

A record is one or more fragments; each has a header of four bytes, whose highest bit marks the
last fragment and whose other 31 bits are its length.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from oncrpc.errors import RecordTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LAST_FRAGMENT", "MAX_NOTED", "RecordReader", "frame_fragments", "frame_record", "frame_record_parts"]

LAST_FRAGMENT: Final = 0x8000_0000
"""the bit of a fragment header that says: the record ends with this fragment"""

MAX_NOTED: Final = 4096
"""fragments of one record whose sizes are noted"""

_MARK = Struct(">I")
_MARK_SIZE = 4
_SIZE_BITS = 0x7FFF_FFFF

# A record that is not all here yet stays in the chunk it came in, and is joined to the next one, if
# it is at most this long: one copy less for the many, and at most 2 MiB copied for a peer that
# sends single bytes. Longer ones get a buffer of their own.
_SMALL = 2048

# The buffer of a large record grows by this factor: a peer makes us hold at most so many times
# what it sent. Most large records get all their bytes at once (of a megabyte, a read brings more than a part in 32).
_GROWTH = 32
_FIRST_BUFFER = 64 * 1024


class _Spare:
    """Buffers of large records that are done with, for the next ones.

    A new buffer of a megabyte costs 256 page faults before it is full: more than everything else
    that is done with the record. A few are kept for the whole process.
    """

    def __init__(self, count: int, most: int) -> None:
        self._count = count
        self._most = most
        self._buffers: list[bytearray] = []

    def take(self, size: int) -> bytearray:
        """Return a buffer of just this size, with anything in it."""
        buffers = self._buffers
        for place in range(len(buffers) - 1, -1, -1):
            if size <= len(buffers[place]) <= 2 * size:
                buffer = buffers.pop(place)
                del buffer[size:]
                return buffer
        # Made by calloc(): the pages of a large one are not there before bytes come.
        return bytearray(size)

    def give(self, buffer: bytearray) -> None:
        """Keep a buffer that nobody uses any more, if it is worth it."""
        if _FIRST_BUFFER <= len(buffer) <= self._most:
            if len(self._buffers) >= self._count:
                self._buffers.pop(0)
            self._buffers.append(buffer)


_spare = _Spare(4, 2 * 1024 * 1024)


class RecordReader:
    """Reassembles records from the bytes of one stream (RFC 5531, section 11).

    Does no I/O, keeps no clock. Bytes may arrive in any split, a record in any number of fragments.

    Args:
        max_record: Largest record accepted, in bytes, all fragments added up.
        max_empty_fragments: Most zero-length fragments accepted in one record.
        reserve: Asked for each change of the bytes held for an unfinished large record, with the
            difference; answers False to refuse it, as if it were over `max_record`.
    """

    __slots__ = (
        "_buffer",
        "_empty",
        "_have",
        "_last",
        "_max_empty",
        "_max_record",
        "_missing",
        "_reserve",
        "_sizes",
        "at",
        "chunk",
        "fragments",
    )

    def __init__(
        self, max_record: int, max_empty_fragments: int = 1024, reserve: Callable[[int], bool] | None = None
    ) -> None:
        self._max_record = max_record
        self._max_empty = max_empty_fragments
        self._reserve = reserve
        # Not yet looked at: chunk[at:]. Public for the one loop that is fused with it, in server.py.
        self.chunk: bytes = b""
        self.at = 0
        # The record under assembly, if there is one, and how much of it is there.
        self._buffer: bytearray | None = None
        self._have = 0
        # Of the fragment under way: bytes that did not come yet, and whether it is the last.
        self._missing = 0
        self._last = False
        self._empty = 0
        self._sizes: list[int] = []
        self.fragments: tuple[int, ...] = ()
        """Sizes of the fragments, the first MAX_NOTED of them, of the last record that was a bytearray."""

    @property
    def assembling(self) -> bool:
        """True if a record is under way that will not come out of `chunk` in one piece."""
        return self._buffer is not None

    @property
    def missing(self) -> int:
        """Bytes of the fragment under way that did not come yet."""
        return self._missing

    @property
    def mid_record(self) -> bool:
        """True if a record has begun and is not complete, or bytes were not looked at yet."""
        return self._buffer is not None or self.at < len(self.chunk)

    def receive_data(self, data: bytes) -> None:
        """Add received bytes; then call next_record() until it gives None.

        Args:
            data: Any number of bytes; they are kept, not copied, where possible.
        """
        if self.at < len(self.chunk):
            self.chunk = self.chunk[self.at :] + data
        else:
            self.chunk = data
        self.at = 0

    def next_record(self) -> bytes | bytearray | None:
        """Return the oldest complete record, or None if more bytes are needed.

        A record that came in one piece is bytes; one that was assembled is a bytearray that
        belongs to the caller.

        Raises:
            RecordTooLarge: A fragment header takes the record over `max_record`, or one
                zero-length fragment too many came. Raised from the header alone; earlier records
                were returned first. Nothing more can be read from this stream.
        """
        chunk, at, end = self.chunk, self.at, len(self.chunk)
        while True:
            if self._missing:
                take = min(self._missing, end - at)
                if take:
                    buffer = self._room(take)
                    buffer[self._have : self._have + take] = memoryview(chunk)[at : at + take]
                    at += take
                    self._have += take
                    self._missing -= take
                if self._missing:
                    break
            # Also when filled() brought the last byte.
            if self._last:
                self.at = at
                return self._finish()
            if end - at < _MARK_SIZE:
                break
            (mark,) = _MARK.unpack_from(chunk, at)
            size = mark & _SIZE_BITS
            buffer_now = self._buffer
            total = self._have + size
            if total > self._max_record:
                self.at = at
                raise RecordTooLarge(total, self._max_record)
            if buffer_now is None and mark >= LAST_FRAGMENT:
                after = at + _MARK_SIZE + size
                if after <= end:
                    self.at = after
                    return chunk[at + _MARK_SIZE : after]
                if size <= _SMALL:
                    break
            if not size and mark < LAST_FRAGMENT:
                self._empty += 1
                if self._empty > self._max_empty:
                    self.at = at
                    raise RecordTooLarge(total, self._max_record)
            at += _MARK_SIZE
            if buffer_now is None:
                self._buffer = bytearray()
                self._sizes = []
            if len(self._sizes) < MAX_NOTED:
                self._sizes.append(size)
            self._missing = size
            self._last = mark >= LAST_FRAGMENT
        if at < end:
            self.chunk = chunk[at:]
        else:
            self.chunk = b""
        self.at = 0
        return None

    def buffer_to_fill(self, least: int) -> memoryview | None:
        """Return where the next bytes of the stream belong, so that they need not be copied.

        Args:
            least: Give nothing for fewer missing bytes than these.

        Returns:
            A part of the record under assembly, of at least one byte; None if there is none or
            little is missing: use receive_data(). Call filled() before anything else.
        """
        missing = self._missing
        if missing < least or self.at < len(self.chunk):
            return None
        room = self._room(1)
        return memoryview(room)[self._have : self._have + missing]

    def filled(self, count: int) -> None:
        """Say that `count` bytes were put into what buffer_to_fill() returned; then call next_record()."""
        self._have += count
        self._missing -= count

    @staticmethod
    def recycle(record: bytearray) -> None:
        """Take back a record that next_record() gave out, and that nobody looks at any more."""
        _spare.give(record)

    def close(self) -> None:
        """Give back what is held; the stream is at its end."""
        if self._buffer is not None and self._reserve is not None:
            self._reserve(-len(self._buffer))
        self._buffer = None
        self._have = self._missing = self._empty = self.at = 0
        self._last = False
        self.chunk = b""

    def _room(self, count: int) -> bytearray:
        """Return the buffer, long enough for `count` more bytes."""
        buffer = self._buffer
        assert buffer is not None
        need = self._have + count
        if need > len(buffer):
            # The end of this fragment, or as much of it as its sender has earned; and in any case
            # so much more than before that many small fragments are not copied again and again.
            size = min(self._have + self._missing, max(need * _GROWTH, _FIRST_BUFFER))
            size = max(size, min(2 * len(buffer), self._max_record))
            if self._reserve is not None and not self._reserve(size - len(buffer)):
                raise RecordTooLarge(self._have + self._missing, len(buffer))
            grown = _spare.take(size)
            if self._have:
                grown[: self._have] = memoryview(buffer)[: self._have]
            buffer = self._buffer = grown
        return buffer

    def _finish(self) -> bytearray:
        buffer = self._buffer
        assert buffer is not None
        self._buffer = None
        if self._reserve is not None:
            self._reserve(-len(buffer))
        # What is behind the record may be of another one.
        del buffer[self._have :]
        self._have = self._empty = 0
        self._last = False
        self.fragments = tuple(self._sizes)
        return buffer


def frame_record(record: bytes, fragment_size: int = 0) -> bytes:
    """Return a record as it goes on a stream.

    Args:
        record: The message.
        fragment_size: Most bytes in one fragment; 0 makes one fragment.
    """
    return b"".join(frame_record_parts((record,), fragment_size))


def frame_fragments(record: bytes, sizes: Sequence[int]) -> bytes:
    """Return a record as it goes on a stream in fragments of given sizes.

    Args:
        record: The message.
        sizes: Of each fragment in bytes; what is left behind them is a fragment too. If they are more than the record
            has, they are of no use, and it is one fragment.
    """
    if sum(sizes) > len(record):
        sizes = ()
    out: list[bytes] = []
    at = 0
    for place, size in enumerate(sizes):
        last = LAST_FRAGMENT if at + size == len(record) and place == len(sizes) - 1 else 0
        out += _MARK.pack(last | size), record[at : at + size]
        at += size
    if not sizes or at < len(record):
        out += _MARK.pack(LAST_FRAGMENT | len(record) - at), record[at:]
    return b"".join(out)


def frame_record_parts(parts: Sequence[bytes], fragment_size: int = 0) -> list[bytes]:
    """As frame_record(), for a message in parts, which are not copied unless it is fragmented.

    Returns:
        What to send, in this order.
    """
    size = sum(map(len, parts))
    if not fragment_size or size <= fragment_size:
        return [_MARK.pack(LAST_FRAGMENT | size), *parts]
    record = memoryview(b"".join(parts))
    out: list[bytes] = []
    for at in range(0, size, fragment_size):
        fragment = record[at : at + fragment_size]
        last = LAST_FRAGMENT if at + fragment_size >= size else 0
        out += _MARK.pack(last | len(fragment)), bytes(fragment)
    return out
