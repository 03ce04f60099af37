"""Suites written for the kernel's System V IPC give the same verdicts by the kernel and through librpcipc.so."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from tests.interop.suites.catalogue import SUITES, Step, Suite
from tests.interop.suites.differences import KNOWN
from tests.ipcserver.serving import Serving
from tests.peers import environment, find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.interop.suites.verdicts import Verdict, Verdicts

APART: Final = ("unshare", "--ipc", "sh", "-c", 'exec "$@"', "sh")
"""A System V IPC of the kernel's own, in which there is nothing yet."""

COLOURS: Final = re.compile(r"\x1b\[[\d;]*m")

NONE: Final = (
    *APART[:4],
    'echo 0 > /proc/sys/kernel/msgmni && echo "32000 1024000000 500 0" > /proc/sys/kernel/sem && exec "$@"',
    "sh",
)
"""One in which the kernel makes no queue and no set at all: what works there, works by the server."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that need not outlive the suites."""
    with Serving(tmp_path_factory.mktemp("server"), "--journal", "memory") as serving:
        yield serving


def _run(prefix: tuple[str, ...], step: Step, changes: Mapping[str, str]) -> tuple[Verdicts, str]:
    done = subprocess.run(
        [*prefix, "env", *(f"{name}={value}" for name, value in changes.items()), *map(str, step.command)],
        cwd=step.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
        timeout=240,
        env=environment(**step.changes),
    )
    output = COLOURS.sub("", done.stdout)
    return step.read(output, done.returncode), output


def _count(verdicts: Verdicts, word: Verdict) -> int:
    return list(verdicts.values()).count(word)


@pytest.mark.parametrize(
    "suite",
    [pytest.param(suite, id=suite.name, marks=[pytest.mark.torture] if suite.long else []) for suite in SUITES],
)
def test_a_suite_gives_the_same_verdicts_by_the_kernel_and_through_the_library(
    suite: Suite,
    library: Path,
    server: Serving,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    may = os.geteuid() == 0 and find("unshare") is not None
    preloaded = {"LD_PRELOAD": str(library), "IPCSERVER": server.local, "IPCSERVER_PATIENCE": "30"}
    native: dict[str, Verdict] = {}
    ours: dict[str, Verdict] = {}
    for step in suite.prepare(tmp_path):
        for prefix, changes, into in ((APART, {}, native), (NONE, preloaded, ours)):
            verdicts, output = _run(prefix if may else (), step, changes)
            into.update({f"{step.name} {name}": verdict for name, verdict in verdicts.items()})
            print(f"--- {step.name} {'through the library' if changes else 'by the kernel'}\n{output}")
    different = {
        f"{suite.name}: {name}": f"{native.get(name)} by the kernel, {ours.get(name)} by us"
        for name in native.keys() | ours.keys()
        if native.get(name) != ours.get(name)
    }
    known = {name: reason for name, reason in KNOWN.items() if name.startswith(f"{suite.name}: ")}
    words: tuple[Verdict, ...] = ("pass", "fail", "skip")
    counts = [_count(verdicts, word) for verdicts in (native, ours) for word in words]
    record_property("suite", [suite.name, suite.origin, *counts, [known.get(name, "not known") for name in different]])
    assert _count(native, "pass") >= suite.least
    assert different.keys() == known.keys(), different
