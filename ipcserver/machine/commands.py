"""Commands: what the machine is given, and their bytes in the journal.

A ``machine_command`` of machine.x is, for each procedure, another type within a type. The machine, and who feeds it,
have it flat: a Command with an operation and its argument. Its bytes are made here by hand, since every call that
changes something is encoded once, and decoded once by each restart; they are those of machine_command.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Any, Final

import xdr
from ipcserver._gen import machine as gen
from ipcserver._gen.machine import (
    MACHINE_GIDS,
    machine_body_OP_SERVER_STARTED,
    machine_caller,
    machine_command,
    machine_op,
    machine_start,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipcserver._gen.machine import machine_body
    from ipcserver.machine.limits import Limits

__all__ = ["ARMS", "Command", "argument", "body", "decode", "start"]

ARMS: Final[dict[int, Any]] = {op: getattr(gen, f"machine_body_{op.name}") for op in machine_op}
"""The union arm of each operation."""

_FIELDS: Final = {arm: next((name for name in arm.__slots__ if name != "op"), "") for arm in ARMS.values()}
"""The name that each arm has for its argument; empty for one that has none."""

# All before the argument, by the number of gids: ticket, clock_ns, time_s, uid, gid, gids<>, connection, xid, op.
_HEADS: Final = tuple(Struct(f">QQqIII{count}IQIi") for count in range(MACHINE_GIDS + 1))
_CALLER_AT: Final = 24
_GIDS_AT: Final = 35
"""The last byte of the number of gids, which is at most 16."""

_CALLERS_REMEMBERED: Final = 4096


class Command:
    """One command.

    Args:
        ticket: Ascends from command to command; names the outcome.
        clock_ns: The journal's clock; never goes back, also over restarts.
        time_s: The wall clock, in seconds since 1970.
        caller: On whose behalf. Nobody changes it: many commands have the same one.
        connection: Through which it came; 0: none (UDP).
        xid: Of the call.
        op: A machine_op, or its number, which is that of the procedure in ipc.x.
        args: The procedure's argument; None where there is none.
    """

    __slots__ = ("args", "caller", "clock_ns", "connection", "op", "ticket", "time_s", "xid")

    def __init__(  # noqa: PLR0917 - made for every call: keywords take time
        self,
        ticket: int,
        clock_ns: int,
        time_s: int,
        caller: machine_caller,
        connection: int,
        xid: int,
        op: int,
        args: Any,
    ) -> None:
        self.ticket = ticket
        self.clock_ns = clock_ns
        self.time_s = time_s
        self.caller = caller
        self.connection = connection
        self.xid = xid
        self.op = op
        self.args = args

    def __repr__(self) -> str:
        return f"<command {self.to_xdr()!r}>"

    def to_xdr(self) -> machine_command:
        """Give it as machine.x declares it."""
        return machine_command(
            self.ticket,
            self.clock_ns,
            self.time_s,
            self.caller,
            self.connection,
            self.xid,
            body(self.op, self.args),
        )

    @classmethod
    def from_xdr(cls, made: machine_command) -> Command:
        """Take a machine_command apart."""
        return cls(
            made.ticket,
            made.clock_ns,
            made.time_s,
            made.caller,
            made.connection,
            made.xid,
            made.body.op,
            argument(made.body),
        )

    def encode(self) -> bytes:
        """Give its bytes in the journal, which are those of machine_command.

        Raises:
            XDREncodeError: Something in it does not fit its type.
        """
        caller, op = self.caller, self.op
        gids = caller.gids
        try:
            head = _HEADS[len(gids)].pack(
                self.ticket,
                self.clock_ns,
                self.time_s,
                caller.uid,
                caller.gid,
                len(gids),
                *gids,
                self.connection,
                self.xid,
                op,
            )
            return head if self.args is None else head + _ENCODERS[op](self.args)
        except (struct_error, IndexError, ValueError):
            return xdr.encode(machine_command, self.to_xdr())  # raises the error that says what does not fit


_callers: dict[bytes, machine_caller] = {}


def decode(data: bytes) -> Command:
    """Take a command from its bytes.

    Raises:
        XDRDecodeError: They are no machine_command.
    """
    try:
        guess = data[_GIDS_AT]
        head = _HEADS[guess]
        ticket, clock_ns, time_s, uid, gid, count, *gids, connection, xid, op = head.unpack_from(data)
        args, end = _DECODERS[op](data, head.size)
    except (struct_error, IndexError, KeyError, ValueError):
        guess, count, end = 0, -1, 0
    if end != len(data) or count != guess:
        return Command.from_xdr(xdr.decode(machine_command, data))  # raises the error that says what is wrong
    key = data[_CALLER_AT : _GIDS_AT + 1 + 4 * count]
    caller = _callers.get(key)
    if caller is None:
        if len(_callers) >= _CALLERS_REMEMBERED:  # bounded: it only saves making the same value again
            _callers.clear()
        caller = _callers[key] = machine_caller(uid, gid, gids)
    return Command(ticket, clock_ns, time_s, caller, connection, xid, op, args)


def _no_argument(_data: bytes, at: int) -> tuple[None, int]:
    return None, at


class _Encoders(dict[int, "Callable[[Any], bytes]"]):
    """The functions that encode the arguments, by operation; each is made when it is first asked for."""

    def __missing__(self, op: int) -> Callable[[Any], bytes]:
        made = self[op] = xdr.codec(_argument_type(op)).prepared().encode
        return made


class _Decoders(dict[int, "Callable[[bytes, int], tuple[Any, int]]"]):
    """The functions that decode the arguments."""

    def __missing__(self, op: int) -> Callable[[bytes, int], tuple[Any, int]]:
        wanted = _argument_type(op)
        made = self[op] = _no_argument if wanted is None else xdr.codec(wanted).prepared().decode_from
        return made


_ENCODERS: Final = _Encoders()
_DECODERS: Final = _Decoders()


def _argument_type(op: int) -> Any:
    """Give the type of an operation's argument; None: it has none.

    Raises:
        KeyError: There is no such operation.
    """
    arm = ARMS[op]
    name = _FIELDS[arm]
    return getattr(gen, arm.__annotations__[name]) if name else None


def body(operation: int, argument: object = None) -> machine_body:
    """Make the body of a machine_command.

    Args:
        operation: A machine_op, which is the number of the procedure in ipc.x.
        argument: The procedure's argument; none for OP_TICK and OP_CONNECTION_CLOSED.

    Raises:
        KeyError: No command has this number: the procedure is a read, or does not exist.
    """
    arm = ARMS[operation]
    made: machine_body = arm() if argument is None else arm(argument)
    return made


def argument(body: machine_body) -> Any:
    """Take the argument out of a body; None if it has none."""
    name = _FIELDS[type(body)]
    return getattr(body, name) if name else None


def start(boot: int, limits: Limits) -> machine_body:
    """Make the first body of a life of the server.

    Args:
        boot: A random number of 64 bits, signed; clients see by it that the server was restarted.
        limits: The limits in force from now on.
    """
    return machine_body_OP_SERVER_STARTED(machine_start(boot, limits.to_xdr()))
