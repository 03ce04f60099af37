"""The IPC program as RPC calls it: from a call to a command or a read, from an outcome to the reply.

Nothing is decided here but what belongs to the transport: who calls, and what fits a datagram.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ipcserver._gen import ipc as gen
from ipcserver._gen import machine
from ipcserver._gen.machine import machine_caller
from ipcserver.identity import REMEMBERED
from oncrpc.program import LATER, NO_REPLY

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipcserver.identity import Identities
    from ipcserver.machine.reads import Reads
    from ipcserver.replica import Replica
    from oncrpc.auth import Credential
    from oncrpc.program import Call, Connection, Result

__all__ = ["IPCProgram"]

_DS_BYTES: Final = 96
"""No status of an object is longer than this on the wire."""
_MSG_OVERHEAD: Final = 32
"""What a received message takes beside its text: status, type, length, padding."""

_MAY_WAIT: Final = frozenset({machine.OP_MSGSND, machine.OP_MSGRCV, machine.OP_SEMOP, machine.OP_SHMWAIT})
"""Operations that may wait for another client's doing."""


class _Seat:
    """A connection that commands came by.

    Attributes:
        credential: Of its last call, as accepted; nobody changes one.
        caller: Who that is.
    """

    __slots__ = ("caller", "credential")

    credential: Credential
    caller: machine_caller


