"""``oncrpc check``: is that server right?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from oncrpc.check.case import GROUPS, Case, Status
from oncrpc.check.groups import all_cases
from oncrpc.check.probe import Target
from oncrpc.check.report import as_json, as_junit
from oncrpc.check.runner import Result, Suite, choose
from oncrpc.cli.common import EXIT_FAILED, EXIT_NO_CONNECTION, Program, fail, find_server, out, server_options
from oncrpc.cli.programs import program_name

if TYPE_CHECKING:
    from rich.console import Console

    from oncrpc.address import Address

__all__ = ["check"]

MARKS = {
    Status.PASS: "[green]✓[/]",
    Status.FAIL: "[bold red]✗[/]",
    Status.WARN: "[yellow]![/]",
    Status.SKIP: "[dim]-[/]",
}
PLAIN_MARKS = {Status.PASS: "ok  ", Status.FAIL: "FAIL", Status.WARN: "warn", Status.SKIP: "skip"}


def _list_cases(cases: list[Case]) -> None:
    console = out()
    for case in cases:
        where = "" if len(case.transports) > 2 else f" [{', '.join(sorted(case.transports))}]"  # noqa: PLR2004, all
        hint = " (destructive)" if case.destructive else ""
        console.print(f"{case.code:<6} {escape(case.title + where + hint)}  [dim]{case.section}[/]")


class _Printer:
    """Prints results as they come, under their group's title."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self._console, self._verbose, self._group = console, verbose, ""
        fancy = console.is_terminal and "utf" in console.encoding.lower()
        self._marks = MARKS if fancy else PLAIN_MARKS

    def tell(self, result: Result) -> None:
        """Print one."""
        case = result.case
        if result.status is Status.SKIP and not self._verbose:
            return
        if case.group != self._group:
            self._group = case.group
            self._console.print(f"\n[bold]{GROUPS[case.group]}[/]")
        shown = f"  {self._marks[result.status]} {case.code:<6} {escape(case.title)}"
        self._console.print(f"[dim]{shown}[/]" if result.status is Status.SKIP else shown)
        if result.status in (Status.FAIL, Status.WARN) or self._verbose:
            self._details(result)

    def _details(self, result: Result) -> None:
        lines = []
        if result.status is not Status.SKIP:
            quote = result.case.quote
            quote = quote if quote.startswith("(") else f'"{quote}"'
            lines.append(("rule", f"{result.case.section}: {quote}"))
        sent = result.sent if len(result.sent) <= 4 else (*result.sent[:3], f"... {len(result.sent)} messages in all")  # noqa: PLR2004
        lines += [("sent", line) for line in sent]
        if result.expected:
            lines.append(("expected", result.expected))
        lines.append(("got", result.got))
        if self._console.is_terminal:
            table = Table.grid(padding=(0, 2, 0, 0))
            table.add_column(style="dim", no_wrap=True)
            table.add_column(overflow="fold")
            for name, text in lines:
                table.add_row(name, escape(_printable(text)))
            self._console.print(Padding(table, (0, 0, 0, 11)))
            return
        for name, text in lines:
            self._console.print(f"           {name:<8}  {escape(_printable(text))}")


