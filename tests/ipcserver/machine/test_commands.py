"""Commands, their bodies and their bytes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xdr
import xdr.testing
from ipcserver._gen.ipc import IPCPROG_1_Server, ripc_hyper
from ipcserver._gen.machine import (
    OP_GOODBYE,
    OP_MSGGET,
    OP_TICK,
    machine_body,
    machine_caller,
    machine_command,
    machine_op,
)
from ipcserver.machine import Command, Limits, argument, body, start
from ipcserver.machine.commands import ARMS, decode


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


if TYPE_CHECKING:
    from collections.abc import Callable

commands = xdr.testing.values(machine_command)


@given(commands)
def test_a_command_has_the_bytes_of_machine_command(declared: machine_command) -> None:
    data = xdr.encode(machine_command, declared)
    command = Command.from_xdr(declared)
    assert command.encode() == data
    assert command.to_xdr() == declared
    assert decode(data).to_xdr() == declared


@given(commands, st.data())
def test_what_is_no_command_is_refused_in_the_words_of_the_declaration(
    declared: machine_command, data: st.DataObject
) -> None:
    whole = xdr.encode(machine_command, declared)
    at = data.draw(st.integers(0, len(whole) - 1))
    for damaged in (whole[:at], whole + bytes(4), whole[:at] + b"\xff" + whole[at + 1 :]):
        expected = _told(partial(xdr.decode, machine_command, damaged))
        assert _told(partial(_decoded, damaged)) == expected


def _decoded(data: bytes) -> machine_command:
    return decode(data).to_xdr()


def _told(decoded: Callable[[], machine_command]) -> machine_command | str:
    try:
        return decoded()
    except xdr.XDRDecodeError as error:
        return str(error)


@pytest.mark.parametrize(
    "command",
    [
        Command(-1, 0, 0, machine_caller(0, 0, []), 0, 0, OP_TICK, None),
        Command(1, 0, 0, machine_caller(0, 0, [0] * 17), 0, 0, OP_TICK, None),
        Command(1, 0, 0, machine_caller(0, 0, []), 0, 0, OP_GOODBYE, ripc_hyper(1 << 40, 0)),
        Command(1, 0, 0, machine_caller(0, 0, []), 0, 0, OP_GOODBYE, b"no hyper"),
    ],
    ids=["ticket", "gids", "number in the argument", "argument"],
)
def test_a_command_that_does_not_fit_its_declaration_is_not_encoded(command: Command) -> None:
    with pytest.raises(xdr.XDREncodeError):
        command.encode()


def test_commands_decoded_of_one_caller_share_it() -> None:
    data = Command(1, 0, 0, machine_caller(5, 6, [7, 8]), 0, 0, OP_TICK, None).encode()
    assert decode(data).caller is decode(data).caller


def test_an_argument_is_what_the_body_was_made_of() -> None:
    assert argument(body(OP_GOODBYE, ripc_hyper(1, 2))) == ripc_hyper(1, 2)
    assert argument(body(OP_TICK)) is None
