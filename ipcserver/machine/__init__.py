"""The IPC machine: System V queues, semaphores, segments and sessions, pure.

A deterministic state machine: no clock, no randomness, no I/O, no Twisted. Equal commands give equal states, to the
byte. Commands and snapshots are declared in ``ipcserver/spec/machine.x``; bodies and outcomes are the structs of
``ipc.x``.

Use::

    from ipcserver._gen.machine import OP_MSGSND, machine_caller
    from ipcserver.machine import Command, Limits, Machine

    machine = Machine()  # or Machine.restore(snapshot)
    machine.apply(command)  # -> [(ticket, outcome), ...]
    machine.next_deadline()  # -> clock_ns at which a TICK is due, or None
    machine.snapshot()  # -> bytes
    machine.read.msgstat(caller, args)  # -> ripc_msgstat_res; a pure read, not journalled

Commands
    ``Command(ticket, clock_ns, time_s, caller, connection, xid, op, args)``. ``ticket`` ascends; ``clock_ns`` never
    goes back (it goes on from its last value over restarts); ``connection`` is 0 for datagrams. Operation numbers are
    ipc.x procedure numbers, so OP_MSGGET is 10, and ``args`` is the procedure's argument. OP_TICK and
    OP_CONNECTION_CLOSED take none. OP_SERVER_STARTED must be the first command of each life of the server: it brings
    the limits in force (they are journalled, so that a replay under another configuration comes to the same state),
    ends all connections of the former life and gives every session its full lease again. ``start(boot, limits)`` makes
    its body. ``Command.encode`` and ``decode`` go to and from the bytes of the journal, a ``machine_command`` of
    machine.x, whose ``body`` is a union of the operations; ``body(op, args)`` makes one.

Outcomes
    ``apply`` answers in the type that ipc.x gives the procedure: ``ripc_status``, ``ripc_id_res_RIPC_OK(...)`` or
    ``ripc_id_res_default(status)``, and so on. A call that waits is answered by the ``apply`` of a later command. Every
    ticket gets exactly one outcome, except those of TICK, CONNECTION_CLOSED and SERVER_STARTED (none) and those that
    still waited when SERVER_STARTED came (their clients are gone). Waits of a closed connection are answered with
    RIPC_EINTR so that whoever keeps account of tickets can forget them.

Connections
    ``machine.holds_connection(connection)`` tells whether the machine keeps anything for a connection.
    CONNECTION_CLOSED needs submitting only if it does or if commands of that connection were submitted and are not yet
    applied.

Reads
    ``machine.read`` has ``info() msgstat msglist semstat semlist semgetval semgetall shmread shmstat shmlist``, each
    but ``info`` taking ``(caller, args)`` with the procedure's argument and giving its result. They change nothing.
"""

from __future__ import annotations

from ipcserver.machine.commands import Command, argument, body, start
from ipcserver.machine.errors import SnapshotUnreadable
from ipcserver.machine.limits import LINUX, SOLARIS_2, Limits
from ipcserver.machine.machine import Machine

__all__ = [
    "LINUX",
    "SOLARIS_2",
    "Command",
    "Limits",
    "Machine",
    "SnapshotUnreadable",
    "argument",
    "body",
    "start",
]
