"""``ipcserver serve``: run the server in the foreground until it is told to stop."""

from __future__ import annotations

import gc
import os
import pwd
import sys
from pathlib import Path
from typing import Any, NoReturn, get_args

import click

from ipcserver.config import Config, ConfigError, Journal, LimitsPreset, LogFormat, Portmapper

__all__ = ["serve"]


@click.command()
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file with settings; flags win over it.",
)
@click.option(
    "-l",
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help="Address to serve on, several times if need be; 0.0.0.0 and :: are all.  [default: loopback]",
)
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    help="TCP and UDP port; 0: a free one.  [default: 600; 6600 for an ordinary user]",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="The local socket.  [default: ipcserver.sock in the state directory]",
)
@click.option(
    "-d",
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the journal is.  [default: /var/lib/ipcserver; for an ordinary user ~/.local/state/ipcserver]",
)
@click.option(
    "-j",
    "--journal",
    type=click.Choice(get_args(Journal)),
    help="sqlite keeps all that was acknowledged; memory keeps nothing.  [default: sqlite]",
)
@click.option(
    "--portmapper",
    type=click.Choice(get_args(Portmapper)),
    help="Register with the machine's rpcbind, be the portmapper, whichever can be had, or neither.  [default: auto]",
)
@click.option(
    "--portmapper-port",
    type=click.IntRange(0, 65535),
    help="Port of the builtin portmapper.  [default: 111; 6111 for an ordinary user]",
)
@click.option(
    "--trust",
    multiple=True,
    metavar="NETWORK[:root]",
    help="Believe AUTH_SYS from this network too, and with :root also uid 0.  [default: loopback]",
)
@click.option("--limits", type=click.Choice(get_args(LimitsPreset)), help="System V limits.  [default: linux]")
@click.option(
    "--limit", multiple=True, metavar="NAME=NUMBER", help="One limit that differs from the preset, as msgmnb=65536."
)
@click.option(
    "--console",
    metavar="ADDRESS:PORT",
    help="Show what happens on a web page there, for example 127.0.0.1:8600; it has no login.  [default: none]",
)
@click.option(
    "--console-actions",
    is_flag=True,
    default=None,
    help="Let the page send, receive, semop and remove, for who has the token: IPCSERVER_CONSOLE_TOKEN, or a random "
    "one that the log tells.",
)
@click.option(
    "--console-identity",
    metavar="UID:GID",
    help="Whose rights the page's actions have.  [default: the server's own]",
)
@click.option("-u", "--user", help="Become this user once the ports are bound.")
@click.option(
    "--log-format",
    type=click.Choice(get_args(LogFormat)),
    help="Log lines for people or for machines.  [default: text]",
)
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def serve(file: Path | None, *, verbose: bool, **flags: Any) -> None:
    """Serve System V IPC over Sun RPC, on port 600 and through the portmapper.

    Each setting is a flag here, a variable (IPCSERVER_PORT=...) or a line of the file (port = ...).

    Stops at SIGTERM or SIGINT: calls in hand are answered, the registration is taken back.
    """
    try:
        config = Config.load(file, dict(os.environ))
        given = {name: value for name, value in flags.items() if value not in (None, ())}
        config = config.updated(
            {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}, "command line"
        )
    except ConfigError as error:
        _fail(error)

    from oncrpc.tx.reactor import install

    reactor = install()
    from twisted.logger import Logger

    from ipcserver.logs import begin_logging
    from ipcserver.service import IPCService

    begin_logging(sys.stderr, config.log_format, verbose=verbose)
    try:
        service = IPCService(config, reactor=reactor)
        service.privilegedStartService()
        if config.user is not None:
            _become(config.user)
    except ConfigError as error:
        _fail(error)
    failures: list[Exception] = []

    def start() -> None:
        try:
            service.startService()
        except Exception as error:  # noqa: BLE001 - a server that does not serve must not go on running
            if not isinstance(error, ConfigError):
                Logger(namespace="ipcserver").failure("the server cannot start")
            failures.append(error)
            reactor.stop()
        else:
            reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
            _spare_the_collector()

    # Once the reactor runs, a signal that comes early is an orderly stop too.
    reactor.callWhenRunning(start)
    reactor.run()
    if failures:
        _fail(failures[0])


def _spare_the_collector() -> None:
    """Keep the garbage collector from looking through every queued message again and again.

    What the replay made stays, and messages hold no cycles: with a million of them queued, a full collection every
    some seconds costs more than the calls do (benchmarks/machine_ops.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _become(name: str) -> None:
    """Become another user for good.

    Raises:
        ConfigError: There is no such user, or this one may not become it.
    """
    try:
        entry = pwd.getpwnam(name)
        os.initgroups(name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except KeyError:
        message = f"user: there is no user {name!r}"
        raise ConfigError(message) from None
    except PermissionError:
        message = f"user: only root can become {name!r}"
        raise ConfigError(message) from None


def _fail(error: Exception) -> NoReturn:
    """End with one line and status 1."""
    click.echo(f"ipcserver: {error}", err=True)
    sys.exit(1)
