"""The tour's end of the server's process: starts it, hears it, kills it, ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from ipcserver.demo.errors import DemoError
from ipcserver.demo.tape import Ended, Failed, Heard, Ready, Said, TapeReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipcserver.demo.loop import Loop
    from ipcserver.demo.tape import Entry

__all__ = ["HOST", "Host", "describe_signal"]

HOST: Final = "127.0.0.1"
"""Where everything is served."""

_START_SECONDS: Final = 60.0
_ORDER_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 8.0
_READ: Final = 1 << 16
_PROGRAM: Final = "from ipcserver.demo.tx.host_process import main; main()"


class Host:
    """The machine called "server": portmapper, ipcserver and console, in a process of its own.

    Args:
        loop: Hears it.
        folder: For its journal and its log.
        heard: Told of every message, and which life of the process it is of.
        port: The server's TCP and UDP port; None: 600, or a free one where that cannot be had; 0: a free one.
        portmapper_port: The same of the portmapper, whose port is 111.
        console: Address and port of the console; None: no console.
        console_may_move: Whether another port will do, if that one is taken.
        trust: Networks that are believed in a way of their own, as ``ipcserver serve --trust`` takes them.

    Attributes:
        ready: Where it serves, since its last start.
        registered: Whether it was told to register, in this life.
        life: How often it was started again.
        ended: The calls that were done with, in order, of all lives.
    """

    def __init__(
        self,
        loop: Loop,
        folder: Path,
        heard: Callable[[Heard, int], object],
        *,
        port: int | None = None,
        portmapper_port: int | None = None,
        console: tuple[str, int] | None = None,
        console_may_move: bool = True,
        trust: tuple[str, ...] = (),
    ) -> None:
        self._loop, self._folder, self._heard = loop, folder, heard
        self._settings: dict[str, Any] = {
            "folder": str(folder),
            "port": port,
            "portmapper_port": portmapper_port,
            "console": console,
            "console_may_move": console_may_move,
            "trust": trust,
        }
        self.ready = Ready(0, 0, "")
        self.registered = False
        self.life = -1
        self.ended: list[Ended] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._tape = -1
        self._reader = TapeReader()
        self._said = ""
        self._failed: str | None = None
        self._is_ready = False
        self._expected = False

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def serving(self) -> bool:
        """Whether it answers."""
        return self._is_ready and self.running

    @property
    def pid(self) -> int:
        """Its process number, of this life or the last."""
        return 0 if self._process is None else self._process.pid

    @property
    def journal(self) -> Path:
        """Its journal."""
        return self._folder / "state" / "journal.sqlite"

    @property
    def log(self) -> list[str]:
        """The lines of its log, of this life or the last."""
        path = self._folder / f"server-{self.life}.log"
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def start(self) -> None:
        """Start it, and wait until it serves; after the first time on the same ports.

        Raises:
            DemoError: It cannot be started: a port is taken, for one.
        """
        self.life += 1
        self._reader, self._is_ready, self._failed, self._expected = TapeReader(), False, None, False
        self.registered = False
        self._tape, writing = os.pipe()
        settings = {**self._settings, "tape": writing}
        path = os.pathsep.join(each for each in sys.path if each)
        try:
            with (self._folder / f"server-{self.life}.log").open("wb") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, json.dumps(settings)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[writing],
                    env={**os.environ, "PYTHONPATH": path},
                    # Ctrl-C in the terminal is for the tour alone.
                    start_new_session=True,
                )
        finally:
            os.close(writing)
        os.set_blocking(self._tape, False)
        self._loop.add(self._tape, self._read)
        if not self._loop.run(_START_SECONDS, lambda: self._is_ready or self._failed is not None):
            self._failed = f"the server did not start within {_START_SECONDS:.0f} seconds"
        if self._failed is not None:
            raise DemoError(self._failed)
        # What was found free the first time is where the others look from now on.
        self._settings.update(port=self.ready.port, portmapper_port=self.ready.portmapper)
        if self._settings["console"] is not None:
            host, _ = self._settings["console"]
            port = int(self.ready.console.rstrip("/").rpartition(":")[2])
            self._settings.update(console=(host, port), console_may_move=False)

    def order(self, word: str) -> None:
        """Tell it to "register" or "unregister", and wait until that is done.

        Raises:
            DemoError: It does not do it.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        self._said = ""
        try:
            self._process.stdin.write(f"{word}\n".encode())
            self._process.stdin.flush()
        except OSError as error:
            message = f"the server does not listen: {error}"
            raise DemoError(message) from error
        if not self._loop.run(_ORDER_SECONDS, lambda: self._said == f"{word}ed"):
            message = f"the server did not {word}"
            raise DemoError(message)
        self.registered = word == "register"

    def kill(self) -> int:
        """End it as a crash would, with SIGKILL.

        Returns:
            The exit status that the system gives: -9.
        """
        assert self._process is not None
        self._expected = True
        self._process.kill()
        status = self._process.wait()
        self._close()
        return status

    def end(self) -> None:
        """End it in good order, or else in any case; safe to call at any time."""
        process, self._expected = self._process, True
        if process is not None and process.poll() is None:
            self._close_input()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._close()

    def _close_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                return

    def _close(self) -> None:
        """Read what is left on the tape, and let go of the pipes."""
        self._close_input()
        if self._tape >= 0:
            self._read()
        if self._tape >= 0:
            self._loop.remove(self._tape)
            os.close(self._tape)
            self._tape = -1

    def _read(self) -> None:
        """Take what it tells."""
        while self._tape >= 0:
            try:
                data = os.read(self._tape, _READ)
            except BlockingIOError:
                return
            if not data:
                self._loop.remove(self._tape)
                os.close(self._tape)
                self._tape = -1
                self._gone()
                return
            for entry in self._reader.feed(data):
                self._take(entry)

    def _gone(self) -> None:
        """The tape is at its end, and so is the process.

        Raises:
            DemoError: Nobody here ended it.
        """
        if self._expected or self._failed is not None:
            return
        tail = "\n".join(self.log[-8:])
        if not self._is_ready:
            self._failed = f"the server ended before it served:\n{tail}"
            return
        message = f"the server ended unexpectedly:\n{tail}"
        raise DemoError(message)

    def _take(self, entry: Entry) -> None:
        match entry:
            case Heard():
                self._heard(entry, self.life)
            case Ended():
                self.ended.append(entry)
            case Ready():
                self.ready, self._is_ready = entry, True
            case Failed():
                self._failed = entry.why
            case Said():
                self._said = entry.what


def describe_signal(status: int) -> str:
    """Return the name of the signal that an exit status of subprocess stands for, as in "SIGKILL"."""
    return signal.Signals(-status).name if status < 0 else f"status {status}"