class IPCProgram(gen.IPCPROG_1_Server):
    """Version 1 of the IPC program (ipc.x); one method per procedure, under its name there.

    Args:
        replica: Orders and keeps the commands, and holds the machine.
        identities: Decides who a caller is.
    """

    _repeatable = frozenset(
        {
            "ripc_info",
            "ripc_msgstat",
            "ripc_msglist",
            "ripc_semstat",
            "ripc_semlist",
            "ripc_semgetval",
            "ripc_semgetall",
            "ripc_shmread",
            "ripc_shmstat",
            "ripc_shmlist",
        }
    )

    def __init__(self, replica: Replica, identities: Identities) -> None:
        self._replica = replica
        self._identities = identities
        self._seats: dict[int, _Seat] = {}
        self._stopping = False
        self._left: set[Call] = set()
        self._callers: dict[Any, machine_caller] = {}

    @property
    def _read(self) -> Reads:
        """The machine's pure reads: what is committed and applied, nothing else."""
        reads: Reads = self._replica.read
        return reads

    def _ask(self, call: Call, read: Callable[[], Any]) -> Result[Any]:
        """Answer with what a read finds, once it sees all that its caller may know of."""

        def answer() -> None:
            try:
                found = read()
            except Exception as error:  # noqa: BLE001 - fail() knows what to make of it
                call.fail(error)
            else:
                call.reply(found)

        connection = call.connection
        self._replica.when_seen(answer, connection=0 if connection is None else connection.id)
        return LATER

    # -- how a call is carried out ---------------------------------------------------

    def _caller(self, call: Call) -> machine_caller:
        """Return who calls.

        Raises:
            AuthenticationFailed: The identity is not believed here.
        """
        identity = self._identities.of(call)
        caller = self._callers.get(identity)
        if caller is None:
            if len(self._callers) >= REMEMBERED:  # bounded: it only saves building the same value again
                self._callers.clear()
            caller = machine_caller(identity.uid, identity.gid, list(identity.gids[:16]))
            self._callers[identity] = caller
        return caller

    def _submit(
        self, call: Call, operation: int, argument: Any, *, done: Callable[[Any], None] | None = None
    ) -> Result[Any]:
        """Have a command ordered, kept and applied; the outcome is the reply."""
        connection = call.connection
        seat = None
        if connection is None:
            caller, number = self._caller(call), 0
        else:
            number = connection.id
            seat = self._seats.get(number)
            credential = call.credential
            if seat is None or seat.credential is not credential:
                caller = self._caller(call)
                seat = self._take_seat(connection, credential, caller)
            caller = seat.caller
        outcome = self._replica.submit(
            operation,
            argument,
            caller=caller,
            connection=number,
            xid=call.xid,
            done=partial(self._answer, call) if done is None else done,
        )
        if outcome is not None:
            return outcome
        if seat is not None and operation in _MAY_WAIT:
            call.on_hangup(partial(self._hung_up, call, number, argument.ctx.session))
        return LATER

    def _take_seat(self, connection: Connection, credential: Credential, caller: machine_caller) -> _Seat:
        """Note who calls on a connection, for the next call; and see to its end, if it is new."""
        number = connection.id
        seat = self._seats.get(number)
        if seat is None:
            seat = self._seats[number] = _Seat()
            connection.on_close(partial(self._gone, number))
        seat.credential, seat.caller = credential, caller
        return seat

    def _answer(self, call: Call, outcome: Any) -> None:
        """Answer a call whose caller is there."""
        if call not in self._left:
            call.reply(outcome)

    def _hung_up(self, call: Call, connection: int, session: gen.ripc_hyper) -> None:
        """End the wait of who stops sending: he is dead, for all that TCP can tell.

        What he waits for must go to somebody who is there. (In a session the outcome is kept for him, should he come
        back.)
        """
        if self._stopping and (session.hi or session.lo):
            self._left.add(call)
            call.reply(NO_REPLY)
        else:
            self._replica.connection_closed(connection)

    def stop(self) -> None:
        """Take the end of a connection, from now on, for the server's doing, which is about to close them all.

        It is not its client's end: he comes back to the next life, with his session and what he waits for.
        """
        self._stopping = True

    def _gone(self, connection: int) -> None:
        """Tell the machine that a connection is at its end: its waits, its undo list."""
        self._seats.pop(connection, None)
        if not self._stopping:
            self._replica.connection_closed(connection)

    # -- sessions ----------------------------------------------------------------------

    def ripc_hello(self, call: Call, arg: gen.ripc_hello_args) -> Result[gen.ripc_hello_res]:
        """Open a session, or find it again."""
        return self._submit(call, machine.OP_HELLO, arg)

    def ripc_renew(self, call: Call, arg: gen.ripc_renew_args) -> Result[gen.ripc_status]:
        """Renew a lease, acknowledge answers."""
        return self._submit(call, machine.OP_RENEW, arg)

    def ripc_goodbye(self, call: Call, arg: gen.ripc_hyper) -> Result[gen.ripc_status]:
        """End a session."""
        return self._submit(call, machine.OP_GOODBYE, arg)

    def ripc_cancel(self, call: Call, arg: gen.ripc_cancel_args) -> Result[gen.ripc_status]:
        """End a wait."""
        return self._submit(call, machine.OP_CANCEL, arg)

    def ripc_info(self, call: Call) -> Result[gen.ripc_info_res]:
        """Tell limits and use."""
        self._caller(call)
        return self._ask(call, self._read.info)

    # -- message queues ------------------------------------------------------------------

    def ripc_msgget(self, call: Call, arg: gen.ripc_msgget_args) -> Result[gen.ripc_id_res]:
        """msgget(2)."""
        return self._submit(call, machine.OP_MSGGET, arg)

    def ripc_msgsnd(self, call: Call, arg: gen.ripc_msgsnd_args) -> Result[gen.ripc_status]:
        """msgsnd(2)."""
        return self._submit(call, machine.OP_MSGSND, arg)

    def ripc_msgrcv(self, call: Call, arg: gen.ripc_msgrcv_args) -> Result[gen.ripc_msgrcv_res]:
        """msgrcv(2).

        A message that does not fit the reply (a datagram) stays queued, and the answer is RIPC_ETOOBIG: it is never
        taken and then lost.
        """
        room = call.reply_limit - _MSG_OVERHEAD
        wanted = arg.msgsz.hi << 32 | arg.msgsz.lo
        if wanted <= room:
            return self._submit(call, machine.OP_MSGRCV, arg)
        flags = arg.flags & ~gen.RIPC_NOERROR if room < gen.RIPC_MSGMAX else arg.flags

        def fitted(outcome: gen.ripc_msgrcv_res) -> gen.ripc_msgrcv_res:
            if outcome.status is gen.RIPC_E2BIG and room < gen.RIPC_MSGMAX:
                return gen.ripc_msgrcv_res_default(gen.RIPC_ETOOBIG)
            return outcome

        fitting = replace(arg, flags=flags, msgsz=gen.ripc_hyper(0, max(0, min(room, gen.RIPC_MSGMAX))))
        outcome: Any = self._submit(
            call, machine.OP_MSGRCV, fitting, done=lambda outcome: self._answer(call, fitted(outcome))
        )
        return LATER if outcome is LATER else fitted(outcome)

    def ripc_msgstat(self, call: Call, arg: gen.ripc_stat_args) -> Result[gen.ripc_msgstat_res]:
        """msgctl(2), IPC_STAT, MSG_STAT, MSG_STAT_ANY."""
        return self._ask(call, partial(self._read.msgstat, self._caller(call), arg))

    def ripc_msgset(self, call: Call, arg: gen.ripc_msgset_args) -> Result[gen.ripc_status]:
        """msgctl(2), IPC_SET."""
        return self._submit(call, machine.OP_MSGSET, arg)

    def ripc_msgrmid(self, call: Call, arg: gen.ripc_rmid_args) -> Result[gen.ripc_status]:
        """msgctl(2), IPC_RMID."""
        return self._submit(call, machine.OP_MSGRMID, arg)

    def ripc_msglist(self, call: Call, arg: gen.ripc_list_args) -> Result[gen.ripc_msglist_res]:
        """List the queues, a page at a time."""
        return self._ask(call, partial(self._read.msglist, self._caller(call), _page(call, arg)))

    # -- semaphore sets ----------------------------------------------------------------------

    def ripc_semget(self, call: Call, arg: gen.ripc_semget_args) -> Result[gen.ripc_id_res]:
        """semget(2)."""
        return self._submit(call, machine.OP_SEMGET, arg)

    def ripc_semop(self, call: Call, arg: gen.ripc_semop_args) -> Result[gen.ripc_status]:
        """semop(2), semtimedop(2)."""
        return self._submit(call, machine.OP_SEMOP, arg)

    def ripc_semstat(self, call: Call, arg: gen.ripc_stat_args) -> Result[gen.ripc_semstat_res]:
        """semctl(2), IPC_STAT, SEM_STAT, SEM_STAT_ANY."""
        return self._ask(call, partial(self._read.semstat, self._caller(call), arg))

    def ripc_semset(self, call: Call, arg: gen.ripc_set_args) -> Result[gen.ripc_status]:
        """semctl(2), IPC_SET."""
        return self._submit(call, machine.OP_SEMSET, arg)

    def ripc_semrmid(self, call: Call, arg: gen.ripc_rmid_args) -> Result[gen.ripc_status]:
        """semctl(2), IPC_RMID."""
        return self._submit(call, machine.OP_SEMRMID, arg)

    def ripc_semlist(self, call: Call, arg: gen.ripc_list_args) -> Result[gen.ripc_semlist_res]:
        """List the semaphore sets, a page at a time."""
        return self._ask(call, partial(self._read.semlist, self._caller(call), _page(call, arg)))

    def ripc_semgetval(self, call: Call, arg: gen.ripc_semnum_args) -> Result[gen.ripc_semval_res]:
        """semctl(2), GETVAL, GETPID, GETNCNT, GETZCNT."""
        return self._ask(call, partial(self._read.semgetval, self._caller(call), arg))

    def ripc_semgetall(self, call: Call, arg: int) -> Result[gen.ripc_semall_res]:
        """semctl(2), GETALL."""
        caller = self._caller(call)

        def read() -> gen.ripc_semall_res:
            result: gen.ripc_semall_res = self._read.semgetall(caller, arg)
            if isinstance(result, gen.ripc_semall_res_RIPC_OK) and 8 + 4 * len(result.vals) > call.reply_limit:
                return gen.ripc_semall_res_default(gen.RIPC_ETOOBIG)
            return result

        return self._ask(call, read)

    def ripc_semsetval(self, call: Call, arg: gen.ripc_setval_args) -> Result[gen.ripc_status]:
        """semctl(2), SETVAL."""
        return self._submit(call, machine.OP_SEMSETVAL, arg)

    def ripc_semsetall(self, call: Call, arg: gen.ripc_setall_args) -> Result[gen.ripc_status]:
        """semctl(2), SETALL."""
        return self._submit(call, machine.OP_SEMSETALL, arg)

    # -- segments -------------------------------------------------------------------------------

    def ripc_shmget(self, call: Call, arg: gen.ripc_shmget_args) -> Result[gen.ripc_id_res]:
        """shmget(2)."""
        return self._submit(call, machine.OP_SHMGET, arg)

    def ripc_shmat(self, call: Call, arg: gen.ripc_shmat_args) -> Result[gen.ripc_int_res]:
        """shmat(2), the counting half of it."""
        return self._submit(call, machine.OP_SHMAT, arg)

    def ripc_shmdt(self, call: Call, arg: gen.ripc_rmid_args) -> Result[gen.ripc_status]:
        """shmdt(2)."""
        return self._submit(call, machine.OP_SHMDT, arg)

    def ripc_shmread(self, call: Call, arg: gen.ripc_shmread_args) -> Result[gen.ripc_shmread_res]:
        """Read bytes; over UDP fewer than asked for, when they would not fit the datagram."""
        room = max(0, call.reply_limit - _MSG_OVERHEAD)
        if arg.count > room:
            arg = replace(arg, count=room)
        return self._ask(call, partial(self._read.shmread, self._caller(call), arg))

    def ripc_shmwrite(self, call: Call, arg: gen.ripc_shmwrite_args) -> Result[gen.ripc_stamp_res]:
        """Write bytes."""
        return self._submit(call, machine.OP_SHMWRITE, arg)

    def ripc_shmcas(self, call: Call, arg: gen.ripc_shmcas_args) -> Result[gen.ripc_word_res]:
        """Compare and swap a word."""
        return self._submit(call, machine.OP_SHMCAS, arg)

    def ripc_shmadd(self, call: Call, arg: gen.ripc_shmadd_args) -> Result[gen.ripc_word_res]:
        """Fetch a word and add to it."""
        return self._submit(call, machine.OP_SHMADD, arg)

    def ripc_shmwait(self, call: Call, arg: gen.ripc_shmwait_args) -> Result[gen.ripc_stamp_res]:
        """Wait for a change of a range."""
        return self._submit(call, machine.OP_SHMWAIT, arg)

    def ripc_shmstat(self, call: Call, arg: gen.ripc_stat_args) -> Result[gen.ripc_shmstat_res]:
        """shmctl(2), IPC_STAT, SHM_STAT, SHM_STAT_ANY."""
        return self._ask(call, partial(self._read.shmstat, self._caller(call), arg))

    def ripc_shmset(self, call: Call, arg: gen.ripc_set_args) -> Result[gen.ripc_status]:
        """shmctl(2), IPC_SET."""
        return self._submit(call, machine.OP_SHMSET, arg)

    def ripc_shmrmid(self, call: Call, arg: gen.ripc_rmid_args) -> Result[gen.ripc_status]:
        """shmctl(2), IPC_RMID."""
        return self._submit(call, machine.OP_SHMRMID, arg)

    def ripc_shmlist(self, call: Call, arg: gen.ripc_list_args) -> Result[gen.ripc_shmlist_res]:
        """List the segments, a page at a time."""
        return self._ask(call, partial(self._read.shmlist, self._caller(call), _page(call, arg)))


def _page(call: Call, arg: gen.ripc_list_args) -> gen.ripc_list_args:
    """Return a listing's argument with no more items asked for than fit the reply."""
    room = max(1, (call.reply_limit - _MSG_OVERHEAD) // _DS_BYTES)
    return arg if arg.max <= room else replace(arg, max=room)
