"""A machine with processes that call it, for tests."""

from __future__ import annotations

import itertools
from typing import Any, Final

from ipcserver._gen import ipc as wire
from ipcserver._gen import machine as gen
from ipcserver._gen.ipc import RIPC_BY_ID, ripc_hyper, ripc_stat_by
from ipcserver.hypers import from_hyper, to_hyper
from ipcserver.machine import Command, Limits, Machine, argument, body, start

__all__ = ["MS", "Lab", "Process", "plain"]

MS: Final = 1_000_000
"""A millisecond on the machine's clock."""

Outcome = Any


def plain(outcome: Outcome) -> Any:
    """Give an outcome as tests like to write it: the value if it is one, else the status."""
    if isinstance(outcome, wire.ripc_id_res_RIPC_OK):
        return outcome.id
    if isinstance(outcome, wire.ripc_int_res_RIPC_OK):
        return outcome.value
    if isinstance(outcome, wire.ripc_word_res_RIPC_OK):
        return outcome.word
    if isinstance(outcome, wire.ripc_msgrcv_res_RIPC_OK):
        return from_hyper(outcome.msg.mtype), outcome.msg.mtext
    if isinstance(outcome, wire.ripc_stamp_res_RIPC_OK):
        return from_hyper(outcome.stamp)
    if isinstance(outcome, wire.ripc_hello_res_RIPC_OK):
        return outcome.ok
    return outcome if isinstance(outcome, wire.ripc_status) else outcome.status


class Lab:
    """A machine, a clock, and the outcomes so far."""

    def __init__(self, limits: Limits | None = None, *, boot: int = 7) -> None:
        self.machine = Machine()
        self.clock_ns = 0
        self.time_s = 1000
        self.log: list[Command] = []
        self.outcomes: dict[int, Outcome] = {}
        self._tickets = itertools.count(1)
        self._connections = itertools.count(1)
        self._limits = limits or Limits()
        self.restart(boot=boot)

    def submit(self, what: Any, caller: gen.machine_caller | None = None, connection: int = 0, xid: int = 0) -> int:
        """Apply a command, and give its ticket."""
        ticket = next(self._tickets)
        caller = caller or gen.machine_caller(0, 0, [])
        self.clock_ns += 1000
        command = Command(
            ticket, self.clock_ns, self.time_s, caller, connection, xid or ticket, what.op, argument(what)
        )
        self.log.append(command)
        for answered, outcome in self.machine.apply(command):
            assert answered not in self.outcomes, f"ticket {answered} is answered twice"
            self.outcomes[answered] = outcome
        return ticket

    def pass_time(self, ms: float) -> None:
        """Let time pass, as the replica does: by TICKs at the machine's deadlines."""
        end = self.clock_ns + int(ms * MS)
        while (deadline := self.machine.next_deadline()) is not None and deadline <= end:
            self.clock_ns = max(deadline, self.clock_ns) - 1000
            self.submit(body(gen.OP_TICK))
        self.clock_ns = end

    def close(self, connection: int) -> None:
        """End a connection."""
        self.submit(body(gen.OP_CONNECTION_CLOSED), connection=connection)

    def restart(self, *, boot: int = 8, limits: Limits | None = None) -> None:
        """Begin another life of the server, from a snapshot."""
        if self.log:
            self.machine = Machine.restore(self.machine.snapshot())
        self._limits = limits or self._limits
        self.submit(start(boot, self._limits))

    def process(self, uid: int = 0, gid: int | None = None, gids: tuple[int, ...] = (), **more: Any) -> Process:
        """Make a process with a connection of its own."""
        caller = gen.machine_caller(uid, uid if gid is None else gid, list(gids))
        return Process(self, caller, connection=next(self._connections), **more)


