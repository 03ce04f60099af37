"""A real server with its console, asked as browsers ask."""

from __future__ import annotations

import base64
import http.client
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ipcserver.client import connect
from tests.ipcserver.serving import IPCSERVER, Serving
from tests.oncrpc.captures import call as portmapper_call
from tests.oncrpc.captures import ip, pcap, udp
from tests.oncrpc.test_explain import accepted, call
from tests.peers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ipcserver.client import IPC

STATIC = ROOT / "ipcserver" / "console" / "static"
HOSTILE = b"<script>alert(1)</script>"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with a console on a free port."""
    with Serving(tmp_path_factory.mktemp("console"), "--console", "127.0.0.1:0", "--journal", "memory") as running:
        yield running


@pytest.fixture(scope="module")
def port(serving: Serving) -> int:
    output = serving.process.wait_for_output("the console is at ")
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", output)
    assert found is not None
    return int(found[1])


@pytest.fixture
def ipc(serving: Serving) -> Iterator[IPC]:
    with connect(serving.local) as client:
        yield client


class Answer:
    """What was answered."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(port: int, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def test_the_page_and_its_parts_come_from_here_and_allow_nothing_else(port: int) -> None:
    page = ask(port, "/")
    assert page.status == 200
    text = page.body.decode()
    for name in re.findall(r'(?:src|href)="([\w.]+)"', text):
        assert ask(port, f"/{name}").status == 200
    assert "://" not in text
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", text)
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]


