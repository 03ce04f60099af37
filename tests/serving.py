"""A whole ipcserver as its users start it: the command, in a process of its own."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipcserver._gen.ipc import IPCPROG_1_SyncClient
from oncrpc import sync
from tests.peers import Background, environment, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers import Namespace

__all__ = ["COMMAND", "Server", "serve", "start"]

COMMAND: Final = Path(sys.executable).parent / "ipcserver"
"""The command as installed beside this interpreter."""

_SERVING: Final = "serving program 536871512"


class Server:
    """A running ipcserver.

    Args:
        background: Its process.
        state: Its state directory.
    """

    def __init__(self, background: Background, state: Path) -> None:
        self.background = background
        self.state = state
        line = next(line for line in background.wait_for_output(_SERVING).splitlines() if _SERVING in line)
        found = re.search(r"tcp[^,]*[:.](\d+)\b", line)
        assert found is not None, line
        self.port = int(found[1])
        """The TCP and UDP port."""

    @property
    def socket(self) -> Path:
        """Its local socket."""
        return self.state / "ipcserver.sock"

    def wait_for_waiters(self, count: int) -> None:
        """Wait until so many calls wait for something."""
        with sync.connect(IPCPROG_1_SyncClient, f"tcp:127.0.0.1:{self.port}") as stub:
            wait_until(lambda: stub.ripc_info().waiters == count, f"{count} waiting calls")

    def stop(self) -> None:
        """Stop it as an operator would; it must end well."""
        status = self.background.stop()
        assert status == 0, self.background.output

    def kill(self) -> None:
        """Crash it."""
        self.background.kill()


def start(directory: Path, *options: str, namespace: Namespace | None = None) -> Server:
    """Start ``ipcserver serve`` and wait until it serves; the caller ends it.

    Args:
        directory: Its journal is in ``state`` there; the same again is the same server started again.
        options: More options. Outside a namespace the default is a free port and no portmapper.
        namespace: Where it runs, with its usual ports; the namespace ends it at the latest.
    """
    state = directory / "state"
    arguments = [str(COMMAND), "serve", "--state", str(state)]
    if namespace is not None:
        return Server(namespace.start(*arguments, *options), state)
    number = len(list(directory.glob("server-*.log")))
    arguments += ["--port", "0", "--listen", "127.0.0.1", "--portmapper", "none"]
    log = directory / f"server-{number:02}.log"
    background = Background([*arguments, *options], log, env=environment())
    try:
        return Server(background, state)
    except BaseException:
        background.stop()
        raise


@contextmanager
def serve(directory: Path, *options: str, namespace: Namespace | None = None) -> Iterator[Server]:
    """Run ``ipcserver serve`` for the length of a ``with``; arguments as for :func:`start`."""
    server = start(directory, *options, namespace=namespace)
    try:
        yield server
    except BaseException:
        server.background.stop()
        print(server.background.output)
        raise
    server.stop()
