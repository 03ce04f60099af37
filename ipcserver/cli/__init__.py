"""The ``ipcserver`` command: serve, and use what a server serves.

Commands are imported when they are called, so that ``ipcserver send`` does not pay for the reactor.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

__all__ = ["main"]

_COMMANDS: Final = {
    "serve": "ipcserver.cli.serve:serve",
    "demo": "ipcserver.cli.demo:demo",
    "send": "ipcserver.cli.messages:send",
    "recv": "ipcserver.cli.messages:recv",
    "ipcs": "ipcserver.cli.objects:ipcs",
    "ipcrm": "ipcserver.cli.objects:ipcrm",
    "ipcmk": "ipcserver.cli.objects:ipcmk",
    "journal": "ipcserver.cli.journal:journal",
}
"""In the order in which --help shows them."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        return [*_COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ipcserver", message="%(prog)s %(version)s")
def main() -> None:
    """System V message queues, semaphores and segments over Sun RPC.

    \b
    ipcserver serve                        start a server
    ipcserver send --create 0x1234 hello   put a message into the queue with this key
    ipcserver recv 0x1234                  take it out again
    ipcserver ipcs                         see what there is
    ipcserver demo                         a guided tour of Sun RPC
    """  # noqa: D301 - click reads the backspace
