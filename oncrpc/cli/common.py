"""What the commands share: how hosts, programs and credentials are given, and how failures are told."""

from __future__ import annotations

import functools
import json
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeVar

import click
from rich.console import Console

from oncrpc.address import Address, parse_address
from oncrpc.auth import AUTH_NONE, AuthSys, Credential
from oncrpc.cli.locate import NotRegistered, find_port
from oncrpc.cli.programs import program_number
from oncrpc.errors import (
    AuthenticationFailed,
    CallTimedOut,
    GarbageArguments,
    NotConnected,
    ProcedureUnavailable,
    ProgramMismatch,
    ProgramUnavailable,
    RPCError,
    SystemFailure,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "EXIT_FAILED",
    "EXIT_NO_CONNECTION",
    "Program",
    "auth_options",
    "credential_of",
    "explain",
    "fail",
    "find_server",
    "out",
    "printable",
    "server_options",
]

EXIT_FAILED: Final = 1
EXIT_NO_CONNECTION: Final = 3

F = TypeVar("F", bound="Callable[..., Any]")


def out() -> Console:
    """The terminal, or the file or pipe that stands for it; plain there."""
    return Console(highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return a text that does nothing to a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


class Program(click.ParamType[int]):
    """A program by number or by name."""

    name = "PROG"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Number or name to number."""
        if isinstance(value, int):
            return value
        try:
            return program_number(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def server_options(command: F) -> F:
    """Options that say how to reach the server."""
    options = (
        click.option("--port", type=click.IntRange(1, 65535), help="Port; else the portmapper on HOST is asked."),
        click.option("--tcp", "transport", flag_value="tcp", help="Call over TCP (the default)."),
        click.option("--udp", "transport", flag_value="udp", help="Call over UDP."),
    )
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def auth_options(command: F) -> F:
    """Options that say who calls."""
    options = (
        click.option(
            "--auth",
            type=click.Choice(["none", "sys"]),
            default="none",
            show_default=True,
            help="Credential: AUTH_NONE, or AUTH_SYS with this process's identity.",
        ),
        click.option("--uid", type=click.IntRange(0, 0xFFFFFFFF), help="AUTH_SYS with this uid."),
        click.option("--gid", type=click.IntRange(0, 0xFFFFFFFF), help="AUTH_SYS with this gid."),
        click.option("--machine", help="AUTH_SYS with this machine name."),
    )
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def credential_of(auth: str, uid: int | None, gid: int | None, machine: str | None) -> Credential:
    """The credential that auth_options() describe."""
    if auth == "none" and uid is None and gid is None and machine is None:
        return AUTH_NONE
    own = AuthSys.current()
    return AuthSys(
        0,
        own.machinename if machine is None else machine,
        own.uid if uid is None else uid,
        own.gid if gid is None else gid,
        own.gids if uid is None and gid is None else (),
    )


def find_server(  # noqa: PLR0917, as the command line has them
    host: str, program: int, version: int, transport: str | None, port: int | None, wait: float
) -> Address:
    """The server's address: as given, or as the portmapper on the host says.

    Exits with 2 if the address is none, with 3 if the portmapper cannot be asked, with 1 if it does not know.
    """
    if host.startswith(("tcp:", "udp:", "unix:")):
        try:
            return parse_address(host)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    kind: Literal["tcp", "udp"] = "udp" if transport == "udp" else "tcp"
    if port is not None:
        return Address(kind, host, port)
    try:
        return find_port(host, program, version, kind, wait)
    except NotRegistered as error:
        fail(str(error), EXIT_FAILED)
    except RPCError as error:
        fail(str(error), EXIT_NO_CONNECTION)


def fail(message: str, status: int = EXIT_FAILED, *, as_json: bool = False, **facts: Any) -> NoReturn:
    """Say what went wrong on standard error (or as a JSON object on standard output) and exit."""
    if as_json:
        click.echo(json.dumps({"error": message, **facts}))
    else:
        click.echo(f"oncrpc: {message}", err=True)
    sys.exit(status)


def explain(error: RPCError | OSError) -> str:
    """An outcome in one sentence for people, with the RFC's word for it."""
    match error:
        case ProgramUnavailable():
            return "PROG_UNAVAIL: the server does not have this program"
        case ProgramMismatch():
            return f"PROG_MISMATCH: {error}"
        case ProcedureUnavailable():
            return "PROC_UNAVAIL: the program has no such procedure"
        case GarbageArguments():
            return "GARBAGE_ARGS: the server could not decode the arguments"
        case SystemFailure():
            return "SYSTEM_ERR: the server failed while it executed the call"
        case AuthenticationFailed():
            return f"AUTH_ERROR: {error}"
        case CallTimedOut():
            return f"timed out: {error}"
        case NotConnected():
            return str(error)
        case socket.gaierror():
            return f"the name has no address: {error.strerror}"
        case _:
            return f"{type(error).__name__}: {error}"
