"""The ``rpcbind-reg`` command: look at a registry, change it, be one."""

from __future__ import annotations

import json
import os
import pwd
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from oncrpc.cli.common import Program
from oncrpc.cli.programs import program_name
from oncrpc.errors import RPCError
from rpcbind_reg import sync
from rpcbind_reg.client import REGISTRY_PORT, SOCKET_PATHS, Place, RegistryUnavailable, explain_refusal
from rpcbind_reg.mappings import Mapping, MappingLimits
from rpcbind_reg.render import mappings_table, mappings_text, show
from rpcbind_reg.uaddr import TRANSPORTS, UniversalAddressError, join, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping as Mapping_

EXIT_REFUSED = 1
EXIT_NO_REGISTRY = 3

where = click.option(
    "--at",
    metavar="PLACE",
    help="The registry: HOST, HOST:PORT, [IPV6]:PORT or /PATH of its local socket.  [default: this machine's]",
)
wait = click.option(
    "--wait", type=click.FloatRange(0.1, 3600), default=sync.TIMEOUT, show_default=True, help="Seconds."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ipcserver", prog_name="rpcbind-reg")
def group() -> None:
    """Look at a registry of Sun RPC programs (rpcbind, portmapper), change it, or be one.

    \b
    Exit status: 0 all is well; 1 the registry refused; 2 the command line is wrong; 3 no registry answers.
    """  # noqa: D301 - click reads the backspace


def place_of(text: str | None) -> Place:
    """Return the registry that a text names; this machine's for None.

    Raises:
        click.UsageError: It names none.
    """
    if text is None:
        return sync.local_place()
    if text.startswith("/"):
        return Place(text)
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
        return Place(text.strip("[]"))
    if not host or not port.isdigit() or not 0 < int(port) < 65536:  # noqa: PLR2004 - ports
        message = f"{text!r} is no place: HOST, HOST:PORT, [IPV6]:PORT or /PATH"
        raise click.UsageError(message)
    return Place(host.strip("[]"), int(port))


def ask(question: Callable[[], Any]) -> Any:
    """Ask a registry; end the command in one line if that fails."""
    try:
        return question()
    except RegistryUnavailable as error:
        end(str(error), EXIT_NO_REGISTRY)
    except RPCError as error:
        end(explain_refusal(error), EXIT_REFUSED)


def end(message: str, status: int) -> NoReturn:
    """Say what went wrong, and exit."""
    click.echo(f"rpcbind-reg: {message}", err=True)
    sys.exit(status)


@group.command("list")
@click.argument("host", required=False)
@click.option("--json", "as_json", is_flag=True, help="A JSON array.")
@wait
def list_(host: str | None, *, as_json: bool, wait: float) -> None:
    """List what is registered on HOST, or on this machine."""
    place = place_of(host)
    rows: list[Mapping] = ask(lambda: sync.dump(place, timeout=wait))
    if as_json:
        click.echo(json.dumps([row_facts(row) for row in rows], indent=2))
    elif not rows:
        click.echo(f"nothing is registered at {place}")
    else:
        show(mappings_table(rows, program_name), mappings_text(rows, program_name))


def row_facts(row: Mapping) -> dict[str, Any]:
    """Return a mapping for JSON."""
    return {
        "program": row.program,
        "name": program_name(row.program),
        "version": row.version,
        "netid": row.netid,
        "address": row.uaddr,
        "port": row.port,
        "owner": row.owner,
    }


@group.command("set")
@click.argument("program", type=Program())
@click.argument("version", type=click.IntRange(0, 0xFFFFFFFF))
@click.argument("netid")
@click.argument("address")
@where
@wait
def set_(program: int, version: int, netid: str, address: str, at: str | None, *, wait: float) -> None:
    """Register a program: ADDRESS is HOST:PORT, PORT (everywhere), /PATH or a universal address.

    \b
    rpcbind-reg set 536871512 1 tcp 600
    rpcbind-reg set 536871512 1 tcp6 [::1]:600
    rpcbind-reg set 536871512 1 udp 0.0.0.0.2.88
    """  # noqa: D301 - click reads the backspace
    mapping = Mapping(program, version, netid, _uaddr(netid, address))
    place = place_of(at)
    if ask(lambda: sync.register(mapping, place=place, timeout=wait)):
        click.echo(f"registered {mapping}")
        return
    rows: list[Mapping] = ask(lambda: sync.dump(place, timeout=wait))
    for row in rows:
        if (row.program, row.version, row.netid) == (program, version, netid):
            whose = f", owner {row.owner}" if row.owner else ""
            end(f"{row.uaddr} is registered for it already{whose}; remove that first with unset", EXIT_REFUSED)
    end(f"the registry at {place} answered no", EXIT_REFUSED)


def _uaddr(netid: str, address: str) -> str:
    transport = TRANSPORTS.get(netid)
    if transport is None:
        message = f"{netid!r} is no netid known here: {', '.join(sorted(TRANSPORTS))}"
        raise click.UsageError(message)
    try:
        if address.isdigit() and transport.any_host:
            return join(transport.any_host, int(address))
        host, colon, port = address.rpartition(":")
        if colon and port.isdigit() and transport.any_host:
            return join(host.strip("[]"), int(port))
        parse(netid, address)
    except UniversalAddressError as error:
        raise click.UsageError(str(error)) from error
    return address


@group.command("unset")
@click.argument("program", type=Program())
@click.argument("version", type=click.IntRange(0, 0xFFFFFFFF))
@click.argument("netid", required=False, default="")
@where
@wait
def unset_(program: int, version: int, netid: str, at: str | None, *, wait: float) -> None:
    """Remove a program's registrations: of one NETID, or of all of them."""
    place = place_of(at)

    def present() -> list[Mapping]:
        rows = sync.dump(place, timeout=wait)
        return [r for r in rows if (r.program, r.version) == (program, version) and netid in ("", r.netid)]

    before: list[Mapping] = ask(present)
    if not before:
        click.echo("nothing of the kind is registered")
        return
    ask(lambda: sync.unregister(program, version, netid, place=place, timeout=wait))
    left: list[Mapping] = ask(present)
    for row in before:
        if row not in left:
            click.echo(f"unregistered {row}")
    if left:
        owners = ", ".join(sorted({row.owner or "somebody else" for row in left}))
        end(f"{len(left)} stayed: they belong to {owners}; only their owner and root may remove them", EXIT_REFUSED)


@group.command("serve")
@click.option(
    "-l",
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help="IP address to listen on, several times if need be; 0.0.0.0 and :: are every network.  [default: loopback]",
)
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=REGISTRY_PORT, show_default=True)
@click.option(
    "--socket",
    "path",
    default=SOCKET_PATHS[0],
    show_default=True,
    help="The local socket, by which registrants are known; an empty text for none.",
)
@click.option(
    "--trust",
    multiple=True,
    metavar="NETWORK",
    help="Answer datagrams from this network with more than they sent.  [default: loopback]",
)
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), help="Keep the table here; warm start.")
@click.option("--callit", is_flag=True, help="Pass calls on to other programs: broadcasts need it. Off by default.")
@click.option(
    "--entries-per-owner",
    type=click.IntRange(1),
    default=MappingLimits().entries_per_owner,
    show_default=True,
    help="Most entries of one user; root is bound by the table alone.",
)
@click.option("-u", "--user", help="Become this user once the ports are bound.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def serve_(**options: Any) -> None:
    """Be the machine's registry: portmap version 2, rpcbind versions 3 and 4.

    It takes registrations from this machine only, keeps what belongs to whom, and stops at SIGTERM or SIGINT.
    Sockets passed by systemd (rpcbind.socket) are used instead of --listen, --port and --socket.
    """
    # Before anything imports Twisted, which takes the sockets' number out of the environment.
    passed = [socket.socket(fileno=number) for number in passed_descriptors(os.environ, os.getpid())]
    from oncrpc.tx.reactor import install

    reactor: Any = install()
    begin_logging(options["log_format"])
    service = make_service(reactor=reactor, passed=passed, **options)
    try:
        service.privilegedStartService()
        if options["user"]:
            become(options["user"])
        service.startService()
    except OSError as error:
        end(str(error), EXIT_REFUSED)
    except Exception as error:
        from twisted.internet.error import CannotListenError

        if isinstance(error, CannotListenError | ValueError):
            end(_listening_failed(error, options["port"]), EXIT_REFUSED)
        raise
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


def make_service(*, reactor: Any, **options: Any) -> Any:
    """Return a PortmapperService as the options of ``serve`` describe it."""
    from oncrpc.trust import LOOPBACK, Trust
    from rpcbind_reg.access import CallitPolicy
    from rpcbind_reg.registry import RegistryPolicy
    from rpcbind_reg.tx.embedded import PortmapperService, default_endpoints

    hosts = options["listen"] or ("127.0.0.1", "::1")
    try:
        trust = Trust((*LOOPBACK, *options["trust"]))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return PortmapperService(
        options["passed"] or default_endpoints(hosts, port=options["port"], path=options["path"] or None),
        policy=RegistryPolicy(
            limits=MappingLimits(entries_per_owner=options["entries_per_owner"]),
            callit=CallitPolicy(enabled=options["callit"]),
        ),
        trust=trust,
        state_file=options["state"],
        reactor=reactor,
    )


def passed_descriptors(environment: Mapping_[str, str], process: int) -> range:
    """Return the descriptors of the sockets that systemd passed to this process (sd_listen_fds(3))."""
    count = environment.get("LISTEN_FDS", "")
    mine = environment.get("LISTEN_PID") == str(process) and count.isdigit()
    return range(3, 3 + int(count) if mine else 3)


def begin_logging(log_format: str) -> None:
    """Write Twisted's log to standard error, as text for people or one JSON object a line."""
    from twisted.logger import globalLogBeginner, jsonFileLogObserver, textFileLogObserver

    make = jsonFileLogObserver if log_format == "json" else textFileLogObserver
    globalLogBeginner.beginLoggingTo([make(sys.stderr)], redirectStandardIO=False)


def become(name: str) -> None:
    """Become another user for good.

    Raises:
        OSError: There is no such user, or this one may not become it.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        message = f"there is no user {name!r}"
        raise OSError(message) from None
    os.initgroups(name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def _listening_failed(error: Exception, port: int) -> str:
    if os.geteuid() != 0 and port < 1024:  # noqa: PLR2004 - privileged ports
        return (
            f"{error}; port {port} needs root. As an ordinary user: "
            f"rpcbind-reg serve --port 6111 --socket ''; clients then ask HOST:6111"
        )
    return str(error)


def main() -> None:
    """Run the command line."""
    try:
        group(prog_name="rpcbind-reg")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


if __name__ == "__main__":
    main()
