"""Long random programs for the machine, made from a seed: every command, many callers, sessions, ends, restarts.

As a program of its own it runs one and prints what came of it, for comparing processes with different hash seeds:
``python -m tests.ipcserver.machine.scenario SEED STEPS``.
"""

from __future__ import annotations

import hashlib
import random
import sys
from typing import TYPE_CHECKING, Any, Final

from ipcserver._gen import ipc as wire
from ipcserver._gen import machine as gen
from ipcserver.hypers import to_hyper
from ipcserver.machine import Command, Limits, Machine, argument, body, start

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LIMITS", "fingerprint", "program"]

LIMITS: Final = Limits(
    msgmnb=60,
    msgmni=8,
    semmni=8,
    semmns=16,
    shmmni=8,
    message_memory=20_000,
    segment_memory=30_000,
    sessions=6,
    session_slots=3,
    lease_ms=400,
    lease_min_ms=20,
    waiters=30,
    owner_objects=5,
    owner_waiters=12,
    owner_memory=12_000,
    datagram_wait_ms=30,
)
"""Tight ones, so that every limit is met."""

_FLAGS: Final = (0, 0, wire.RIPC_NOWAIT)
_WAITS: Final = (0, 0, 5, 40)


class _Program:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.machine = Machine()
        self.sessions: list[int] = []
        self.seqs: dict[tuple[int, int], int] = {}
        self.sent: list[tuple[gen.machine_caller, Any]] = []

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def caller(self) -> gen.machine_caller:
        uid = self.pick(0, 0, 0, 5, 6)
        return gen.machine_caller(uid, self.pick(uid, 7), self.pick([], [7], [7, 8]))

    def ctx(self) -> wire.ripc_ctx:
        session, slot, seq = 0, 0, 0
        if self.sessions and self.random.random() < 0.6:
            session, slot = self.random.choice(self.sessions), self.pick(0, 1, 2, 3)
            seq = self.seqs.get((session, slot), 0) + self.pick(1, 1, 1, 1, 1, 1, 1, 1, 0, 2)
            self.seqs[session, slot] = seq
        return wire.ripc_ctx(to_hyper(session), slot, seq, self.random.randrange(100, 120))

    def id(self, kind: str) -> int:
        table = getattr(self.machine, kind).table
        known = sorted(table.by_id)
        return int(self.random.choice(known)) if known and self.random.random() < 0.95 else self.pick(0, 1, 32768, -1)

    def queue_call(self) -> Any:
        ctx, rnd = self.ctx(), self.random
        match rnd.randrange(12):
            case 0 | 1:
                args = wire.ripc_msgget_args(ctx, self.pick(0, 1, 2, 3), self.pick(0x200, 0x200, 0x600, 0), 0o660)
                return body(gen.OP_MSGGET, args)
            case 2 | 3 | 4 | 5:
                text = bytes([rnd.randrange(65, 90)]) * self.pick(0, 1, 10, 20, 50, 60, 600)
                number = self.id("queues")
                mtype = to_hyper(self.pick(1, 2, 3, 4, 2**40, 0))
                flags, wait = rnd.choice(_FLAGS), rnd.choice(_WAITS)
                return body(gen.OP_MSGSND, wire.ripc_msgsnd_args(ctx, number, flags, wait, mtype, text))
            case 6 | 7 | 8 | 9:
                flags = rnd.choice(_FLAGS) | self.pick(0, 0, wire.RIPC_NOERROR, wire.RIPC_EXCEPT, wire.RIPC_COPY)
                wanted, size = to_hyper(self.pick(0, 0, 1, 2, 3, -1, -2, -5)), to_hyper(self.pick(0, 10, 1000))
                number = self.id("queues")
                return body(gen.OP_MSGRCV, wire.ripc_msgrcv_args(ctx, number, flags, rnd.choice(_WAITS), wanted, size))
            case 10:
                change = wire.ripc_set_args(ctx, self.id("queues"), self.pick(0, 5), 7, self.pick(0o600, 0o666))
                return body(gen.OP_MSGSET, wire.ripc_msgset_args(change, to_hyper(self.pick(0, 5, 60, 600))))
            case _:
                return body(gen.OP_MSGRMID, wire.ripc_rmid_args(ctx, self.id("queues")))

    def set_call(self) -> Any:
        ctx, rnd = self.ctx(), self.random
        match rnd.randrange(12):
            case 0 | 1:
                args = wire.ripc_semget_args(
                    ctx, self.pick(0, 1, 2), self.pick(1, 2, 3), self.pick(0x200, 0x200, 0), 0o666
                )
                return body(gen.OP_SEMGET, args)
            case 2:
                return body(gen.OP_SEMSETVAL, wire.ripc_setval_args(ctx, self.id("semaphores"), self.pick(0, 1), 2))
            case 3:
                return body(gen.OP_SEMSETALL, wire.ripc_setall_args(ctx, self.id("semaphores"), self.pick([1], [0, 2])))
            case 4:
                args_of_set = wire.ripc_set_args(
                    ctx, self.id("semaphores"), self.pick(0, 5), 7, self.pick(0o600, 0o666)
                )
                return body(gen.OP_SEMSET, args_of_set)
            case 5:
                return body(gen.OP_SEMRMID, wire.ripc_rmid_args(ctx, self.id("semaphores")))
            case _:
                sops = [
                    wire.ripc_sembuf(
                        self.pick(0, 0, 1, 2), self.pick(0, 1, 1, 2, -1, -1, -2, 32767), self.pick(0, 0, 0x800, 0x1000)
                    )
                    for _ in range(self.pick(1, 1, 1, 2, 3))
                ]
                return body(gen.OP_SEMOP, wire.ripc_semop_args(ctx, self.id("semaphores"), rnd.choice(_WAITS), sops))

    def segment_call(self) -> Any:
        ctx, rnd = self.ctx(), self.random
        number, offset = self.id("segments"), to_hyper(self.pick(0, 4, 100, 4092, 4096, 9000))
        match rnd.randrange(11):
            case 0 | 1:
                size = to_hyper(self.pick(1, 100, 10_000))
                args = wire.ripc_shmget_args(ctx, self.pick(0, 1, 2), size, self.pick(0x200, 0x200, 0), 0o666)
                return body(gen.OP_SHMGET, args)
            case 2:
                return body(gen.OP_SHMAT, wire.ripc_shmat_args(ctx, number, self.pick(0, 0x1000)))
            case 3:
                return body(gen.OP_SHMDT, wire.ripc_rmid_args(ctx, number))
            case 4 | 5:
                return body(gen.OP_SHMWRITE, wire.ripc_shmwrite_args(ctx, number, offset, b"w" * self.pick(1, 9, 5000)))
            case 6:
                return body(gen.OP_SHMCAS, wire.ripc_shmcas_args(ctx, number, offset, self.pick(0, 1), 1))
            case 7:
                return body(gen.OP_SHMADD, wire.ripc_shmadd_args(ctx, number, offset, 1))
            case 8:
                count, stamp = to_hyper(self.pick(1, 4, 9000)), to_hyper(self.pick(0, 1, 2, 5))
                return body(
                    gen.OP_SHMWAIT, wire.ripc_shmwait_args(ctx, number, offset, count, stamp, rnd.choice(_WAITS))
                )
            case 9:
                change = wire.ripc_set_args(ctx, number, self.pick(0, 5), 7, self.pick(0o600, 0o666))
                return body(gen.OP_SHMSET, change)
            case _:
                return body(gen.OP_SHMRMID, wire.ripc_rmid_args(ctx, number))

    def session_call(self) -> Any:
        rnd = self.random
        session = to_hyper(rnd.choice(self.sessions)) if self.sessions else to_hyper(1)
        match rnd.randrange(8):
            case 0 | 1 | 2:
                nonce = to_hyper(rnd.randrange(12))
                return body(
                    gen.OP_HELLO,
                    wire.ripc_hello_args(nonce, "host", 1, self.pick(0, wire.RIPC_BOUND), 3, self.pick(0, 30)),
                )
            case 3 | 4:
                acks = [wire.ripc_ack(slot, self.pick(1, 2, 3)) for slot in range(self.pick(0, 1, 4))]
                return body(gen.OP_RENEW, wire.ripc_renew_args(session, acks))
            case 5:
                return body(gen.OP_GOODBYE, session)
            case _:
                session = self.pick(session, to_hyper(0))
                return body(
                    gen.OP_CANCEL, wire.ripc_cancel_args(session, self.pick(0, 1), self.pick(1, 2, 3), rnd.randrange(9))
                )

    def next(self) -> Any:
        chance = self.random.random()
        if chance < 0.01:
            return start(self.random.randrange(99), LIMITS)
        if chance < 0.06:
            return body(gen.OP_CONNECTION_CLOSED)
        if chance < 0.1:
            return body(gen.OP_TICK)
        if chance < 0.2:
            return self.session_call()
        return self.pick(self.queue_call, self.queue_call, self.set_call, self.segment_call)()