def _printable(text: str) -> str:
    """Without control characters: some of it came from the server."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _summary(suite: Suite, seconds: float) -> str:
    words = [
        f"{suite.count(Status.PASS)} passed",
        f"{suite.count(Status.FAIL)} failed",
        f"{(warned := suite.count(Status.WARN))} warning{'s' * (warned != 1)}",
        f"{suite.count(Status.SKIP)} skipped",
    ]
    return f"{len(suite.results)} checks: {', '.join(words)} ({seconds:.1f} s)"


@click.command(short_help="Check a server against RFC 5531, rule by rule.")
@click.argument("host", required=False)
@click.argument("program", type=Program(), required=False, metavar="[PROG]")
@click.argument("version", type=click.IntRange(0, 0xFFFFFFFF), required=False, metavar="[VERS]")
@server_options
@click.option("--only", multiple=True, metavar="CODE", help="Only this check (RM-3) or group (RM); may be repeated.")
@click.option(
    "--spec", type=click.Path(exists=True, dir_okay=False), help="The program's .x file: checks GARBAGE_ARGS."
)
@click.option("--proc", "procedures", type=int, multiple=True, help="Number of a procedure that takes arguments.")
@click.option("--destructive", is_flag=True, help="Also the checks that may take memory or service from others.")
@click.option("--strict", is_flag=True, help="Warnings count as failures.")
@click.option("--wait", default=2.0, show_default=True, metavar="SECONDS", help="How long an answer may take.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML to this file.")
@click.option("--json", "json_output", is_flag=True, help="Print one JSON object.")
@click.option("--verbose", "-v", is_flag=True, help="Show what was sent and got for every check, and what was skipped.")
@click.option("--list", "list_only", is_flag=True, help="List the checks and exit.")
def check(
    host: str | None,
    program: int | None,
    version: int | None,
    *,
    transport: str | None,
    port: int | None,
    only: tuple[str, ...],
    spec: str | None,
    procedures: tuple[int, ...],
    destructive: bool,
    strict: bool,
    wait: float,
    junit: Path | None,
    json_output: bool,
    verbose: bool,
    list_only: bool,
) -> None:
    """Check the server on HOST that serves version VERS of program PROG, rule by rule.

    Every check has a stable code. What fails is shown with the sentence of the RFC, what was sent, what was
    expected and what came. Only the NULL procedure and procedures that do not exist are called, so that nothing of
    the server's is changed; with --spec or --proc, others are called without their arguments.

    \b
    Examples:
      oncrpc check localhost nfs 3
      oncrpc check tcp:127.0.0.1:600 IPCPROG 1 --junit report.xml
      oncrpc check 192.0.2.7 100000 2 --udp --only UD
    """  # noqa: D301 - click reads the backspace
    try:
        cases = choose(all_cases(), only)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--only") from error
    if list_only:
        _list_cases(cases)
        return
    if host is None or program is None or version is None:
        msg = "HOST, PROG and VERS are needed (or --list)"
        raise click.UsageError(msg)
    address = find_server(host, program, version, transport, port, wait)
    takers = procedures + (_argument_procedures(spec, program, version) if spec else ())
    target = _target(address, program, version, wait, takers)
    suite = Suite(target, cases, destructive=destructive)
    if missing := suite.answers():
        fail(
            f"{target} does not answer a NULL call ({missing}): nothing can be checked",
            EXIT_NO_CONNECTION,
            as_json=json_output,
        )
    console = out()
    if json_output:
        suite.run()
        click.echo(as_json(suite))
    else:
        console.print(f"Checking {escape(program_name(program))} version {version} at [bold]{target}[/]")
        suite.run(_Printer(console, verbose=verbose).tell)
        colour = "green" if suite.passed(strict=strict) else "red"
        console.print(f"\n[bold {colour}]{_summary(suite, sum(result.seconds for result in suite.results))}[/]")
    if junit is not None:
        junit.write_text(as_junit(suite), encoding="utf-8")
    sys.exit(0 if suite.passed(strict=strict) else EXIT_FAILED)


def _target(address: Address, program: int, version: int, wait: float, procedures: tuple[int, ...]) -> Target:
    return Target(
        address.transport,
        address.host,
        address.port,
        program,
        version,
        path=address.path,
        wait=wait,
        argument_procedures=tuple(sorted(set(procedures))),
    )


def _argument_procedures(spec: str, program: int, version: int) -> tuple[int, ...]:
    """Those procedures of the spec that take arguments: calls without them must fail to decode."""
    from oncrpc.cli.specs import load_file

    found = load_file(spec).version(program, version)
    if found is None:
        msg = f"{spec} declares no program {program:#x} version {version}"
        raise click.BadParameter(msg, param_hint="--spec")
    return tuple(procedure.number for procedure in found.procedures if procedure.arguments and procedure.number)
