"""A whole server as a process of its own, for tests from the outside."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final, Self

from ipcserver._gen.ipc import IPCPROG_1_SyncClient
from oncrpc import sync
from tests.peers import Background, environment, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from tests.peers import Namespace

__all__ = ["IPCSERVER", "Serving", "served_port"]

IPCSERVER: Final = (sys.executable, "-P", "-c", "from ipcserver.cli import main; main(prog_name='ipcserver')")
"""The command line, whether or not the package's scripts are in the path, and the working directory can be read."""

_SERVING: Final = "serving program 536871512"


def served_port(process: Background) -> int:
    """Wait until a server says that it serves; return its TCP and UDP port."""
    output = process.wait_for_output(_SERVING)
    line = next(line for line in output.splitlines() if _SERVING in line)
    found = re.search(r"tcp[^,]*[:.](\d+)\b", line)
    assert found is not None, line
    return int(found[1])


class Serving:
    """An ``ipcserver serve`` on free ports, without a portmapper unless one is asked for.

    Args:
        directory: For the state and the logs.
        arguments: More flags.
        prefix: A command that starts it.
        changes: To its environment.
        namespace: Where it runs, with its usual ports and portmapper; the namespace ends it at the latest.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        prefix: Sequence[str] = (),
        changes: Mapping[str, str] | None = None,
        namespace: Namespace | None = None,
    ) -> None:
        self.directory = directory
        self.state = directory / "state"
        self._arguments = arguments
        self.prefix = prefix
        self.changes = dict(changes or {})
        self._namespace = namespace
        self._starts = 0
        self._process: Background | None = None
        self.port = 0

    @property
    def local(self) -> str:
        """The address of its local socket."""
        return f"unix:{self.state / 'ipcserver.sock'}"

    @property
    def tcp(self) -> str:
        """Its address over TCP."""
        return f"tcp:127.0.0.1:{self.port}"

    @property
    def udp(self) -> str:
        """Its address over UDP."""
        return f"udp:127.0.0.1:{self.port}"

    @property
    def process(self) -> Background:
        """The process of this life."""
        assert self._process is not None
        return self._process

    def command(self) -> list[str]:
        """Return the arguments of ipcserver."""
        if self._namespace is not None:
            return ["serve", "--state", str(self.state), *self._arguments]
        arguments = ["serve", "--state", str(self.state), "--listen", "127.0.0.1", "--port", str(self.port)]
        if "--portmapper" not in self._arguments:
            arguments += ["--portmapper", "none"]
        return [*arguments, *self._arguments]

    def start(self) -> None:
        """Start it, and wait until it serves; after the first time on the same port."""
        command = [*self.prefix, *IPCSERVER, *self.command()]
        if self._namespace is not None:
            self._process = self._namespace.start(*command, **self.changes)
        else:
            self._starts += 1
            log = self.directory / f"serve-{self._starts}.log"
            self._process = Background(command, log, env=environment(**self.changes))
        self.port = served_port(self._process)

    def wait_for_waiters(self, count: int) -> None:
        """Wait until so many calls wait for something."""
        with sync.connect(IPCPROG_1_SyncClient, self.tcp) as stub:
            wait_until(lambda: stub.ripc_info().waiters == count, f"{count} waiting calls")

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()

    def stop(self) -> int:
        """End it politely; return its exit status."""
        return self.process.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.__exit__(kind, error, traceback)
