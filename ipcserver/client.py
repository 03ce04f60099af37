"""System V IPC on a server, from Python: queues, semaphore sets and segments as objects.

    with connect("tcp:127.0.0.1:600") as ipc:
        queue = ipc.msgget(0x1234, create=True)
        queue.send(b"hello", mtype=7)
        print(queue.receive(7).text)

Blocking and thread-safe; needs no reactor.  Calls are made in a session, so each of them is executed exactly once:
when the connection breaks or the server restarts, the call is sent again with the same sequence number, and a blocking
receive goes on waiting, until ``patience`` seconds went by without a server.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from ipcserver._gen import ipc as gen
from ipcserver.errors import IPCError, SessionLost
from oncrpc import sync
from oncrpc.auth import AuthSys
from oncrpc.errors import LocalRPCError, RPCError, SystemFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from oncrpc.auth import Credential

__all__ = ["IPC", "Message", "Queue", "Segment", "SemaphoreSet", "connect"]

T = TypeVar("T")

_CHUNK_S: Final = 20.0
"""A longer wait is made of several calls, so that each of them renews the lease and a dead link is noticed."""

_MARGIN_S: Final = 10.0
"""How much longer than its wait a call may take before the link counts as dead."""

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0


def _hyper(value: int) -> gen.ripc_hyper:
    """Return a signed 64-bit value as the two words of the wire."""
    return gen.ripc_hyper(value >> 32, value & 0xFFFFFFFF)


def _int(value: gen.ripc_hyper) -> int:
    """Return the 64-bit value of two words."""
    return value.hi << 32 | value.lo


_NO_SESSION: Final = gen.ripc_hyper(0, 0)


@dataclass(frozen=True, slots=True)
class Message:
    """A received message."""

    mtype: int
    text: bytes


class _Slot:
    """One call at a time: its own connection, and the number of its last call."""

    __slots__ = ("abandoned", "acked", "number", "seq", "stub")

    def __init__(self, number: int) -> None:
        self.number = number
        self.seq = 0
        self.acked = 0
        self.stub: gen.IPCPROG_1_SyncClient | None = None
        self.abandoned = False

    def disconnect(self) -> None:
        """Close the slot's connection, if it has one."""
        stub, self.stub = self.stub, None
        if stub is not None:
            stub.close()


