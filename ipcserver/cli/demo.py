"""``ipcserver demo``: a guided tour of Sun RPC."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from ipcserver.config import Config, ConfigError
from ipcserver.demo.errors import DemoError
from ipcserver.demo.show import THEME
from ipcserver.demo.steps import STEPS
from ipcserver.demo.tour import CONSOLE, Settings, run

__all__ = ["demo"]

_AUTO: Final = 12.0
"""Seconds in which a page can be read."""


class _Place(click.ParamType[tuple[str, int]]):
    """ADDR:PORT, as the server's own setting takes it."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Read it."""
        if isinstance(value, tuple):
            return value
        try:
            found = Config().updated({"console": value}, "--console").console
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        assert found is not None
        return found


@click.command()
@click.option(
    "--console",
    type=_Place(),
    default=CONSOLE,
    metavar="ADDR:PORT",
    help="Where the web console is.  [default: 127.0.0.1:8600, or a free port if that is taken]",
)
@click.option("--no-console", is_flag=True, help="No web console.")
@click.option(
    "--auto",
    type=click.FloatRange(0),
    is_flag=False,
    flag_value=_AUTO,
    metavar="[SECONDS]",
    help=f"Turn the pages without keys, each after so many seconds; also without a terminal.  [default: {_AUTO:g}]",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.pcapng",
    help="Write all messages into a capture file, for Wireshark.",
)
@click.option("--step", type=click.IntRange(1, len(STEPS)), help=f"Begin with this step, 1 to {len(STEPS)}.")
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    help="The server's port; 0: a free one.  [default: 600, or a free one]",
)
@click.option(
    "--portmapper-port",
    type=click.IntRange(0, 65535),
    help="The portmapper's port; 0: a free one.  [default: 111, or a free one]",
)
def demo(
    *,
    console: tuple[str, int],
    no_console: bool,
    auto: float | None,
    record: Path | None,
    step: int | None,
    port: int | None,
    portmapper_port: int | None,
) -> None:
    """Show how Sun RPC works: a guided tour, with real calls on this machine.

    Starts a portmapper, the server and two client machines on loopback, and shows in nine steps what they say to each
    other, byte by byte: registration, GETPORT, record marks, a call, XDR, a receive that waits, a retransmission,
    AUTH_SYS, and a crash. Needs no root. Everything that it starts ends with it.

    Keys: Enter goes on, 1 to 9 go to a step, q ends.

    \b
    Examples:
      ipcserver demo
      ipcserver demo --auto 20 --record tour.pcapng
      ipcserver demo --step 7 --no-console
    """  # noqa: D301 - click reads the backspace
    keys = sys.stdin.isatty() and sys.stdout.isatty()
    if not keys and auto is None:
        message = "there is no terminal to take keys from: --auto plays the tour without"
        raise click.UsageError(message)
    settings = Settings(
        console=None if no_console else console,
        auto=auto,
        record=record,
        step=step or 0,
        port=port,
        portmapper_port=portmapper_port,
        keys=keys,
    )
    try:
        run(settings, Console(theme=THEME, highlight=False))
    except DemoError as error:
        click.echo(f"ipcserver: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
