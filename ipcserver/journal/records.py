"""The bytes of one batch, and the chain of digests that joins the batches.

A batch is the XDR of ``opaque commands<>`` in an array (RFC 4506, sections 4.10 and 4.13)::

    typedef opaque command<>;
    typedef command batch<>;

Its digest covers the digest of the batch before it, its number and its bytes. So a batch that was changed, left
out, moved or taken from another store is noticed; the first link is the store's own random id.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["DIGEST_SIZE", "body_digest", "link", "pack_batch", "unpack_batch"]

DIGEST_SIZE: Final = 16
"""Bytes of a digest (BLAKE2b-128): far past what chance can hit, and no slower than a CRC on the sizes met here."""

_WORD: Final = struct.Struct(">I")
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


def pack_batch(commands: Sequence[bytes]) -> bytes:
    """Encode the commands of one batch."""
    pack = _WORD.pack
    parts = [pack(len(commands))]
    for command in commands:
        parts += (pack(len(command)), command, _PADDING[len(command) % 4])
    return b"".join(parts)


def unpack_batch(body: bytes) -> list[bytes]:
    """Decode a batch.

    Args:
        body: What pack_batch() gave.

    Raises:
        ValueError: The bytes are no batch. After a digest that fits this cannot happen by accident.
    """
    size = len(body)
    if size < 4:  # noqa: PLR2004 - the count's own four bytes
        msg = "batch shorter than its count"
        raise ValueError(msg)
    (count,) = _WORD.unpack_from(body)
    if count > (size - 4) // 4:
        msg = f"{count} commands announced, {size} bytes in the batch"
        raise ValueError(msg)
    commands: list[bytes] = []
    offset = 4
    unpack = _WORD.unpack_from
    for _ in range(count):
        if offset + 4 > size:
            msg = f"batch ends at byte {size}, in the length of command {len(commands)}"
            raise ValueError(msg)
        (length,) = unpack(body, offset)
        offset += 4
        end = offset + length
        if end > size:
            msg = f"command {len(commands)} goes on to byte {end} of {size}"
            raise ValueError(msg)
        commands.append(body[offset:end])
        offset = end + (-length % 4)
    if offset != size:
        msg = f"{size - offset} bytes past the last command"
        raise ValueError(msg)
    return commands


def link(previous: bytes, number: int, body: bytes) -> bytes:
    """Return the digest of batch ``number``, whose predecessor's digest is ``previous``."""
    digest = hashlib.blake2b(previous, digest_size=DIGEST_SIZE)
    digest.update(number.to_bytes(8, "big"))
    digest.update(body)
    return digest.digest()


def body_digest(parts: Iterable[bytes]) -> bytes:
    """Return the digest of the parts of a snapshot, one after the other."""
    digest = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for part in parts:
        digest.update(part)
    return digest.digest()
