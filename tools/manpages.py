"""The manual pages of the four commands, made from the commands themselves: ``python tools/manpages.py contrib/man``.

One page for each command, its subcommands in sections of it, as the text of ``--help`` has them. The pages are
committed, so that a wheel needs no build step; ``tests/docs/test_manpages.py`` holds them to the commands.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

__all__ = ["COMMANDS", "Node", "Option", "Page", "page", "roff"]


@dataclass(frozen=True)
class Page:
    """What a command's page says beside what the command knows of itself."""

    where: str
    """module:attribute of the click command"""
    summary: str
    """the line of apropos(1)"""
    environment: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    status: tuple[tuple[str, str], ...] = ()
    see_also: tuple[str, ...] = ()


_STATUS: Final = (("0", "All is well."), ("1", "Refused, failed, or not there."), ("2", "The command line is wrong."))

COMMANDS: Final = {
    "ipcserver": Page(
        "ipcserver.cli:main",
        "System V IPC over Sun RPC: the server, and commands that use it",
        environment=(
            ("IPCSERVER", "Where the commands look for a server: HOST[:PORT], unix:/PATH or udp:HOST:PORT."),
            (
                "IPCSERVER_LISTEN, IPCSERVER_PORT, ...",
                "Each setting of serve: IPCSERVER_ and the option's name in capital letters. A flag wins over it.",
            ),
            ("LISTEN_FDS", "Sockets from systemd take the place of --listen, --port and --socket."),
        ),
        files=(
            ("/var/lib/ipcserver/journal.sqlite", "The journal of a server that root or systemd started."),
            ("~/.local/state/ipcserver/journal.sqlite", "That of an ordinary user."),
            ("ipcserver.sock", "The local socket, in the same folder."),
        ),
        status=(
            ("0", "Done; what was sent is on the server's disk."),
            ("1", "The server refused: no such key, no permission."),
            ("2", "The command line is wrong."),
            ("3", "No server was found, or it could not be reached."),
            ("4", "Nothing there, or no room, within the time allowed."),
        ),
        see_also=("oncrpc(1)", "rpcbind-reg(1)", "xdr(1)", "ipcs(1)", "ipcclient(3)", "msgop(2)", "semop(2)"),
    ),
    "oncrpc": Page(
        "oncrpc.cli:_group",
        "look at Sun RPC servers, call them, check them; be a wrong one",
        status=(
            ("0", "All is well; any ping was answered; no check failed."),
            ("1", "The server refused, did not answer, or failed a check; the program is not registered."),
            ("2", "The command line, the JSON or the specification is wrong."),
            ("3", "There is no connection."),
        ),
        see_also=("ipcserver(1)", "rpcbind-reg(1)", "xdr(1)", "rpcinfo(8)", "rpc(5)"),
    ),
    "rpcbind-reg": Page(
        "rpcbind_reg.cli:group",
        "list and change the registrations of Sun RPC programs, or be the registry",
        files=(("/run/rpcbind.sock", "The registry's local socket, by which it knows who registers."),),
        status=(
            ("0", "All is well."),
            ("1", "The registry refused, or does not know the program."),
            ("2", "The command line is wrong."),
            ("3", "No registry answers."),
        ),
        see_also=("oncrpc(1)", "ipcserver(1)", "rpcbind(8)", "rpcinfo(8)"),
    ),
    "xdr": Page(
        "xdr.cli:main",
        "compile .x files to Python, decode and encode XDR",
        status=_STATUS,
        see_also=("oncrpc(1)", "ipcserver(1)", "rpcgen(1)"),
    ),
}
"""The commands that the wheel installs."""


@dataclass(frozen=True)
class Option:
    """An option or argument, as a reader sees it."""

    names: tuple[str, ...]
    metavar: str
    text: str


@dataclass(frozen=True)
class Node:
    """A command or subcommand, as a reader sees it."""

    name: str
    """the whole name: ipcserver journal check"""
    synopsis: tuple[str, ...]
    """the words of its use, behind the name"""
    paragraphs: tuple[tuple[bool, str], ...]
    """its help: whether the lines are kept as they are, and the text"""
    options: tuple[Option, ...]
    children: tuple[Node, ...] = field(default=())


def _paragraphs(text: str) -> tuple[tuple[bool, str], ...]:
    """Cut a help text at its empty lines; click marks a paragraph whose lines stay by a backspace before it."""
    found: list[tuple[bool, str]] = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text).split("\f")[0]):
        kept = block.lstrip("\n ").startswith("\b")
        lines = [line for line in block.splitlines() if line.strip() != "\b"]
        body = "\n".join(lines) if kept else " ".join(line.strip() for line in lines)
        if body.strip():
            found.append((kept, body.strip("\n")))
    return tuple(found)


