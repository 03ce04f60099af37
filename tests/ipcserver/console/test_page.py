"""The page in a real browser: what it shows, and that nothing from the wire is more than text there."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, sync_playwright

from ipcserver.client import connect
from tests.ipcserver.serving import Serving
from tests.peers import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = b"<img src=x onerror=document.title='taken'>"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    with Serving(tmp_path, "--console", "127.0.0.1:0", "--journal", "memory") as running:
        yield running


@pytest.fixture
def page() -> Iterator[Page]:
    """A page as small as a phone's, that fails the test if its script does or if it asks for anything elsewhere."""
    require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        opened = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        wrong: list[str] = []
        asked: set[str] = set()
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        opened.on("request", lambda request: asked.add(request.url.split("/")[2]))
        yield opened
        browser.close()
        assert wrong == []
        assert len(asked) == 1


def test_the_page_shows_state_and_traffic_as_they_come_and_hostile_bytes_as_text(serving: Serving, page: Page) -> None:
    found = re.search(r"http://\S+/", serving.process.wait_for_output("the console is at http"))
    assert found is not None
    page.goto(found[0])
    page.wait_for_selector("#status.good")
    with connect(serving.local) as ipc:
        queue = ipc.msgget(0x1234, create=True)
        page.wait_for_selector("td:text-is('0x00001234')")
        page.click("#go-traffic")
        queue.send(HOSTILE)
        page.click(".call:has-text('RIPC_MSGSND')")
        field = page.locator(".tree li", has_text="mtext").last
        field.hover()
        assert "onerror" in field.inner_text()
        # Its length, its bytes and its padding.
        assert page.locator("article").first.locator(".hex .on").count() == 4 + len(HOSTILE) + -len(HOSTILE) % 4
        assert page.locator("main img").count() == 0
        assert page.title() == "ipcserver"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_filter_leaves_what_fits(serving: Serving, page: Page) -> None:
    found = re.search(r"http://\S+/", serving.process.wait_for_output("the console is at http"))
    assert found is not None
    with connect(serving.local) as ipc:
        ipc.info()
        page.goto(found[0] + "#traffic")
        page.wait_for_selector(".call:has-text('RIPC_HELLO')")
        page.fill("#filter", "ripc_info success")
        page.wait_for_selector(".call:has-text('RIPC_HELLO')", state="detached")
        assert page.locator(".call[data-number]").count() == 1