def test_the_scripts_set_text_and_never_html_and_load_only_each_other(port: int) -> None:
    wanted, seen = ["console.js"], set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        script = ask(port, f"/{name}")
        assert (script.status, script.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
        text = script.body.decode()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", text)
        assert not re.search(r"(?:local|session)Storage|document\.cookie", text)
        wanted += [each.removeprefix("./") for each in re.findall(r'from "([^"]+)"', text)]
    assert seen == {path.name for path in STATIC.glob("*.js")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(scheme: str) -> None:
    """WCAG 2.2: 1.4.3 (text, 4.5 to 1) and 1.4.11 (the edges of fields, what has the focus, 3 to 1)."""
    style = (STATIC / "console.css").read_text()
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    colors = light | dark if scheme == "dark" else light

    def brightness(name: str) -> float:
        digits = colors[name].lstrip("#")
        digits = "".join(2 * each for each in digits) if len(digits) == 3 else digits
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def ratio(one: str, other: str) -> float:
        low, high = sorted((brightness(one), brightness(other)))
        return (high + 0.05) / (low + 0.05)

    texts = {(text, ground) for text in ("text", "quiet", "blue", "bad", "good") for ground in ("back", "card")}
    texts |= {("marktext", "mark"), ("back", "blue")}
    assert {pair: round(ratio(*pair), 2) for pair in texts if ratio(*pair) < 4.5} == {}
    edges = {(edge, ground) for edge in ("edge", "blue", "good", "bad") for ground in ("back", "card")}
    assert {pair: round(ratio(*pair), 2) for pair in edges if ratio(*pair) < 3} == {}


def test_what_moves_and_what_is_focused_is_said_in_the_style() -> None:
    style = (STATIC / "console.css").read_text()
    assert ":focus-visible { outline: 2px solid" in style
    assert "prefers-reduced-motion: reduce" in style
    assert "outline: none" not in style.replace("margin: 0 auto; outline: none", "")


def test_a_queue_is_in_the_state(port: int, ipc: IPC) -> None:
    queue = ipc.msgget(create=True)
    queue.send(HOSTILE)
    state = ask(port, "/api/state").json
    rows = {row["id"]: row for row in state["machine"]["queues"]["rows"]}
    assert rows[queue.id]["messages"] == 1
    assert state["journal"]["kind"] == "memory"
    assert state["outcomes"]["SUCCESS"] >= 2
    queue.remove()


def test_a_call_is_kept_and_shown_byte_by_byte(port: int, ipc: IPC) -> None:
    queue = ipc.msgget(create=True)
    queue.send(HOSTILE)
    sent = next(each for each in ask(port, "/api/traffic").json["calls"][::-1] if each["title"].endswith("RIPC_MSGSND"))
    assert (sent["lane"], sent["outcome"], sent["done"]) == ("server", "SUCCESS", True)
    detail = ask(port, f"/api/traffic/{sent['number']}")
    assert detail.headers["Content-Type"] == "application/json"
    request, answer = detail.json["messages"]
    assert HOSTILE.hex() in request["hex"]
    assert "mtext" in {part["name"] for part in request["explanation"]["parts"]}
    assert answer["explanation"]["fault"] == ""
    queue.remove()


def test_the_traffic_can_be_downloaded(port: int, ipc: IPC) -> None:
    ipc.info()
    found = ask(port, "/api/traffic.pcapng")
    assert found.body[:4] == b"\x0a\x0d\x0d\x0a"
    assert "attachment" in found.headers["Content-Disposition"]


def test_events_come_without_being_asked_for(port: int, ipc: IPC) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/api/events")
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.readline() == b"event: state\n"
    queue = ipc.msgget(create=True)
    while (line := response.readline()) != b"event: traffic\n":
        assert line
    assert "RIPC_" in json.loads(response.readline().removeprefix(b"data: "))["calls"][-1]["title"]
    connection.close()
    queue.remove()


def test_hundreds_of_objects_do_not_keep_the_traffic_from_a_page(port: int, ipc: IPC) -> None:
    """A state that fills the page's connection for a moment must not be the only event that gets through."""
    queues = [ipc.msgget(create=True) for _ in range(300)]
    sets = [ipc.semget(nsems=16, create=True) for _ in range(300)]
    done: list[Callable[[], None]] = [each.remove for each in queues] + [each.remove for each in sets]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/api/events")
    response = connection.getresponse()
    for _ in range(3):
        ipc.info()
        while (line := response.readline()) != b"event: traffic\n":
            assert line
    connection.close()
    for remove in done:
        remove()


def test_a_pasted_message_is_explained(port: int) -> None:
    body = json.dumps({"hex": call().hex()})
    found = ask(port, "/api/explain", "POST", body, Content_Type="application/json")
    assert found.status == 200, found.body
    assert found.json["messages"][0]["title"] == "IPCPROG.1 RIPC_MSGSND"


def test_an_uploaded_specification_is_used_and_its_faults_are_told(port: int) -> None:
    message = "00000001 00000000 00000002 20001234 00000001 00000001" + " 00000000" * 4 + " 0000002a"
    text = "program OTHER { version ONE { int TWICE(int) = 1; } = 1; } = 0x20001234;"
    for spec, status, told in ((text, 200, "OTHER.1 TWICE"), (text.replace("int TWICE", "quux TWICE"), 400, "quux")):
        body = json.dumps({"hex": message, "spec": spec})
        found = ask(port, "/api/explain", "POST", body, Content_Type="application/json")
        assert (found.status, told in found.body.decode()) == (status, True), found.body


def test_a_capture_is_listed_with_the_bytes_of_its_messages(port: int) -> None:
    data = pcap([ip(udp(portmapper_call(5, 4)), 17)])
    body = json.dumps({"capture": base64.b64encode(data).decode()})
    found = ask(port, "/api/explain", "POST", body, Content_Type="application/json")
    assert found.status == 200, found.body
    (message,) = found.json["capture"]["messages"]
    assert (message["title"], message["hex"]) == ("PMAP_PROG.2 PMAPPROC_DUMP", portmapper_call(5, 4).hex())


def test_an_installed_specification_is_used_by_its_name(port: int) -> None:
    specs = ask(port, "/api/specs").json
    assert "ipcserver/ipc.x" in specs["specs"]
    assert "IPCPROG.1.RIPC_MSGGET" in specs["calls"]
    question = {"hex": accepted(0, bytes(8)).hex(), "known": "ipcserver/ipc.x", "call": "IPCPROG.1.RIPC_MSGGET"}
    found = ask(port, "/api/explain", "POST", json.dumps(question), Content_Type="application/json")
    assert found.json["messages"][0]["procedure"] == 10


def test_a_body_without_end_is_not_kept(port: int) -> None:
    body = " " * (13 << 20)
    assert ask(port, "/api/explain", "POST", body, Content_Type="application/json").status == 413


@pytest.mark.parametrize(
    "question",
    [
        {"capture": "AAAA"},
        {"capture": "not base64"},
        {"capture": base64.b64encode(pcap([])[:20]).decode()},
        {"hex": "00", "known": "../../etc/passwd"},
        {"hex": "zz"},
        {"hex": ""},
        {"hex": 5},
        {"hex": "00", "call": "--file=/etc/passwd"},
        {"hex": "00", "form": "file"},
        {"hex": "00", "spec": '#include "/etc/passwd"\n'},
        {"hex": "00", "spec": '#inc\\\nlude "/etc/passwd"\n'},
        [],
    ],
)
def test_a_question_that_is_none_is_refused_with_a_reason(port: int, question: object) -> None:
    found = ask(port, "/api/explain", "POST", json.dumps(question), Content_Type="application/json")
    assert (found.status, bool(found.json["error"])) == (400, True)


def test_a_foreign_page_reaches_nothing(port: int) -> None:
    assert ask(port, "/api/state", Host="evil.example").status == 421
    body = json.dumps({"hex": "00"})
    assert ask(port, "/api/explain", "POST", body, Content_Type="text/plain").status == 403
    foreign = ask(port, "/api/explain", "POST", body, Content_Type="application/json", Origin="http://evil.example")
    assert foreign.status == 403


@pytest.mark.parametrize("name", ["Host", "Origin", "Content_Type"])
def test_a_header_that_is_no_text_is_a_wrong_header_and_nothing_worse(port: int, name: str) -> None:
    headers = {"Content_Type": "application/json", name: "\xff\xfe"}
    assert ask(port, "/api/explain", "POST", "{}", **headers).status in {403, 421}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(port: int, method: str) -> None:
    assert ask(port, "/api/state", method).status == 405


@pytest.mark.parametrize(
    "path", ["/api/traffic/0", "/api/traffic/x", "/../setup.cfg", "/nothing", "/api/traffic/" + "9" * 99]
)
def test_what_is_not_there_is_not_found(port: int, path: str) -> None:
    assert ask(port, path).status == 404


def test_the_log_says_where_the_console_is_and_not_what_twisted_calls_it(serving: Serving, port: int) -> None:
    assert f":{port}/" in serving.process.output
    assert "starting on" not in serving.process.output


def test_health_and_metrics_are_for_machines(port: int, ipc: IPC) -> None:
    ipc.info()
    health = ask(port, "/healthz")
    assert (health.status, health.body) == (200, b"ok\n")
    assert b'procedure="RIPC_INFO"' in ask(port, "/metrics").body


def test_a_port_that_is_taken_ends_the_start_with_one_line(port: int, tmp_path: Path) -> None:
    command = [
        *IPCSERVER,
        "serve",
        "--state",
        str(tmp_path),
        "--listen",
        "127.0.0.1",
        "--port",
        "0",
        "--portmapper",
        "none",
    ]
    done = subprocess.run(
        [*command, "--console", f"127.0.0.1:{port}"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert re.fullmatch(r"ipcserver: cannot listen on .* for the console: Address already in use\n", done.stderr)


def test_a_server_with_a_page_that_listens_stops_in_good_order(serving: Serving, port: int) -> None:
    """Last in this file: it ends the server."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/api/events")
    connection.getresponse().readline()
    assert serving.stop() == 0
    connection.close()
