"""``oncrpc serve-faults``: a server that is wrong on request."""

from __future__ import annotations

import json
import random
import sys
from typing import TYPE_CHECKING, Any

import click

from oncrpc.cli.common import EXIT_FAILED, Program, fail, out
from oncrpc.faults.answers import Answers, Echo, Table
from oncrpc.faults.rules import FAULTS, SELECTORS, Rule, parse_rule
from oncrpc.faults.script import Plan, Script

if TYPE_CHECKING:
    from collections.abc import Callable

    from oncrpc.cli.specs import SpecVersion

__all__ = ["serve_faults"]


def _rules(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> list[Rule]:
    try:
        return [parse_rule(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _list_words() -> None:
    console = out()
    for title, words in (("which calls", SELECTORS), ("what is done", FAULTS)):
        console.print(f"[bold]{title}[/]")
        for name, meaning in words.items():
            console.print(f"  {name:<16} {meaning}", markup=False)
        console.print()


def _answers(program: int | None, version: tuple[int, ...], spec: str | None) -> Answers:
    if spec is None:
        return Echo(program, min(version, default=0), max(version, default=0))
    from oncrpc.cli.specs import load_file
    from xdr.rpcl.errors import CompileError

    try:
        found = load_file(spec).versions
    except CompileError as error:
        fail(str(error), 2)
    if not found:
        msg = f"{spec} declares no program"
        raise click.BadParameter(msg, param_hint="--spec")
    number = found[0].program if program is None else program
    versions = [one for one in found if one.program == number and (not version or one.version in version)]
    if not versions:
        msg = f"{spec} declares no such version of program {number}"
        raise click.BadParameter(msg, param_hint="--spec")
    return Table(number, {one.version: _procedures(one) for one in versions})


def _procedures(version: SpecVersion) -> dict[int, Callable[[bytes], bytes]]:
    from oncrpc.cli.specs import example
    from xdr import codec, jsonform

    def answer(arguments: tuple[Any, ...], result: bytes) -> Callable[[bytes], bytes]:
        codecs = [codec(kind) for kind in arguments]

        def make(data: bytes) -> bytes:
            at = 0
            for one in codecs:
                _, at = one.decode_from(data, at)
            return result

        return make

    made = {}
    for procedure in version.procedures:
        kind = procedure.result
        result = b"" if kind is None else codec(kind).encode(jsonform.from_json(kind, example(kind)))
        made[procedure.number] = answer(procedure.arguments, result)
    return made


@click.command(short_help="Be a server that is wrong on request, to test clients with.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--tcp", "tcp_port", type=click.IntRange(0, 65535), help="TCP port; 0 takes a free one.")
@click.option("--udp", "udp_port", type=click.IntRange(0, 65535), help="UDP port; 0 takes a free one.")
@click.option("--unix", "unix_path", metavar="PATH", help="Unix-domain socket.")
@click.option("--program", type=Program(), help="Serve this program; else any.")
@click.option("--version", "versions", type=click.IntRange(0, 0xFFFFFFFF), multiple=True, help="Serve this version.")
@click.option(
    "--spec", type=click.Path(exists=True, dir_okay=False), help="Answer with values of this .x file's types."
)
@click.option(
    "--rule", "rules", multiple=True, callback=_rules, metavar="RULE", help="What to do wrong; may be repeated."
)
@click.option("--seed", type=int, default=0, show_default=True, help="For chance= and garbage: the same again.")
@click.option("--quiet", "-q", is_flag=True, help="Do not log calls.")
@click.option("--json", "json_output", is_flag=True, help="Addresses and calls as JSON objects, one a line.")
@click.option("--list", "list_only", is_flag=True, help="List the words of rules and exit.")
def serve_faults(
    *,
    host: str,
    tcp_port: int | None,
    udp_port: int | None,
    unix_path: str | None,
    program: int | None,
    versions: tuple[int, ...],
    spec: str | None,
    rules: list[Rule],
    seed: int,
    quiet: bool,
    json_output: bool,
    list_only: bool,
) -> None:
    """Serve calls, and do to the replies what the rules say.

    Without --spec every procedure is answered with its own arguments; with it, with a value of its result type. A
    rule is words: which calls it is for, and what is done; --list shows them all. Without any of --tcp, --udp and
    --unix, free TCP and UDP ports are taken.

    \b
    Examples:
      oncrpc serve-faults --tcp 2049 --rule 'proc=1 every=3 drop'
      oncrpc serve-faults --udp 0 --rule 'first=2 drop' --rule 'duplicate=3'
      oncrpc serve-faults --spec nfs.x --rule 'proc=4 status=SYSTEM_ERR' --rule 'chance=0.1 cut=20 '
      oncrpc serve-faults --tcp 0 --rule 'fragment=1 dribble=0.005'
    """  # noqa: D301 - click reads the backspace
    if list_only:
        _list_words()
        return
    plan = Plan(rules, random.Random(seed))  # noqa: S311, repeatable on purpose
    answers = _answers(program, versions, spec)
    if tcp_port is None and udp_port is None and unix_path is None:
        tcp_port = udp_port = 0

    def tell(script: Script, peer: str) -> None:
        call = script.call
        if json_output:
            facts = {"peer": peer, "over": call.over, "xid": call.xid, "program": call.program}
            facts |= {"version": call.version, "procedure": call.procedure, "faults": [*map(str, script.faults)]}
            click.echo(json.dumps(facts))
        else:
            click.echo(f"{call.over} {peer} {script}")

    try:
        addresses = _listen(host, tcp_port, udp_port, unix_path, plan, answers, (lambda *_: None) if quiet else tell)
    except OSError as error:
        fail(str(error), EXIT_FAILED)
    for address in addresses:
        click.echo(json.dumps({"listening": address}) if json_output else f"listening on {address}")
    sys.stdout.flush()
    _run(plan, json_output=json_output)


def _listen(  # noqa: PLR0917, what the command line gives
    host: str,
    tcp_port: int | None,
    udp_port: int | None,
    unix_path: str | None,
    plan: Plan,
    answers: Answers,
    tell: Callable[[Script, str], None],
) -> list[str]:
    from twisted.internet.error import CannotListenError

    from oncrpc.tx import reactor as chosen
    from oncrpc.tx.faults import FaultDatagrams, FaultFactory

    chosen.install()
    from twisted.internet import reactor as installed

    reactor: Any = installed
    addresses = []
    try:
        if tcp_port is not None:
            port = reactor.listenTCP(tcp_port, FaultFactory(reactor, plan, answers, "tcp", tell), interface=host)
            addresses.append(f"tcp:{_bracketed(host)}:{port.getHost().port}")
        if udp_port is not None:
            datagrams = FaultDatagrams(reactor, plan, answers, tell)
            port = reactor.listenUDP(udp_port, datagrams, interface=host, maxPacketSize=65536)
            addresses.append(f"udp:{_bracketed(host)}:{port.getHost().port}")
        if unix_path is not None:
            reactor.listenUNIX(unix_path, FaultFactory(reactor, plan, answers, "unix", tell))
            addresses.append(f"unix:{unix_path}")
    except CannotListenError as error:
        raise OSError(str(error)) from error
    return addresses


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _run(plan: Plan, *, json_output: bool) -> None:
    """Serve until interrupted, then say what was done."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    reactor.run()
    if json_output:
        click.echo(json.dumps({"applied": plan.applied}))
    elif plan.applied:
        click.echo("applied: " + ", ".join(f"{name} {count}" for name, count in sorted(plan.applied.items())))
