"""Bodies of commands: which operation goes with which argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipcserver._gen import machine as gen
from ipcserver._gen.machine import machine_body_OP_SERVER_STARTED, machine_op, machine_start

if TYPE_CHECKING:
    from ipcserver._gen.machine import machine_body
    from ipcserver.machine.limits import Limits

__all__ = ["ARMS", "body", "start"]

ARMS: Final[dict[int, Any]] = {op: getattr(gen, f"machine_body_{op.name}") for op in machine_op}
"""The union arm of each operation."""


def body(operation: int, argument: object = None) -> machine_body:
    """Make the body of a command.

    Args:
        operation: A machine_op, which is the number of the procedure in ipc.x.
        argument: The procedure's argument; none for OP_TICK and OP_CONNECTION_CLOSED.

    Raises:
        KeyError: No command has this number: the procedure is a read, or does not exist.
    """
    arm = ARMS[operation]
    made: machine_body = arm() if argument is None else arm(argument)
    return made


def start(boot: int, limits: Limits) -> machine_body:
    """Make the first body of a life of the server.

    Args:
        boot: A random number of 64 bits, signed; clients see by it that the server was restarted.
        limits: The limits in force from now on.
    """
    return machine_body_OP_SERVER_STARTED(machine_start(boot, limits.to_xdr()))
