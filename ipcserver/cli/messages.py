"""``ipcserver send`` and ``ipcserver recv``: one message, or a stream of them, through a queue."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any

import click

from ipcserver.cli.common import KEY, MODE, connect, json_option, server_option, write_json

if TYPE_CHECKING:
    from ipcserver.client import IPC, Queue

__all__ = ["recv", "send"]


def _queue(ipc: IPC, key: int, *, by_id: bool, create: bool, mode: int) -> Queue:
    """Return the queue that the command line names."""
    if by_id:
        return ipc.queue(key)
    return ipc.msgget(key, create=create, mode=mode if create else 0)


@click.command()
@server_option
@click.option(
    "-t", "--type", "mtype", type=click.IntRange(1, 2**63 - 1), default=1, show_default=True, help="The message's type."
)
@click.option("-c", "--create", is_flag=True, help="Make the queue if it is not there.")
@click.option("-m", "--mode", type=MODE, default=0o600, help="With --create: permission bits, octal.  [default: 600]")
@click.option("-n", "--nowait", is_flag=True, help="Fail at once (status 4) if the queue is full.")
@click.option("-w", "--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait so long at most for room.")
@click.option("-i", "--id", "by_id", is_flag=True, help="KEY is an identifier, as ipcs shows it, not a key.")
@click.option("-l", "--lines", is_flag=True, help="Send each line of standard input as a message of its own.")
@click.argument("key", type=KEY)
@click.argument("text", required=False)
def send(  # noqa: PLR0917 - click passes them by name
    server: str | None,
    mtype: int,
    mode: int,
    wait: float | None,
    key: int,
    text: str | None,
    *,
    create: bool,
    nowait: bool,
    by_id: bool,
    lines: bool,
) -> None:
    """Send TEXT to the queue with KEY; without TEXT, what standard input holds.

    The message is on the server's disk when this command ends with status 0.
    """
    with connect(server) as ipc:
        queue = _queue(ipc, key, by_id=by_id, create=create, mode=mode)
        if lines:
            for line in sys.stdin.buffer:
                queue.send(line.rstrip(b"\n"), mtype, nowait=nowait, timeout=wait)
            return
        body = sys.stdin.buffer.read() if text is None else text.encode("utf-8", "surrogateescape")
        queue.send(body, mtype, nowait=nowait, timeout=wait)


@click.command()
@server_option
@json_option
@click.option(
    "-t",
    "--type",
    "msgtyp",
    type=click.IntRange(-(2**63) + 1, 2**63 - 1),
    default=0,
    help="0: any, the oldest; N: of type N; -N: of the lowest type up to N.  [default: 0]",
)
@click.option("-n", "--nowait", is_flag=True, help="Fail at once (status 4) if there is none.")
@click.option("-w", "--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait so long at most.")
@click.option("-i", "--id", "by_id", is_flag=True, help="KEY is an identifier, as ipcs shows it, not a key.")
@click.option("-c", "--count", type=click.IntRange(min=0), default=1, show_default=True, help="How many; 0: for ever.")
@click.option("-v", "--verbose", is_flag=True, help="Show each message's type in front of it.")
@click.option("-r", "--raw", is_flag=True, help="Write the bytes alone, without a newline after each message.")
@click.argument("key", type=KEY)
def recv(
    server: str | None,
    msgtyp: int,
    wait: float | None,
    key: int,
    count: int,
    *,
    as_json: bool,
    nowait: bool,
    by_id: bool,
    verbose: bool,
    raw: bool,
) -> None:
    """Take a message from the queue with KEY and write it to standard output; wait for one if there is none."""
    with connect(server) as ipc:
        queue = _queue(ipc, key, by_id=by_id, create=False, mode=0)
        received = 0
        while count == 0 or received < count:
            message = queue.receive(msgtyp, nowait=nowait, timeout=wait)
            received += 1
            if as_json:
                write_json(_as_json(message.mtype, message.text))
                continue
            out = sys.stdout.buffer
            out.write(b"%d\t" % message.mtype if verbose else b"")
            out.write(message.text)
            out.write(b"" if raw else b"\n")
            out.flush()


def _as_json(mtype: int, text: bytes) -> dict[str, Any]:
    """Return a message for --json: ``text`` where the bytes are UTF-8, else ``base64``."""
    try:
        return {"mtype": mtype, "text": text.decode()}
    except UnicodeDecodeError:
        return {"mtype": mtype, "base64": base64.b64encode(text).decode()}
