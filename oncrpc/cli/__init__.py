"""The ``oncrpc`` command: look at any RPC server, call it, check it, and be a wrong one for clients.

Commands are imported when they are called. Other packages add theirs by the entry-point group ``oncrpc.commands``.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import click

__all__ = ["main"]

_COMMANDS: Final = {
    "ping": "oncrpc.cli.ping:ping",
    "call": "oncrpc.cli.call:call",
    "check": "oncrpc.cli.check:check",
    "explain": "oncrpc.cli.explain:explain",
    "serve-faults": "oncrpc.cli.serve_faults:serve_faults",
}


def _plug_ins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="oncrpc.commands") if entry.name not in _COMMANDS}


def _loaded(entry: EntryPoint) -> click.Command:
    """A plug-in's command; one that only says why, if it cannot be imported: the others must go on working."""
    try:
        command = entry.load()
    except ImportError as error:
        why = f"the command {entry.name} ({entry.value}) cannot be loaded: {error}"

        def refuse() -> None:
            raise click.ClickException(why)

        return click.Command(entry.name, callback=refuse, short_help=f"({why})")
    assert isinstance(command, click.Command)
    return command


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Ours, and those of the plug-ins."""
        del ctx
        return sorted({*_COMMANDS, *_plug_ins()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        del ctx
        command: Any
        if place := _COMMANDS.get(cmd_name):
            module, _, name = place.partition(":")
            command = getattr(importlib.import_module(module), name)
        elif entry := _plug_ins().get(cmd_name):
            command = _loaded(entry)
        else:
            return None
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ipcserver", prog_name="oncrpc")
def _group() -> None:
    """Look at Sun RPC servers, call them, check them; be a wrong one for clients.

    \b
    HOST is a name or an address (the port is then asked of the portmapper there, or given by --port), or the
    server's own address: tcp:HOST:PORT, udp:HOST:PORT or unix:/PATH.
    PROG is a number (100003, 0x20000258) or a name (nfs, IPCPROG) known to /etc/rpc or to an installed .x file.

    \b
    Exit status: 0 all is well; 1 the server refused, failed a check or did not answer; 2 the command line is
    wrong; 3 there is no connection.
    """  # noqa: D301 - click reads the backspace


def main() -> None:
    """Run the command line; a reader that went away (``| head``) ends it quietly."""
    try:
        _group(prog_name="oncrpc")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
