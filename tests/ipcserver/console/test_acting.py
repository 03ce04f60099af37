"""The page's actions on a real server: only with the flag, only with the token, and like any client's call."""

from __future__ import annotations

import json
import re
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from ipcserver.client import connect
from tests.ipcserver.console.test_service import Answer, ask
from tests.ipcserver.serving import Serving
from tests.peers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipcserver.client import IPC

TOKEN = "a-token-for-tests-only"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server whose console may act, with a token that it made up."""
    flags = ("--console", "127.0.0.1:0", "--console-actions", "--journal", "memory")
    with Serving(tmp_path_factory.mktemp("acting"), *flags) as running:
        running.process.wait_for_output("the token is ")
        yield running


@pytest.fixture(scope="module")
def port(serving: Serving) -> int:
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", serving.process.output)
    assert found is not None
    return int(found[1])


@pytest.fixture(scope="module")
def token(serving: Serving) -> str:
    found = re.search(r"the token is (\S+)", serving.process.output)
    assert found is not None
    return found[1]


@pytest.fixture
def ipc(serving: Serving) -> Iterator[IPC]:
    with connect(serving.local) as client:
        yield client


def act(port: int, token: str | None, name: str, **members: Any) -> Answer:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return ask(port, f"/api/actions/{name}", "POST", json.dumps(members), Content_Type="application/json", **headers)


def test_a_message_is_sent_and_received_as_any_client_would(serving: Serving, port: int, token: str, ipc: IPC) -> None:
    queue = ipc.msgget(create=True)
    assert act(port, token, "send", id=queue.id, mtype=7, text="from the page").json == {"status": "RIPC_OK"}
    found = queue.receive(nowait=True)
    assert (found.mtype, found.text) == (7, b"from the page")
    queue.send(b"\xff", 3)
    assert act(port, token, "receive", id=queue.id).json == {
        "status": "RIPC_OK",
        "mtype": "3",
        "hex": "ff",
        "text": None,
    }
    assert act(port, token, "receive", id=queue.id).json["status"] == "RIPC_ENOMSG"
    serving.process.wait_for_output(f"console: send of 13 bytes, type 7, to queue {queue.id} as 0:0 from 127.0.0.1:")
    queue.remove()


def test_a_wait_ends_with_its_time_and_never_blocks_the_page(port: int, token: str, ipc: IPC) -> None:
    queue = ipc.msgget(create=True)
    assert act(port, token, "receive", id=queue.id, wait_ms=50).json["status"] == "RIPC_ETIMEDOUT"
    queue.remove()


def test_a_page_that_is_left_takes_no_message(port: int, token: str, ipc: IPC) -> None:
    queue = ipc.msgget(create=True)
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    connection.request("POST", "/api/actions/receive", json.dumps({"id": queue.id, "wait_ms": 10_000}), headers)
    wait_until(lambda: ipc.info().waiters == 1, "the page's wait")
    connection.close()
    wait_until(lambda: ipc.info().waiters == 0, "the end of the wait")
    queue.send(b"kept")
    assert queue.receive(nowait=True).text == b"kept"
    queue.remove()


def test_a_semop_and_a_removal_change_the_set(port: int, token: str, ipc: IPC) -> None:
    found = ipc.semget(nsems=2, create=True)
    assert act(port, token, "semop", id=found.id, operations=[{"num": 1, "op": 3}]).json["status"] == "RIPC_OK"
    assert found.values() == [0, 3]
    assert act(port, token, "semop", id=found.id, operations=[{"num": 0, "op": -1}]).json["status"] == "RIPC_EAGAIN"
    assert act(port, token, "remove", kind="set", id=found.id).json["status"] == "RIPC_OK"
    assert act(port, token, "remove", kind="set", id=found.id).json["status"] == "RIPC_EINVAL"


def test_without_the_token_nothing_is_done(serving: Serving, port: int, token: str, ipc: IPC) -> None:
    queue = ipc.msgget(create=True)
    for wrong in (None, "", "x", token[:-1], f"{token}x", "ü"):
        found = act(port, wrong, "remove", kind="queue", id=queue.id)
        assert (found.status, found.headers["WWW-Authenticate"]) == (401, "Bearer")
    cookie = ask(
        port,
        "/api/actions/remove?token=" + token,
        "POST",
        json.dumps({"kind": "queue", "id": queue.id}),
        Content_Type="application/json",
        Cookie=f"token={token}",
    )
    assert cookie.status == 401
    assert "a wrong token from 127.0.0.1:" in serving.process.output
    queue.remove()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_foreign_page_cannot_act_even_with_the_token(port: int, token: str, headers: dict[str, str]) -> None:
    sent = {"Content_Type": "application/json", "Authorization": f"Bearer {token}", **headers}
    assert ask(port, "/api/actions/remove", "POST", '{"kind": "queue", "id": 0}', **sent).status == 403
    assert ask(port, "/api/actions/remove", "POST", "{}", **(sent | {"Host": "evil.example"})).status == 421


def test_what_is_no_action_is_refused(port: int, token: str) -> None:
    assert act(port, token, "destroy").status == 404
    assert act(port, token, "send", id="x").status == 400
    assert ask(port, "/api/actions/send").status == 405
    large = ask(
        port,
        "/api/actions/send",
        "POST",
        " " * (1 << 19),
        Content_Type="application/json",
        Authorization=f"Bearer {token}",
    )
    assert large.status == 413


def test_the_log_does_not_tell_a_token_that_was_given_and_the_identity_is_what_was_asked_for(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPCSERVER_CONSOLE_TOKEN", TOKEN)
    flags = ("--console", "127.0.0.1:0", "--console-actions", "--console-identity", "1234:99", "--journal", "memory")
    with Serving(tmp_path_factory.mktemp("given"), *flags) as serving:
        output = serving.process.wait_for_output("as uid 1234 gid 99; the token is the one that was configured")
        assert TOKEN not in output
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", output)
        assert found is not None
        with connect(serving.local) as ipc:
            queue = ipc.msgget(create=True, mode=0o600)
            assert act(int(found[1]), TOKEN, "send", id=queue.id, text="x").json["status"] == "RIPC_EACCES"
            assert act(int(found[1]), TOKEN, "remove", kind="queue", id=queue.id).json["status"] == "RIPC_EPERM"


def test_without_the_flag_there_is_no_such_thing(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Serving(tmp_path_factory.mktemp("off"), "--console", "127.0.0.1:0", "--journal", "memory") as serving:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", serving.process.wait_for_output("the console is at "))
        assert found is not None
        port = int(found[1])
        assert act(port, TOKEN, "send", id=0, text="x").status == 404
        assert ask(port, "/api/actions/send").status == 404
        assert ask(port, "/api/state").json["actions"] is False