def _option(parameter: click.Parameter, context: click.Context) -> Option | None:
    if isinstance(parameter, click.Argument):
        return None
    record = parameter.get_help_record(context)
    if record is None:  # hidden
        return None
    shown = " ".join(record[1].split())
    takes = isinstance(parameter, click.Option) and not parameter.is_flag and not parameter.count
    return Option((*parameter.opts, *parameter.secondary_opts), parameter.make_metavar(context) if takes else "", shown)


def node(command: click.Command, name: str, parent: click.Context | None = None) -> Node:
    """Describe a command and all below it.

    Args:
        command: It.
        name: Its whole name.
        parent: The context of the command above it.
    """
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent)
    children = []
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None and not found.hidden:
                children.append(node(found, f"{name} {inner}", context))
    options = [_option(parameter, context) for parameter in command.get_params(context)]
    return Node(
        name,
        tuple(command.collect_usage_pieces(context)),
        _paragraphs(command.help or ""),
        tuple(option for option in options if option is not None and "--help" not in option.names),
        tuple(children),
    )


def page(name: str) -> Node:
    """Describe one of :data:`COMMANDS`, by its name."""
    module, _, attribute = COMMANDS[name].where.partition(":")
    return node(getattr(importlib.import_module(module), attribute), name)


_SPECIAL: Final = (
    ("\\", "\\e"),
    ("-", "\\-"),
    ("'", "\\(aq"),
    ("`", "\\(ga"),
    ("^", "\\(ha"),
    ("~", "\\(ti"),
    ("…", "..."),
    ("✓", "+"),
    ("✗", "x"),
)


def _escape(text: str) -> str:
    """Text as roff takes it: no command at a line's begin, and ASCII's own quotes and dashes."""
    for plain, written in _SPECIAL:
        text = text.replace(plain, written)
    return re.sub(r"(?m)^(?=[.])", r"\\&", text)


def _filled(text: str) -> str:
    """Running text in lines that a diff can show; roff fills them again."""
    return _escape(textwrap.fill(text, 76, break_long_words=False, break_on_hyphens=False))


def _bold(text: str) -> str:
    return f"\\fB{_escape(text)}\\fP"


def _options(options: tuple[Option, ...]) -> list[str]:
    lines = []
    for option in options:
        names = ", ".join(_bold(name) for name in option.names)
        value = f" \\fI{_escape(option.metavar)}\\fP" if option.metavar else ""
        lines += [".TP", names + value, _filled(option.text)]
    return lines


def _text(paragraphs: tuple[tuple[bool, str], ...]) -> list[str]:
    lines = []
    for number, (kept, text) in enumerate(paragraphs):
        if number:
            lines.append(".PP")
        lines += [".nf", *_escape(text).splitlines(), ".fi"] if kept else [_filled(text)]
    return lines


def _walk(found: Node) -> list[Node]:
    return [found, *(deeper for child in found.children for deeper in _walk(child))]


def roff(name: str) -> str:
    """Write a command's manual page, section 1."""
    extra, top = COMMANDS[name], page(name)
    lines = [
        '.\\" Made by tools/manpages.py from the command itself; do not edit.',
        f'.TH {name.upper()} 1 "" "ipcserver" "User Commands"',
        ".SH NAME",
        f"{_escape(name)} \\- {_escape(extra.summary)}",
        ".SH SYNOPSIS",
    ]
    leaves = [each for each in _walk(top) if not each.children]
    for number, each in enumerate(leaves):
        lines += [".br"] if number else []
        lines.append(" ".join([_bold(each.name), *map(_escape, each.synopsis)]))
    lines += [".SH DESCRIPTION", *_text(top.paragraphs)]
    if top.options:
        lines += [".SH OPTIONS", *_options(top.options)]
    lines.append(".SH COMMANDS")
    for each in _walk(top)[1:]:
        lines += [f'.SS "{_escape(each.name.partition(" ")[2])}"', *_text(each.paragraphs), *_options(each.options)]
    for title, rows in (("EXIT STATUS", extra.status), ("ENVIRONMENT", extra.environment), ("FILES", extra.files)):
        if rows:
            lines.append(f".SH {title}")
            for word, text in rows:
                lines += [".TP", _bold(word), _filled(text)]
    others = []
    for other in extra.see_also:
        word, _, section = other.partition("(")
        others.append(f".BR {_escape(word)} ({section.rstrip(')')})")
    lines += [".SH SEE ALSO", *(f"{line} ," for line in others[:-1]), others[-1]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for each in COMMANDS:
        (folder / f"{each}.1").write_text(roff(each))
