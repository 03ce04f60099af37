"""``ipcserver ipcs``, ``ipcrm`` and ``ipcmk``: what their namesakes of util-linux do, on a server."""

from __future__ import annotations

import secrets
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from ipcserver.cli import render
from ipcserver.cli.common import EXIT_REFUSED, KEY, MODE, connect, console, json_option, server_option, write_json
from ipcserver.client import IPC
from ipcserver.errors import IPCError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ipcmk", "ipcrm", "ipcs"]

_KINDS: Final[dict[str, tuple[Callable[[IPC], Any], Callable[[Any], Any], Callable[[IPC, int], Any]]]] = {
    "queues": (IPC.queues, render.queues_table, IPC.queue),
    "segments": (IPC.segments, render.segments_table, IPC.segment),
    "semaphore_sets": (IPC.semaphore_sets, render.sets_table, IPC.semaphore_set),
}


@click.command()
@server_option
@json_option
@click.option("-q", "--queues", is_flag=True, help="Message queues only.")
@click.option("-m", "--shmems", is_flag=True, help="Memory segments only.")
@click.option("-s", "--semaphores", is_flag=True, help="Semaphore sets only.")
@click.option("-l", "--limits", is_flag=True, help="Limits, and how much of them is used.")
@click.option("-i", "--id", "ipc_id", type=int, help="The whole status of one object; with -q, -m or -s.")
def ipcs(
    server: str | None,
    ipc_id: int | None,
    *,
    as_json: bool,
    queues: bool,
    shmems: bool,
    semaphores: bool,
    limits: bool,
) -> None:
    """Show message queues, memory segments and semaphore sets."""
    wanted = [name for name, flag in zip(_KINDS, (queues, shmems, semaphores), strict=True) if flag]
    if ipc_id is not None and len(wanted) != 1:
        message = "--id needs one of -q, -m and -s"
        raise click.UsageError(message)
    with connect(server) as ipc:
        if ipc_id is not None:
            status = _KINDS[wanted[0]][2](ipc, ipc_id).stat()
            if as_json:
                write_json(render.as_json(status))
            else:
                console().print(render.details(status))
            return
        if limits:
            info = ipc.info()
            if as_json:
                write_json({"limits": render.as_json(info.limits), "sessions": info.sessions, "waiters": info.waiters})
            else:
                console().print(render.limits_table(info))
            return
        found = {name: list(_KINDS[name][0](ipc)) for name in wanted or _KINDS}
    if as_json:
        write_json({name: [render.as_json(ds) for ds in items] for name, items in found.items()})
        return
    for name, items in found.items():
        console().print(_KINDS[name][1](items))


def _remove(kind: Callable[[IPC, int], Any], ipc: IPC, ipc_id: int) -> None:
    """Remove an object by identifier."""
    kind(ipc, ipc_id).remove()


def _remove_key(get: Callable[..., Any], key: int) -> None:
    """Remove an object by key."""
    get(key, mode=0).remove()


@click.command()
@server_option
@click.option("-q", "--queue-id", "queue_ids", type=int, multiple=True, help="A queue, by identifier.")
@click.option("-Q", "--queue-key", "queue_keys", type=KEY, multiple=True, help="A queue, by key.")
@click.option("-m", "--shmem-id", "segment_ids", type=int, multiple=True, help="A segment, by identifier.")
@click.option("-M", "--shmem-key", "segment_keys", type=KEY, multiple=True, help="A segment, by key.")
@click.option("-s", "--semaphore-id", "set_ids", type=int, multiple=True, help="A semaphore set, by identifier.")
@click.option("-S", "--semaphore-key", "set_keys", type=KEY, multiple=True, help="A semaphore set, by key.")
@click.option("-a", "--all", "everything", is_flag=True, help="Everything that you may remove.")
def ipcrm(  # noqa: PLR0917 - click passes them by name
    server: str | None,
    queue_ids: tuple[int, ...],
    queue_keys: tuple[int, ...],
    segment_ids: tuple[int, ...],
    segment_keys: tuple[int, ...],
    set_ids: tuple[int, ...],
    set_keys: tuple[int, ...],
    *,
    everything: bool,
) -> None:
    """Remove message queues, memory segments and semaphore sets; whoever waits on one gets EIDRM."""
    named = any((queue_ids, queue_keys, segment_ids, segment_keys, set_ids, set_keys))
    if named == everything:
        message = "say what to remove (or --all)"
        raise click.UsageError(message)
    refused = 0
    with connect(server) as ipc:
        removals: list[tuple[str, Callable[[], Any]]] = [
            (f"{what} {number}", partial(_remove, kind, ipc, number))
            for what, kind, numbers in (
                ("queue", IPC.queue, queue_ids),
                ("segment", IPC.segment, segment_ids),
                ("semaphore set", IPC.semaphore_set, set_ids),
            )
            for number in numbers
        ]
        removals += [
            (f"{what} {render.key_text(key)}", partial(_remove_key, get, key))
            for what, get, keys in (
                ("queue", ipc.msgget, queue_keys),
                ("segment", ipc.shmget, segment_keys),
                ("semaphore set", ipc.semget, set_keys),
            )
            for key in keys
        ]
        if everything:
            removals = [
                (f"{name.rstrip('s').replace('_', ' ')} {ds.id}", partial(_remove, kind, ipc, ds.id))
                for name, (listing, _, kind) in _KINDS.items()
                for ds in listing(ipc)
            ]
        for what, remove in removals:
            try:
                remove()
            except IPCError as error:
                click.echo(f"ipcserver: {what}: {error.strerror}", err=True)
                refused += 1
    if refused:
        sys.exit(EXIT_REFUSED)


@click.command()
@server_option
@click.option("-Q", "--queue", is_flag=True, help="Make a message queue.")
@click.option("-M", "--shmem", "size", type=click.IntRange(1), metavar="BYTES", help="Make a memory segment.")
@click.option("-S", "--semaphore", "nsems", type=click.IntRange(1), metavar="NSEMS", help="Make a semaphore set.")
@click.option("-k", "--key", type=KEY, help="The key.  [default: a random one, as ipcmk(1) does]")
@click.option("-p", "--mode", type=MODE, default=0o644, help="Permission bits, octal.  [default: 644]")
def ipcmk(server: str | None, size: int | None, nsems: int | None, key: int | None, mode: int, *, queue: bool) -> None:
    """Make a message queue, a memory segment or a semaphore set, and write its identifier."""
    if not (queue or size or nsems):
        message = "say what to make: -Q, -M or -S"
        raise click.UsageError(message)
    with connect(server) as ipc:
        if queue:
            made = ipc.msgget(key or 1 + secrets.randbelow(2**31 - 1), create=True, exclusive=True, mode=mode)
            click.echo(f"Message queue id: {made.id}")
        if size:
            segment = ipc.shmget(key or 1 + secrets.randbelow(2**31 - 1), size, create=True, exclusive=True, mode=mode)
            click.echo(f"Shared memory id: {segment.id}")
        if nsems:
            sems = ipc.semget(key or 1 + secrets.randbelow(2**31 - 1), nsems, create=True, exclusive=True, mode=mode)
            click.echo(f"Semaphore id: {sems.id}")
