"""Snapshots of the machine, taken by a forked child while the service goes on.

The child has the machine as it was at the moment of the fork, whatever the parent does next; it encodes the state into
a file without a name and ends. The parent stands still for the fork alone, some milliseconds for each gigabyte.
Why not a thread (the encoding would hold the interpreter's lock) and not a second process that replays the log (it
costs as much again as the service itself): docs/adr.
"""

from __future__ import annotations

import gc
import os
import signal
import struct
import threading
import warnings
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["HEAD", "PART_SIZE", "fork_encoder", "read_parts"]

HEAD: Final = struct.Struct(">QQ")
"""What precedes the machine's own snapshot in the journal's: the last ticket and the clock, two XDR unsigned hypers."""

PART_SIZE: Final = 512 << 10
"""Bytes of a snapshot that are committed at once: a few milliseconds between two batches."""


_FIRST_OWN: Final = 3
"""The first descriptor after standard error."""


def fork_encoder(encode: Callable[[], bytes], file: IO[bytes], done: Callable[[bool], None]) -> None:
    """Write ``encode()`` to a file in a child process.

    Args:
        encode: Runs in the child. It may read anything and change nothing.
        file: Where the bytes go.
        done: Called in a thread of its own when the child has ended: whether the file is complete.

    Raises:
        OSError: There can be no child now.
    """
    file.flush()
    output = file.fileno()
    with warnings.catch_warnings():
        # Python 3.12 warns of fork in a process with threads: a lock that another thread holds stays locked in the
        # child. The child below takes none: it encodes, writes to one descriptor and leaves by _exit.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            _encode(encode, output)
        except BaseException:  # noqa: BLE001 - nothing may lead the child back into the server
            os._exit(1)
        os._exit(0)

    def wait() -> None:
        _, status = os.waitpid(pid, 0)
        done(status == 0)

    threading.Thread(target=wait, name="ipcserver-snapshot", daemon=True).start()


def _encode(encode: Callable[[], bytes], output: int) -> None:
    """Do the child's work."""
    gc.disable()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    # Sockets and the store's lock must not outlive the server in its child.
    os.dup2(output, _FIRST_OWN)
    os.closerange(_FIRST_OWN + 1, os.sysconf("SC_OPEN_MAX"))
    os.nice(5)
    view = memoryview(encode())
    while view:
        view = view[os.write(_FIRST_OWN, view) :]


def read_parts(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file from its beginning in parts, then close it."""
    with file:
        file.seek(0)
        while part := file.read(PART_SIZE):
            yield part