class Process:
    """Somebody who calls.

    A call gives its plain outcome; None: it waits, and ``result()`` gives the outcome of the last call later.
    """

    def __init__(
        self, lab: Lab, caller: gen.machine_caller, *, connection: int, pid: int = 0, session: int = 0, slot: int = 0
    ) -> None:
        self.lab = lab
        self.caller = caller
        self.connection = connection
        self.pid = pid or 100 + connection
        self.session = session
        self.slot = slot
        self.seq = 0
        self.ticket = 0

    # -- sessions --

    def hello(self, nonce: int = 1, *, flags: int = 0, slots: int = 4, lease_ms: int = 0) -> Any:
        """Open a session, and speak in it from now on."""
        args = wire.ripc_hello_args(to_hyper(nonce), "lab", self.pid, flags, slots, lease_ms)
        opened = self._submit(gen.OP_HELLO, args)
        if isinstance(opened, wire.ripc_hello_ok):
            self.session = from_hyper(opened.session)
        return opened

    def goodbye(self) -> Any:
        return self._aside(gen.OP_GOODBYE, to_hyper(self.session))

    def renew(self, *acks: tuple[int, int]) -> Any:
        args = wire.ripc_renew_args(to_hyper(self.session), [wire.ripc_ack(*ack) for ack in acks])
        return self._aside(gen.OP_RENEW, args)

    def cancel(self, *, slot: int | None = None, seq: int | None = None, xid: int | None = None) -> Any:
        """Cancel the last call."""
        args = wire.ripc_cancel_args(
            to_hyper(self.session),
            self.slot if slot is None else slot,
            self.seq if seq is None else seq,
            self.ticket if xid is None else xid,
        )
        return self._aside(gen.OP_CANCEL, args)

    def ctx(self) -> wire.ripc_ctx:
        if self.session:
            self.seq = (self.seq + 1) & 0xFFFFFFFF
        return wire.ripc_ctx(to_hyper(self.session), self.slot, self.seq if self.session else 0, self.pid)

    def _submit(self, operation: int, args: Any) -> Any:
        self.last = body(operation, args)
        self.ticket = self.lab.submit(self.last, self.caller, self.connection)
        return self.result()

    def _aside(self, operation: int, args: Any) -> Any:
        """Make a call that takes no slot; ``again`` and ``result`` still mean the last one that did."""
        ticket = self.lab.submit(body(operation, args), self.caller, self.connection)
        return plain(self.lab.outcomes[ticket])

    def again(self) -> Any:
        """Send the last call once more."""
        self.ticket = self.lab.submit(self.last, self.caller, self.connection)
        return self.result()

    def result(self) -> Any:
        """Give what the last call came to."""
        outcome = self.lab.outcomes.get(self.ticket)
        return None if outcome is None else plain(outcome)

    # -- queues --

    def msgget(self, key: int = 0, flags: int = wire.RIPC_CREAT, mode: int = 0o600) -> Any:
        return self._submit(gen.OP_MSGGET, wire.ripc_msgget_args(self.ctx(), key, flags, mode))

    def send(self, id: int, mtype: int = 1, mtext: bytes = b"", flags: int = 0, *, wait_ms: int = 0) -> Any:
        args = wire.ripc_msgsnd_args(self.ctx(), id, flags, wait_ms, to_hyper(mtype), mtext)
        return self._submit(gen.OP_MSGSND, args)

    def receive(self, id: int, msgtyp: int = 0, msgsz: int = 8192, flags: int = 0, *, wait_ms: int = 0) -> Any:
        args = wire.ripc_msgrcv_args(self.ctx(), id, flags, wait_ms, to_hyper(msgtyp), to_hyper(msgsz))
        return self._submit(gen.OP_MSGRCV, args)

    def msgset(self, id: int, uid: int, gid: int, mode: int, qbytes: int) -> Any:
        change = wire.ripc_set_args(self.ctx(), id, uid, gid, mode)
        return self._submit(gen.OP_MSGSET, wire.ripc_msgset_args(change, to_hyper(qbytes)))

    def msgrmid(self, id: int) -> Any:
        return self._submit(gen.OP_MSGRMID, wire.ripc_rmid_args(self.ctx(), id))

    def msgstat(self, id: int, by: ripc_stat_by = RIPC_BY_ID) -> Any:
        outcome = self.lab.machine.read.msgstat(self.caller, wire.ripc_stat_args(by, id))
        return outcome.ds if isinstance(outcome, wire.ripc_msgstat_res_RIPC_OK) else outcome.status

    # -- semaphores --

    def semget(self, key: int = 0, nsems: int = 1, flags: int = wire.RIPC_CREAT, mode: int = 0o600) -> Any:
        return self._submit(gen.OP_SEMGET, wire.ripc_semget_args(self.ctx(), key, nsems, flags, mode))

    def semop(self, id: int, *sops: tuple[int, ...], wait_ms: int = 0) -> Any:
        """Each sop is (number, operation) or (number, operation, flags)."""
        bufs = [wire.ripc_sembuf(sop[0], sop[1], sop[2] if len(sop) == 3 else 0) for sop in sops]
        return self._submit(gen.OP_SEMOP, wire.ripc_semop_args(self.ctx(), id, wait_ms, bufs))

    def semset(self, id: int, uid: int, gid: int, mode: int) -> Any:
        return self._submit(gen.OP_SEMSET, wire.ripc_set_args(self.ctx(), id, uid, gid, mode))

    def semrmid(self, id: int) -> Any:
        return self._submit(gen.OP_SEMRMID, wire.ripc_rmid_args(self.ctx(), id))

    def setval(self, id: int, num: int, val: int) -> Any:
        return self._submit(gen.OP_SEMSETVAL, wire.ripc_setval_args(self.ctx(), id, num, val))

    def setall(self, id: int, vals: list[int]) -> Any:
        return self._submit(gen.OP_SEMSETALL, wire.ripc_setall_args(self.ctx(), id, vals))

    def semstat(self, id: int, by: ripc_stat_by = RIPC_BY_ID) -> Any:
        outcome = self.lab.machine.read.semstat(self.caller, wire.ripc_stat_args(by, id))
        return outcome.ds if isinstance(outcome, wire.ripc_semstat_res_RIPC_OK) else outcome.status

    def getval(self, id: int, num: int) -> Any:
        """Give (value, pid, waiting for more, waiting for zero)."""
        outcome = self.lab.machine.read.semgetval(self.caller, wire.ripc_semnum_args(id, num))
        if not isinstance(outcome, wire.ripc_semval_res_RIPC_OK):
            return outcome.status
        sem = outcome.sem
        return sem.semval, sem.sempid, sem.semncnt, sem.semzcnt

    def getall(self, id: int) -> Any:
        outcome = self.lab.machine.read.semgetall(self.caller, id)
        return outcome.vals if isinstance(outcome, wire.ripc_semall_res_RIPC_OK) else outcome.status

    # -- segments --

    def shmget(self, key: int = 0, size: int = 4096, flags: int = wire.RIPC_CREAT, mode: int = 0o600) -> Any:
        return self._submit(gen.OP_SHMGET, wire.ripc_shmget_args(self.ctx(), key, to_hyper(size), flags, mode))

    def attach(self, id: int, flags: int = 0) -> Any:
        return self._submit(gen.OP_SHMAT, wire.ripc_shmat_args(self.ctx(), id, flags))

    def detach(self, id: int) -> Any:
        return self._submit(gen.OP_SHMDT, wire.ripc_rmid_args(self.ctx(), id))

    def write(self, id: int, offset: int, data: bytes) -> Any:
        return self._submit(gen.OP_SHMWRITE, wire.ripc_shmwrite_args(self.ctx(), id, to_hyper(offset), data))

    def swap(self, id: int, offset: int, expected: int, desired: int) -> Any:
        return self._submit(gen.OP_SHMCAS, wire.ripc_shmcas_args(self.ctx(), id, to_hyper(offset), expected, desired))

    def add(self, id: int, offset: int, addend: int) -> Any:
        return self._submit(gen.OP_SHMADD, wire.ripc_shmadd_args(self.ctx(), id, to_hyper(offset), addend))

    def wait_change(self, id: int, offset: int, count: int, stamp: int, *, wait_ms: int = 0) -> Any:
        args = wire.ripc_shmwait_args(self.ctx(), id, to_hyper(offset), to_hyper(count), to_hyper(stamp), wait_ms)
        return self._submit(gen.OP_SHMWAIT, args)

    def shmset(self, id: int, uid: int, gid: int, mode: int) -> Any:
        return self._submit(gen.OP_SHMSET, wire.ripc_set_args(self.ctx(), id, uid, gid, mode))

    def shmrmid(self, id: int) -> Any:
        return self._submit(gen.OP_SHMRMID, wire.ripc_rmid_args(self.ctx(), id))

    def shmstat(self, id: int, by: ripc_stat_by = RIPC_BY_ID) -> Any:
        outcome = self.lab.machine.read.shmstat(self.caller, wire.ripc_stat_args(by, id))
        return outcome.ds if isinstance(outcome, wire.ripc_shmstat_res_RIPC_OK) else outcome.status

    def read(self, id: int, offset: int, count: int) -> Any:
        """Give (stamp, data)."""
        outcome = self.lab.machine.read.shmread(self.caller, wire.ripc_shmread_args(id, to_hyper(offset), count))
        if not isinstance(outcome, wire.ripc_shmread_res_RIPC_OK):
            return outcome.status
        return from_hyper(outcome.ok.stamp), outcome.ok.data

    def list(self, kind: str, at: int = 0, most: int = 100) -> tuple[list[int], int]:
        """Give the ids of a page of a listing, and where the next begins."""
        page = getattr(self.lab.machine.read, kind)(self.caller, wire.ripc_list_args(at, most))
        return [item.id for item in page.items], page.next

    @staticmethod
    def hyper(value: int) -> ripc_hyper:
        return to_hyper(value)
