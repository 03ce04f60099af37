"""The examples of the documentation: what is in the pages, and how each kind is run.

A page's blocks are run in their order: its commands in one shell, its Python in one process. What a reader must have
beforehand stands in a comment before the block, which readers of the page do not see:

- ``<!-- not run: REASON -->``: nobody can run it here (another machine, root's own files, a choice).
- ``<!-- before: COMMANDS -->``: run these first, in the block's language.
- ``<!-- after: COMMANDS -->``: run these behind it, to see that it did what the page says.
- ``<!-- file: NAME -->``: the block is the content of this file.
- ``<!-- stays -->``: the command does not end by itself: it must say something and still be there, then it is ended.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.peers import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["RUN", "SHOWN", "Block", "Python", "Shell", "blocks", "indented", "matches", "pages"]

RUN: Final = ("console", "sh", "python", "toml", "json", "x", "c", "makefile")
"""Languages of blocks that do something."""

SHOWN: Final = ("text", "ini", "lua")
"""Languages of blocks that are output, pictures or settings of other programs."""

_MARKER: Final = re.compile(r"<!-- (not run|before|after|file|stays)(?:: ?(.*?))? ?-->", re.DOTALL)
_BLOCK: Final = re.compile(
    r"(?P<markers>(?:^<!-- (?:not run|before|after|file|stays).*?-->\n)*)^```(?P<language>[^\n]*)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
TIMEOUT: Final = 120.0


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    body: str
    markers: Mapping[str, str]

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def reason(self) -> str | None:
        """Why it is not run."""
        return self.markers.get("not run")


def pages() -> list[Path]:
    """All pages whose examples are run."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """Give the fenced blocks of a page; directives of the site are none."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        if found["language"].startswith("{"):
            continue
        line = text.count("\n", 0, found.start("language")) + 1
        markers = {name: value.strip() for name, value in _MARKER.findall(found["markers"])}
        yield Block(page, line, found["language"], found["body"], markers)


def indented(page: Path) -> list[int]:
    """The lines where an indented code block begins: such blocks have no language, so nobody can tell what they are."""
    text = re.sub(r"(?ms)^```.*?^```$", lambda m: "\n" * m[0].count("\n"), page.read_text())
    found, in_list, before = [], False, ""
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"(\d+\.|[-*]) ", line):
            in_list = True
        elif line and not line.startswith(" "):
            in_list = False
        if line.startswith("    ") and not before and not in_list:
            found.append(number)
        before = line
    return found


def matches(expected: Sequence[str], output: str) -> bool:
    """Whether lines appear in the output, in their order; ``...`` stands for anything within a line."""
    lines = iter(output.splitlines())
    patterns = [re.compile(".*".join(map(re.escape, line.strip().split("...")))) for line in expected]
    return all(any(pattern.fullmatch(line.strip()) for line in lines) for pattern in patterns)