class IPC:
    """A client of one server.

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
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._free: list[_Slot] = [_Slot(0)]
        self._made = 1
        self._limit = slots
        self._available = threading.Semaphore(slots)
        self._closed = threading.Event()
        self._nonce = secrets.randbits(63)
        if session:
            self._hello()
            threading.Thread(target=self._renew, name="ipc-lease", daemon=True).start()
        else:
            self._free[0].stub = self._connect()

    # -- the calls -----------------------------------------------------------------

    def msgget(
        self, key: int = gen.RIPC_PRIVATE, *, create: bool = False, exclusive: bool = False, mode: int = 0o600
    ) -> Queue:
        """Return the message queue of a key (msgget(2)).

        Args:
            key: 32 bits; 0 (IPC_PRIVATE) always makes a new queue.
            create: Whether to make it if it is not there (IPC_CREAT).
            exclusive: With create: whether it must not be there (IPC_EXCL).
            mode: Permission bits of a new queue; of an old one, those that are needed.

        Raises:
            IPCError: ENOENT, EEXIST, EACCES, ENOSPC.
        """
        flags = _get_flags(create=create or key == gen.RIPC_PRIVATE, exclusive=exclusive)
        result = self._perform("ripc_msgget", lambda ctx: gen.ripc_msgget_args(ctx, _key(key), flags, mode))
        return Queue(self, _ok(result, "msgget").id)

    def semget(
        self,
        key: int = gen.RIPC_PRIVATE,
        nsems: int = 0,
        *,
        create: bool = False,
        exclusive: bool = False,
        mode: int = 0o600,
    ) -> SemaphoreSet:
        """Return the semaphore set of a key (semget(2)); ``nsems`` semaphores in a new one, at least so many in an old.

        Raises:
            IPCError: ENOENT, EEXIST, EACCES, ENOSPC, EINVAL.
        """
        flags = _get_flags(create=create or key == gen.RIPC_PRIVATE, exclusive=exclusive)
        result = self._perform("ripc_semget", lambda ctx: gen.ripc_semget_args(ctx, _key(key), nsems, flags, mode))
        return SemaphoreSet(self, _ok(result, "semget").id)

    def shmget(
        self,
        key: int = gen.RIPC_PRIVATE,
        size: int = 0,
        *,
        create: bool = False,
        exclusive: bool = False,
        mode: int = 0o600,
    ) -> Segment:
        """Return the memory segment of a key (shmget(2)); ``size`` bytes in a new one, at least so many in an old.

        Raises:
            IPCError: ENOENT, EEXIST, EACCES, ENOSPC, EINVAL.
        """
        flags = _get_flags(create=create or key == gen.RIPC_PRIVATE, exclusive=exclusive)
        result = self._perform(
            "ripc_shmget", lambda ctx: gen.ripc_shmget_args(ctx, _key(key), _hyper(size), flags, mode)
        )
        return Segment(self, _ok(result, "shmget").id)

    def info(self) -> gen.ripc_info_res:
        """Return the server's limits, and how much of them is used."""
        result: gen.ripc_info_res = self._ask("ripc_info")
        return result

    def queues(self) -> Iterator[gen.ripc_msqid_ds]:
        """Yield the status of every queue, lowest index first."""
        return self._pages("ripc_msglist")

    def semaphore_sets(self) -> Iterator[gen.ripc_semid_ds]:
        """Yield the status of every semaphore set, lowest index first."""
        return self._pages("ripc_semlist")

    def segments(self) -> Iterator[gen.ripc_shmid_ds]:
        """Yield the status of every segment, lowest index first."""
        return self._pages("ripc_shmlist")

    def close(self) -> None:
        """End the session and the connections.

        What was received is acknowledged first; a call that was interrupted is not, so its message goes back.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        try:
            if self._session != _NO_SESSION:
                self._ask("ripc_renew", gen.ripc_renew_args(self._session, self._acks()))
                self._ask("ripc_goodbye", self._session)
        except (RPCError, OSError):
            pass  # the lease ends it
        finally:
            with self._lock:
                slots, self._free = self._free, []
            for slot in slots:
                slot.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- how a call is made ----------------------------------------------------------

    def _connect(self) -> gen.IPCPROG_1_SyncClient:
        """Open a connection."""
        return gen.IPCPROG_1_SyncClient(sync.open_caller(self.address, credential=self._credential))

    def _hello(self) -> None:
        """Open the session, or find it again: the same nonce is the same session."""
        arg = gen.ripc_hello_args(
            nonce=_hyper(self._nonce),
            host=socket.gethostname()[: gen.RIPC_HOSTMAX],
            pid=self._pid,
            flags=0,
            slots=self._limit,
            lease_ms=0,
        )
        slot = self._free[0]
        result = self._retry(slot, lambda stub: stub.ripc_hello(arg))
        granted = _ok(result, "hello").ok
        self._session = granted.session
        self._lease_s = granted.lease_ms / 1000
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
                if now + pause > give_up or self._closed.is_set():
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _perform(self, method: str, make: Callable[[gen.ripc_ctx], Any], *, wait_s: float = 0.0) -> Any:
        """Make a call that changes something, once.

        Args:
            method: The stub's method.
            make: From the context to the argument.
            wait_s: How long the server may take because it was asked to wait, in seconds.
        """
        slot = self._take()
        try:
            slot.seq += 1
            argument = make(gen.ripc_ctx(self._session, slot.number, slot.seq, self._pid))
            attempts = 0

            def call(stub: gen.IPCPROG_1_SyncClient) -> Any:
                nonlocal attempts
                attempts += 1
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
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                self._abandon(slot)
                raise
            status = result if isinstance(result, gen.ripc_status) else result.status
            if status is gen.RIPC_ENOSESSION:
                message = f"{method.removeprefix('ripc_')}: the session's lease ran out"
                raise SessionLost(message)
            return result
        finally:
            self._give(slot)

    def _abandon(self, slot: _Slot) -> None:
        """Give up a slot whose call was interrupted: the server is told to stop waiting, and gets no acknowledgement."""
        slot.abandoned = True
        slot.disconnect()
        try:
            with sync.connect(gen.IPCPROG_1_SyncClient, self.address, credential=self._credential, timeout=2.0) as stub:
                stub.ripc_cancel(gen.ripc_cancel_args(self._session, slot.number, slot.seq, 0))
        except (RPCError, OSError):
            pass  # the lease ends the wait

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Make a call that changes nothing, so that it may be made twice."""
        slot = self._take()
        try:
            return self._retry(slot, lambda stub: getattr(stub, method)(*arguments))
        finally:
            self._give(slot)

    def _pages(self, method: str) -> Iterator[Any]:
        """Yield the items of a listing, page by page."""
        start = 0
        while True:
            page = self._ask(method, gen.ripc_list_args(start, gen.RIPC_LISTMAX))
            yield from page.items
            if page.next == 0:
                return
            start = page.next

    def _waiting(
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
            return self._perform(method, lambda ctx: make(ctx, 0))
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            piece = _CHUNK_S if end is None else min(_CHUNK_S, max(end - time.monotonic(), 0.001))
            wait_ms = max(1, round(piece * 1000))
            result = self._perform(method, _with_wait(make, wait_ms), wait_s=piece)
            status = result if isinstance(result, gen.ripc_status) else result.status
            if status is not gen.RIPC_ETIMEDOUT or (end is not None and time.monotonic() >= end):
                return result


def _with_wait(make: Callable[[gen.ripc_ctx, int], Any], wait_ms: int) -> Callable[[gen.ripc_ctx], Any]:
    """Return a maker of arguments that knows how long to wait."""
    return lambda ctx: make(ctx, wait_ms)


def _key(key: int) -> int:
    """Return a key as the signed 32 bits that key_t is; 0x80000000 and above may be written unsigned."""
    if not -(2**31) <= key < 2**32:
        message = f"key {key:#x} does not fit 32 bits"
        raise ValueError(message)
    return key - 2**32 if key >= 2**31 else key


def _get_flags(*, create: bool, exclusive: bool) -> int:
    """Return the flags of a get call."""
    return (gen.RIPC_CREAT if create else 0) | (gen.RIPC_EXCL if exclusive else 0)


def _ok(result: Any, call: str) -> Any:
    """Return a result that is RIPC_OK; raise IPCError for any other."""
    status = result if isinstance(result, gen.ripc_status) else result.status
    if status is not gen.RIPC_OK:
        raise IPCError(status, call)
    return result


class _Object:
    """What queues, sets and segments have in common."""

    def __init__(self, ipc: IPC, ipc_id: int) -> None:
        self._ipc = ipc
        self.id = ipc_id
        """The identifier, as a get call returned it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"


class Queue(_Object):
    """A message queue."""

    def send(self, text: bytes, mtype: int = 1, *, nowait: bool = False, timeout: float | None = None) -> None:
        """Append a message (msgsnd(2)).

        Args:
            text: At most ``msgmax`` bytes (info()); may be empty.
            mtype: 1 or more.
            nowait: Whether to raise when the queue is full, instead of waiting.
            timeout: Longest wait in seconds; None: no end.

        Raises:
            IPCError: EAGAIN (full, nowait), ETIMEDOUT, EINVAL, EACCES, EIDRM.
        """
        flags = gen.RIPC_NOWAIT if nowait else 0
        result = self._ipc._waiting(
            "ripc_msgsnd",
            lambda ctx, wait_ms: gen.ripc_msgsnd_args(ctx, self.id, flags, wait_ms, _hyper(mtype), text),
            timeout,
            nowait=nowait,
        )
        _ok(result, "msgsnd")

    def receive(
        self,
        msgtyp: int = 0,
        *,
        size: int = gen.RIPC_MSGMAX,
        nowait: bool = False,
        timeout: float | None = None,
        truncate: bool = False,
        except_type: bool = False,
    ) -> Message:
        """Take a message from the queue (msgrcv(2)).

        Args:
            msgtyp: 0: the oldest; above: the oldest of this type; below: the oldest of the lowest type up to its size.
            size: Most bytes of text wanted.
            nowait: Whether to raise when there is none, instead of waiting.
            timeout: Longest wait in seconds; None: no end.
            truncate: Whether a longer text is cut to ``size``, and the rest lost (MSG_NOERROR).
            except_type: Whether any type but ``msgtyp`` is wanted (MSG_EXCEPT).

        Raises:
            IPCError: ENOMSG (none, nowait), ETIMEDOUT, E2BIG, EINVAL, EACCES, EIDRM.
        """
        flags = (
            (gen.RIPC_NOWAIT if nowait else 0)
            | (gen.RIPC_NOERROR if truncate else 0)
            | (gen.RIPC_EXCEPT if except_type else 0)
        )
        return self._receive(msgtyp, size, flags, timeout)

    def peek(self, index: int, *, size: int = gen.RIPC_MSGMAX) -> Message:
        """Return a copy of the message at a place of the queue, 0 the oldest (MSG_COPY).

        Raises:
            IPCError: ENOMSG (no such place), E2BIG, EACCES, EIDRM.
        """
        return self._receive(index, size, gen.RIPC_COPY | gen.RIPC_NOWAIT, None)

    def _receive(self, msgtyp: int, size: int, flags: int, timeout: float | None) -> Message:
        """Make the call that receive() and peek() share."""
        result = self._ipc._waiting(
            "ripc_msgrcv",
            lambda ctx, wait_ms: gen.ripc_msgrcv_args(ctx, self.id, flags, wait_ms, _hyper(msgtyp), _hyper(size)),
            timeout,
            nowait=bool(flags & gen.RIPC_NOWAIT),
        )
        message = _ok(result, "msgrcv").msg
        return Message(_int(message.mtype), message.mtext)

    def stat(self) -> gen.ripc_msqid_ds:
        """Return the queue's status (msgctl(2), IPC_STAT)."""
        result = self._ipc._ask("ripc_msgstat", gen.ripc_stat_args(gen.ripc_stat_by.RIPC_BY_ID, self.id))
        status: gen.ripc_msqid_ds = _ok(result, "msgctl").ds
        return status

    def set(
        self, *, uid: int | None = None, gid: int | None = None, mode: int | None = None, qbytes: int | None = None
    ) -> None:
        """Change owner, group, permission bits or size; what is None stays (msgctl(2), IPC_SET)."""
        now = self.stat()
        result = self._ipc._perform(
            "ripc_msgset",
            lambda ctx: gen.ripc_msgset_args(
                _set_args(ctx, self.id, now.perm, uid, gid, mode), now.qbytes if qbytes is None else _hyper(qbytes)
            ),
        )
        _ok(result, "msgctl")

    def remove(self) -> None:
        """Remove the queue and its messages; whoever waits gets EIDRM (msgctl(2), IPC_RMID)."""
        _ok(self._ipc._perform("ripc_msgrmid", lambda ctx: gen.ripc_rmid_args(ctx, self.id)), "msgctl")


def _set_args(
    ctx: gen.ripc_ctx, ipc_id: int, perm: gen.ripc_perm, uid: int | None, gid: int | None, mode: int | None
) -> gen.ripc_set_args:
    """Return the part of an IPC_SET that all three kinds of object have."""
    return gen.ripc_set_args(
        ctx,
        ipc_id,
        perm.uid if uid is None else uid,
        perm.gid if gid is None else gid,
        perm.mode if mode is None else mode,
    )


class SemaphoreSet(_Object):
    """A set of semaphores."""

    def op(self, *operations: Sequence[int], timeout: float | None = None) -> None:
        """Do operations, all or none (semop(2), semtimedop(2)).

        Args:
            operations: ``(num, op)`` or ``(num, op, flags)`` each; flags of RIPC_NOWAIT and RIPC_UNDO.
            timeout: Longest wait in seconds; None: no end.

        Raises:
            IPCError: EAGAIN (would wait, or the timeout), EFBIG, ERANGE, EACCES, EIDRM, E2BIG, EINVAL.
        """
        sops = [gen.ripc_sembuf(num, op, *(rest or (0,))) for num, op, *rest in operations]
        result = self._ipc._waiting(
            "ripc_semop",
            lambda ctx, wait_ms: gen.ripc_semop_args(ctx, self.id, wait_ms, sops),
            timeout,
            nowait=any(sop.flags & gen.RIPC_NOWAIT for sop in sops),
        )
        _ok(result, "semop")

    def acquire(self, num: int = 0, *, undo: bool = True, timeout: float | None = None) -> None:
        """Take one from a semaphore, waiting while it is 0; given back when this session ends, unless undo is False."""
        self.op((num, -1, gen.RIPC_UNDO if undo else 0), timeout=timeout)

    def release(self, num: int = 0, *, undo: bool = True) -> None:
        """Give one back."""
        self.op((num, 1, gen.RIPC_UNDO if undo else 0))

    def get(self, num: int = 0) -> gen.ripc_sem:
        """Return value, pid and waiters of one semaphore (semctl(2), GETVAL, GETPID, GETNCNT, GETZCNT)."""
        result = self._ipc._ask("ripc_semgetval", gen.ripc_semnum_args(self.id, num))
        sem: gen.ripc_sem = _ok(result, "semctl").sem
        return sem

    def values(self) -> list[int]:
        """Return all values (semctl(2), GETALL)."""
        values: list[int] = _ok(self._ipc._ask("ripc_semgetall", self.id), "semctl").vals
        return values

    def set_value(self, num: int, value: int) -> None:
        """Give one semaphore a value, 0 to 32767 (semctl(2), SETVAL)."""
        _ok(self._ipc._perform("ripc_semsetval", lambda ctx: gen.ripc_setval_args(ctx, self.id, num, value)), "semctl")

    def set_values(self, values: Sequence[int]) -> None:
        """Give all semaphores their values (semctl(2), SETALL)."""
        _ok(
            self._ipc._perform("ripc_semsetall", lambda ctx: gen.ripc_setall_args(ctx, self.id, list(values))), "semctl"
        )

    def stat(self) -> gen.ripc_semid_ds:
        """Return the set's status (semctl(2), IPC_STAT)."""
        result = self._ipc._ask("ripc_semstat", gen.ripc_stat_args(gen.ripc_stat_by.RIPC_BY_ID, self.id))
        status: gen.ripc_semid_ds = _ok(result, "semctl").ds
        return status

    def set(self, *, uid: int | None = None, gid: int | None = None, mode: int | None = None) -> None:
        """Change owner, group or permission bits; what is None stays (semctl(2), IPC_SET)."""
        perm = self.stat().perm
        result = self._ipc._perform("ripc_semset", lambda ctx: _set_args(ctx, self.id, perm, uid, gid, mode))
        _ok(result, "semctl")

    def remove(self) -> None:
        """Remove the set; whoever waits gets EIDRM (semctl(2), IPC_RMID)."""
        _ok(self._ipc._perform("ripc_semrmid", lambda ctx: gen.ripc_rmid_args(ctx, self.id)), "semctl")


class Segment(_Object):
    """A memory segment. Nothing is mapped: bytes are read and written by calls."""

    def attach(self, *, read_only: bool = False) -> None:
        """Count this session as attached; the segment outlives its removal while it is (shmat(2))."""
        flags = gen.RIPC_RDONLY if read_only else 0
        _ok(self._ipc._perform("ripc_shmat", lambda ctx: gen.ripc_shmat_args(ctx, self.id, flags)), "shmat")

    def detach(self) -> None:
        """Count it no more (shmdt(2))."""
        _ok(self._ipc._perform("ripc_shmdt", lambda ctx: gen.ripc_rmid_args(ctx, self.id)), "shmdt")

    def read(self, offset: int = 0, count: int | None = None) -> bytes:
        """Return bytes of the segment; in pieces of RIPC_CHUNK, so a long read is not atomic.

        Args:
            offset: Where to begin.
            count: How many; None: up to the end.

        Raises:
            IPCError: EINVAL (past the end), EACCES, EIDRM.
        """
        left = _int(self.stat().segsz) - offset if count is None else count
        pieces = []
        while left > 0:
            arg = gen.ripc_shmread_args(self.id, _hyper(offset), min(left, gen.RIPC_CHUNK))
            data = _ok(self._ipc._ask("ripc_shmread", arg), "shmread").ok.data
            pieces.append(data)
            offset += len(data)
            left -= len(data)
        return b"".join(pieces)

    def write(self, data: bytes, offset: int = 0) -> None:
        """Put bytes into the segment; in pieces of RIPC_CHUNK, so a long write is not atomic.

        Raises:
            IPCError: EINVAL (past the end), EACCES, EIDRM.
        """
        for at in range(0, len(data), gen.RIPC_CHUNK):
            self._write_piece(bytes(data[at : at + gen.RIPC_CHUNK]), offset + at)

    def _write_piece(self, piece: bytes, offset: int) -> None:
        """Put at most RIPC_CHUNK bytes into the segment."""
        result = self._ipc._perform(
            "ripc_shmwrite", lambda ctx: gen.ripc_shmwrite_args(ctx, self.id, _hyper(offset), piece)
        )
        _ok(result, "shmwrite")

    def compare_and_swap(self, offset: int, expected: int, desired: int) -> int:
        """Set an aligned 32-bit word (in XDR's byte order) if it has the expected value; return what it was."""
        result = self._ipc._perform(
            "ripc_shmcas", lambda ctx: gen.ripc_shmcas_args(ctx, self.id, _hyper(offset), expected, desired)
        )
        word: int = _ok(result, "shmcas").word
        return word

    def fetch_and_add(self, offset: int, addend: int) -> int:
        """Add to an aligned 32-bit word, modulo 2 to the 32nd; return what it was."""
        result = self._ipc._perform(
            "ripc_shmadd", lambda ctx: gen.ripc_shmadd_args(ctx, self.id, _hyper(offset), addend & 0xFFFFFFFF)
        )
        word: int = _ok(result, "shmadd").word
        return word

    def wait(self, offset: int, count: int, stamp: int, *, timeout: float | None = None) -> int:
        """Wait until a byte of a range has changed since a stamp; return the segment's stamp now.

        Raises:
            IPCError: ETIMEDOUT, EINVAL, EACCES, EIDRM.
        """
        result = self._ipc._waiting(
            "ripc_shmwait",
            lambda ctx, wait_ms: gen.ripc_shmwait_args(
                ctx, self.id, _hyper(offset), _hyper(count), _hyper(stamp), wait_ms
            ),
            timeout,
            nowait=False,
        )
        return _int(_ok(result, "shmwait").stamp)

    def stamp(self) -> int:
        """Return the stamp that goes up with every change of the segment."""
        arg = gen.ripc_shmread_args(self.id, _hyper(0), 0)
        return _int(_ok(self._ipc._ask("ripc_shmread", arg), "shmread").ok.stamp)

    def stat(self) -> gen.ripc_shmid_ds:
        """Return the segment's status (shmctl(2), IPC_STAT)."""
        result = self._ipc._ask("ripc_shmstat", gen.ripc_stat_args(gen.ripc_stat_by.RIPC_BY_ID, self.id))
        status: gen.ripc_shmid_ds = _ok(result, "shmctl").ds
        return status

    def set(self, *, uid: int | None = None, gid: int | None = None, mode: int | None = None) -> None:
        """Change owner, group or permission bits; what is None stays (shmctl(2), IPC_SET)."""
        perm = self.stat().perm
        result = self._ipc._perform("ripc_shmset", lambda ctx: _set_args(ctx, self.id, perm, uid, gid, mode))
        _ok(result, "shmctl")

    def remove(self) -> None:
        """Remove the segment, or mark it to go with its last attachment (shmctl(2), IPC_RMID)."""
        _ok(self._ipc._perform("ripc_shmrmid", lambda ctx: gen.ripc_rmid_args(ctx, self.id)), "shmctl")


def connect(address: str, *, session: bool = True, patience: float = 60.0, credential: Credential | None = None) -> IPC:
    """Return a client of the server at an address; see IPC."""
    return IPC(address, session=session, patience=patience, credential=credential)
