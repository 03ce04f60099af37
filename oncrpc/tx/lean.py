"""Twisted's epoll reactor with a shorter way from an event to the connection it is for.

The stock reactor enters a logging context for each event, and a whole turn's bookkeeping for each
poll; for one small call that is about as much work as answering it. This one does both only where
they can matter. Everything else is Twisted's. benchmarks/rpc_server.py shows the difference.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger
from twisted.python import log

from oncrpc.tx.datagram import DatagramListener
from oncrpc.tx.stream import StreamTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReadDescriptor

__all__ = ["LeanReactor", "usable"]

_EVENTS: Final = 512
# Connections that are read before their replies are sent. The first reply may wake its client, which then
# has work until the last is sent, and need not be woken for each. More would only let the clients idle.
_TOGETHER: Final = 8
_OURS: Final = (StreamTransport, DatagramListener)
_log = Logger()


def usable() -> bool:
    """Whether this system and this Twisted have what the reactor is made from."""
    wanted = ("_doReadOrWrite", "_disconnectSelectable", "timeout", "doPoll")
    return hasattr(select, "epoll") and all(hasattr(EPollReactor, name) for name in wanted)


class LeanReactor(EPollReactor):
    """See the module."""

    _poller: select.epoll
    _selectables: dict[int, IReadDescriptor]
    _justStopped: bool
    threadCallQueue: list[Any]

    def __init__(self) -> None:
        # Before the base class, which may begin to watch at once.
        self._in_round = False
        self._due: list[Callable[[], object]] = []
        super().__init__()  # type: ignore[no-untyped-call]

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events and handle them, until something else than events is to be done.

        Args:
            timeout: Seconds to wait at most; None waits for ever.
        """
        poll = self._poller.poll
        selectables = self._selectables
        readable = select.EPOLLIN
        answered: list[StreamTransport] = []
        while True:
            try:
                events = poll(-1 if timeout is None else timeout, _EVENTS)
            except InterruptedError:
                return
            self._in_round = True
            try:
                for fd, event in events:
                    selectable = selectables.get(fd)
                    if selectable is None:
                        continue
                    if event == readable and selectable.__class__ in _OURS:
                        try:
                            if selectable.__class__ is StreamTransport:
                                if selectable.take():
                                    answered.append(selectable)
                            else:
                                selectable.doRead()
                        except Exception as error:  # noqa: BLE001 - as the stock reactor: it ends this connection
                            _log.failure("while reading from {selectable}", selectable=selectable)
                            self._disconnectSelectable(selectable, error, True)  # type: ignore[no-untyped-call]
                    else:
                        log.callWithLogger(selectable, self._doReadOrWrite, selectable, fd, event)
                    if len(answered) >= _TOGETHER:
                        for each in answered:
                            each.give()
                        answered.clear()
                for each in answered:
                    each.give()
                answered.clear()
            finally:
                self._end_round()
            if not self.running or self._justStopped:
                return
            timeout = self.timeout()
            if timeout == 0 or self.threadCallQueue:
                # A delayed call or another thread's call is due. (timeout() knows nothing of the latter.)
                return

    def _end_round(self) -> None:
        """Call what is due at the end of a round of events."""
        self._in_round = False
        due, self._due = self._due, []
        for function in due:
            try:
                function()
            except Exception:  # noqa: BLE001 - as the stock reactor: it does not end the others
                _log.failure("at the end of a round of events")

    def soon(self, function: Callable[[], object]) -> None:
        """Have `function` called when all events of this round are handled, or else as callLater(0) would."""
        if self._in_round:
            self._due.append(function)
        else:
            self.callLater(0, function)

    doIteration = doPoll