class Shell:
    """A bash that a page's commands are typed into, one after the other.

    Args:
        directory: Where it begins.
        replace: What stands for what in commands, as (pattern, replacement).
        variables: Its environment beside that of peers.
        enter: A command that it is run by (to be inside a namespace).
    """

    def __init__(
        self,
        directory: Path,
        replace: Sequence[tuple[str, str]] = (),
        variables: Mapping[str, str] | None = None,
        enter: Sequence[str] = (),
    ) -> None:
        self.replace = replace
        self._output = b""
        self._number = 0
        self.process = subprocess.Popen(
            [*enter, "bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment(**(variables or {})),
            start_new_session=True,
        )

    def substitute(self, text: str) -> str:
        """Put the test's ports and paths in place of the page's."""
        for pattern, replacement in self.replace:
            text = re.sub(pattern, lambda _: replacement, text)  # noqa: B023 - called at once
        return text

    def _read(self, timeout: float) -> None:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        if select.select([descriptor], [], [], timeout)[0]:
            self._output += os.read(descriptor, 65536)

    def type(self, command: str, expected: Sequence[str] = (), *, place: str = "") -> None:
        """Type a command, wait for its end, and compare what it printed; a failure fails the test."""
        assert self.process.stdin is not None
        self._number += 1
        mark = f"--end-{self._number}-"
        self.process.stdin.write(f"{{\n{self.substitute(command)}\n}} </dev/null\necho {mark}$?\n".encode())
        self.process.stdin.flush()
        deadline = time.monotonic() + TIMEOUT
        while f"{mark}".encode() not in self._output or not self._output.endswith(b"\n"):
            self._read(0.2)
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"{place}: no end of {command!r}:\n{self._output.decode(errors='replace')}")
        status = re.search(rf"{mark}(\d+)", self._output.decode(errors="replace"))
        assert status is not None
        wanted = [self.substitute(line) for line in expected]
        patience = time.monotonic() + 20
        # What a command in the background has to say may come later.
        while not matches(wanted, self.seen(mark)) and time.monotonic() < patience:
            self._read(0.2)
        # A command whose output the page shows may end as it does: that is what is shown.
        if (status[1] != "0" and not wanted) or not matches(wanted, self.seen(mark)):
            pytest.fail(f"{place}: {command!r} ended with {status[1]} and printed\n{self.seen(mark)}expected: {wanted}")
        self._output = b""

    def seen(self, mark: str) -> str:
        """What was printed, without the mark."""
        return re.sub(rf"{mark}\d+\n", "", self._output.decode(errors="replace"))

    def console(self, block: Block) -> None:
        """Run a session: lines with ``$`` are typed, the others are what comes back."""
        command = ""
        expected: list[str] = []
        for line in [*block.body.splitlines(), "$ :"]:
            if line.startswith("$ "):
                if command:
                    self.type(command, expected, place=block.place)
                command, expected = line[2:], []
            elif command.endswith("\\"):
                command += "\n" + line
            elif line.strip() and line.strip() != "...":
                expected.append(line)

    def script(self, block: Block) -> None:
        """Run a script: each command must succeed."""
        if "stays" in block.markers:
            self._stays(block)
            return
        for command in re.split(r"\n(?=\S)", block.body.strip()):
            self.type(command, place=block.place)

    def _stays(self, block: Block) -> None:
        command = block.body.strip()
        self.type(f"{{ {command} ; }} > stays.log 2>&1 &", place=block.place)
        check = "for i in $(seq 600); do test -s stays.log && break; sleep 0.1; done; test -s stays.log && kill -0 $!"
        self.type(check + " || { cat stays.log; false; }", place=block.place)
        self.type("kill $(pgrep -P $!) $! 2>/dev/null; wait $!; true", place=block.place)

    def close(self) -> None:
        """End it, and all that it started."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)
        self.process.stdout.close()


_RUNNER: Final = """
import ast, inspect, json, sys, threading, traceback, types
module = types.ModuleType("example")
sys.modules["example"] = module
flags = 0
loop = None
for line in sys.stdin:
    name, number, source = json.loads(line)
    try:
        tree = compile("\\n" * number + source, name, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        code = compile(tree, name, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        flags |= code.co_flags & 0x1000000  # from __future__ import annotations holds for the page
        waiting = eval(code, module.__dict__)
        if inspect.iscoroutine(waiting):
            from twisted.internet import reactor, threads
            from twisted.internet.defer import ensureDeferred
            if loop is None:
                loop = threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False}, daemon=True)
                loop.start()
            threads.blockingCallFromThread(reactor, ensureDeferred, waiting)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        print("--failed", flush=True)
    else:
        print("--done", flush=True)
"""


class Python:
    """A Python that a page's blocks are given to, one after the other, as one module.

    Args:
        shell: Whose substitutions and folder count.
        directory: Where it runs.
        enter: A command that it is run by.
    """

    def __init__(self, shell: Shell, directory: Path, enter: Sequence[str] = ()) -> None:
        self.shell = shell
        self.process = subprocess.Popen(
            [*enter, sys.executable, "-W", "ignore::DeprecationWarning", "-c", _RUNNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment(PYTHONPATH=os.pathsep.join([str(directory), str(ROOT)])),
            text=True,
        )

    def run(self, block: Block) -> None:
        """Run a block with what comes before and after it; a failure fails the test with the page's line."""
        for source, place, line in (
            (block.markers.get("before"), f"{block.place} (before)", 0),
            (block.body, str(block.page.relative_to(ROOT)), block.line),
            (block.markers.get("after"), f"{block.place} (after)", 0),
        ):
            if source is not None:
                self._give(self.shell.substitute(source), place, line)

    def _give(self, source: str, place: str, line: int) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([place, line, source]) + "\n")
        self.process.stdin.flush()
        printed = ""
        for text in self.process.stdout:
            if text == "--done\n":
                return
            if text == "--failed\n":
                break
            printed += text
        pytest.fail(f"{place}: {printed}")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait(20)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
