"""Pictures of the console and of the command lines at work: ``python tools/gallery.py build/gallery``.

A server on loopback, on free ports, gets some life: queues with messages, semaphores, a segment, a receive that waits,
a refusal. The console is then looked at with the system's Chromium, light, dark and as on a phone; what commands print
is drawn by rich. ``manifest.json`` says what is in each picture; docs/_ext/pictures.py shows them.

Without Chromium, or without playwright, it says so, leaves what was made before, and ends well: the site can be built
without pictures.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from rich.console import Console
from rich.text import Text

from ipcserver.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
KEYS: Final = {"orders": 0x1001, "results": 0x1002, "alarms": 0x1003}


@dataclass(frozen=True)
class Shot:
    """One picture."""

    file: str
    form: str
    """wide, phone or terminal"""
    alt: str
    caption: str
    width: int
    height: int


class Server:
    """An ``ipcserver serve`` with a console, as a process of its own.

    Args:
        folder: For its state and its log.
    """

    def __init__(self, folder: Path) -> None:
        self.log = folder / "serve.log"
        command = [sys.executable, "-c", "from ipcserver.cli import main; main(prog_name='ipcserver')", "serve"]
        command += ["--listen", "127.0.0.1", "--port", "0", "--portmapper", "none", "--journal", "memory"]
        command += ["--state", str(folder / "state"), "--console", "127.0.0.1:0"]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            self.console = self._wait(r"the console is at (http://\S+/)")
            self.address = "tcp:127.0.0.1:" + self._wait(r"version 1 on .*?tcp 127\.0\.0\.1:(\d+)")
        except BaseException:
            self.stop()
            raise

    def _wait(self, pattern: str) -> str:
        """Wait for a line of the log.

        Raises:
            SystemExit: It does not come.
        """
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(pattern, self.log.read_text()):
                return found[1]
            time.sleep(0.05)
        sys.exit(f"gallery: the server did not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)


@contextmanager
def life(server: Server) -> Iterator[None]:
    """Let two clients talk while the pictures are taken, and others wait."""
    stopped = threading.Event()

    def talk() -> None:
        with connect(server.address) as ipc:
            queues = [ipc.msgget(key, create=True) for key in KEYS.values()]
            lock = ipc.semget(0x2001, 3, create=True)
            lock.set_values([1, 2, 0])
            memory = ipc.shmget(0x3001, 65536, create=True)
            memory.write(b"shared by machines that share no memory")
            queues[2].send(b"temperature of pump 3: 91 C", mtype=9)
            number = 0
            while not stopped.wait(0.02):
                number += 1
                queues[0].send(f"order {number}".encode(), mtype=1 + number % 3)
                if number % 5:
                    queues[0].receive()
                if not number % 7:
                    queues[1].send(b"\x00\x01binary, too\xff", mtype=7)
                if not number % 11:
                    with suppress(Exception):
                        ipc.msgget(0x0BAD)
                memory.write(number.to_bytes(4, "big"), 128)

    def wait() -> None:
        with suppress(Exception), connect(server.address) as ipc:
            ipc.msgget(KEYS["alarms"], create=True).receive(77)

    threads = [threading.Thread(target=what, daemon=True) for what in (talk, wait)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    try:
        yield
    finally:
        stopped.set()
        threads[0].join(10)


def state(page: Page, server: Server) -> None:
    """The State view, once it has figures."""
    page.goto(server.console)
    page.wait_for_selector("#status.good")
    page.wait_for_selector("#tables td")
    page.wait_for_timeout(700)


def traffic(page: Page, server: Server) -> None:
    """The Traffic view with a call taken apart."""
    page.goto(server.console + "#traffic")
    page.wait_for_selector(".call:has-text('RIPC_MSGSND')")
    page.click("#pause")
    page.locator(".call", has_text="RIPC_MSGSND").last.click()
    text = page.locator("#detail .hex").first.locator("[data-part]").last
    text.wait_for()
    page.evaluate("document.querySelector('.call[aria-current=true]').scrollIntoView()")
    page.evaluate("scrollBy(0, -120)")
    text.hover()


def explain(page: Page, server: Server) -> None:
    """The Explain view with a pasted message."""
    page.goto(server.console + "#explain")
    page.fill("#hex", GETPORT)
    page.click("#explain-form button:not([type=button])")
    page.locator("#explained .tree li").first.wait_for()


VIEWS: Final = (
    ("state", state, "The console's State view: plots of calls and latency, tables of queues, semaphores and segments"),
    ("traffic", traffic, "The Traffic view: a ladder of calls, and one of them byte by byte"),
    ("explain", explain, "The Explain view: a pasted GETPORT call taken apart"),
)
FORMS: Final = (("wide", 1280, 900, 1, ""), ("phone", 390, 800, 2, " on a phone"))
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


def console_shots(browser: Browser, server: Server, folder: Path) -> Iterator[Shot]:
    """Take the console's views in all forms."""
    for name, open_view, what in VIEWS:
        for form, width, height, scale, words in FORMS:
            page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale)
            open_view(page, server)
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                file = f"{name}-{form}-{scheme}.png"
                page.screenshot(path=folder / file)
                yield Shot(file, form, what, f"{what}{words}, {scheme}.", width, height)
            page.close()


