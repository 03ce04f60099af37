"""The one place where the reactor is chosen."""

from __future__ import annotations

import ctypes
import sys
import time
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore, IReactorFDSet, IReactorTime

    class Reactor(IReactorCore, IReactorFDSet, IReactorTime):
        """What is asked of a reactor here."""


__all__ = ["install", "make_monotonic"]

# <malloc.h>
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT: Final = 4 * 1024 * 1024
"""bytes of free memory that are kept at most"""


def install(name: str = "") -> Reactor:
    """Choose the reactor of this process, and make its clock monotonic.

    Twisted's own clock is time.time(): every timeout would follow the wall clock when that is set.

    Args:
        name: A short name as ``twistd --help-reactors`` lists them; "" takes the one of
            :mod:`oncrpc.tx.lean` where it runs (Linux), else Twisted's choice for this system.

    Returns:
        The reactor; the one that was installed before, if one was.

    Raises:
        NoSuchReactor: There is none of that name.
    """
    if "twisted.internet.reactor" not in sys.modules:
        if name:
            from twisted.application.reactors import installReactor

            installReactor(name)
        else:
            _install_lean()
        _keep_memory()
    from twisted.internet import reactor

    make_monotonic(reactor)
    return cast("Reactor", reactor)


def _install_lean() -> None:
    """Install the lean reactor, if this system has what it takes."""
    try:
        from oncrpc.tx.lean import LeanReactor, usable
    except ImportError:
        # No epoll: Twisted does not even define the class.
        return
    if usable():
        from twisted.internet.main import installReactor

        installReactor(LeanReactor())


def _keep_memory() -> None:
    """Have the C library keep freed memory for the next large message, instead of giving it back each time.

    Else glibc returns memory to the system when 128 KiB are free at the end of its heap, and gets it
    anew, page by page, for the next record: at 64 KiB a record, a fifth of all work.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        # No glibc.
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT // 2)
    mallopt(_M_TRIM_THRESHOLD, _KEPT)


def make_monotonic(reactor: object) -> None:
    """Give a reactor a clock that nobody sets.

    Args:
        reactor: Any reactor. Another clock than Twisted's own was somebody's choice, and stays.
    """
    from twisted.internet.base import DelayedCall, ReactorBase
    from twisted.python.runtime import seconds as wall_clock

    if isinstance(reactor, ReactorBase) and reactor.seconds is wall_clock:
        shift = time.monotonic() - reactor.seconds()
        # What waits already keeps its distance: a DelayedCall remembers the clock it was made with.
        for call in reactor.getDelayedCalls():
            if isinstance(call, DelayedCall):
                call.time += shift
                call.seconds = time.monotonic
        reactor.seconds = time.monotonic
