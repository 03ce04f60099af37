"""What the commands that talk to a server have in common: the server option, keys, errors, output."""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from ipcserver.client import IPC
from ipcserver.client import connect as connect_client
from ipcserver.errors import IPCError
from ipcserver.find import ServerNotFound, find_server
from oncrpc.errors import RPCError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "EXIT_NOT_NOW",
    "EXIT_NO_SERVER",
    "EXIT_REFUSED",
    "KEY",
    "MODE",
    "connect",
    "console",
    "json_option",
    "server_option",
    "write_json",
]

_ALL_PERMISSIONS: Final = 0o777

EXIT_REFUSED: Final = 1
"""The server refused: no such key, no permission, ..."""
EXIT_NO_SERVER: Final = 3
"""No server was found, or it could not be reached."""
EXIT_NOT_NOW: Final = 4
"""Nothing there, or no room, within the time allowed: ENOMSG, EAGAIN, ETIMEDOUT."""

_NOT_NOW: Final = frozenset({"RIPC_ENOMSG", "RIPC_EAGAIN", "RIPC_ETIMEDOUT"})


def console() -> Console:
    """Return where tables go: standard output, as wide as the terminal, plain when it is a pipe."""
    wide = None if sys.stdout.isatty() else 200
    return Console(width=wide, highlight=False)


class _Key(click.ParamType[int]):
    """A System V key: 32 bits, decimal, hexadecimal or octal as C writes them."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a key."""
        if isinstance(value, int):
            return value
        try:
            octal = len(value) > 1 and value[0] == "0" and value.isdecimal()
            number = int(value, 8 if octal else 0)
        except ValueError:
            self.fail(f"{value!r} is not a key: write 4660, 0x1234 or 011064", param, ctx)
        if not -(2**31) <= number < 2**32:
            self.fail(f"{value!r} does not fit 32 bits", param, ctx)
        return number


KEY: Final = _Key()


class _Mode(click.ParamType[int]):
    """Permission bits, octal as chmod(1) takes them."""

    name = "mode"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read octal digits."""
        if isinstance(value, int):
            return value
        try:
            mode = int(value, 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= _ALL_PERMISSIONS:
            self.fail(f"{value!r} is not a mode: write three octal digits, as 600", param, ctx)
        return mode


MODE: Final = _Mode()


def server_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that says where the server is, and turn what can go wrong into one line and an exit status."""

    @click.option(
        "-H",
        "--server",
        metavar="HOST[:PORT]",
        help="Where the server is; also unix:/PATH or udp:HOST:PORT. Default: $IPCSERVER, else this machine's own.",
    )
    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except IPCError as error:
            click.echo(f"ipcserver: {error.strerror}", err=True)
            sys.exit(EXIT_NOT_NOW if error.status.name in _NOT_NOW else EXIT_REFUSED)
        except (ServerNotFound, RPCError, OSError) as error:
            click.echo(f"ipcserver: {error}", err=True)
            sys.exit(EXIT_NO_SERVER)
        except KeyboardInterrupt:
            sys.exit(130)

    return run


def connect(server: str | None) -> IPC:
    """Return a client of the server that the option names."""
    return connect_client(find_server(server), patience=10.0)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text for people.")(command)


def write_json(value: Any) -> None:
    """Write one JSON value and a newline to standard output."""
    click.echo(json.dumps(value, ensure_ascii=False))
