"""How the calls of a client are made: in a session, each exactly once, over connections that may break.

A slot has one call under way at a time, and a connection of its own.  Its sequence number makes a call that is sent
again the same call.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ipcserver._gen import ipc as gen
from ipcserver.errors import IPCError, SessionLost
from ipcserver.hypers import to_hyper
from oncrpc import sync
from oncrpc.auth import AuthSys
from oncrpc.errors import LocalRPCError, RPCError, SystemFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oncrpc.auth import Credential

__all__ = ["Calls", "ok"]

T = TypeVar("T")

_CHUNK_S: Final = 20.0
"""A longer wait is made of several calls, so that each of them renews the lease and a dead link is noticed."""

_MARGIN_S: Final = 10.0
"""How much longer than its wait a call may take before the link counts as dead."""

_GOODBYE_S: Final = 1.0
"""How long to look for a server that is gone only to say goodbye."""

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
"""Between two tries; at most a quarter of the lease, which a server that is back counts anew."""


_NO_SESSION: Final = gen.ripc_hyper(0, 0)


class _Slot:
    """One call at a time: its own connection, and the number of its last call."""

    __slots__ = ("abandoned", "acked", "doubtful", "number", "seq", "stub")

    def __init__(self, number: int) -> None:
        self.number = number
        self.seq = 0
        self.acked = 0
        self.stub: gen.IPCPROG_1_SyncClient | None = None
        self.abandoned = False
        self.doubtful = 0  # calls in a row of which the machine may never have heard

    def disconnect(self) -> None:
        """Close the slot's connection, if it has one."""
        stub, self.stub = self.stub, None
        if stub is not None:
            stub.close()


