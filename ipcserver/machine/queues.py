"""Message queues: msgget, msgsnd, msgrcv, msgctl (SVID; msgop(2), msgctl(2)), in the order of checks of Linux."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ipcserver._gen.ipc import (
    RIPC_COPY,
    RIPC_E2BIG,
    RIPC_EACCES,
    RIPC_EAGAIN,
    RIPC_EIDRM,
    RIPC_EINVAL,
    RIPC_ENOMSG,
    RIPC_EPERM,
    RIPC_EXCEPT,
    RIPC_NOERROR,
    RIPC_NOWAIT,
    RIPC_OK,
    ripc_id_res_RIPC_OK,
    ripc_msg,
    ripc_msgrcv_res_RIPC_OK,
    ripc_msqid_ds,
)
from ipcserver.hypers import from_hyper, to_hyper
from ipcserver.machine import permissions
from ipcserver.machine.backlog import Backlog
from ipcserver.machine.errors import Refused
from ipcserver.machine.ids import Table
from ipcserver.machine.limits import MESSAGE_OVERHEAD
from ipcserver.machine.lines import Excepting, Ranked, join, leave
from ipcserver.machine.outcomes import msgrcv_refusal, status_refusal
from ipcserver.machine.permissions import READ, WRITE, allows
from ipcserver.machine.waiting import Waiter

if TYPE_CHECKING:
    from ipcserver._gen.ipc import (
        ripc_msgget_args,
        ripc_msgrcv_args,
        ripc_msgset_args,
        ripc_msgsnd_args,
        ripc_perm,
        ripc_rmid_args,
        ripc_status,
    )
    from ipcserver.machine.accounts import Accounts
    from ipcserver.machine.backlog import Message
    from ipcserver.machine.outcomes import Outcome
    from ipcserver.machine.owners import Call
    from ipcserver.machine.sessions import Slot
    from ipcserver.machine.waiting import Waits

__all__ = ["Queue", "Queues", "Receiver", "Sender"]

LOWEST_TYPE: Final = -(1 << 63)
HIGHEST_TYPE: Final = (1 << 63) - 1


class Queue:
    """A message queue.

    Attributes:
        cbytes: Bytes of text in it.
        next_order: The order number of its next message.
        waiters: Everybody who waits for it, sleeping or not, by arrival.
    """

    __slots__ = (
        "anything",
        "backlog",
        "cbytes",
        "ctime",
        "exact",
        "excepting",
        "id",
        "lrpid",
        "lspid",
        "next_order",
        "perm",
        "qbytes",
        "qnum",
        "rtime",
        "senders",
        "stime",
        "up_to",
        "waiters",
    )

    def __init__(self, id: int, perm: ripc_perm, qbytes: int, ctime: int) -> None:
        self.id = id
        self.perm = perm
        self.qbytes = qbytes
        self.ctime = ctime
        self.stime = 0
        self.rtime = 0
        self.lspid = 0
        self.lrpid = 0
        self.qnum = 0
        self.cbytes = 0
        self.next_order = 0
        self.backlog = Backlog()
        self.waiters: dict[int, Sender | Receiver] = {}
        # Receivers by what they want, senders by the size of their message.
        self.anything: list[int] = []
        self.exact: dict[int, list[int]] = {}
        self.up_to: Ranked | None = None
        self.excepting: Excepting | None = None
        self.senders: Ranked | None = None

    def fits(self, size: int) -> bool:
        """Tell whether a message may go in: msg_qbytes limits bytes, and the number of messages too, as in Linux."""
        return self.cbytes + size <= self.qbytes and self.qnum < self.qbytes

    def find(self, msgtyp: int, flags: int) -> Message | None:
        """Give the message that a receive would take."""
        if msgtyp == 0:
            return self.backlog.oldest()
        if msgtyp < 0:
            return self.backlog.lowest_up_to(HIGHEST_TYPE if msgtyp == LOWEST_TYPE else -msgtyp)
        if flags & RIPC_EXCEPT:
            return self.backlog.oldest_but(msgtyp)
        return self.backlog.oldest_of(msgtyp)

    def oldest_receiver(self, mtype: int) -> int | None:
        """Give the arrival of the first receiver to whom a message of this type is welcome."""
        found = self.anything[0] if self.anything else None
        line = self.exact.get(mtype)
        if line is not None and (found is None or line[0] < found):
            found = line[0]
        if self.up_to is not None:
            other = self.up_to.oldest_from(mtype)
            if other is not None and (found is None or other < found):
                found = other
        if self.excepting is not None:
            other = self.excepting.oldest_but(mtype)
            if other is not None and (found is None or other < found):
                found = other
        return found

    def to_ds(self) -> ripc_msqid_ds:
        """Give what IPC_STAT tells."""
        return ripc_msqid_ds(
            id=self.id,
            perm=replace(self.perm),
            stime=to_hyper(self.stime),
            rtime=to_hyper(self.rtime),
            ctime=to_hyper(self.ctime),
            qnum=self.qnum,
            cbytes=to_hyper(self.cbytes),
            qbytes=to_hyper(self.qbytes),
            lspid=self.lspid,
            lrpid=self.lrpid,
        )


class Sender(Waiter):
    """A msgsnd that waits for room."""

    __slots__ = ("mtext", "mtype", "queue", "queues")

    @staticmethod
    def refusal(status: ripc_status) -> Outcome:
        """Make the result of a refused call."""
        return status_refusal(status)

    def __init__(self, call: Call, queues: Queues, queue: Queue, mtype: int, mtext: bytes) -> None:
        super().__init__(call)
        self.queues = queues
        self.queue = queue
        self.mtype = mtype
        self.mtext = mtext

    def enroll(self) -> None:
        """Become known to the queue."""
        self.queue.waiters[self.arrival] = self

    def line_up(self) -> None:
        """Stand among the senders."""
        if self.queue.senders is None:
            self.queue.senders = Ranked()
        self.queue.senders.join(len(self.mtext), self.arrival)

    def step_out(self) -> None:
        """Leave the senders."""
        senders = self.queue.senders
        assert senders is not None
        senders.leave(len(self.mtext), self.arrival)
        if not senders:
            self.queue.senders = None

    def forget(self) -> None:
        """Free the memory of the message."""
        del self.queue.waiters[self.arrival]
        self.queues.accounts.charge_message(self.queue.perm.cuid, -len(self.mtext) - MESSAGE_OVERHEAD)

    def resume(self) -> None:
        """Send if there is room by now."""
        self.line_up()
        self.queues.admit(self.queue)


class Receiver(Waiter):
    """A msgrcv that waits for a message."""

    __slots__ = ("flags", "msgsz", "msgtyp", "queue", "queues")

    @staticmethod
    def refusal(status: ripc_status) -> Outcome:
        """Make the result of a refused call."""
        return msgrcv_refusal(status)

    def __init__(self, call: Call, queues: Queues, queue: Queue, *, msgtyp: int, msgsz: int, flags: int) -> None:
        super().__init__(call)
        self.queues = queues
        self.queue = queue
        self.msgtyp = msgtyp
        self.msgsz = msgsz
        self.flags = flags

    def enroll(self) -> None:
        """Become known to the queue."""
        self.queue.waiters[self.arrival] = self

    def line_up(self) -> None:
        """Stand among those who want the same."""
        queue, msgtyp = self.queue, self.msgtyp
        if msgtyp == 0:
            join(queue.anything, self.arrival)
        elif msgtyp < 0:
            if queue.up_to is None:
                queue.up_to = Ranked()
            queue.up_to.join(-msgtyp, self.arrival)
        elif self.flags & RIPC_EXCEPT:
            if queue.excepting is None:
                queue.excepting = Excepting()
            queue.excepting.join(msgtyp, self.arrival)
        else:
            line = queue.exact.get(msgtyp)
            if line is None:
                queue.exact[msgtyp] = [self.arrival]
            else:
                join(line, self.arrival)

    def step_out(self) -> None:
        """Leave them."""
        queue, msgtyp = self.queue, self.msgtyp
        if msgtyp == 0:
            leave(queue.anything, self.arrival)
        elif msgtyp < 0:
            assert queue.up_to is not None
            queue.up_to.leave(-msgtyp, self.arrival)
            if not queue.up_to:
                queue.up_to = None
        elif self.flags & RIPC_EXCEPT:
            assert queue.excepting is not None
            queue.excepting.leave(msgtyp, self.arrival)
            if not queue.excepting:
                queue.excepting = None
        else:
            line = queue.exact[msgtyp]
            leave(line, self.arrival)
            if not line:
                del queue.exact[msgtyp]

    def forget(self) -> None:
        """Leave the queue."""
        del self.queue.waiters[self.arrival]

    def resume(self) -> None:
        """Take a message that came meanwhile, or go on waiting."""
        self.line_up()
        self.queues.serve(self)


class Queues:
    """All message queues."""

    __slots__ = ("accounts", "bytes", "messages", "table", "waits")

    def __init__(self, accounts: Accounts, waits: Waits) -> None:
        self.accounts = accounts
        self.waits = waits
        self.table: Table[Queue] = Table()
        self.messages = 0
        self.bytes = 0

    def get(self, call: Call, args: ripc_msgget_args) -> Outcome:
        """Msgget."""
        queue = self.table.look_up(args.key, args.flags)
        if queue is not None:
            permissions.require_mode(queue.perm, call.caller, args.mode)
            return ripc_id_res_RIPC_OK(queue.id)
        accounts = self.accounts
        self.table.require_room(accounts.limits.msgmni)
        accounts.add_object(call.caller.uid)
        perm = permissions.new(call.caller, args.key, args.mode)
        number, perm.seq = self.table.next_id()
        self.table.add(Queue(number, perm, accounts.limits.msgmnb, accounts.time_s))
        return ripc_id_res_RIPC_OK(number)

    def send(self, call: Call, args: ripc_msgsnd_args) -> Outcome | None:
        """Msgsnd.

        Raises:
            Refused: RIPC_EINVAL (size, then type, then id), RIPC_EACCES, RIPC_EAGAIN, RIPC_ENOMEM, RIPC_EQUOTA.
        """
        mtext, mtype = args.mtext, args.mtype.hi << 32 | args.mtype.lo
        size = len(mtext)
        if size > self.accounts.limits.msgmax or mtype < 1:
            raise Refused(RIPC_EINVAL)
        queue = self.table.find(args.id)
        if not allows(queue.perm, call.caller, WRITE):
            raise Refused(RIPC_EACCES)
        fits = queue.cbytes + size <= queue.qbytes and queue.qnum < queue.qbytes
        if not fits and args.flags & RIPC_NOWAIT:
            raise Refused(RIPC_EAGAIN)
        self.accounts.require_message_memory(queue.perm.cuid, size + MESSAGE_OVERHEAD)
        if fits:
            self._put(queue, mtype, mtext, call.pid)
            return RIPC_OK
        self.waits.begin(Sender(call, self, queue, mtype, mtext), args.wait_ms)
        self.accounts.charge_message(queue.perm.cuid, size + MESSAGE_OVERHEAD)
        return None

    def receive(self, call: Call, args: ripc_msgrcv_args) -> Outcome | None:
        """Msgrcv.

        Raises:
            Refused: RIPC_EINVAL (size, flags, then id), RIPC_EACCES, RIPC_E2BIG, RIPC_ENOMSG, RIPC_EQUOTA.
        """
        flags = args.flags
        msgsz = args.msgsz.hi << 32 | args.msgsz.lo
        msgtyp = args.msgtyp.hi << 32 | args.msgtyp.lo
        if msgsz < 0 or (flags & RIPC_COPY and (flags & RIPC_EXCEPT or not flags & RIPC_NOWAIT)):
            raise Refused(RIPC_EINVAL)
        queue = self.table.find(args.id)
        if not allows(queue.perm, call.caller, READ):
            raise Refused(RIPC_EACCES)
        if flags & RIPC_COPY:
            return self._copy(queue, msgtyp, msgsz, flags)
        message = queue.find(msgtyp, flags) if queue.qnum else None
        if message is not None:
            if msgsz < len(message[2]) and not flags & RIPC_NOERROR:
                raise Refused(RIPC_E2BIG)
            outcome = self._take(queue, message, msgsz, call.pid, call.slot)
            if queue.senders is not None:
                self.admit(queue)
            return outcome
        if flags & RIPC_NOWAIT:
            raise Refused(RIPC_ENOMSG)
        self.waits.begin(Receiver(call, self, queue, msgtyp=msgtyp, msgsz=msgsz, flags=flags), args.wait_ms)
        return None

    def _copy(self, queue: Queue, index: int, msgsz: int, flags: int) -> Outcome:
        # Linux says EINVAL, not a shorter copy, when MSG_NOERROR meets a message that is too long (copy_msg).
        message = queue.backlog.at(index)
        if message is None:
            raise Refused(RIPC_ENOMSG)
        if msgsz < len(message[2]):
            raise Refused(RIPC_EINVAL if flags & RIPC_NOERROR else RIPC_E2BIG)
        return ripc_msgrcv_res_RIPC_OK(ripc_msg(to_hyper(message[1]), message[2]))

    def set(self, call: Call, args: ripc_msgset_args) -> Outcome:
        """Msgctl IPC_SET: waiters whom the new mode shuts out are told so, senders who fit by now send."""
        queue = self.table.find(args.set.id)
        permissions.require_control(queue.perm, call.caller)
        qbytes = from_hyper(args.qbytes)
        # In C it has no sign: what is negative here is beyond every limit there.
        if not 0 <= qbytes <= self.accounts.limits.msgmnb and call.caller.uid != 0:
            raise Refused(RIPC_EPERM)
        if qbytes < 0:
            raise Refused(RIPC_EINVAL)
        permissions.change(queue.perm, args.set)
        queue.qbytes = qbytes
        queue.ctime = self.accounts.time_s
        for arrival in sorted(queue.waiters):
            waiter = queue.waiters[arrival]
            if not allows(queue.perm, waiter.call.caller, WRITE if isinstance(waiter, Sender) else READ):
                self.waits.finish(waiter, waiter.refusal(RIPC_EACCES))
        self.admit(queue)
        return RIPC_OK

    def remove(self, call: Call, args: ripc_rmid_args) -> Outcome:
        """Msgctl IPC_RMID: everybody who waits gets RIPC_EIDRM."""
        queue = self.table.find(args.id)
        permissions.require_control(queue.perm, call.caller)
        for arrival in sorted(queue.waiters):
            waiter = queue.waiters[arrival]
            self.waits.finish(waiter, waiter.refusal(RIPC_EIDRM))
        self.table.remove(queue)
        self.messages -= queue.qnum
        self.bytes -= queue.cbytes
        self.accounts.charge_message(queue.perm.cuid, -queue.cbytes - queue.qnum * MESSAGE_OVERHEAD)
        self.accounts.remove_object(queue.perm.cuid)
        return RIPC_OK

    def give_back(self, id: int, message: Message) -> None:
        """Put a message that was received and not acknowledged back into its place, if its queue is still there.

        It may take the queue beyond msg_qbytes. Who waits for it gets it at once.
        """
        queue = self.table.by_id.get(id)
        if queue is not None and not self._offer(queue, message):
            queue.backlog.put_back(message)
            self._count(queue, 1, len(message[2]))

    def admit(self, queue: Queue) -> None:
        """Let senders in while there is room: the first who fits, again and again (a big message waits aside)."""
        while queue.senders is not None and queue.qnum < queue.qbytes:
            arrival = queue.senders.oldest_up_to(queue.qbytes - queue.cbytes)
            if arrival is None:
                return
            sender = queue.waiters[arrival]
            assert isinstance(sender, Sender)
            self.waits.finish(sender, RIPC_OK)
            self._put(queue, sender.mtype, sender.mtext, sender.call.pid)

    def serve(self, receiver: Receiver) -> None:
        """Give a receiver in line a message that is there for it."""
        queue = receiver.queue
        message = queue.find(receiver.msgtyp, receiver.flags) if queue.qnum else None
        if message is None:
            return
        if receiver.msgsz < len(message[2]) and not receiver.flags & RIPC_NOERROR:
            self.waits.finish(receiver, receiver.refusal(RIPC_E2BIG))
            return
        outcome = self._take(queue, message, receiver.msgsz, receiver.call.pid, receiver.call.slot)
        self.waits.finish(receiver, outcome)
        self.admit(queue)

    def load(self, queue: Queue, messages: list[Message]) -> None:
        """Fill a restored queue, oldest message first."""
        for message in messages:
            queue.backlog.append(message)
        self._count(queue, len(messages), sum([len(mtext) for _, _, mtext in messages]))
        self.table.add(queue)

    def restored_sender(self, call: Call, queue: Queue, mtype: int, mtext: bytes) -> Sender:
        """Make a sender of a snapshot, whose message takes memory."""
        self.accounts.charge_message(queue.perm.cuid, len(mtext) + MESSAGE_OVERHEAD)
        return Sender(call, self, queue, mtype, mtext)

    def _put(self, queue: Queue, mtype: int, mtext: bytes, pid: int) -> None:
        """Hand a new message to a receiver who waits for it, or queue it."""
        queue.lspid = pid
        queue.stime = self.accounts.time_s
        message = (queue.next_order, mtype, mtext)
        queue.next_order += 1
        if queue.waiters and self._offer(queue, message):
            return
        queue.backlog.append(message)
        self._count(queue, 1, len(mtext))

    def _offer(self, queue: Queue, message: Message) -> bool:
        """Hand a message to the first receiver who wants it; those before for whom it is too long are told so."""
        size = len(message[2])
        while (arrival := queue.oldest_receiver(message[1])) is not None:
            receiver = queue.waiters[arrival]
            assert isinstance(receiver, Receiver)
            if receiver.msgsz < size and not receiver.flags & RIPC_NOERROR:
                self.waits.finish(receiver, receiver.refusal(RIPC_E2BIG))
                continue
            outcome = self._hand_over(queue, message, receiver.msgsz, receiver.call.pid, receiver.call.slot)
            self.waits.finish(receiver, outcome)
            return True
        return False

    def _take(self, queue: Queue, message: Message, msgsz: int, pid: int, slot: Slot | None) -> Outcome:
        """Take a message out of the queue for a receiver."""
        queue.backlog.take(message)
        self._count(queue, -1, -len(message[2]))
        return self._hand_over(queue, message, msgsz, pid, slot)

    def _hand_over(self, queue: Queue, message: Message, msgsz: int, pid: int, slot: Slot | None) -> Outcome:
        queue.lrpid = pid
        queue.rtime = self.accounts.time_s
        _, mtype, mtext = message
        if slot is not None:
            slot.hold(queue.id, message)
        return ripc_msgrcv_res_RIPC_OK(ripc_msg(to_hyper(mtype), mtext if len(mtext) <= msgsz else mtext[:msgsz]))

    def _count(self, queue: Queue, number: int, size: int) -> None:
        queue.qnum += number
        queue.cbytes += size
        self.messages += number
        self.bytes += size
        self.accounts.charge_message(queue.perm.cuid, size + number * MESSAGE_OVERHEAD)
