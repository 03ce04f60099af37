"""oncrpc.cli.common: options that the commands share, and failures in words."""

from __future__ import annotations

import socket

import click
import pytest

from oncrpc.address import Address
from oncrpc.auth import AUTH_NONE, AuthSys
from oncrpc.cli.common import credential_of, explain, find_server
from oncrpc.errors import (
    AuthenticationFailed,
    CallTimedOut,
    GarbageArguments,
    MalformedMessage,
    NotConnected,
    ProcedureUnavailable,
    ProgramMismatch,
    ProgramUnavailable,
    RPCError,
    SystemFailure,
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ProgramUnavailable(), "PROG_UNAVAIL"),
        (ProgramMismatch(1, 3), "PROG_MISMATCH: versions 1 to 3"),
        (ProcedureUnavailable(), "PROC_UNAVAIL"),
        (GarbageArguments(), "GARBAGE_ARGS"),
        (SystemFailure(), "SYSTEM_ERR"),
        (AuthenticationFailed(5), "AUTH_ERROR: AUTH_TOOWEAK"),
        (CallTimedOut("no reply came"), "timed out: no reply came"),
        (NotConnected("gone"), "gone"),
        (MalformedMessage("nonsense"), "MalformedMessage: nonsense"),
        (socket.gaierror(1, "unknown"), "the name has no address: unknown"),
    ],
)
def test_every_outcome_has_a_sentence(error: RPCError | OSError, text: str) -> None:
    assert text in explain(error)


def test_without_options_nobody_calls() -> None:
    assert credential_of("none", None, None, None) is AUTH_NONE


def test_auth_sys_is_this_process_unless_told_otherwise() -> None:
    own = AuthSys.current()
    assert credential_of("sys", None, None, None) == own
    assert credential_of("none", 5, None, "krypton") == AuthSys(0, "krypton", 5, own.gid)


def test_a_port_or_an_address_asks_no_portmapper() -> None:
    assert find_server("host", 5, 1, "udp", 600, 1.0) == Address("udp", "host", 600)
    assert find_server("host", 5, 1, None, 600, 1.0) == Address("tcp", "host", 600)
    assert find_server("unix:/run/x", 5, 1, None, None, 1.0) == Address("unix", path="/run/x")
    with pytest.raises(click.UsageError):
        find_server("tcp:nonsense", 5, 1, None, None, 1.0)
