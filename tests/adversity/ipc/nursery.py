"""A process that has imported the server and its client once, and forks each life of them: a kill costs no imports.

What it forks is what ``ipcserver serve`` is, with a process id, descriptors and a journal of its own, opened from the
disk; nothing of the server has been made before the fork. The first start of a Python with all its imports takes half
a second of a core, a fork some milliseconds.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, Self

from tests.ipcserver.serving import Serving
from tests.peers import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

__all__ = ["Child", "ForkedServing", "Nursery"]

PATIENCE_S: Final = 60.0
"""For a machine that is busy with other things."""


class Child:
    """A forked process.

    Args:
        nursery: Its parent.
        pid: Its process id.
    """

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.status: int | None = None
        """As waitpid tells it; None while it runs."""

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has been waited for."""
        if self.status is None:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end; return its exit status, or minus the signal that killed it."""
        if self.status is None:
            self.status = self._nursery.ask(wait=self.pid)
        return os.waitstatus_to_exitcode(self.status)

    def kill(self) -> None:
        """End it as a crash would."""
        self.signal(signal.SIGKILL)
        self.wait()


class Nursery:
    """Starts the process that forks the others; it ends with the with block, and its children with it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()

    def ask(self, **request: Any) -> int:
        """Have something done; return the number that comes back."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def fork(self, function: str, arguments: list[str], log: Path, **changes: str) -> Child:
        """Fork a process that calls a function of this module's _FUNCTIONS; changes go to its environment."""
        return Child(
            self, self.ask(function=function, arguments=arguments, log=str(log), environment=changes, wait=None)
        )


class ForkedServing(Serving):
    """An ``ipcserver serve`` whose lives are forked.

    Args:
        nursery: Forks them.
        directory: For the state and the logs.
        arguments: More flags.
        changes: To its environment.
    """

    def __init__(
        self, nursery: Nursery, directory: Path, *arguments: str, changes: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(directory, *arguments, changes=changes)
        self._nursery = nursery
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Abstract (as systemd allows it): a path in a temporary directory may be too long for a socket.
        self._told.bind(f"\0ipcserver-test-{os.getpid()}-{id(self)}")
        self._told.settimeout(PATIENCE_S)
        self.log = directory / "serve.log"
        self.child: Child | None = None
        self.start_seconds: list[float] = []
        """How long each start took, to the word that it serves."""

    def begin(self) -> None:
        """Fork a life, and do not wait until it serves."""
        self._told.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._told.recv(100)  # of a life before
        self._told.settimeout(PATIENCE_S)
        name = "@" + self._told.getsockname()[1:].decode()
        self.child = self._nursery.fork("serve", self.command(), self.log, **self.changes, NOTIFY_SOCKET=name)

    def start(self) -> None:
        """Start it, and wait until it serves; after the first time on the same port."""
        began = time.monotonic()
        self.begin()
        try:
            while b"READY=1" not in self._told.recv(100):
                pass
        except TimeoutError:
            message = f"no server:\n{self.log.read_text()}"
            raise AssertionError(message) from None
        self.start_seconds.append(time.monotonic() - began)
        if not self.port:
            found = re.search(r"tcp 127\.0\.0\.1:(\d+)", self.log.read_text())
            assert found is not None
            self.port = int(found[1])

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.child is not None
        self.child.kill()
        assert self.child.wait() == -signal.SIGKILL, f"it ended by itself:\n{self.log.read_text()[-10_000:]}"

    def stop(self) -> int:
        """End it politely; return its exit status."""
        assert self.child is not None
        self.child.signal(signal.SIGTERM)
        return self.child.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.child is not None:
            self.child.signal(signal.SIGKILL)
            self.child.wait()
        self._told.close()
        if kind is not None:
            print(f"--- the server\n{self.log.read_text()[-10_000:]}")


# ---- in the process that forks ---------------------------------------------------------------------------------------


def _serve(arguments: list[str]) -> None:
    from ipcserver.cli import main

    main(arguments, prog_name="ipcserver")


def _client(arguments: list[str]) -> None:
    from tests.adversity.ipc.clients import run

    run(arguments)


def _program(arguments: list[str]) -> None:
    os.execv(arguments[0], arguments)


_MODULES: Final = (
    "ipcserver.cli.serve",
    "ipcserver.logs",
    "ipcserver.service",
    "oncrpc.tx.lean",
    "tests.adversity.ipc.clients",
)
_FUNCTIONS: Final = {"serve": _serve, "client": _client, "program": _program}


def _live(request: dict[str, Any]) -> int:
    """Be the child; return the exit status."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, source in enumerate((null, log, log)):
        os.dup2(source, number)
    os.closerange(3, 256)
    os.environ.update(request["environment"])
    try:
        _FUNCTIONS[request["function"]](request["arguments"])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - told in the log
        traceback.print_exc()
        return 1
    return 0


def _warm_up() -> None:
    """Import what a server and a client import, short of the reactor, which belongs to one process."""
    for module in _MODULES:
        importlib.import_module(module)
    assert "twisted.internet.reactor" not in sys.modules
    gc.collect()
    gc.freeze()


def main() -> None:
    """Fork on request, one line of JSON each; a number comes back. At the end of the input kill what is left."""
    _warm_up()
    print("ready", flush=True)
    children: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        pid = request["wait"]
        if pid is None:
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    status = _live(request)
                finally:
                    with contextlib.suppress(Exception):
                        sys.stderr.flush()
                    os._exit(status)
            children.add(pid)
            print(pid, flush=True)
        else:
            print(os.waitpid(pid, 0)[1], flush=True)
            children.discard(pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