def program(seed: int, steps: int) -> Iterator[Command]:
    """Make a program, command by command.

    Later commands follow from what the earlier ones did (ids, sessions); equal seeds give equal programs.
    """
    made = _Program(seed)
    rnd, clock, slow = made.random, 0, 0
    for ticket in range(1, steps + 1):
        clock += rnd.choice((1000, 1000, 1000, 1_000_000, 15_000_000))
        slow += rnd.randrange(2)
        if ticket == 1:
            caller, what = gen.machine_caller(0, 0, []), start(1, LIMITS)
        elif made.sent and rnd.random() < 0.1:
            caller, what = rnd.choice(made.sent[-5:])
        else:
            caller, what = made.caller(), made.next()
        made.sent.append((caller, what))
        connection, xid = rnd.choice((0, 1, 2, 3, 4)), rnd.randrange(9)
        command = Command(ticket, clock, 1_000_000 + slow, caller, connection, xid, what.op, argument(what))
        for _, outcome in made.machine.apply(command):
            if isinstance(outcome, wire.ripc_hello_res_RIPC_OK):
                made.sessions = [*made.sessions[-5:], outcome.ok.session.hi << 32 | outcome.ok.session.lo]
        yield command


def fingerprint(seed: int, steps: int) -> str:
    """Run a program; digest its outcomes and its last snapshot."""
    machine, digest = Machine(), hashlib.sha256()
    for command in program(seed, steps):
        digest.update(repr(machine.apply(command)).encode())
        digest.update(repr(machine.next_deadline()).encode())
    digest.update(machine.snapshot())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.stdout.write(fingerprint(int(sys.argv[1]), int(sys.argv[2])))
