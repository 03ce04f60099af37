"""Cost of the machine's operations by depth: queued messages, waiters; memory per message; replay.

    python benchmarks/machine_ops.py [--messages 1000000] [--waiters 10000]

Each figure is the mean processor time of one ``apply`` in microseconds, decoding of the command not included (but in
the last line). Flat means: the columns of a row are alike.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

from ipcserver._gen import ipc as wire
from ipcserver._gen.machine import (
    OP_HELLO,
    OP_MSGGET,
    OP_MSGRCV,
    OP_MSGSET,
    OP_MSGSND,
    OP_SEMGET,
    OP_SEMOP,
    OP_SHMGET,
    OP_SHMWAIT,
    OP_SHMWRITE,
    machine_caller,
)
from ipcserver.machine import Command, Limits, Machine, argument, body, start
from ipcserver.machine.commands import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = machine_caller(0, 0, [])
ZERO = wire.ripc_hyper(0, 0)
FAR = wire.ripc_hyper(0, 65536)
NOBODY = wire.ripc_ctx(ZERO, 0, 0, 1)
TEXT = bytes(128)
QBYTES = 1 << 30
PROBES = 2000


class Bench:
    """A machine, and commands with tickets and times that go on."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.tickets = itertools.count(1)
        self.do(start(1, Limits(waiters=1_000_000)))

    def command(self, what: Any) -> Command:
        """Make a command."""
        ticket = next(self.tickets)
        return Command(ticket, ticket * 1000, 1, ROOT, 1, ticket & 0xFFFFFFFF, what.op, argument(what))

    def do(self, what: Any) -> list[tuple[int, Any]]:
        """Apply a body."""
        return self.machine.apply(self.command(what))

    def time(self, bodies: Iterator[Any]) -> float:
        """Give the mean time of applying these, in microseconds."""
        commands = [self.command(what) for what in bodies]
        apply = self.machine.apply
        begin = time.process_time()
        for command in commands:
            apply(command)
        return (time.process_time() - begin) / len(commands) * 1e6

    def queue(self) -> int:
        """Make a queue that takes anything."""
        ((_, made),) = self.do(body(OP_MSGGET, wire.ripc_msgget_args(NOBODY, 0, 0, 0o600)))
        change = wire.ripc_set_args(NOBODY, made.id, 0, 0, 0o600)
        self.do(body(OP_MSGSET, wire.ripc_msgset_args(change, wire.ripc_hyper(0, QBYTES))))
        return int(made.id)


def send(target: int, mtype: int, ctx: wire.ripc_ctx = NOBODY) -> Any:  # noqa: D103
    return body(OP_MSGSND, wire.ripc_msgsnd_args(ctx, target, 0, 0, wire.ripc_hyper(0, mtype), TEXT))


def receive(target: int, msgtyp: int, flags: int = 0, ctx: wire.ripc_ctx = NOBODY) -> Any:  # noqa: D103
    wanted = wire.ripc_hyper(msgtyp >> 32, msgtyp & 0xFFFFFFFF)
    return body(OP_MSGRCV, wire.ripc_msgrcv_args(ctx, target, flags, 0, wanted, FAR))


def semop(target: int, *sops: tuple[int, int, int]) -> Any:  # noqa: D103
    return body(OP_SEMOP, wire.ripc_semop_args(NOBODY, target, 0, [wire.ripc_sembuf(*sop) for sop in sops]))


def depths(most: int) -> list[int]:
    """Give 1, 10, 100 ... up to the most."""
    return [10**power for power in range(len(str(most))) if 10**power <= most]


def row(name: str, depth: list[int], measure: Callable[[int], float]) -> None:
    """Print one operation by depth."""
    print(f"{name:<46}" + "".join(f"{measure(n):>9.2f}" for n in depth), flush=True)


def queued(types: int, message: Callable[[int, int], Any]) -> Callable[[int], float]:
    """Measure pairs of send and receive on a queue that holds n messages of so many types."""

    def measure(depth: int) -> float:
        bench = Bench()
        target = bench.queue()
        for number in range(depth):
            bench.do(send(target, number % types + 1))
        gc.collect()
        # Of each type one more than the others: whatever a probe takes, another is sent for.
        probes = ([send(target, n % types + 1), message(target, n % types + 1)] for n in range(PROBES))
        return bench.time(itertools.chain.from_iterable(probes))

    return measure


def waiting_receivers(depth: int) -> float:
    """Measure a blocking receive and the send that ends the oldest, with n waiting for other types."""
    bench = Bench()
    target = bench.queue()
    for number in range(depth):
        bench.do(receive(target, number + 10))
    return bench.time(itertools.chain.from_iterable([receive(target, 1), send(target, 1)] for _ in range(PROBES)))


def waiting_in_line(depth: int) -> float:
    """Measure the same with n in one line: each send ends the oldest."""
    bench = Bench()
    target = bench.queue()
    for _ in range(depth):
        bench.do(receive(target, 0))
    return bench.time(itertools.chain.from_iterable([receive(target, 0), send(target, 1)] for _ in range(PROBES)))


