"""The tour from its beginning to its end: starts everything, plays the steps, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipcserver.demo.capture import Capture
from ipcserver.demo.errors import DemoError
from ipcserver.demo.frame import beginning, end
from ipcserver.demo.host import HOST, Host
from ipcserver.demo.keyboard import Keyboard
from ipcserver.demo.loop import Loop
from ipcserver.demo.player import Jump, Player, Quit
from ipcserver.demo.stage import TRUST, Stage
from ipcserver.demo.steps import STEPS, Step
from ipcserver.demo.tape import Heard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from rich.console import Console

    from ipcserver.demo.clients import Piece, Wire

__all__ = ["CONSOLE", "Settings", "run"]

CONSOLE: Final = (HOST, 8600)
"""Where the console is, unless it is said otherwise. (Browsers refuse port 6000: it was X11's.)"""

_PREFIX: Final = "ipcserver-demo-"
_ROOM: Final = len("/" + "x" * 8 + "/socket")
_LONGEST: Final = 103
"""Bytes of the path of a local socket: 107 on Linux, 103 elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the tour goes.

    Attributes:
        console: Address and port of the web console; None: none. The default may move to a free port.
        auto: Seconds after which a page is turned by itself; None: a key turns it.
        record: Capture file; None: none.
        step: The step to begin with, from 1; 0 begins with what runs where.
        port: As ipcserver.demo.host.Host has it.
        portmapper_port: Likewise.
        keys: Whether standard input is a terminal to take keys from.
    """

    console: tuple[str, int] | None = CONSOLE
    auto: float | None = None
    record: Path | None = None
    step: int = 0
    port: int | None = None
    portmapper_port: int | None = None
    keys: bool = False


def run(settings: Settings, console: Console) -> None:
    """Play the tour.

    Args:
        settings: How.
        console: Where to.

    Raises:
        DemoError: It cannot begin, or go on; everything that was started is ended.
        SystemExit: A signal ended it.
    """
    with ExitStack() as stack:
        stack.enter_context(_signals())
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_temporary()))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        loop = Loop()
        stack.callback(loop.close)
        capture = None
        if settings.record is not None:
            try:
                capture = Capture(stack.enter_context(settings.record.open("wb")))
            except OSError as error:
                message = f"{settings.record}: {error.strerror}"
                raise DemoError(message) from error
        stage = _stage(settings, loop, folder, capture)
        stack.callback(stage.host.end)
        stack.callback(stage.sparc2.close)
        stack.callback(stage.sparc1.close)
        if console.is_terminal:
            console.print("starting a portmapper, the server and two client machines …")
        stage.host.start()
        keyboard = stack.enter_context(Keyboard(sys.stdin.fileno(), loop)) if settings.keys else None
        player = Player(
            console,
            loop,
            keyboard=keyboard,
            auto=settings.auto,
            steps=len(STEPS),
            corner=stage.host.ready.console,
        )
        if console.is_terminal:
            console.show_cursor(False)
            stack.callback(console.show_cursor, True)
        with suppress(Quit):
            _play(stage, player, settings)
        if player.pages:
            console.clear()
    console.print("The tour is over: its server has ended, its files are gone.", highlight=False)
    if capture is not None and settings.record is not None:
        for line in reading(settings.record, capture.messages, stage.host):
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _temporary() -> str:
    """Return where temporary files go: where the system has them, unless the path of a local socket gets too long."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) + len(_PREFIX) + _ROOM <= _LONGEST else "/tmp"  # noqa: S108 - mkdtemp()


def reading(file: Path, messages: int, host: Host) -> list[str]:
    """Return how a capture is read.

    Args:
        file: The capture.
        messages: How many there are in it.
        host: Knows the ports.
    """
    ports = dict.fromkeys((host.ready.port, host.ready.portmapper))
    decode = " ".join(f"-d {netid}.port=={port},rpc" for port in ports for netid in ("tcp", "udp"))
    return [
        f"{messages} messages are in the capture file. To read them:",
        f"  tshark -r {file} {decode} -o rpc.dissect_unknown_programs:TRUE",
    ]


def _stage(settings: Settings, loop: Loop, folder: Path, capture: Capture | None) -> Stage:
    """Put everything together; nothing runs yet."""
    stage = Stage(loop)

    def heard(message: Heard, life: int) -> None:
        stage.tape.append(message)
        if capture is not None:
            capture.write(message, life)

    stage.host = host = Host(
        loop,
        folder,
        heard,
        port=settings.port,
        portmapper_port=settings.portmapper_port,
        console=settings.console,
        console_may_move=settings.console == CONSOLE,
        # Nothing of sparc2's own can be configured where it has no address of its own.
        trust=TRUST if stage.separate else (),
    )

    def sent(wire: Wire, piece: Piece) -> None:
        """Keep what nobody heard: datagrams to a server that is not there."""
        if capture is not None and wire.netid == "udp" and not host.serving:
            capture.write(
                Heard("server", piece.at, "udp", 0, wire.local, (HOST, host.ready.port), False, piece.data), host.life
            )

    stage.sparc1.sent = stage.sparc2.sent = sent
    return stage


def _play(stage: Stage, player: Player, settings: Settings) -> None:
    """Play what comes before the steps, the steps, and what comes after them; keys jump.

    Raises:
        Quit: A key said so.
    """
    parts = (Step("Sun RPC, live", beginning), *STEPS, Step("What was seen", end))
    number = settings.step
    while number < len(parts):
        step = parts[number]
        title = f"{number}/{len(STEPS)}  {step.title}" if 0 < number <= len(STEPS) else step.title
        stage.prepare(registered=number > 1)
        screens = step.play(stage)
        try:
            for screen in screens:
                player.show(title, screen)
            number += 1
        except Jump as jump:
            number = jump.number


@contextmanager
def _signals() -> Iterator[None]:
    """End the tour in good order on SIGTERM and SIGHUP too, and do not let a second signal disturb that."""

    def ended(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGHUP, ended)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
