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

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ipcserver._gen import ipc as gen
from ipcserver.calls import Calls, ok
from ipcserver.hypers import from_hyper, to_hyper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from oncrpc.auth import Credential

__all__ = ["IPC", "Message", "Queue", "Segment", "SemaphoreSet", "connect"]


@dataclass(frozen=True, slots=True)
class Message:
    """A received message."""

    mtype: int
    text: bytes


class IPC:
    """A client of one server.

    Args:
        calls: Makes its calls; see connect().
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

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
        result = self._calls.perform("ripc_msgget", lambda ctx: gen.ripc_msgget_args(ctx, _key(key), flags, mode))
        return Queue(self._calls, ok(result, "msgget").id)

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
        result = self._calls.perform(
            "ripc_semget", lambda ctx: gen.ripc_semget_args(ctx, _key(key), nsems, flags, mode)
        )
        return SemaphoreSet(self._calls, ok(result, "semget").id)

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
        result = self._calls.perform(
            "ripc_shmget", lambda ctx: gen.ripc_shmget_args(ctx, _key(key), to_hyper(size), flags, mode)
        )
        return Segment(self._calls, ok(result, "shmget").id)

    def info(self) -> gen.ripc_info_res:
        """Return the server's limits, and how much of them is used."""
        result: gen.ripc_info_res = self._calls.ask("ripc_info")
        return result

    def queues(self) -> Iterator[gen.ripc_msqid_ds]:
        """Yield the status of every queue, lowest index first."""
        return self._calls.pages("ripc_msglist")

    def semaphore_sets(self) -> Iterator[gen.ripc_semid_ds]:
        """Yield the status of every semaphore set, lowest index first."""
        return self._calls.pages("ripc_semlist")

    def segments(self) -> Iterator[gen.ripc_shmid_ds]:
        """Yield the status of every segment, lowest index first."""
        return self._calls.pages("ripc_shmlist")

    def queue(self, ipc_id: int) -> Queue:
        """Return the queue with an identifier; nothing is asked."""
        return Queue(self._calls, ipc_id)

    def semaphore_set(self, ipc_id: int) -> SemaphoreSet:
        """Return the semaphore set with an identifier; nothing is asked."""
        return SemaphoreSet(self._calls, ipc_id)

    def segment(self, ipc_id: int) -> Segment:
        """Return the segment with an identifier; nothing is asked."""
        return Segment(self._calls, ipc_id)

    def close(self) -> None:
        """End the session and the connections.

        What was received is acknowledged first. After a call that was interrupted (KeyboardInterrupt) the session is
        left to its lease, so that a message that was on its way goes back to its queue.
        """
        self._calls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _key(key: int) -> int:
    """Return a key as the signed 32 bits that key_t is; 0x80000000 and above may be written unsigned."""
    if not -(2**31) <= key < 2**32:
        message = f"key {key:#x} does not fit 32 bits"
        raise ValueError(message)
    return key - 2**32 if key >= 2**31 else key


def _get_flags(*, create: bool, exclusive: bool) -> int:
    """Return the flags of a get call."""
    return (gen.RIPC_CREAT if create else 0) | (gen.RIPC_EXCL if exclusive else 0)


class _Object:
    """What queues, sets and segments have in common."""

    def __init__(self, calls: Calls, ipc_id: int) -> None:
        self._calls = calls
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
        result = self._calls.waiting(
            "ripc_msgsnd",
            lambda ctx, wait_ms: gen.ripc_msgsnd_args(ctx, self.id, flags, wait_ms, to_hyper(mtype), text),
            timeout,
            nowait=nowait,
        )
        ok(result, "msgsnd")

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
        result = self._calls.waiting(
            "ripc_msgrcv",
            lambda ctx, wait_ms: gen.ripc_msgrcv_args(ctx, self.id, flags, wait_ms, to_hyper(msgtyp), to_hyper(size)),
            timeout,
            nowait=bool(flags & gen.RIPC_NOWAIT),
        )
        message = ok(result, "msgrcv").msg
        return Message(from_hyper(message.mtype), message.mtext)

    def stat(self) -> gen.ripc_msqid_ds:
        """Return the queue's status (msgctl(2), IPC_STAT)."""
        result = self._calls.ask("ripc_msgstat", gen.ripc_stat_args(gen.ripc_stat_by.RIPC_BY_ID, self.id))
        status: gen.ripc_msqid_ds = ok(result, "msgctl").ds
        return status

    def set(
        self, *, uid: int | None = None, gid: int | None = None, mode: int | None = None, qbytes: int | None = None
    ) -> None:
        """Change owner, group, permission bits or size; what is None stays (msgctl(2), IPC_SET)."""
        now = self.stat()
        result = self._calls.perform(
            "ripc_msgset",
            lambda ctx: gen.ripc_msgset_args(
                _set_args(ctx, self.id, now.perm, uid=uid, gid=gid, mode=mode),
                now.qbytes if qbytes is None else to_hyper(qbytes),
            ),
        )
        ok(result, "msgctl")

    def remove(self) -> None:
        """Remove the queue and its messages; whoever waits gets EIDRM (msgctl(2), IPC_RMID)."""
        ok(self._calls.perform("ripc_msgrmid", lambda ctx: gen.ripc_rmid_args(ctx, self.id)), "msgctl")