class Calls:
    """Makes the calls of a client of one server; thread-safe.

    Args:
        address: ``tcp:HOST:PORT``, ``udp:HOST:PORT`` or ``unix:/PATH``.
        session: Whether calls are made in a session, and so exactly once. Without one a call whose connection breaks
            raises, and whether it was executed is not known.
        patience: How long to try to reach the server again, in seconds.
        slots: How many threads may have a call under way.
        credential: The AUTH_SYS credential; default: this process's identity.

    Raises:
        RPCError: The server cannot be reached, or does not serve the IPC program.
    """

    def __init__(
        self,
        address: str,
        *,
        session: bool = True,
        patience: float = 60.0,
        slots: int = 16,
        credential: Credential | None = None,
    ) -> None:
        self.address = address
        self._credential = AuthSys.current() if credential is None else credential
        self._patience = patience
        self._session = _NO_SESSION
        self._lease_s = 0.0
        self._longest_pause_s = _LONGEST_PAUSE_S
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._free: list[_Slot] = [_Slot(0)]
        self._made = 1
        self._limit = slots
        self._available = threading.Semaphore(slots)
        self._closed = threading.Event()
        self._interrupted = False
        self._nonce = secrets.randbits(63)
        if session:
            self._hello()
            threading.Thread(target=self._renew, name="ipc-lease", daemon=True).start()
        else:
            self._free[0].stub = self._connect()

    def close(self) -> None:
        """End the session and the connections.

        What was received is acknowledged first. After a call that was interrupted the session is left to its lease:
        a goodbye would acknowledge a message that nobody saw, the end of the lease puts it back.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        # Worth a try or two: without the goodbye, what SEM_UNDO has to undo waits for the end of the lease.
        self._patience = min(self._patience, _GOODBYE_S)
        try:
            if self._session != _NO_SESSION:
                self.ask("ripc_renew", gen.ripc_renew_args(self._session, self._acks()))
                if not self._interrupted:
                    self.ask("ripc_goodbye", self._session)
        except (RPCError, OSError):
            pass  # the lease ends it
        finally:
            with self._lock:
                slots, self._free = self._free, []
            for slot in slots:
                slot.disconnect()

    # -- how a call is made ----------------------------------------------------------

    def _connect(self) -> gen.IPCPROG_1_SyncClient:
        """Open a connection."""
        return gen.IPCPROG_1_SyncClient(sync.open_caller(self.address, credential=self._credential))

    def _hello(self) -> None:
        """Open the session, or find it again: the same nonce is the same session."""
        arg = gen.ripc_hello_args(
            nonce=to_hyper(self._nonce),
            host=socket.gethostname()[: gen.RIPC_HOSTMAX],
            pid=self._pid,
            flags=0,
            slots=self._limit,
            lease_ms=0,
        )
        slot = self._free[0]
        result = self._retry(slot, lambda stub: stub.ripc_hello(arg))
        granted = ok(result, "hello").ok
        self._session = granted.session
        self._lease_s = granted.lease_ms / 1000
        self._longest_pause_s = min(_LONGEST_PAUSE_S, self._lease_s / 4)
        if granted.slots < self._limit:
            for _ in range(self._limit - granted.slots):
                self._available.acquire()
            self._limit = granted.slots

    def _take(self) -> _Slot:
        """Return a slot that nobody uses; wait for one."""
        self._available.acquire()
        with self._lock:
            if self._free:
                return self._free.pop()
            slot = _Slot(self._made)
            self._made += 1
            return slot

    def _give(self, slot: _Slot) -> None:
        """Take a slot back; an abandoned one is not used again."""
        if slot.abandoned:
            slot.disconnect()
            return
        with self._lock:
            self._free.append(slot)
        self._available.release()

    def _acks(self) -> list[gen.ripc_ack]:
        """Return the acknowledgements that the server may not have yet."""
        acks = []
        with self._lock:
            for slot in self._free:
                if slot.acked != slot.seq:
                    slot.acked = slot.seq
                    acks.append(gen.ripc_ack(slot.number, slot.seq))
        return acks

    def _renew(self) -> None:
        """Keep the lease: a thread of its own, with a connection of its own."""
        slot = _Slot(-1)
        while not self._closed.wait(self._lease_s / 3):
            arg = gen.ripc_renew_args(self._session, self._acks())
            try:
                self._retry(slot, methodcaller("ripc_renew", arg))
            except (RPCError, OSError):
                continue  # the next call of the user tells him
        slot.disconnect()

    def _retry(self, slot: _Slot, call: Callable[[gen.IPCPROG_1_SyncClient], T]) -> T:
        """Make a call over a slot's connection, over new ones when it breaks, until ``patience`` is at its end."""
        give_up: float | None = None
        pause = _FIRST_PAUSE_S
        while True:
            try:
                if slot.stub is None:
                    slot.stub = self._connect()
                return call(slot.stub)
            except (LocalRPCError, SystemFailure, OSError) as error:
                if isinstance(error, IPCError):
                    raise
                slot.disconnect()
                now = time.monotonic()
                if give_up is None:
                    give_up = now + self._patience
                if now + pause > give_up:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, self._longest_pause_s)

    def perform(self, method: str, make: Callable[[gen.ripc_ctx], Any], *, wait_s: float = 0.0) -> Any:
        """Make a call that changes something, once.

        Args:
            method: The stub's method.
            make: From the context to the argument.
            wait_s: How long the server may take because it was asked to wait, in seconds.
        """
        slot = self._take()
        try:
            slot.seq += 1

            def call(stub: gen.IPCPROG_1_SyncClient) -> Any:
                argument = make(gen.ripc_ctx(self._session, slot.number, slot.seq, self._pid))
                return getattr(stub, method)(argument, timeout=wait_s + _MARGIN_S)

            if self._session == _NO_SESSION:
                if slot.stub is None:
                    slot.stub = self._connect()
                try:
                    return call(slot.stub)
                except (RPCError, OSError):
                    slot.disconnect()
                    raise
            try:
                result = self._retry(slot, call)
                while slot.doubtful and _status(result) is gen.RIPC_EMISORDERED:
                    # The call before this one never reached the server's journal: its number is still to be used.
                    slot.doubtful -= 1
                    slot.seq -= 1
                    result = self._retry(slot, call)
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                self._abandon(slot)
                raise
            status = _status(result)
            slot.doubtful = slot.doubtful + 1 if status in (gen.RIPC_EIO, gen.RIPC_ENOSPC) else 0
            if status is gen.RIPC_ENOSESSION:
                message = f"{method.removeprefix('ripc_')}: the session's lease ran out"
                raise SessionLost(message)
            return result
        finally:
            self._give(slot)

    def _abandon(self, slot: _Slot) -> None:
        """Give up a slot whose call was interrupted: the server stops waiting, and gets no acknowledgement."""
        slot.abandoned = self._interrupted = True
        slot.disconnect()
        try:
            with sync.connect(gen.IPCPROG_1_SyncClient, self.address, credential=self._credential, timeout=2.0) as stub:
                stub.ripc_cancel(gen.ripc_cancel_args(self._session, slot.number, slot.seq, 0))
        except (RPCError, OSError):
            pass  # the lease ends the wait

    def ask(self, method: str, *arguments: Any) -> Any:
        """Make a call that changes nothing, so that it may be made twice."""
        slot = self._take()
        try:
            return self._retry(slot, lambda stub: getattr(stub, method)(*arguments))
        finally:
            self._give(slot)

    def pages(self, method: str) -> Iterator[Any]:
        """Yield the items of a listing, page by page."""
        start = 0
        while True:
            page = self.ask(method, gen.ripc_list_args(start, gen.RIPC_LISTMAX))
            yield from page.items
            if page.next == 0:
                return
            start = page.next

    def waiting(
        self, method: str, make: Callable[[gen.ripc_ctx, int], Any], timeout: float | None, *, nowait: bool
    ) -> Any:
        """Make a call that may wait at the server, in pieces of at most _CHUNK_S.

        Args:
            method: The stub's method.
            make: From the context and wait_ms to the argument.
            timeout: Seconds in all; None: no end.
            nowait: Whether the argument says RIPC_NOWAIT, so that the server does not wait.
        """
        if nowait:
            return self.perform(method, lambda ctx: make(ctx, 0))
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            piece = _CHUNK_S if end is None else min(_CHUNK_S, max(end - time.monotonic(), 0.001))
            wait_ms = max(1, round(piece * 1000))
            result = self.perform(method, _with_wait(make, wait_ms), wait_s=piece)
            status = result if isinstance(result, gen.ripc_status) else result.status
            if status is not gen.RIPC_ETIMEDOUT or (end is not None and time.monotonic() >= end):
                return result


def _status(result: Any) -> gen.ripc_status:
    """Return the status of any result."""
    status: gen.ripc_status = result if isinstance(result, gen.ripc_status) else result.status
    return status


def _with_wait(make: Callable[[gen.ripc_ctx, int], Any], wait_ms: int) -> Callable[[gen.ripc_ctx], Any]:
    """Return a maker of arguments that knows how long to wait."""
    return lambda ctx: make(ctx, wait_ms)


def ok(result: Any, call: str) -> Any:
    """Return a result that is RIPC_OK; raise IPCError for any other."""
    status = result if isinstance(result, gen.ripc_status) else result.status
    if status is not gen.RIPC_OK:
        raise IPCError(status, call)
    return result
