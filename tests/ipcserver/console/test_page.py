"""The page in a real browser: what it shows, and that nothing from the wire is more than text there."""

from __future__ import annotations

import importlib.resources
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, sync_playwright

from ipcserver.client import connect
from oncrpc.records import frame_record
from tests.ipcserver.serving import Serving
from tests.oncrpc.captures import CLIENT, SERVER, call, ip, pcap, reply, tcp, udp
from tests.peers import require, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

HOSTILE = b"<img src=x onerror=document.title='taken'>"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
TOKEN = "a-token-for-tests-only"
VIEWS = ("state", "traffic", "explain", "actions")


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    monkeypatch.setenv("IPCSERVER_CONSOLE_TOKEN", TOKEN)
    flags = ("--console", "127.0.0.1:0", "--console-actions", "--journal", "memory", "--portmapper", "builtin")
    with Serving(tmp_path, *flags, "--portmapper-port", "0") as running:
        yield running


@pytest.fixture
def url(serving: Serving) -> str:
    found = re.search(r"http://\S+/", serving.process.wait_for_output("the console is at http"))
    assert found is not None
    return found[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page as small as a phone's, that fails the test if its script does or if it asks for anything elsewhere."""
    opened = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark", reduced_motion="reduce")
    wrong: list[str] = []
    asked: set[str] = set()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda request: asked.add(request.url.split("/")[2]))
    yield opened
    opened.close()
    assert wrong == []
    assert len(asked) == 1


def fits_the_screen(page: Page) -> bool:
    found: bool = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return found


def titles(page: Page) -> set[str]:
    """What the ladder lists: program and procedure."""
    return {" ".join(text.split()[:2]) for text in page.locator(".call[data-number] > :last-child").all_inner_texts()}


def listed(page: Page) -> int:
    """How many calls the ladder lists."""
    return page.locator(".call[data-number]").count()


def test_the_page_shows_state_and_traffic_as_they_come_and_hostile_bytes_as_text(
    serving: Serving, url: str, page: Page
) -> None:
    page.goto(url)
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
    assert fits_the_screen(page)


def test_a_row_of_a_table_is_changed_where_it_stands(serving: Serving, url: str, page: Page) -> None:
    with connect(serving.local) as ipc:
        queue = ipc.msgget(0x77, create=True)
        page.goto(url)
        page.wait_for_selector("td:text-is('0x00000077')")
        page.evaluate("document.querySelector('#tables tbody tr').dataset.mark = 'same'")
        queue.send(b"twelve bytes")
        page.wait_for_selector("tr[data-mark=same] td:text-is('12')")
        queue.remove()
        page.wait_for_selector("tr[data-mark=same]", state="detached")


def test_filters_combine(serving: Serving, url: str, page: Page) -> None:
    page.goto(url + "#traffic")
    with connect(serving.tcp) as ipc, connect(serving.local) as other:
        ipc.info()
        ipc.msgget(5, create=True)
        with pytest.raises(OSError, match=r"EINVAL"):
            ipc.queue(99).send(b"x", nowait=True)
        other.info()
        page.wait_for_selector(".call:has-text('RIPC_MSGSND')")
        page.wait_for_selector("#by-procedure option[value=RIPC_INFO]", state="attached")
        page.select_option("#by-procedure", "RIPC_INFO")
        wait_until(lambda: listed(page) == 2, "2 calls")
        page.select_option("#by-client", "127.0.0.1")
        wait_until(lambda: listed(page) == 1, "1 calls")
        page.select_option("#by-procedure", "")
        wait_until(lambda: listed(page) > 2, "more than 2 calls")
        page.select_option("#by-outcome", "SUCCESS")
        page.select_option("#by-program", "IPCPROG.1")
        page.fill("#filter", "msgget")
        wait_until(lambda: listed(page) == 1, "1 calls")
        assert titles(page) == {"IPCPROG.1 RIPC_MSGGET"}
        page.select_option("#by-outcome", "+bad")
        wait_until(lambda: listed(page) == 0, "0 calls")


