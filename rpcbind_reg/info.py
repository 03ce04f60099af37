"""``oncrpc info``: what runs where, as rpcinfo tells it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from oncrpc import sync as blocking
from oncrpc.cli.common import EXIT_FAILED, EXIT_NO_CONNECTION, Program, explain, fail
from oncrpc.cli.programs import program_name
from oncrpc.errors import CallRejected, NotConnected, ProgramMismatch, RPCError
from oncrpc.program import ClientStub, Procedure
from rpcbind_reg import client as conversations
from rpcbind_reg import sync
from rpcbind_reg.client import Place, RegistryError, RegistryUnavailable, default_netid, service_address
from rpcbind_reg.render import columns, mappings_table, mappings_text, printable, show, statistics_text

if TYPE_CHECKING:
    from oncrpc.address import Address
    from rpcbind_reg.mappings import Mapping

VERSIONS_MAX = 64
"""Most versions of a program that are called one by one; a hostile server can claim four thousand million."""


@click.command()
@click.argument("host", required=False)
@click.argument("program", type=Program(), required=False)
@click.argument("version", type=click.IntRange(0, 0xFFFFFFFF), required=False)
@click.option("--port", type=click.IntRange(1, 65535), default=conversations.REGISTRY_PORT, help="The registry's port.")
@click.option("--udp", is_flag=True, help="Call the program over UDP instead of TCP.")
@click.option("-s", "--short", is_flag=True, help="One line for each program.")
@click.option("-m", "--statistics", is_flag=True, help="What the registry has been asked.")
@click.option("-b", "--broadcast", is_flag=True, help="Ask all machines of the networks here; HOST is then left out.")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
@click.option(
    "--wait", type=click.FloatRange(0.1, 3600), default=5.0, show_default=True, help="Seconds for each answer."
)
def info(host: str | None, program: int | None, version: int | None, **options: Any) -> None:
    """List the programs of HOST, or of this machine; or see whether PROGRAM answers there, in which versions.

    \b
    oncrpc info                       what is registered here
    oncrpc info server.lab            what is registered there
    oncrpc info server.lab nfs        which versions of nfs answer (procedure 0, which does nothing)
    oncrpc info -m server.lab         statistics of its registry
    oncrpc info -b vxi11 1            which machines of the networks here serve a program
    """  # noqa: D301 - click reads the backspace
    as_json = bool(options["as_json"])
    try:
        if options["broadcast"]:
            _broadcast(host, program, options)
        elif options["statistics"]:
            _statistics(_place(host, options["port"]), options)
        elif program is not None and host is not None:
            _ping(Place(host, options["port"]), program, version, options)
        else:
            _list(_place(host, options["port"]), options)
    except (RegistryUnavailable, NotConnected) as error:
        fail(str(error), EXIT_NO_CONNECTION, as_json=as_json)
    except RegistryError as error:
        fail(str(error), EXIT_FAILED, as_json=as_json)
    except RPCError as error:
        fail(explain(error), EXIT_FAILED, as_json=as_json)


def _place(host: str | None, port: int) -> Place:
    return sync.local_place(port) if host is None else Place(host, port)


def _list(place: Place, options: dict[str, Any]) -> None:
    rows = sync.dump(place, timeout=options["wait"])
    if options["as_json"]:
        facts = [
            {
                "program": row.program,
                "name": program_name(row.program),
                "version": row.version,
                "netid": row.netid,
                "address": row.uaddr,
                "port": row.port,
                "owner": row.owner,
            }
            for row in rows
        ]
        click.echo(json.dumps(facts, indent=2))
    elif options["short"]:
        click.echo(columns([("program", "name", "versions", "netids", "owner"), *_short(rows)]))
    elif rows:
        show(mappings_table(rows, program_name), mappings_text(rows, program_name))
    else:
        click.echo(f"nothing is registered at {place}")


def _short(rows: list[Mapping]) -> list[tuple[str, ...]]:
    by_program: dict[int, list[Mapping]] = {}
    for row in rows:
        by_program.setdefault(row.program, []).append(row)
    lines: list[tuple[str, ...]] = []
    for program, own in by_program.items():
        name = program_name(program)
        versions = ",".join(str(version) for version in sorted({row.version for row in own}))
        netids = ",".join(dict.fromkeys(printable(row.netid) for row in own))
        owners = ",".join(dict.fromkeys(printable(row.owner) for row in own))
        lines.append((str(program), "" if name == str(program) else name, versions, netids, owners))
    return lines


def _statistics(place: Place, options: dict[str, Any]) -> None:
    counted = sync.read_statistics(place, timeout=options["wait"])
    if not options["as_json"]:
        click.echo(statistics_text(counted, program_name))
        return
    facts = {
        version: {
            "calls": row.calls,
            "sets": row.sets,
            "unsets": row.unsets,
            "lookups": [
                {"program": p, "version": v, "netid": n, "found": t.success, "not_found": t.failure}
                for (p, v, n), t in row.lookups.items()
            ],
        }
        for version, row in counted.by_version.items()
    }
    click.echo(json.dumps(facts, indent=2))


def _broadcast(host: str | None, program: int | None, options: dict[str, Any]) -> None:
    # With -b the first two arguments are program and version: there is no host.
    if host is None:
        message = "-b takes a program: oncrpc info -b PROGRAM [VERSION]"
        raise click.UsageError(message)
    number = Program().convert(host, None, None)
    version = 1 if program is None else program
    answers = []
    for found in sync.discover(number, version, port=options["port"], wait=options["wait"]):
        answers.append({"host": found.host, "address": found.uaddr})
        if not options["as_json"]:
            click.echo(f"{found.host}  {found.uaddr}")
    if options["as_json"]:
        click.echo(json.dumps(answers, indent=2))
    elif not answers:
        fail(
            f"nobody answered for program {number} version {version}; registries pass broadcasts on only if told to "
            f"(rpcbind -r, rpcbind-reg serve --callit)"
        )


class _Null(ClientStub):
    """Calls procedure 0 of any program."""

    procedures = (Procedure(0, "NULL", "null", (), None),)

    def null(self) -> None:
        """Call it."""
        self._call(0)


def _ping(place: Place, program: int, version: int | None, options: dict[str, Any]) -> None:
    netid = default_netid(place.host, "udp" if options["udp"] else "tcp")
    wait = options["wait"]
    asked = 0 if version is None else version
    address = _find(place, program, asked, netid, wait, any_version=version is None)
    versions = [version] if version is not None else _versions(address, program, wait)
    results = [{"version": each, "answer": _call_null(address, program, each, wait)} for each in versions]
    good = all(result["answer"] == "ready" for result in results)
    if options["as_json"]:
        click.echo(json.dumps({"program": program, "address": str(address), "versions": results}, indent=2))
    else:
        for result in results:
            click.echo(f"{program_name(program)} version {result['version']} at {address}: {result['answer']}")
    if not good:
        sys.exit(EXIT_FAILED)


def _find(place: Place, program: int, version: int, netid: str, wait: float, *, any_version: bool) -> Address:
    if not any_version:
        return service_address(place, netid, sync.find(program, version, place, netid, timeout=wait))
    for row in sync.dump(place, timeout=wait):
        if (row.program, row.netid) == (program, netid):
            return service_address(place, netid, row.uaddr)
    message = f"the registry at {place} knows no program {program} on {netid}"
    raise RegistryError(message)


def _versions(address: Address, program: int, wait: float) -> list[int]:
    """Ask for a version that cannot be there: the answer names those that are (as rpcinfo does)."""
    try:
        _call(address, program, 0, wait)
    except ProgramMismatch as error:
        if not 0 <= error.high - error.low < VERSIONS_MAX:
            return [error.low, error.high]
        return list(range(error.low, error.high + 1))
    return [0]


def _call(address: Address, program: int, version: int, wait: float) -> None:
    stub_class: type[_Null] = type("Null", (_Null,), {"program": program, "version": version})
    with blocking.connect(stub_class, address, timeout=wait) as stub:
        stub.null()


def _call_null(address: Address, program: int, version: int, wait: float) -> str:
    try:
        _call(address, program, version, wait)
    except CallRejected as error:
        return f"there, but refuses: {error}"
    except RPCError as error:
        return explain(error)
    return "ready"
