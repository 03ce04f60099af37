"""Segments: shmget, shmat, shmdt, shmctl, and explicit reading, writing, swapping, adding and waiting.

Nothing is kept for what was never written. Each change gives the segment the next stamp; who has read at some stamp can
wait for a change of a range since then.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ipcserver._gen.ipc import (
    RIPC_CHUNK,
    RIPC_EIDRM,
    RIPC_EINVAL,
    RIPC_ENOSESSION,
    RIPC_ENOSPC,
    RIPC_OK,
    RIPC_RDONLY,
    ripc_id_res_RIPC_OK,
    ripc_int_res_RIPC_OK,
    ripc_shmdata,
    ripc_shmid_ds,
    ripc_stamp_res_RIPC_OK,
    ripc_word_res_RIPC_OK,
)
from ipcserver._gen.machine import OWNER_DATAGRAM
from ipcserver.hypers import from_hyper, to_hyper
from ipcserver.machine import permissions
from ipcserver.machine.errors import Refused
from ipcserver.machine.ids import Table
from ipcserver.machine.limits import PAGE
from ipcserver.machine.outcomes import stamp_refusal
from ipcserver.machine.permissions import READ, WRITE
from ipcserver.machine.waiting import Waiter

if TYPE_CHECKING:
    from ipcserver._gen.ipc import (
        ripc_perm,
        ripc_rmid_args,
        ripc_set_args,
        ripc_shmadd_args,
        ripc_shmat_args,
        ripc_shmcas_args,
        ripc_shmget_args,
        ripc_shmwait_args,
        ripc_shmwrite_args,
        ripc_status,
    )
    from ipcserver.machine.accounts import Accounts
    from ipcserver.machine.outcomes import Outcome
    from ipcserver.machine.owners import Call, Owner
    from ipcserver.machine.waiting import Waits

__all__ = ["CHANGES", "ChangeWaiter", "Segment", "Segments"]

WORD: Final = 4
WORDS: Final = 1 << 32

CHANGES: Final = 256
"""Changes whose exact ranges a segment remembers. Who asks about older ones is answered by whole pages: perhaps too
early, never too late."""

WIDE: Final = 2 * PAGE
"""Ranges up to this size are looked up by page when something changes; longer ones are all looked at."""


class Segment:
    """A segment.

    Attributes:
        pages: What was written, by page number.
        stamps: The stamp of each page's last change.
        stamp: Of the last change; 0: there was none.
        changes: The latest changes: (stamp, start, end).
        attachments: By owner, how many and by which process the last.
        removed: Whether it goes with its last attachment.
    """

    __slots__ = (
        *(
            "atime",
            "attachments",
            "changes",
            "cpid",
            "ctime",
            "dtime",
            "id",
            "lpid",
            "nattch",
            "pages",
            "perm",
            "removed",
        ),
        *("size", "stamp", "stamps", "waiters", "_near", "_far"),
    )

    def __init__(self, id: int, perm: ripc_perm, size: int, ctime: int, cpid: int) -> None:
        self.id = id
        self.perm = perm
        self.size = size
        self.ctime = ctime
        self.cpid = cpid
        self.atime = 0
        self.dtime = 0
        self.lpid = 0
        self.nattch = 0
        self.removed = False
        self.stamp = 0
        self.pages: dict[int, bytearray] = {}
        self.stamps: dict[int, int] = {}
        self.changes: deque[tuple[int, int, int]] = deque(maxlen=CHANGES)
        self.attachments: dict[Owner, tuple[int, int]] = {}
        self.waiters: dict[int, ChangeWaiter] = {}
        # Waiters in line: those for a short range by each of its pages, the others together.
        self._near: dict[int, dict[int, ChangeWaiter]] = {}
        self._far: dict[int, ChangeWaiter] = {}

    def read(self, offset: int, count: int) -> bytes:
        """Give the bytes of a range that lies within the segment."""
        page, start = divmod(offset, PAGE)
        if start + count <= PAGE:
            found = self.pages.get(page)
            return bytes(count) if found is None else bytes(found[start : start + count])
        parts = []
        end = offset + count
        while offset < end:
            page, start = divmod(offset, PAGE)
            size = min(PAGE - start, end - offset)
            found = self.pages.get(page)
            parts.append(bytes(size) if found is None else found[start : start + size])
            offset += size
        return b"".join(parts)

    def new_pages(self, offset: int, count: int) -> int:
        """Count the pages of a range that were never written."""
        if not count:
            return 0
        pages = self.pages
        return sum(page not in pages for page in range(offset // PAGE, (offset + count - 1) // PAGE + 1))

    def write(self, offset: int, data: bytes) -> None:
        """Change a range that lies within the segment, and note the change."""
        self.stamp += 1
        self.changes.append((self.stamp, offset, offset + len(data)))
        view = memoryview(data)
        done = 0
        while done < len(data):
            page, start = divmod(offset + done, PAGE)
            size = min(PAGE - start, len(data) - done)
            found = self.pages.get(page)
            if found is None:
                found = self.pages[page] = bytearray(min(PAGE, self.size - page * PAGE))
            found[start : start + size] = view[done : done + size]
            self.stamps[page] = self.stamp
            done += size

    def changed_since(self, stamp: int, start: int, end: int) -> bool:
        """Tell whether a byte of a range has changed after a stamp."""
        if stamp >= self.stamp or start == end:
            return False
        if self.changes and stamp >= self.changes[0][0] - 1:
            return any(s > stamp and a < end and start < b for s, a, b in self.changes)
        stamps = self.stamps
        pages = range(start // PAGE, (end - 1) // PAGE + 1)
        return any(
            stamps.get(page, 0) > stamp for page in (pages if len(pages) < len(stamps) else stamps) if page in pages
        )

    def concerned(self, start: int, end: int) -> list[ChangeWaiter]:
        """Give the waiters in line whose range this change meets, oldest first."""
        found = {arrival: w for arrival, w in self._far.items() if w.start < end and start < w.end}
        if self._near:
            for page in range(start // PAGE, (end - 1) // PAGE + 1):
                near = self._near.get(page, {})
                found.update((arrival, w) for arrival, w in near.items() if w.start < end and start < w.end)
        return [found[arrival] for arrival in sorted(found)]

    def line_up(self, waiter: ChangeWaiter) -> None:
        """Add a waiter."""
        if waiter.end - waiter.start > WIDE:
            self._far[waiter.arrival] = waiter
        else:
            for page in waiter.pages:
                self._near.setdefault(page, {})[waiter.arrival] = waiter

    def step_out(self, waiter: ChangeWaiter) -> None:
        """Take a waiter out."""
        if waiter.end - waiter.start > WIDE:
            del self._far[waiter.arrival]
            return
        for page in waiter.pages:
            del self._near[page][waiter.arrival]
            if not self._near[page]:
                del self._near[page]

    def to_ds(self) -> ripc_shmid_ds:
        """Give what IPC_STAT tells."""
        return ripc_shmid_ds(
            id=self.id,
            perm=replace(self.perm),
            segsz=to_hyper(self.size),
            atime=to_hyper(self.atime),
            dtime=to_hyper(self.dtime),
            ctime=to_hyper(self.ctime),
            cpid=self.cpid,
            lpid=self.lpid,
            nattch=self.nattch,
            removed=int(self.removed),
        )


class ChangeWaiter(Waiter):
    """A call that waits for a change of a range."""

    __slots__ = ("end", "segment", "segments", "stamp", "start")

    @staticmethod
    def refusal(status: ripc_status) -> Outcome:
        """Make the result of a refused call."""
        return stamp_refusal(status)

    def __init__(self, call: Call, segments: Segments, segment: Segment, *, start: int, end: int, stamp: int) -> None:
        super().__init__(call)
        self.segments = segments
        self.segment = segment
        self.start = start
        self.end = end
        self.stamp = stamp

    @property
    def pages(self) -> range:
        """The pages of its range."""
        return range(self.start // PAGE, (self.end - 1) // PAGE + 1)

    def enroll(self) -> None:
        """Become known to the segment."""
        self.segment.waiters[self.arrival] = self

    def line_up(self) -> None:
        """Stand by its range."""
        self.segment.line_up(self)

    def step_out(self) -> None:
        """Leave it."""
        self.segment.step_out(self)

    def forget(self) -> None:
        """Leave the segment."""
        del self.segment.waiters[self.arrival]

    def resume(self) -> None:
        """See what changed meanwhile, or go on waiting."""
        self.line_up()
        if self.segment.changed_since(self.stamp, self.start, self.end):
            self.segments.tell(self)


class Segments:
    """All segments."""

    __slots__ = ("accounts", "bytes", "nattch", "table", "waits")

    def __init__(self, accounts: Accounts, waits: Waits) -> None:
        self.accounts = accounts
        self.waits = waits
        self.table: Table[Segment] = Table()
        self.bytes = 0
        self.nattch = 0

    def get(self, call: Call, args: ripc_shmget_args) -> Outcome:
        """Shmget."""
        size = from_hyper(args.size)
        if size < 0:
            raise Refused(RIPC_EINVAL)
        found = self.table.look_up(args.key, args.flags)
        if found is not None:
            if size > found.size:
                raise Refused(RIPC_EINVAL)
            permissions.require_mode(found.perm, call.caller, args.mode)
            return ripc_id_res_RIPC_OK(found.id)
        limits = self.accounts.limits
        if not limits.shmmin <= size <= limits.shmmax:
            raise Refused(RIPC_EINVAL)
        if self.bytes + size > limits.shmall:
            raise Refused(RIPC_ENOSPC)
        self.table.require_room(limits.shmmni)
        self.accounts.add_object(call.caller.uid)
        perm = permissions.new(call.caller, args.key, args.mode)
        number, perm.seq = self.table.next_id()
        self.table.add(Segment(number, perm, size, self.accounts.time_s, call.pid))
        self.bytes += size
        return ripc_id_res_RIPC_OK(number)

    def attach(self, call: Call, args: ripc_shmat_args) -> Outcome:
        """shmat: count one attachment more, which lasts until shmdt or the end of the session or connection.

        Returns:
            How many attachments there are now.

        Raises:
            Refused: RIPC_EINVAL, RIPC_EACCES; RIPC_ENOSESSION for a datagram without session.
        """
        found = self.table.find(args.id)
        permissions.require(found.perm, call.caller, READ if args.flags & RIPC_RDONLY else READ | WRITE)
        owner = call.owner
        if owner.kind is OWNER_DATAGRAM:
            raise Refused(RIPC_ENOSESSION)
        count, _ = found.attachments.get(owner, (0, 0))
        self.restore_attachment(found, owner, count + 1, call.pid)
        found.atime = self.accounts.time_s
        found.lpid = call.pid
        return ripc_int_res_RIPC_OK(found.nattch)

    def restore_attachment(self, found: Segment, owner: Owner, count: int, pid: int) -> None:
        """Let an owner have ``count`` attachments of a segment."""
        before, _ = found.attachments.get(owner, (0, 0))
        more = count - before
        found.attachments[owner] = count, pid
        owner.attached[found.id] = None
        found.nattch += more
        self.nattch += more

    def detach(self, call: Call, args: ripc_rmid_args) -> Outcome:
        """shmdt: give up one attachment of this session or connection; RIPC_EINVAL if it has none."""
        found = self.table.find(args.id)
        owner = call.owner
        if owner not in found.attachments:
            raise Refused(RIPC_EINVAL)
        found.dtime = self.accounts.time_s
        found.lpid = call.pid
        self._let_go(found, owner, 1)
        return RIPC_OK

    def let_go(self, id: int, owner: Owner) -> None:
        """Give up all attachments of an owner that has come to its end."""
        found = self.table.find(id)
        found.dtime = self.accounts.time_s
        count, found.lpid = found.attachments[owner]
        self._let_go(found, owner, count)

    def _let_go(self, found: Segment, owner: Owner, count: int) -> None:
        had, pid = found.attachments[owner]
        if had > count:
            found.attachments[owner] = had - count, pid
        else:
            del found.attachments[owner], owner.attached[found.id]
        found.nattch -= count
        self.nattch -= count
        if found.removed and not found.nattch:
            self._destroy(found)

    def write(self, call: Call, args: ripc_shmwrite_args) -> Outcome:
        """Change a range: all of it or, if it does not lie within the segment, nothing.

        Returns:
            The stamp of the change.
        """
        found = self.table.find(args.id)
        permissions.require(found.perm, call.caller, WRITE)
        offset, data = from_hyper(args.offset), args.data
        if not 0 <= offset <= found.size - len(data):
            raise Refused(RIPC_EINVAL)
        if data:
            self._change(found, offset, data)
        return ripc_stamp_res_RIPC_OK(to_hyper(found.stamp))

    def swap(self, call: Call, args: ripc_shmcas_args) -> Outcome:
        """Compare a word and, if it is as expected, change it.

        Returns:
            The word before.
        """
        found, offset = self._word(call, args)
        old = found.read(offset, WORD)
        if old == args.expected.to_bytes(WORD, "big"):
            self._change(found, offset, args.desired.to_bytes(WORD, "big"))
        return ripc_word_res_RIPC_OK(int.from_bytes(old, "big"))

    def add(self, call: Call, args: ripc_shmadd_args) -> Outcome:
        """Add to a word, modulo 2**32.

        Returns:
            The word before.
        """
        found, offset = self._word(call, args)
        old = int.from_bytes(found.read(offset, WORD), "big")
        self._change(found, offset, ((old + args.addend) % WORDS).to_bytes(WORD, "big"))
        return ripc_word_res_RIPC_OK(old)

    def _word(self, call: Call, args: ripc_shmcas_args | ripc_shmadd_args) -> tuple[Segment, int]:
        found = self.table.find(args.id)
        permissions.require(found.perm, call.caller, READ | WRITE)
        offset = from_hyper(args.offset)
        if offset % WORD or not 0 <= offset <= found.size - WORD:
            raise Refused(RIPC_EINVAL)
        return found, offset

    def wait(self, call: Call, args: ripc_shmwait_args) -> Outcome | None:
        """Wait for a change of a range since a stamp.

        Returns:
            The segment's stamp, once there was one.
        """
        found = self.table.find(args.id)
        permissions.require(found.perm, call.caller, READ)
        start, count, stamp = from_hyper(args.offset), from_hyper(args.count), from_hyper(args.stamp)
        if start < 0 or not 1 <= count <= found.size - start or not 0 <= stamp <= found.stamp:
            raise Refused(RIPC_EINVAL)
        if found.changed_since(stamp, start, start + count):
            return ripc_stamp_res_RIPC_OK(to_hyper(found.stamp))
        self.waits.begin(ChangeWaiter(call, self, found, start=start, end=start + count, stamp=stamp), args.wait_ms)
        return None

    def set(self, call: Call, args: ripc_set_args) -> Outcome:
        """Shmctl IPC_SET."""
        found = self.table.find(args.id)
        permissions.require_control(found.perm, call.caller)
        permissions.change(found.perm, args)
        found.ctime = self.accounts.time_s
        return RIPC_OK

    def remove(self, call: Call, args: ripc_rmid_args) -> Outcome:
        """Shmctl IPC_RMID: the key is free at once; the segment goes with its last attachment."""
        found = self.table.find(args.id)
        permissions.require_control(found.perm, call.caller)
        if found.nattch:
            found.removed = True
            self.table.forget_key(found)
        else:
            self._destroy(found)
        return RIPC_OK

    def tell(self, waiter: ChangeWaiter) -> None:
        """End a wait: something has changed."""
        self.waits.finish(waiter, ripc_stamp_res_RIPC_OK(to_hyper(waiter.segment.stamp)))

    def load(self, found: Segment, pages: list[tuple[int, int, bytes]]) -> None:
        """Fill a restored segment with its pages: number, stamp, data."""
        for number, stamp, data in pages:
            found.pages[number] = bytearray(data)
            found.stamps[number] = stamp
        self.accounts.charge_segment(found.perm.cuid, len(pages) * PAGE)
        self.bytes += found.size
        self.table.add(found)

    def _change(self, found: Segment, offset: int, data: bytes) -> None:
        new = found.new_pages(offset, len(data)) * PAGE
        if new:
            self.accounts.require_segment_memory(found.perm.cuid, new)
            self.accounts.charge_segment(found.perm.cuid, new)
        found.write(offset, data)
        if found.waiters:
            for waiter in found.concerned(offset, offset + len(data)):
                self.tell(waiter)

    def _destroy(self, found: Segment) -> None:
        for arrival in sorted(found.waiters):
            waiter = found.waiters[arrival]
            self.waits.finish(waiter, waiter.refusal(RIPC_EIDRM))
        self.table.remove(found)
        self.bytes -= found.size
        self.accounts.charge_segment(found.perm.cuid, -len(found.pages) * PAGE)
        self.accounts.remove_object(found.perm.cuid)

    def read(self, found: Segment, offset: int, count: int) -> ripc_shmdata:
        """Give bytes from ``offset`` on: up to ``count``, RIPC_CHUNK and the end of the segment.

        Raises:
            Refused: RIPC_EINVAL if the offset is beyond the end.
        """
        if not 0 <= offset <= found.size:
            raise Refused(RIPC_EINVAL)
        size = min(count, RIPC_CHUNK, found.size - offset)
        return ripc_shmdata(stamp=to_hyper(found.stamp), data=found.read(offset, size))
