"""``oncrpc ping``: does it answer, and how fast?"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from oncrpc import sync
from oncrpc.cli.common import (
    EXIT_FAILED,
    EXIT_NO_CONNECTION,
    Program,
    auth_options,
    credential_of,
    explain,
    fail,
    find_server,
    server_options,
)
from oncrpc.cli.programs import program_name
from oncrpc.errors import NotConnected, ProgramMismatch, RPCError

if TYPE_CHECKING:
    from oncrpc.address import Address
    from oncrpc.auth import Credential

__all__ = ["Statistics", "ping"]


@dataclass(slots=True)
class Statistics:
    """Round trips so far. Times are seconds."""

    sent: int = 0
    times: list[float] = field(default_factory=list)
    """Of the calls that were answered."""

    @property
    def lost(self) -> int:
        """Calls without a good answer."""
        return self.sent - len(self.times)

    def summary(self) -> dict[str, float]:
        """Least, mean, median, 99th percentile, greatest, standard deviation, in milliseconds; empty without times."""
        if not self.times:
            return {}
        ordered = sorted(self.times)
        count = len(ordered)
        mean = sum(ordered) / count
        deviation = math.sqrt(max(0.0, sum(each * each for each in ordered) / count - mean * mean))
        values = {
            "min": ordered[0],
            "avg": mean,
            "median": (ordered[(count - 1) // 2] + ordered[count // 2]) / 2,
            "p99": ordered[min(count - 1, math.ceil(count * 0.99) - 1)],
            "max": ordered[-1],
            "stddev": deviation,
        }
        return {name: round(value * 1000, 3) for name, value in values.items()}


class _Pinger:
    """Calls procedure 0 over and over; connects again where a connection was lost."""

    def __init__(self, address: Address, program: int, version: int, credential: Credential, timeout: float) -> None:
        self.address, self.program, self.version = address, program, version
        self._credential, self._timeout = credential, timeout
        self._caller: sync.StreamCaller | sync.DatagramCaller | None = None

    def once(self) -> float:
        """One round trip, in seconds; a fresh connection is made before the clock starts.

        Raises:
            RPCError: There was no good answer.
        """
        try:
            if self._caller is None:
                self._caller = sync.open_caller(self.address, credential=self._credential, timeout=self._timeout)
            begun = time.perf_counter()
            self._caller.call_raw(self.program, self.version, 0, b"", timeout=self._timeout)
            return time.perf_counter() - begun
        except NotConnected:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._caller is not None:
            self._caller.close()
            self._caller = None


def _versions(address: Address, program: int, timeout: float) -> tuple[int, int]:
    """The lowest and highest version served, as PROG_MISMATCH tells them to a version that nobody serves."""
    caller = sync.open_caller(address, timeout=timeout)
    try:
        caller.call_raw(program, 0xFFFFFFFF, 0, b"")
    except ProgramMismatch as error:
        return error.low, error.high
    finally:
        caller.close()
    return 0xFFFFFFFF, 0xFFFFFFFF


@click.command(short_help="Call procedure 0 again and again, with statistics.")
@click.argument("host")
@click.argument("program", type=Program(), metavar="PROG")
@click.argument("version", type=click.IntRange(0, 0xFFFFFFFF), required=False, metavar="[VERS]")
@server_options
@auth_options
@click.option("--count", "-c", type=click.IntRange(1), help="Stop after so many calls; else Ctrl-C stops.")
@click.option("--interval", "-i", default=1.0, show_default=True, metavar="SECONDS", help="From call to call.")
@click.option("--timeout", "-W", default=5.0, show_default=True, metavar="SECONDS", help="For each call.")
@click.option("--quiet", "-q", is_flag=True, help="Only the summary.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object for each call, and one for the summary.")
def ping(
    host: str,
    program: int,
    version: int | None,
    *,
    transport: str | None,
    port: int | None,
    auth: str,
    uid: int | None,
    gid: int | None,
    machine: str | None,
    count: int | None,
    interval: float,
    timeout: float,
    quiet: bool,
    json_output: bool,
) -> None:
    """Call procedure 0 of program PROG on HOST again and again, as ping does.

    Without VERS the server is asked which versions it has, and the highest is called. Exit status 0 if any call was
    answered.

    \b
    Examples:
      oncrpc ping localhost nfs
      oncrpc ping tcp:127.0.0.1:600 IPCPROG 1 -c 5
      oncrpc ping unix:/run/rpcbind.sock 100000 4 -i 0.1
    """  # noqa: D301 - click reads the backspace
    address = find_server(host, program, 0 if version is None else version, transport, port, timeout)
    if version is None:
        version = _highest(address, program, timeout, json_output=json_output)
    pinger = _Pinger(address, program, version, credential_of(auth, uid, gid, machine), timeout)
    if not json_output:
        click.echo(f"PING {program_name(program)} version {version} at {address}")
    statistics = Statistics()
    last_error: RPCError | None = None
    try:
        while count is None or statistics.sent < count:
            if statistics.sent:
                time.sleep(interval)
            last_error = _round(pinger, statistics, last_error, quiet=quiet, json_output=json_output)
    except KeyboardInterrupt:
        if not json_output:
            click.echo()
    finally:
        pinger.close()
    _report(pinger, statistics, json_output=json_output)
    if not statistics.times:
        sys.exit(EXIT_NO_CONNECTION if isinstance(last_error, NotConnected) else EXIT_FAILED)


def _highest(address: Address, program: int, timeout: float, *, json_output: bool) -> int:
    try:
        return _versions(address, program, timeout)[1]
    except NotConnected as error:
        fail(explain(error), EXIT_NO_CONNECTION, as_json=json_output)
    except RPCError as error:
        fail(f"{address}: {explain(error)}", as_json=json_output)


def _round(
    pinger: _Pinger, statistics: Statistics, last_error: RPCError | None, *, quiet: bool, json_output: bool
) -> RPCError | None:
    """One call and its line; the error if it had one, else the one before."""
    statistics.sent += 1
    number = statistics.sent
    try:
        seconds = pinger.once()
    except RPCError as error:
        _tell(f"seq={number} {explain(error)}", {"seq": number, "error": explain(error)}, quiet, json_output)
        return error
    statistics.times.append(seconds)
    milliseconds = round(seconds * 1000, 3)
    _tell(f"reply seq={number} time={milliseconds:.3f} ms", {"seq": number, "ms": milliseconds}, quiet, json_output)
    return last_error


def _tell(text: str, facts: dict[str, Any], quiet: bool, json_output: bool) -> None:  # noqa: FBT001, two switches
    if json_output:
        click.echo(json.dumps(facts))
    elif not quiet:
        click.echo(text)


def _report(pinger: _Pinger, statistics: Statistics, *, json_output: bool) -> None:
    summary = statistics.summary()
    if json_output:
        facts = {"sent": statistics.sent, "answered": len(statistics.times), "lost": statistics.lost, "ms": summary}
        click.echo(json.dumps({"summary": facts}))
        return
    share = 100 * statistics.lost / statistics.sent if statistics.sent else 0
    click.echo(f"--- {program_name(pinger.program)} at {pinger.address} ---")
    click.echo(f"{statistics.sent} calls, {len(statistics.times)} answered, {share:.1f}% lost")
    if summary:
        values = "/".join(f"{value:.3f}" for value in summary.values())
        click.echo(f"round trip {'/'.join(summary)} = {values} ms")