def test_a_list_in_use_does_not_move(serving: Serving, url: str, page: Page) -> None:
    page.goto(url + "#traffic")
    with connect(serving.local) as ipc:
        ipc.info()
        page.locator(".call", has_text="RIPC_INFO").first.hover()
        ipc.msgget(5, create=True)
        page.wait_for_selector("#traffic-note:has-text('held')")
        assert "IPCPROG.1 RIPC_MSGGET" not in titles(page)
        page.mouse.move(1, 1)
        page.wait_for_selector(".call:has-text('RIPC_MSGGET')")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A call over TCP in segments, its reply, and a wrong call over UDP."""
    stream = frame_record(call(7, 3, bytes(16)))
    back = ip(tcp(frame_record(reply(7, bytes(4))), 1, SERVER[1], CLIENT[1]), 6, SERVER[0], CLIENT[0])
    packets = [ip(tcp(b"", 0, flags=2), 6), ip(tcp(stream[:30], 1), 6), ip(tcp(stream[30:], 31), 6), back]
    path = tmp_path / "seen.pcap"
    path.write_bytes(pcap([*packets, ip(udp(call(8, 3, b"\0\0\0\1")), 17)]))
    return path


def test_a_capture_is_a_list_to_choose_from(url: str, page: Page, capture: Path) -> None:
    page.goto(url + "#explain")
    page.set_input_files("#file", capture)
    page.wait_for_selector(".found")
    assert page.locator(".found").count() == 3
    assert page.locator(".found.failed").count() == 1
    page.locator(".found").nth(1).click()
    page.wait_for_selector("#explained article")
    assert page.locator("#explained h3").inner_text() == "REPLY SUCCESS"
    assert page.locator("#explained .tree li b").last.inner_text() == "unsigned int"
    page.fill("#captured-filter", "udp getport")
    assert page.locator(".found").count() == 1
    assert fits_the_screen(page)


def test_a_file_may_be_dropped_and_one_that_is_no_capture_is_read_as_a_message(
    url: str, page: Page, tmp_path: Path
) -> None:
    page.goto(url + "#explain")
    data = page.evaluate_handle(
        """(hex) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16))], "call.bin"));
            return data;
        }""",
        frame_record(call(9)).hex(),
    )
    page.dispatch_event("#view-explain", "drop", {"dataTransfer": data})
    page.wait_for_selector("#explained article")
    assert "PMAPPROC_NULL" in page.locator("#explained h3").inner_text()
    (tmp_path / "bad.pcap").write_bytes(pcap([])[:20])
    page.on("console", lambda _: None)
    assert page.locator("#explain-status").inner_text() == "1 message, none of them wrong"


def test_an_installed_specification_can_be_chosen_and_procedures_are_offered(url: str, page: Page) -> None:
    page.goto(url + "#explain")
    page.wait_for_selector("#known option[value='ipcserver/ipc.x']", state="attached")
    assert page.locator("#known option[value='oncrpc/rpc_msg.x']").count() == 0  # no program in it
    assert page.locator("#calls option[value='IPCPROG.1.RIPC_MSGGET']").count() == 1
    page.select_option("#known", "ipcserver/ipc.x")
    page.fill("#hex", reply(1, bytes(8)).hex())
    page.fill("#call", "IPCPROG.1.RIPC_MSGGET")
    page.click("#explain-form button")
    page.wait_for_selector("#explained .tree li:has-text('RIPC_OK')")
    page.select_option("#known", "+mine")
    page.wait_for_selector("#mine:not([hidden])")


def test_actions_send_receive_change_and_remove(serving: Serving, url: str, page: Page) -> None:
    with connect(serving.local) as ipc:
        queue, found = ipc.msgget(create=True), ipc.semget(nsems=1, create=True)
        page.goto(url + "#actions")
        page.wait_for_selector("#view-actions:not([hidden])")
        page.fill("#token", TOKEN)
        page.fill("form[data-action=send] [name=id]", str(queue.id))
        page.fill("form[data-action=send] [name=text]", HOSTILE.decode())
        page.click("form[data-action=send] button")
        page.wait_for_selector("form[data-action=send] output.good:has-text('done')")
        page.fill("form[data-action=receive] [name=id]", str(queue.id))
        page.click("form[data-action=receive] button")
        page.wait_for_selector("form[data-action=receive] output.good")
        assert page.locator("form[data-action=receive] pre").inner_text() == HOSTILE.decode()
        page.fill("form[data-action=semop] [name=id]", str(found.id))
        page.fill("form[data-action=semop] [name=operations]", "0:+2")
        page.click("form[data-action=semop] button")
        page.wait_for_selector("form[data-action=semop] output.good")
        assert found.values() == [2]
        page.select_option("form[data-action=remove] [name=kind]", "set")
        page.fill("form[data-action=remove] [name=id]", str(found.id))
        page.click("form[data-action=remove] button")
        assert page.locator("form[data-action=remove] output").inner_text() == ""  # not sure yet
        page.check("[name=sure]")
        page.click("form[data-action=remove] button")
        page.wait_for_selector("form[data-action=remove] output.good")
        assert list(ipc.semaphore_sets()) == []
        page.fill("form[data-action=semop] [name=operations]", "nonsense")
        page.click("form[data-action=semop] button")
        page.wait_for_selector("form[data-action=semop] output.bad:has-text('NUMBER:CHANGE')")
        assert fits_the_screen(page)
        assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_without_the_flag_the_page_shows_no_actions(browser: Browser, tmp_path: Path) -> None:
    with Serving(tmp_path, "--console", "127.0.0.1:0", "--journal", "memory") as serving:
        found = re.search(r"http://\S+/", serving.process.wait_for_output("the console is at http"))
        assert found is not None
        opened = browser.new_page()
        opened.goto(found[0] + "#actions")
        opened.wait_for_selector("#status.good")
        assert not opened.locator("#go-actions").is_visible()
        assert not opened.locator("#view-actions").is_visible()
        opened.close()


class TestKeyboard:
    """Everything without a mouse, and a focus that can be seen."""

    def test_the_order_is_that_of_the_page_and_lists_take_one_stop(
        self, serving: Serving, url: str, page: Page
    ) -> None:
        with connect(serving.local) as ipc:
            ipc.info()
            page.goto(url + "#traffic")
            page.wait_for_selector(".call:has-text('RIPC_INFO')")
            page.click("#pause")
            page.focus(".skip")
            stops = []
            for _ in range(12):
                page.keyboard.press("Tab")
                stops.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
            assert stops == [
                *("go-state", "go-traffic", "go-explain", "go-actions"),
                *("by-client", "by-program", "by-procedure", "by-outcome", "filter", "pause", "download", "call"),
            ]

    def test_a_call_is_chosen_and_walked_through_with_arrows(self, serving: Serving, url: str, page: Page) -> None:
        with connect(serving.local) as ipc:
            ipc.info()
            ipc.info()
            page.goto(url + "#traffic")
            page.wait_for_selector(".call[tabindex='0']")
            page.click("#pause")
            page.focus(".call[tabindex='0']")
            first = page.evaluate("document.activeElement.dataset.number")
            page.keyboard.press("ArrowDown")
            second = page.evaluate("document.activeElement.dataset.number")
            assert int(second) == int(first) - 1
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            page.keyboard.press("Enter")
            page.wait_for_selector("#detail article")
            assert page.evaluate("document.activeElement.id") == "detail"
            page.locator("#detail .tree li").first.focus()
            page.keyboard.press("ArrowDown")
            assert page.evaluate("document.activeElement.firstChild.textContent") == "xid"
            assert page.locator("#detail article").first.locator(".hex .on").count() == 4
            assert page.locator("#detail .tree [tabindex='0']").count() == 2  # one for each message


@pytest.fixture(scope="module")
def axe_script() -> str:
    return (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_keeps_anybody_out(  # noqa: PLR0917 - fixtures
    serving: Serving, url: str, browser: Browser, axe_script: str, capture: Path, scheme: Any
) -> None:
    opened = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme=scheme)
    with connect(serving.tcp) as ipc:
        ipc.msgget(1, create=True).send(b"x")
        ipc.semget(2, 1, create=True)
        with pytest.raises(OSError, match=r"EINVAL"):
            ipc.queue(99).send(b"x")
        for view in VIEWS:
            opened.goto(f"{url}#{view}")
            opened.wait_for_selector("#status.good")
            if view == "traffic":
                opened.click(".call:has-text('RIPC_MSGSND')")
                opened.wait_for_selector("#detail article")
            if view == "explain":
                opened.set_input_files("#file", capture)
                opened.locator(".found.failed").click()
                opened.wait_for_selector("#explained article")
            opened.evaluate(axe_script)
            found = opened.evaluate("axe.run(document, {resultTypes: ['violations']})")
            told = [
                (each["id"], each["impact"], [node["html"][:200] for node in each["nodes"][:3]])
                for each in found["violations"]
            ]
            assert told == [], view
    opened.close()


def test_what_is_said_aloud_does_not_repeat_itself(serving: Serving, url: str, page: Page) -> None:
    """Live regions change when something is to be told, not with every event."""
    page.goto(url)
    page.wait_for_selector("#status.good")
    page.evaluate(
        """() => {
            window.changes = 0;
            const count = (list) => { window.changes += list.length; };
            for (const node of document.querySelectorAll("[role=status], [aria-live], output"))
                new MutationObserver(count).observe(node, {childList: true, characterData: true, subtree: true});
        }"""
    )
    with connect(serving.local) as ipc:
        for key in range(1, 6):
            ipc.msgget(key, create=True)
            page.wait_for_selector(f"td:text-is('0x0000000{key}')")
    assert page.evaluate("window.changes") == 0