GETPORT: Final = (
    "5eed0001 00000000 00000002 000186a0 00000002 00000003 00000000 00000000 00000000 00000000 "
    "20000258 00000001 00000006 00000000"
)
COMMANDS: Final = (
    ("ipcs", "ipcserver ipcs", "Queues, segments and semaphore sets, as ipcs(1) lists them"),
    ("ping", "oncrpc ping -c 4 -i 0.1 {address} IPCPROG 1", "Procedure 0, again and again"),
    (
        "call",
        """oncrpc call {address} IPCPROG.1.RIPC_MSGLIST --auth sys '{{"start": 0, "max": 1}}'""",
        "Any procedure, JSON in and out",
    ),
    ("explain", f"oncrpc explain {GETPORT}", "A message, byte by byte"),
    ("check", "oncrpc check --only HD --only ER {address} IPCPROG 1", "A server against RFC 5531"),
)


def terminal_shots(server: Server, folder: Path) -> Iterator[Shot]:
    """Draw what commands print, with their colours."""
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "IPCSERVER": server.address.removeprefix("tcp:"), "FORCE_COLOR": "1", "COLUMNS": "110"}
    environment["PATH"] = f"{bin_folder}{os.pathsep}{environment.get('PATH', os.defpath)}"
    for name, template, what in COMMANDS:
        arguments = shlex.split(template.format(address=server.address))
        done = subprocess.run(
            arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
        )
        width = 112
        screen = Console(record=True, width=width, file=open(os.devnull, "w"), force_terminal=True)  # noqa: PTH123, SIM115
        typed = template.format(address="tcp:127.0.0.1:600")
        screen.print(Text(f"$ {typed if len(typed) < width else typed[: width - 4] + '…'}", style="bold"))
        screen.print(Text.from_ansi(done.stdout.decode().replace(server.address, "tcp:127.0.0.1:600")))
        file = f"terminal-{name}.svg"
        text = screen.export_svg(title=arguments[0], code_format=SVG)
        (folder / file).write_text(text)
        size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
        assert size is not None
        alt = f"{what}: {arguments[0]} in a terminal"
        yield Shot(file, "terminal", alt, f"{what}.", int(float(size[1])), int(float(size[2])))


# rich's own frame without the fonts that it would have a browser fetch.
SVG: Final = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font-family: "Liberation Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace;
 font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""


def main() -> None:
    """Take all pictures into the folder named on the command line."""
    folder = Path(sys.argv[1])
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("gallery: no pictures: playwright is not installed (pip install 'ipcserver[docs]')")
        return
    if browser_path is None:
        print("gallery: no pictures: Chromium is not installed (Debian: apt-get install chromium)")
        return
    folder.mkdir(parents=True, exist_ok=True)
    shots: list[Shot] = []
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(Path(scratch))
        try:
            with life(server), sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
                shots += console_shots(browser, server, folder)
                shots += terminal_shots(server, folder)
                browser.close()
        finally:
            server.stop()
    (folder / "manifest.json").write_text(json.dumps([asdict(shot) for shot in shots], indent=1))
    print(f"gallery: {len(shots)} pictures in {folder}")


if __name__ == "__main__":
    main()
