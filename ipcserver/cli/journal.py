"""``ipcserver journal``: look at the file that a server keeps everything in."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ipcserver.config import Config, ConfigError
from ipcserver.journal import StoreRefused, inspect, readable
from ipcserver.machine import Machine, SnapshotUnreadable
from ipcserver.snapshots import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["journal"]

P = ParamSpec("P")
R = TypeVar("R")


@click.group()
def journal() -> None:
    """Check, look into and copy the journal, also while a server runs."""


def _path_argument(function: Callable[P, R]) -> Callable[P, R]:
    return click.argument("path", required=False, type=click.Path(path_type=Path, dir_okay=False))(function)


def _found(path: Path | None) -> Path:
    """Return the path given, or where the configured server keeps its journal."""
    if path is not None:
        return path
    try:
        return Config.load(None, dict(os.environ)).journal_path
    except ConfigError as error:
        raise click.ClickException(str(error)) from None


def _told(function: Callable[P, R]) -> Callable[P, R]:
    """Turn what is wrong with a store into one line and exit status 1."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except StoreRefused as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            # `... export | head`: the reader has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)

    return wrapped


@journal.command()
@_path_argument
@_told
def check(path: Path | None) -> None:
    """Read every byte of a journal and say whether it is whole.

    Exit status 0 if it is, 1 if not; nothing is changed either way.
    """
    path = _found(path)
    found = inspect.check(path, readable.decode_command)
    state = inspect.snapshot(path)
    if state is not None:
        try:
            Machine.restore(state[HEAD.size :])
        except SnapshotUnreadable as error:
            message = f"{path}: the snapshot after batch {found.snapshot_number} cannot be read: {error}"
            raise click.ClickException(message) from None
    click.echo(
        f"{path}: whole, format {found.format}: snapshot after batch {found.snapshot_number}, "
        f"then {found.commands:,} commands in {found.batches:,} batches up to batch {found.last_batch}"
    )


@journal.command()
@_path_argument
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@_told
def stat(path: Path | None, *, as_json: bool) -> None:
    """Show how much there is in a journal."""
    found = inspect.figures(_found(path))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found)))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _rows(found):
        table.add_row(name, value)
    Console(highlight=False).print(table)


def _rows(found: inspect.Figures) -> list[tuple[str, str]]:
    """Return what a table shows of the figures."""
    taken = f"after batch {found.snapshot_number:,}, {found.snapshot_bytes:,} bytes, {found.snapshot_created}"
    return [
        ("File", found.path),
        ("Format", str(found.format)),
        ("Identity", found.identity),
        ("Created", found.created),
        ("In use", "by a server" if found.in_use else "no"),
        ("Snapshot", taken if found.snapshot_number else "none yet"),
        ("Log", f"{found.commands:,} commands in {found.batches:,} batches, {found.log_bytes:,} bytes"),
        ("Last batch", f"{found.last_batch:,}"),
        ("On disk", f"{found.disk_bytes:,} bytes, reserve included"),
    ]


@journal.command()
@_path_argument
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, with everything in it.")
@_told
def export(path: Path | None, *, as_json: bool) -> None:
    """Write the log as text, a command a line.

    The log begins after the snapshot; what went before it is contained in that.
    """
    show: Callable[[int, Any], str] = (
        (lambda batch, command: json.dumps(readable.as_object(batch, command), ensure_ascii=False))
        if as_json
        else readable.as_line
    )
    for batch in inspect.read(_found(path)):
        for command in batch.commands:
            click.echo(show(batch.number, readable.decode_command(command)))


@journal.command()
@click.argument("copy", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--from", "path", type=click.Path(path_type=Path, dir_okay=False), help="The journal to copy.")
@_told
def backup(copy: Path, path: Path | None) -> None:
    """Copy the journal to a new file, also while a server writes to it.

    The copy is one consistent state: everything that was acknowledged when it was begun. To serve from it, put it in
    the journal's place and remove the files beside it that end in -mark, -wal and -shm.
    """
    path = _found(path)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("copying", total=None)
        inspect.backup(path, copy, lambda done, total: progress.update(task, completed=done, total=total))
    found = inspect.figures(copy)
    click.echo(f"{copy}: up to batch {found.last_batch}, {copy.stat().st_size:,} bytes")
