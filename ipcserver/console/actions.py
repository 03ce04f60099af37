"""What the page may do, if it is allowed to: requests in JSON become commands, outcomes become answers. Pure.

An action is a command like any client's: the same journal, the same rights, the same outcomes. It never waits longer
than LONGEST_WAIT_MS, so that no page hangs on it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipcserver._gen import ipc, machine
from ipcserver.errors import IPCError
from ipcserver.hypers import from_hyper, to_hyper

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ACTIONS", "LONGEST_WAIT_MS", "MAX_BODY", "Action", "BadAction", "read_action", "told"]

LONGEST_WAIT_MS: Final = 10_000
"""Longest wait of an action, in milliseconds; 0 does not wait at all."""

MAX_BODY: Final = 1 << 18
"""Bytes of a request: the largest message in hexadecimal, and some."""

_INT: Final = 2**31 - 1
_HYPER: Final = 2**63 - 1
_VALUE: Final = 0x7FFF
_REMOVE: Final = {
    "queue": machine.OP_MSGRMID,
    "set": machine.OP_SEMRMID,
    "segment": machine.OP_SHMRMID,
}


class BadAction(ValueError):
    """A request that is none; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something to be done.

    Attributes:
        operation: A machine_op.
        argument: Its argument, as ipc.x has it.
        line: What the operator's log calls it.
    """

    operation: int
    argument: Any
    line: str


class _Fields:
    """The members of a JSON object, each asked for once."""

    def __init__(self, members: dict[str, Any]) -> None:
        self._members = dict(members)

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Take a whole number; one of more than 53 bits may come as text.

        Raises:
            BadAction: It is missing, or none, or out of its range.
        """
        value = self._members.pop(name, default)
        if isinstance(value, str) and len(value) <= 20:  # noqa: PLR2004 - a sign and 19 digits
            try:
                value = int(value)
            except ValueError:
                value = None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            message = f"{name} is a whole number from {low} to {high}"
            raise BadAction(message)
        return value

    def flag(self, name: str) -> bool:
        """Take true or false; false if it is not there.

        Raises:
            BadAction: It is something else.
        """
        value = self._members.pop(name, False)
        if not isinstance(value, bool):
            message = f"{name} is true or false"
            raise BadAction(message)
        return value

    def take(self, name: str) -> Any:
        """Take a member as it is; None if it is not there."""
        return self._members.pop(name, None)

    def end(self) -> None:
        """See that nothing is left.

        Raises:
            BadAction: Something is.
        """
        if self._members:
            message = f"there is no member {min(self._members)!r} here"
            raise BadAction(message)


def read_action(name: str, body: bytes, *, pid: int) -> Action:
    """Read the body of a request.

    Args:
        name: One of ACTIONS.
        body: A JSON object.
        pid: The process that the machine notes as the caller's.

    Raises:
        KeyError: There is no action of this name.
        BadAction: The body is not what this action takes.
    """
    read = ACTIONS[name]
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        message = "a JSON object is expected"
        raise BadAction(message)
    fields = _Fields(members)
    action = read(fields, ipc.ripc_ctx(ipc.ripc_hyper(0, 0), 0, 0, pid))
    fields.end()
    return action


def _send(fields: _Fields, ctx: ipc.ripc_ctx) -> Action:
    """Take id, mtype, text or hex, wait_ms."""
    number, mtype = fields.number("id", 0, _INT), fields.number("mtype", 1, _HYPER, 1)
    wait = fields.number("wait_ms", 0, LONGEST_WAIT_MS, 0)
    text, digits = fields.take("text"), fields.take("hex")
    try:
        data = text.encode() if digits is None else bytes.fromhex(digits)
    except (AttributeError, TypeError, ValueError):
        message = "either text or hex, the bytes in hexadecimal, is expected"
        raise BadAction(message) from None
    if text is not None and digits is not None:
        message = "text or hex, not both"
        raise BadAction(message)
    if len(data) > ipc.RIPC_MSGMAX:
        message = f"a message has {ipc.RIPC_MSGMAX} bytes at most"
        raise BadAction(message)
    argument = ipc.ripc_msgsnd_args(ctx, number, _nowait(wait), wait, to_hyper(mtype), data)
    return Action(machine.OP_MSGSND, argument, f"send of {len(data)} bytes, type {mtype}, to queue {number}")


