"""The API: what is served is what is documented."""

from __future__ import annotations

import re

import pytest
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import Site

from ipcserver.console.actions import ACTIONS
from ipcserver.console.resources import PATHS, BoundedRequest
from tests.peers import ROOT

PAGE = (ROOT / "docs" / "reference" / "console.md").read_text()


def test_every_path_is_documented_with_its_method_and_none_that_is_not_served() -> None:
    documented = {
        (method, path.partition("?")[0].replace("/N", "/"))
        for method, path in re.findall(r"^\| `(GET|POST) /(\S+)` \|", PAGE, re.MULTILINE)
    }
    served = {("POST" if path == "api/explain" else "GET", path) for path in PATHS}
    assert documented == served | {("POST", f"api/actions/{name}") for name in ACTIONS}


class Seen(BoundedRequest):
    """Shows what would be answered."""

    def process(self) -> None:
        assert self.content is not None
        assert self.args is not None
        received.append((self.args, self.content.read()))


received: list[tuple[dict[bytes, list[bytes]], bytes]] = []


@pytest.mark.parametrize(
    ("kind", "body", "kept"),
    [
        ("application/json; charset=utf-8", b'{"a": 1}', True),
        ("application/x-www-form-urlencoded", b"a=b&" * 9, False),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n',
            False,
        ),
        ("text/plain", b"a=b", False),
    ],
)
def test_nothing_but_json_is_kept_or_taken_apart(kind: str, body: bytes, *, kept: bool) -> None:
    """Any page can make a browser post a form; Twisted takes ten seconds to take a large one apart."""
    received.clear()
    channel = Site(Resource(), requestFactory=Seen).buildProtocol(None)
    assert channel is not None
    channel.makeConnection(StringTransport())
    head = f"POST /?q=1 HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    channel.dataReceived(head.encode() + body)
    assert received == [({b"q": [b"1"]}, body if kept else b"")]