def waiting_lock(sops: tuple[tuple[int, int, int], ...], release: tuple[int, int, int]) -> Callable[[int], float]:
    """Measure a lock handed on among n who wait for it."""

    def measure(depth: int) -> float:
        bench = Bench()
        ((_, made),) = bench.do(body(OP_SEMGET, wire.ripc_semget_args(NOBODY, 0, 1, 0, 0o600)))
        if release[1] > 0:
            bench.do(semop(made.id, release))
        bench.do(semop(made.id, *sops))
        for _ in range(depth):
            bench.do(semop(made.id, *sops))
        pairs = ([semop(made.id, release), semop(made.id, *sops)] for _ in range(PROBES))
        return bench.time(itertools.chain.from_iterable(pairs))

    return measure


def waiting_words(depth: int) -> float:
    """Measure a wait for a change of one word and the write that ends it, with n waiting for others."""
    bench = Bench()
    size = wire.ripc_hyper(0, 1 << 20)
    ((_, made),) = bench.do(body(OP_SHMGET, wire.ripc_shmget_args(NOBODY, 0, size, 0, 0o600)))

    def wait(word: int, stamp: int) -> Any:
        where = wire.ripc_hyper(0, word * 4)
        return body(
            OP_SHMWAIT,
            wire.ripc_shmwait_args(NOBODY, made.id, where, wire.ripc_hyper(0, 4), wire.ripc_hyper(0, stamp), 0),
        )

    write = body(OP_SHMWRITE, wire.ripc_shmwrite_args(NOBODY, made.id, ZERO, b"word"))
    for number in range(depth):
        bench.do(wait(number + 1, 0))
    return bench.time(itertools.chain.from_iterable([wait(0, n), write] for n in range(PROBES)))


def sessions() -> float:
    """Measure send and receive in a session."""
    bench = Bench()
    target = bench.queue()
    hello = wire.ripc_hello_args(wire.ripc_hyper(1, 1), "bench", 1, 0, 1, 0)
    ((_, opened),) = bench.do(body(OP_HELLO, hello))
    numbers = itertools.count(1)

    def ctx() -> wire.ripc_ctx:
        return wire.ripc_ctx(opened.ok.session, 0, next(numbers), 1)

    return bench.time(
        itertools.chain.from_iterable(
            [send(target, 1, ctx()), receive(target, 0, 0, ctx())] for _ in range(10 * PROBES)
        )
    )


def memory(types: int, count: int) -> float:
    """Measure the bytes that a queued message of 128 bytes takes, its own included."""
    bench = Bench()
    target = bench.queue()
    gc.collect()
    tracemalloc.start()
    for number in range(count):
        text = number.to_bytes(4, "big") * 32
        mtype = wire.ripc_hyper(0, number % types + 1)
        bench.do(body(OP_MSGSND, wire.ripc_msgsnd_args(NOBODY, target, 0, 0, mtype, text)))
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / count


def replay() -> tuple[float, float]:
    """Measure replay: decoding and applying, commands a second; and snapshots, messages a second."""
    bench = Bench()
    target = bench.queue()
    pairs = itertools.chain.from_iterable([send(target, 1), receive(target, 0)] for _ in range(10 * PROBES))
    encoded = [bench.command(what).encode() for what in pairs]
    begin = time.process_time()
    for data in encoded:
        bench.machine.apply(decode(data))
    commands = len(encoded) / (time.process_time() - begin)
    for _ in range(10 * PROBES):
        bench.do(send(target, 1))
    begin = time.process_time()
    Machine.restore(bench.machine.snapshot())
    return commands, 10 * PROBES / (time.process_time() - begin)


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--waiters", type=int, default=10_000)
    options = parser.parse_args()
    by_messages, by_waiters = depths(options.messages), depths(options.waiters)
    print(f"{'us per command; messages queued:':<46}" + "".join(f"{n:>9}" for n in by_messages))
    row("send, receive type 0", by_messages, queued(1, lambda target, _: receive(target, 0)))
    row("send, receive by type, 1000 types", by_messages, queued(1000, receive))
    row("send, receive type < 0, 1000 types", by_messages, queued(1000, lambda target, _: receive(target, -1000)))
    row(
        "send, receive MSG_EXCEPT, 1000 types",
        by_messages,
        queued(1000, lambda target, mtype: receive(target, mtype, wire.RIPC_EXCEPT)),
    )
    row(
        "send, receive type 0, every message its type", by_messages, queued(10**9, lambda target, _: receive(target, 0))
    )
    print(f"{'us per command; calls waiting:':<46}" + "".join(f"{n:>9}" for n in by_waiters))
    row("receive, send; others wait for other types", by_waiters, waiting_receivers)
    row("receive, send; all in one line", by_waiters, waiting_in_line)
    row("semop V, P: a counting lock handed on", by_waiters, waiting_lock(((0, -1, 0),), (0, 1, 0)))
    row("semop: wait for zero and take, handed on", by_waiters, waiting_lock(((0, 0, 0), (0, 1, 0)), (0, -1, 0)))
    row("wait for a word's change, write it", by_waiters, waiting_words)
    print(f"us per command, send and receive in a session:  {sessions():.2f}")
    for types in (1, 1000, 10**9):
        count = min(options.messages, 200_000)
        print(f"bytes per queued message of 128 bytes, {min(types, count)} types: {memory(types, count):.0f}")
    commands, messages = replay()
    print(f"replay: {commands:,.0f} commands/s; snapshot and restore: {messages:,.0f} messages/s")


if __name__ == "__main__":
    main()