def _receive(fields: _Fields, ctx: ipc.ripc_ctx) -> Action:
    """Take id, msgtyp, except, copy, wait_ms."""
    number, msgtyp = fields.number("id", 0, _INT), fields.number("msgtyp", -_HYPER, _HYPER, 0)
    wait = fields.number("wait_ms", 0, LONGEST_WAIT_MS, 0)
    flags = ipc.RIPC_EXCEPT if fields.flag("except") else 0
    if fields.flag("copy"):
        # As Linux has it: msgtyp is the place in the queue, and nothing waits for a place.
        flags |= ipc.RIPC_COPY
        wait = 0
    argument = ipc.ripc_msgrcv_args(
        ctx, number, flags | _nowait(wait), wait, to_hyper(msgtyp), to_hyper(ipc.RIPC_MSGMAX)
    )
    return Action(machine.OP_MSGRCV, argument, f"receive of type {msgtyp} from queue {number}")


def _semop(fields: _Fields, ctx: ipc.ripc_ctx) -> Action:
    """Take id, operations (objects with num and op), wait_ms."""
    number, wait = fields.number("id", 0, _INT), fields.number("wait_ms", 0, LONGEST_WAIT_MS, 0)
    given = fields.take("operations")
    if not isinstance(given, list) or not 1 <= len(given) <= ipc.RIPC_SEMOPM:
        message = f"operations are a list of 1 to {ipc.RIPC_SEMOPM} objects with num and op"
        raise BadAction(message)
    operations = []
    for each in given:
        if not isinstance(each, dict):
            message = "an operation is an object with num and op"
            raise BadAction(message)
        one = _Fields(each)
        operations.append(
            ipc.ripc_sembuf(one.number("num", 0, ipc.RIPC_SEMMSL), one.number("op", -_VALUE, _VALUE), _nowait(wait))
        )
        one.end()
    shown = ", ".join(f"{each.num}:{each.op:+d}" for each in operations[:8])
    return Action(
        machine.OP_SEMOP, ipc.ripc_semop_args(ctx, number, wait, operations), f"semop {shown} on set {number}"
    )


def _remove(fields: _Fields, ctx: ipc.ripc_ctx) -> Action:
    """Take kind and id."""
    kind, number = fields.take("kind"), fields.number("id", 0, _INT)
    operation = _REMOVE.get(kind) if isinstance(kind, str) else None
    if operation is None:
        message = f"kind is one of {', '.join(_REMOVE)}"
        raise BadAction(message)
    return Action(operation, ipc.ripc_rmid_args(ctx, number), f"remove of {kind} {number}")


ACTIONS: Final[dict[str, Callable[[_Fields, ipc.ripc_ctx], Action]]] = {
    "send": _send,
    "receive": _receive,
    "semop": _semop,
    "remove": _remove,
}
"""What can be done, by name."""


def _nowait(wait_ms: int) -> int:
    return 0 if wait_ms else ipc.RIPC_NOWAIT


def told(outcome: Any, what: str = "") -> dict[str, Any]:
    """Return an outcome for people and programs.

    Args:
        outcome: As the machine gave it.
        what: What was done, for the sentence.

    Returns:
        ``status``, its name; ``meaning``, a sentence, unless it is RIPC_OK; for a received message ``mtype`` (a text:
        JavaScript has no such numbers), ``hex`` and ``text``, which is null where the bytes are not UTF-8.
    """
    status = outcome if isinstance(outcome, ipc.ripc_status) else outcome.status
    answer: dict[str, Any] = {"status": status.name}
    if status is not ipc.RIPC_OK:
        answer["meaning"] = IPCError(status, what).strerror
    if isinstance(outcome, ipc.ripc_msgrcv_res_RIPC_OK):
        data = bytes(outcome.msg.mtext)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = None
        answer |= {"mtype": str(from_hyper(outcome.msg.mtype)), "hex": data.hex(), "text": text}
    return answer
