"""Snapshots: the machine's whole state as machine_snapshot of machine.x, and back.

Everything is in a fixed order (by id, by number, by age), so that equal machines give equal bytes. What can be worked
out again is not kept: lines, heaps, counts.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import xdr
from ipcserver._gen import machine as gen
from ipcserver._gen.ipc import (
    ripc_id_res_default,
    ripc_id_res_RIPC_OK,
    ripc_int_res_default,
    ripc_int_res_RIPC_OK,
    ripc_msgrcv_res_default,
    ripc_msgrcv_res_RIPC_OK,
    ripc_sembuf,
    ripc_stamp_res_default,
    ripc_stamp_res_RIPC_OK,
    ripc_status,
    ripc_word_res_default,
    ripc_word_res_RIPC_OK,
)
from ipcserver.machine.errors import SnapshotUnreadable
from ipcserver.machine.ids import Table
from ipcserver.machine.limits import Limits
from ipcserver.machine.owners import Call
from ipcserver.machine.queues import Queue, Receiver, Sender
from ipcserver.machine.segments import ChangeWaiter, Segment
from ipcserver.machine.semaphores import SemaphoreSet, SemopWaiter, Undo
from ipcserver.machine.sessions import Session, Slot

if TYPE_CHECKING:
    from ipcserver.machine.backlog import Message
    from ipcserver.machine.machine import Machine
    from ipcserver.machine.outcomes import Outcome
    from ipcserver.machine.owners import Owner
    from ipcserver.machine.waiting import Waiter

__all__ = ["decode_into", "encode"]


def encode(machine: Machine) -> bytes:
    """Encode the state of a machine."""
    return xdr.encode(gen.machine_snapshot, _to_xdr(machine))


def decode_into(machine: Machine, data: bytes) -> None:
    """Fill a fresh machine from a snapshot.

    Raises:
        SnapshotUnreadable: The bytes are no snapshot, are of another format, or contradict themselves.
    """
    written = int.from_bytes(data[:4], "big")
    if len(data) >= 4 and written != gen.MACHINE_FORMAT:  # noqa: PLR2004 - the format is the first word
        message = f"the snapshot is of format {written}; this version reads format {gen.MACHINE_FORMAT}"
        raise SnapshotUnreadable(message)
    try:
        _from_xdr(machine, xdr.decode(gen.machine_snapshot, data))
    except xdr.XDRError as error:
        message = f"the snapshot is damaged: {error}"
        raise SnapshotUnreadable(message) from error
    except (LookupError, ValueError) as error:
        message = f"the snapshot contradicts itself: {error!r}"
        raise SnapshotUnreadable(message) from error


# ---- out ----------------------------------------------------------------------


def _to_xdr(machine: Machine) -> gen.machine_snapshot:
    accounts, queues = machine.accounts, machine.queues.table
    sets, segments = machine.semaphores.table, machine.segments.table
    waiters = machine.waits.by_arrival
    return gen.machine_snapshot(
        format=gen.MACHINE_FORMAT,
        clock_ns=accounts.clock_ns,
        time_s=accounts.time_s,
        boot=machine.boot,
        next_arrival=machine.waits.next_arrival,
        next_session=machine.sessions.next_session,
        limits=accounts.limits.to_xdr(),
        queue_ids=gen.machine_ids(list(queues.seqs)),
        queues=[_queue(queue) for queue in queues],
        set_ids=gen.machine_ids(list(sets.seqs)),
        sets=[_set(found) for found in sets],
        segment_ids=gen.machine_ids(list(segments.seqs)),
        segments=[_segment(segment) for segment in segments],
        sessions=[_session(session) for _, session in sorted(machine.sessions.by_id.items())],
        waiters=[_waiter(waiters[arrival]) for arrival in sorted(waiters)],
    )


def _queue(queue: Queue) -> gen.machine_queue:
    messages = list(queue.backlog)
    return gen.machine_queue(
        id=queue.id,
        perm=replace(queue.perm),
        stime=queue.stime,
        rtime=queue.rtime,
        ctime=queue.ctime,
        qbytes=queue.qbytes,
        lspid=queue.lspid,
        lrpid=queue.lrpid,
        next_order=queue.next_order,
        orders=[order for order, _, _ in messages],
        mtypes=[mtype for _, mtype, _ in messages],
        sizes=[len(mtext) for _, _, mtext in messages],
        mtexts=b"".join([mtext for _, _, mtext in messages]),
    )


def _by_owner(entry: tuple[Owner, object]) -> tuple[int, int]:
    return entry[0].kind, entry[0].id


def _set(found: SemaphoreSet) -> gen.machine_set:
    return gen.machine_set(
        id=found.id,
        perm=replace(found.perm),
        otime=found.otime,
        ctime=found.ctime,
        values=list(found.values),
        pids=list(found.pids),
        undos=[
            gen.machine_undo(
                owner.to_xdr(), undo.pid, [gen.machine_adjustment(*entry) for entry in sorted(undo.values.items())]
            )
            for owner, undo in sorted(found.undos.items(), key=_by_owner)
        ],
    )


def _segment(segment: Segment) -> gen.machine_segment:
    return gen.machine_segment(
        id=segment.id,
        perm=replace(segment.perm),
        size=segment.size,
        atime=segment.atime,
        dtime=segment.dtime,
        ctime=segment.ctime,
        cpid=segment.cpid,
        lpid=segment.lpid,
        removed=segment.removed,
        stamp=segment.stamp,
        pages=[
            gen.machine_page(number, segment.stamps[number], bytes(data))
            for number, data in sorted(segment.pages.items())
        ],
        changes=[gen.machine_change(*change) for change in segment.changes],
        attachments=[
            gen.machine_attachment(owner.to_xdr(), pid, count)
            for owner, (count, pid) in sorted(segment.attachments.items(), key=_by_owner)
        ],
    )


def _session(session: Session) -> gen.machine_session:
    return gen.machine_session(
        id=session.id,
        uid=session.uid,
        nonce=session.nonce,
        host=session.host,
        pid=session.pid,
        flags=session.flags,
        lease_ms=session.lease_ms,
        heard_ns=session.heard_ns,
        connections=sorted(session.connections),
        slots_allowed=session.slots_allowed,
        slots=[_slot(slot) for slot in session.slots],
    )


def _slot(slot: Slot) -> gen.machine_slot:
    body: gen.machine_slot_body
    if slot.outcome is not None:
        held = None
        if slot.held is not None:
            held = gen.machine_held(slot.held[0], gen.machine_message(*slot.held[1]))
        body = gen.machine_slot_body_SLOT_DONE(gen.machine_done(_outcome(slot.outcome), held))
    elif slot.waiter is not None:
        body = gen.machine_slot_body_default(gen.SLOT_WAITING)
    else:
        body = gen.machine_slot_body_default(gen.SLOT_ACKED if slot.seq else gen.SLOT_FRESH)
    return gen.machine_slot(slot.seq, slot.digest(), body)


def _outcome(outcome: Outcome) -> gen.machine_outcome:
    match outcome:
        case ripc_status():
            return gen.machine_outcome_RESULT_STATUS(outcome)
        case ripc_id_res_RIPC_OK() | ripc_id_res_default():
            return gen.machine_outcome_RESULT_ID(outcome)
        case ripc_msgrcv_res_RIPC_OK() | ripc_msgrcv_res_default():
            return gen.machine_outcome_RESULT_MSGRCV(outcome)
        case ripc_int_res_RIPC_OK() | ripc_int_res_default():
            return gen.machine_outcome_RESULT_INT(outcome)
        case ripc_word_res_RIPC_OK() | ripc_word_res_default():
            return gen.machine_outcome_RESULT_WORD(outcome)
        case ripc_stamp_res_RIPC_OK() | ripc_stamp_res_default():
            return gen.machine_outcome_RESULT_STAMP(outcome)
    message = f"no slot keeps a {type(outcome).__name__}"
    raise TypeError(message)


def _waiter(waiter: Waiter) -> gen.machine_waiter:
    call = waiter.call
    number, wait = _wait(waiter)
    session = call.owner if isinstance(call.owner, Session) else None
    return gen.machine_waiter(
        arrival=waiter.arrival,
        tickets=[gen.machine_ticket(*entry) for entry in waiter.tickets],
        owner=call.owner.to_xdr(),
        slot=session.slots.index(call.slot) if session is not None and call.slot is not None else 0,
        xid=call.xid,
        pid=call.pid,
        caller=call.caller,
        id=number,
        deadline_ns=waiter.deadline_ns,
        wait=wait,
    )


def _wait(waiter: Waiter) -> tuple[int, gen.machine_wait]:
    match waiter:
        case Sender():
            return waiter.queue.id, gen.machine_wait_OP_MSGSND(gen.machine_send(waiter.mtype, waiter.mtext))
        case Receiver():
            return waiter.queue.id, gen.machine_wait_OP_MSGRCV(
                gen.machine_receive(waiter.msgtyp, waiter.msgsz, waiter.flags)
            )
        case SemopWaiter():
            return waiter.set.id, gen.machine_wait_OP_SEMOP([ripc_sembuf(*entry) for entry in waiter.operations])
        case ChangeWaiter():
            return waiter.segment.id, gen.machine_wait_OP_SHMWAIT(
                gen.machine_change_wait(waiter.start, waiter.end, waiter.stamp)
            )
    message = f"no snapshot keeps a {type(waiter).__name__}"
    raise TypeError(message)


# ---- in -----------------------------------------------------------------------


def _from_xdr(machine: Machine, state: gen.machine_snapshot) -> None:
    accounts, waits, sessions = machine.accounts, machine.waits, machine.sessions
    accounts.limits = Limits.from_xdr(state.limits)
    accounts.clock_ns = state.clock_ns
    accounts.time_s = state.time_s
    sessions.boot = state.boot
    sessions.next_session = state.next_session
    machine.queues.table = Table(state.queue_ids.seqs)
    machine.semaphores.table = Table(state.set_ids.seqs)
    machine.segments.table = Table(state.segment_ids.seqs)
    for row in state.sessions:
        _restore_session(machine, row)
    for queue in state.queues:
        _restore_queue(machine, queue)
    for row_of_set in state.sets:
        _restore_set(machine, row_of_set)
    for segment in state.segments:
        _restore_segment(machine, segment)
    machine.queues.table.restored()
    machine.semaphores.table.restored()
    machine.segments.table.restored()
    for waiter in state.waiters:
        _restore_waiter(machine, waiter)
    waits.next_arrival = state.next_arrival


def _owner(machine: Machine, owner: gen.machine_owner) -> Owner:
    if owner.kind is gen.OWNER_SESSION:
        return machine.sessions.by_id[owner.id]
    if owner.kind is gen.OWNER_CONNECTION:
        return machine.owners.connection(owner.id)
    return machine.owners.datagrams


def _message(message: gen.machine_message) -> Message:
    return message.order, message.mtype, message.mtext


def _restore_session(machine: Machine, row: gen.machine_session) -> None:
    session = Session(
        row.id,
        row.uid,
        row.nonce,
        host=row.host,
        pid=row.pid,
        flags=row.flags,
        slots=row.slots_allowed,
        lease_ms=row.lease_ms,
    )
    session.heard_ns = row.heard_ns
    machine.sessions.restore(session, row.connections)
    for number, entry in enumerate(row.slots):
        slot = machine.sessions.slot(session, number)
        outcome, held = None, None
        if isinstance(entry.body, gen.machine_slot_body_SLOT_DONE):
            outcome = _restored_outcome(entry.body.done.outcome)
            if entry.body.done.held is not None:
                held = entry.body.done.held.id, _message(entry.body.done.held.message)
        slot.restore(entry.seq, entry.digest, outcome, held)


def _restored_outcome(outcome: gen.machine_outcome) -> Outcome:
    match outcome:
        case gen.machine_outcome_RESULT_STATUS():
            return outcome.status
        case gen.machine_outcome_RESULT_ID():
            return outcome.id
        case gen.machine_outcome_RESULT_MSGRCV():
            return outcome.msgrcv
        case gen.machine_outcome_RESULT_INT():
            return outcome.value
        case gen.machine_outcome_RESULT_WORD():
            return outcome.word
        case gen.machine_outcome_RESULT_STAMP():
            return outcome.stamp


def _restore_queue(machine: Machine, row: gen.machine_queue) -> None:
    queue = Queue(row.id, row.perm, row.qbytes, row.ctime)
    queue.stime, queue.rtime = row.stime, row.rtime
    queue.lspid, queue.lrpid = row.lspid, row.lrpid
    queue.next_order = row.next_order
    machine.accounts.add_object(row.perm.cuid, restored=True)
    ends = list(accumulate(row.sizes, initial=0))
    if ends[-1] != len(row.mtexts):
        message = f"queue {row.id} has {len(row.mtexts)} bytes of text for messages of {ends[-1]}"
        raise ValueError(message)
    texts = [row.mtexts[start:end] for start, end in pairwise(ends)]
    machine.queues.load(queue, list(zip(row.orders, row.mtypes, texts, strict=True)))


def _restore_set(machine: Machine, row: gen.machine_set) -> None:
    found = SemaphoreSet(row.id, row.perm, len(row.values), row.ctime)
    found.otime = row.otime
    found.values, found.pids = list(row.values), list(row.pids)
    machine.accounts.add_object(row.perm.cuid, restored=True)
    machine.semaphores.table.add(found)
    machine.semaphores.total += len(found.values)
    for entry in row.undos:
        undo = Undo(entry.pid)
        undo.values = {adjustment.num: adjustment.value for adjustment in entry.adjustments}
        machine.semaphores.restore_undo(found, _owner(machine, entry.owner), undo)


def _restore_segment(machine: Machine, row: gen.machine_segment) -> None:
    segment = Segment(row.id, row.perm, row.size, row.ctime, row.cpid)
    segment.atime, segment.dtime, segment.lpid = row.atime, row.dtime, row.lpid
    segment.removed, segment.stamp = row.removed, row.stamp
    segment.changes.extend((change.stamp, change.start, change.end) for change in row.changes)
    machine.accounts.add_object(row.perm.cuid, restored=True)
    machine.segments.load(segment, [(page.number, page.stamp, page.data) for page in row.pages])
    for entry in row.attachments:
        machine.segments.restore_attachment(segment, _owner(machine, entry.owner), entry.count, entry.pid)


def _restore_waiter(machine: Machine, row: gen.machine_waiter) -> None:
    owner = _owner(machine, row.owner)
    slot = owner.slots[row.slot] if isinstance(owner, Session) else None
    tickets = [(entry.ticket, entry.connection) for entry in row.tickets]
    ticket, connection = tickets[-1] if tickets else (0, 0)
    call = Call(row.caller, row.pid, ticket, connection, row.xid, machine.owners, owner, slot)
    waiter = _restored_wait(machine, call, row.id, row.wait)
    waiter.arrival, waiter.tickets, waiter.deadline_ns = row.arrival, tickets, row.deadline_ns
    machine.waits.restore(waiter)


def _restored_wait(machine: Machine, call: Call, id: int, wait: gen.machine_wait) -> Waiter:
    queues, sets, segments = machine.queues, machine.semaphores, machine.segments
    match wait:
        case gen.machine_wait_OP_MSGSND():
            queue = queues.table.by_id[id]
            return queues.restored_sender(call, queue, wait.send.mtype, wait.send.mtext)
        case gen.machine_wait_OP_MSGRCV():
            queue, args = queues.table.by_id[id], wait.receive
            return Receiver(call, queues, queue, msgtyp=args.msgtyp, msgsz=args.msgsz, flags=args.flags)
        case gen.machine_wait_OP_SEMOP():
            operations = tuple((sop.num, sop.op, sop.flags) for sop in wait.sops)
            return SemopWaiter(call, sets, sets.table.by_id[id], operations)
        case gen.machine_wait_OP_SHMWAIT():
            segment, change = segments.table.by_id[id], wait.change
            return ChangeWaiter(call, segments, segment, start=change.start, end=change.end, stamp=change.stamp)
