"""Bodies of commands."""

from __future__ import annotations

import pytest

import xdr
from ipcserver._gen.ipc import IPCPROG_1_Server, ripc_hyper
from ipcserver._gen.machine import OP_GOODBYE, OP_MSGGET, OP_TICK, machine_body, machine_op
from ipcserver.machine import Limits, body, start
from ipcserver.machine.commands import ARMS


def test_every_operation_has_its_arm() -> None:
    assert set(ARMS) == set(machine_op)
    for operation, arm in ARMS.items():
        assert arm.__name__ == f"machine_body_{machine_op(operation).name}"


def test_operations_below_100_are_the_procedures_of_ipc_x() -> None:
    procedures = {procedure.number: procedure.name for procedure in IPCPROG_1_Server.procedures}
    for operation in machine_op:
        if operation < 100:
            assert procedures[operation] == operation.name.replace("OP_", "RIPC_")


def test_a_body_is_made_from_an_argument_and_survives_encoding() -> None:
    for made in (body(OP_GOODBYE, ripc_hyper(1, 2)), body(OP_TICK), start(-1, Limits())):
        assert xdr.decode(machine_body, xdr.encode(machine_body, made)) == made


def test_a_read_has_no_body() -> None:
    with pytest.raises(KeyError):
        body(13, object())
    with pytest.raises(TypeError):
        body(OP_MSGGET)
