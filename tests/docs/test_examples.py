"""Every command and every example of README.md and docs/ is run, or says in the page's source why not."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import tomllib
from collections import Counter
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from ipcserver.config import Config
from tests import peers
from tests.docs.examples import RUN, SHOWN, Block, Python, Shell, blocks, indented, matches, pages
from tests.peers import ROOT, require
from xdr.rpcl.compiler import Settings, compile_file

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGES: Final = pages()

NAMESPACE: Final = ("docs/howto/call-anything.md", "docs/howto/register-a-program.md", "docs/reference/rpcbind-reg.md")
"""Pages that speak of port 111: they are run in a namespace of their own, with the real rpcbind and port 600."""

BIN: Final = Path(sys.executable).parent


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def free_port() -> int:
    """A port that nobody has, over TCP and UDP."""
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        stream.bind(("127.0.0.1", 0))
        port: int = stream.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        return port


def substitutions(port: int, faults: int) -> list[tuple[str, str]]:
    """What the pages write, and what is there in a test: the one place that says so."""
    return [
        (r"\$\(pgrep -f 'ipcserver serve'\)", "$(cat $SERVER_PID)"),
        (r"(?<![\w.])(\.venv/bin/|/usr/local/bin/)", f"{BIN}/"),
        (r"\bpip install\b", f"{BIN}/python -m pip install"),
        (r"(?m)(?<=\$ )sudo |^sudo ", ""),
        (r"\b6600\b", str(port)),
        (r"(?<=127\.0\.0\.1\.)25\.200\b", f"{port >> 8}.{port & 255}"),
        (r"\b6000\b", str(free_port())),
        (r"(?<=:)600\b|(?<=--port )600\b", str(port)),
        (r"\b2049\b", str(faults)),
    ]


START: Final = """#!/bin/sh
# Starts the server that the pages speak of, and comes back when it serves.
: > "$STATE.log"
ipcserver serve --state "$STATE" --listen 127.0.0.1 --port "$PORT" --portmapper "$PORTMAPPER" >> "$STATE.log" 2>&1 &
echo $! > "$SERVER_PID"
for i in $(seq 600); do
    grep -q 'serving program' "$STATE.log" && exit 0
    sleep 0.1
done
cat "$STATE.log"
exit 1
"""


def checkout(directory: Path) -> Path:
    """A copy of what pages use of the checkout, without what was built in it."""
    made = directory / "checkout"
    for folder in ("examples", "clients", "contrib", "ipcserver/spec", "oncrpc/spec", "rpcbind_reg/spec"):
        shutil.copytree(ROOT / folder, made / folder, ignore=shutil.ignore_patterns("build", "*.o", "ipcdemo"))
    return made


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_has_no_code_without_a_language(page: Path) -> None:
    assert [f"{name(page)}:{line}" for line in indented(page)] == []
    assert [block.place for block in blocks(page) if block.language not in (*RUN, *SHOWN)] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_is_not_run_says_why_and_nothing_else_does(page: Path) -> None:
    assert [block.place for block in blocks(page) if block.reason is not None and len(block.reason) < 10] == []
    assert [block.place for block in blocks(page) if block.reason is not None and block.language in SHOWN] == []


def test_most_examples_are_run() -> None:
    found = [block for page in PAGES for block in blocks(page) if block.language in RUN]
    left = [block for block in found if block.reason is not None]
    print(f"{len(found) - len(left)} blocks are run, {len(left)} are not:")
    for reason, count in Counter(str(block.reason) for block in left).most_common():
        print(f"{count:4} {reason}")
    assert len(left) * 3 < len(found)


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.language in RUN for b in blocks(p))], ids=name)
def test_the_examples_of_a_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    found = [block for block in blocks(page) if block.language in RUN and block.reason is None]
    with ExitStack() as stack:
        enter: Sequence[str] = ()
        port = free_port()
        replace = substitutions(port, free_port())
        portmapper = "none"
        if name(page) in NAMESPACE:
            namespace = stack.enter_context(peers.namespace(tmp_path))
            namespace.rpcbind()
            port, portmapper, replace = 600, "system", replace[:4]
            enter = [*namespace._enter, "env", f"--chdir={tmp_path / 'checkout'}"]
        home = checkout(tmp_path)
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "start_server").write_text(START)
        (tmp_path / "bin" / "start_server").chmod(0o755)
        shell = Shell(
            home,
            replace,
            {
                "PATH": f"{tmp_path / 'bin'}{os.pathsep}{BIN}{os.pathsep}{peers.environment()['PATH']}",
                "HOME": str(tmp_path),
                "IPCSERVER": f"127.0.0.1:{port}",
                "PORT": str(port),
                "PORTMAPPER": portmapper,
                "STATE": str(tmp_path / "state"),
                "SERVER_PID": str(tmp_path / "server.pid"),
                # A server that a page starts without more ado takes none of the machine's ports.
                "IPCSERVER_PORT": "0",
                "IPCSERVER_PORTMAPPER": "none",
                "IPCSERVER_STATE": str(tmp_path / "other-state"),
            },
            enter=enter,
        )
        stack.callback(shell.close)
        if any("gcc" in block.body or "make -C" in block.body for block in found):
            require("gcc", "make", "rpcgen", "libtirpc")
        for program in ("jq", "rpcinfo", "ss", "xxd"):
            if any(re.search(rf"\b{program} ", block.body) for block in found):
                require(program)
        if any(re.search(r"6600|[.:]600\b|localhost|IPCPROG|--port 600", block.body) for block in found):
            shell.type("start_server")
        python: Python | None = None
        for block in found:
            if block.language == "python" and "file" not in block.markers:
                if python is None:
                    python = Python(shell, home, enter)
                    stack.callback(python.close)
                python.run(block)
            else:
                run(block, shell, home)


def run(block: Block, shell: Shell, home: Path) -> None:
    """Do with a block what its language asks for."""
    if file := block.markers.get("file"):
        (home / file).write_text(shell.substitute(block.body))
    elif before := block.markers.get("before"):
        for command in before.splitlines():
            shell.type(command, place=f"{block.place} (before)")
    match block.language:
        case "console":
            shell.console(block)
        case "sh" if "file" not in block.markers:
            shell.script(block)
        case "x":
            path = home / block.markers.get("file", "example.x")
            path.write_text(block.body)
            compile_file(str(path), Settings())
        case "toml":
            known = {field.name for field in fields(Config)}
            assert set(tomllib.loads(block.body)) <= known, block.place
        case "json":
            json.loads(block.body)
        case "c":
            require("gcc")
            (home / "example.c").write_text(block.body)
            shell.type("gcc -fsyntax-only -Iclients/c example.c", place=block.place)


def test_expected_lines_must_come_in_their_order() -> None:
    assert matches(["a", "b ... c"], "a\nnoise\nb 1 2 c\n")
    assert not matches(["b", "a"], "a\nb\n")
    assert not matches(["missing"], "a\n")


def test_a_block_says_where_it_is_and_what_is_asked_of_it(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    found = list(blocks(page))
    assert found
    assert all(re.fullmatch(r"README\.md:\d+", block.place) for block in found)