def _set_args(
    ctx: gen.ripc_ctx, ipc_id: int, perm: gen.ripc_perm, *, uid: int | None, gid: int | None, mode: int | None
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
            IPCError: EAGAIN (would wait), ETIMEDOUT (semtimedop(2) says EAGAIN for it), EFBIG, ERANGE, EACCES, EIDRM,
                E2BIG, EINVAL.
        """
        sops = [gen.ripc_sembuf(num, op, *(rest or (0,))) for num, op, *rest in operations]
        result = self._calls.waiting(
            "ripc_semop",
            lambda ctx, wait_ms: gen.ripc_semop_args(ctx, self.id, wait_ms, sops),
            timeout,
            nowait=any(sop.flags & gen.RIPC_NOWAIT for sop in sops),
        )
        ok(result, "semop")

    def acquire(self, num: int = 0, *, undo: bool = True, timeout: float | None = None) -> None:
        """Take one from a semaphore, waiting while it is 0; given back when this session ends, unless undo is False."""
        self.op((num, -1, gen.RIPC_UNDO if undo else 0), timeout=timeout)

    def release(self, num: int = 0, *, undo: bool = True) -> None:
        """Give one back."""
        self.op((num, 1, gen.RIPC_UNDO if undo else 0))

    def get(self, num: int = 0) -> gen.ripc_sem:
        """Return value, pid and waiters of one semaphore (semctl(2), GETVAL, GETPID, GETNCNT, GETZCNT)."""
        result = self._calls.ask("ripc_semgetval", gen.ripc_semnum_args(self.id, num))
        sem: gen.ripc_sem = ok(result, "semctl").sem
        return sem

    def values(self) -> list[int]:
        """Return all values (semctl(2), GETALL)."""
        values: list[int] = ok(self._calls.ask("ripc_semgetall", self.id), "semctl").vals
        return values

    def set_value(self, num: int, value: int) -> None:
        """Give one semaphore a value, 0 to 32767 (semctl(2), SETVAL)."""
        ok(self._calls.perform("ripc_semsetval", lambda ctx: gen.ripc_setval_args(ctx, self.id, num, value)), "semctl")

    def set_values(self, values: Sequence[int]) -> None:
        """Give all semaphores their values (semctl(2), SETALL)."""
        ok(
            self._calls.perform("ripc_semsetall", lambda ctx: gen.ripc_setall_args(ctx, self.id, list(values))),
            "semctl",
        )

    def stat(self) -> gen.ripc_semid_ds:
        """Return the set's status (semctl(2), IPC_STAT)."""
        result = self._calls.ask("ripc_semstat", gen.ripc_stat_args(gen.ripc_stat_by.RIPC_BY_ID, self.id))
        status: gen.ripc_semid_ds = ok(result, "semctl").ds
        return status

    def set(self, *, uid: int | None = None, gid: int | None = None, mode: int | None = None) -> None:
        """Change owner, group or permission bits; what is None stays (semctl(2), IPC_SET)."""
        perm = self.stat().perm
        result = self._calls.perform(
            "ripc_semset", lambda ctx: _set_args(ctx, self.id, perm, uid=uid, gid=gid, mode=mode)
        )
        ok(result, "semctl")

    def remove(self) -> None:
        """Remove the set; whoever waits gets EIDRM (semctl(2), IPC_RMID)."""
        ok(self._calls.perform("ripc_semrmid", lambda ctx: gen.ripc_rmid_args(ctx, self.id)), "semctl")


class Segment(_Object):
    """A memory segment. Nothing is mapped: bytes are read and written by calls."""

    def attach(self, *, read_only: bool = False) -> None:
        """Count this session as attached; the segment outlives its removal while it is (shmat(2))."""
        flags = gen.RIPC_RDONLY if read_only else 0
        ok(self._calls.perform("ripc_shmat", lambda ctx: gen.ripc_shmat_args(ctx, self.id, flags)), "shmat")

    def detach(self) -> None:
        """Count it no more (shmdt(2))."""
        ok(self._calls.perform("ripc_shmdt", lambda ctx: gen.ripc_rmid_args(ctx, self.id)), "shmdt")

    def read(self, offset: int = 0, count: int | None = None) -> bytes:
        """Return bytes of the segment; in pieces of RIPC_CHUNK, so a long read is not atomic.

        Args:
            offset: Where to begin.
            count: How many; None: up to the end.

        Raises:
            IPCError: EINVAL (past the end), EACCES, EIDRM.
        """
        left = from_hyper(self.stat().segsz) - offset if count is None else count
        pieces = []
        while left > 0:
            arg = gen.ripc_shmread_args(self.id, to_hyper(offset), min(left, gen.RIPC_CHUNK))
            data = ok(self._calls.ask("ripc_shmread", arg), "shmread").ok.data
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
        result = self._calls.perform(
            "ripc_shmwrite", lambda ctx: gen.ripc_shmwrite_args(ctx, self.id, to_hyper(offset), piece)
        )
        ok(result, "shmwrite")

    def compare_and_swap(self, offset: int, expected: int, desired: int) -> int:
        """Set an aligned 32-bit word (in XDR's byte order) if it has the expected value; return what it was."""
        result = self._calls.perform(
            "ripc_shmcas", lambda ctx: gen.ripc_shmcas_args(ctx, self.id, to_hyper(offset), expected, desired)
        )
        word: int = ok(result, "shmcas").word
        return word

    def fetch_and_add(self, offset: int, addend: int) -> int:
        """Add to an aligned 32-bit word, modulo 2 to the 32nd; return what it was."""
        result = self._calls.perform(
            "ripc_shmadd", lambda ctx: gen.ripc_shmadd_args(ctx, self.id, to_hyper(offset), addend & 0xFFFFFFFF)
        )
        word: int = ok(result, "shmadd").word
        return word

    def wait(self, offset: int, count: int, stamp: int, *, timeout: float | None = None) -> int:
        """Wait until a byte of a range has changed since a stamp; return the segment's stamp now.

        Raises:
            IPCError: ETIMEDOUT, EINVAL, EACCES, EIDRM.
        """
        result = self._calls.waiting(
            "ripc_shmwait",
            lambda ctx, wait_ms: gen.ripc_shmwait_args(
                ctx, self.id, to_hyper(offset), to_hyper(count), to_hyper(stamp), wait_ms
            ),
            timeout,
            nowait=False,
        )
        return from_hyper(ok(result, "shmwait").stamp)

    def stamp(self) -> int:
        """Return the stamp that goes up with every change of the segment."""
        arg = gen.ripc_shmread_args(self.id, to_hyper(0), 0)
        return from_hyper(ok(self._calls.ask("ripc_shmread", arg), "shmread").ok.stamp)

    def stat(self) -> gen.ripc_shmid_ds:
        """Return the segment's status (shmctl(2), IPC_STAT)."""
        result = self._calls.ask("ripc_shmstat", gen.ripc_stat_args(gen.ripc_stat_by.RIPC_BY_ID, self.id))
        status: gen.ripc_shmid_ds = ok(result, "shmctl").ds
        return status

    def set(self, *, uid: int | None = None, gid: int | None = None, mode: int | None = None) -> None:
        """Change owner, group or permission bits; what is None stays (shmctl(2), IPC_SET)."""
        perm = self.stat().perm
        result = self._calls.perform(
            "ripc_shmset", lambda ctx: _set_args(ctx, self.id, perm, uid=uid, gid=gid, mode=mode)
        )
        ok(result, "shmctl")

    def remove(self) -> None:
        """Remove the segment, or mark it to go with its last attachment (shmctl(2), IPC_RMID)."""
        ok(self._calls.perform("ripc_shmrmid", lambda ctx: gen.ripc_rmid_args(ctx, self.id)), "shmctl")


def connect(
    address: str,
    *,
    session: bool = True,
    patience: float = 60.0,
    slots: int = 16,
    credential: Credential | None = None,
) -> IPC:
    """Return a client of the server at an address.

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
    return IPC(Calls(address, session=session, patience=patience, slots=slots, credential=credential))
