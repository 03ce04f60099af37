"""A whole server as a process of its own, for tests from the outside."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final, Self

from tests.peers import Background, environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

__all__ = ["IPCSERVER", "Serving"]

IPCSERVER: Final = (sys.executable, "-c", "from ipcserver.cli import main; main(prog_name='ipcserver')")
"""The command line, whether or not the package's scripts are in the path."""


class Serving:
    """An ``ipcserver serve`` on free ports, without a portmapper unless one is asked for.

    Args:
        directory: For the state and the logs.
        arguments: More flags.
        prefix: A command that starts it.
        changes: To its environment.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        prefix: Sequence[str] = (),
        changes: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.state = directory / "state"
        self._arguments = arguments
        self.prefix = prefix
        self.changes = dict(changes or {})
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
        arguments = ["serve", "--state", str(self.state), "--listen", "127.0.0.1", "--port", str(self.port)]
        if "--portmapper" not in self._arguments:
            arguments += ["--portmapper", "none"]
        return [*arguments, *self._arguments]

    def start(self) -> None:
        """Start it, and wait until it serves; after the first time on the same port."""
        self._starts += 1
        log = self.directory / f"serve-{self._starts}.log"
        self._process = Background([*self.prefix, *IPCSERVER, *self.command()], log, env=environment(**self.changes))
        output = self._process.wait_for_output("serving program 536871512 version 1 on ")
        found = re.search(r"tcp 127\.0\.0\.1:(\d+)", output)
        assert found is not None
        self.port = int(found[1])

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
