"""What the console answers to HTTP: views are read with GET; questions and actions are posted as JSON."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from ipcserver.console import actions
from ipcserver.console.acting import TooMany
from ipcserver.console.actions import ACTIONS, BadAction, read_action
from ipcserver.console.explaining import MAX_BODY, CannotExplain, explain, read_question
from ipcserver.console.requests import HEADERS, allowed_host, allowed_origin
from oncrpc.cli.programs import declared_programs, installed_specs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ipcserver.console.service import Console

__all__ = ["PATHS", "BoundedRequest", "root"]

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PATHS: Final = (
    "api/state",
    "api/traffic",
    "api/traffic/",
    "api/traffic.pcapng",
    "api/specs",
    "api/explain",
    "api/events",
    "metrics",
    "healthz",
)
"""What is answered besides the page's own files and the actions; with a slash at its end: and a number."""

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"

_log = Logger(namespace="ipcserver")

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


class BoundedRequest(Request):
    """A request whose body is kept only as far as anybody here reads it.

    Of a form nothing is, also since Twisted would take it apart before anybody is asked: any page can make a browser
    post one, and a large one would keep the whole server busy for ten seconds.
    """

    kept = 0

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a piece of the body."""
        room = max(0, MAX_BODY + 1 - self.kept) if _is_json(self) else 0
        self.kept += len(data)
        super().handleContentChunk(data[:room])  # type: ignore[no-untyped-call]


def root(console: Console) -> Resource:
    """Return the resource that answers everything."""
    return _Root(console)


def _json(value: Any, status: int = 200) -> Answer:
    return status, _JSON, json.dumps(value).encode()


def _refused(status: int, why: str) -> Answer:
    return _json({"error": why}, status)


def _static_files() -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Return what the page is made of: path to content type and bytes."""
    for file in (files("ipcserver.console") / "static").iterdir():
        kind = _TYPES.get(PurePath(file.name).suffix)
        if kind is not None:
            yield "" if file.name == "index.html" else file.name, (kind, file.read_bytes())


class _Root(Resource):
    """Checks who asks, and finds who answers."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, console: Console) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._console = console
        self._static = dict(_static_files())
        self._specs = {
            "specs": [name for name, file in installed_specs() if any(declared_programs(file.read_text("utf-8")))],
            "calls": console.recorder.programs.calls(),
        }
        self._answers: dict[str, Callable[[Request], Answer]] = {
            "api/state": lambda _: _json(console.state()),
            "api/traffic": self._traffic,
            "api/traffic.pcapng": self._capture,
            "api/specs": lambda _: _json(self._specs),
            "healthz": self._health,
            "metrics": self._metrics,
        }

    def render(self, request: Request) -> Any:
        """Answer a request."""
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        host = _header(request, b"host")
        if not allowed_host(host):
            return _write(request, _refused(421, "this console answers to addresses and to localhost alone"))
        path = (request.path or b"").decode("ascii", "replace").removeprefix("/")
        method = (request.method or b"").decode("ascii", "replace")
        if path == "api/explain":
            if method != "POST":
                return _write(request, _refused(405, "POST what is to be explained"), allow="POST")
            return self._explain(request, host)
        if path.startswith("api/actions/"):
            if self._console.actor is None:
                return _write(request, _refused(404, "there is nothing here"))
            if method != "POST":
                return _write(request, _refused(405, "POST what is to be done"), allow="POST")
            return self._act(request, host, path.removeprefix("api/actions/"))
        if method not in {"GET", "HEAD"}:
            return _write(request, _refused(405, "there is nothing to change here"), allow="GET, HEAD")
        if path == "api/events":
            return self._events(request)
        return _write(request, self._answer(path, request))

    def _answer(self, path: str, request: Request) -> Answer:
        if path in self._static:
            kind, body = self._static[path]
            return 200, kind, body
        if path in self._answers:
            return self._answers[path](request)
        if path.startswith("api/traffic/"):
            number = path.removeprefix("api/traffic/")
            found = self._console.recorder.detail(int(number)) if number.isdigit() and len(number) < 20 else None  # noqa: PLR2004
            return _refused(404, "this call is not kept, or not any more") if found is None else _json(found)
        return _refused(404, "there is nothing here")

    def _traffic(self, _request: Request) -> Answer:
        recorder = self._console.recorder
        return _json({"calls": [recorder.summary(each) for each in recorder.exchanges.values()]})

    def _capture(self, request: Request) -> Answer:
        wanted = (request.args or {}).get(b"calls", [b""])[0].decode("ascii", "replace")
        numbers = [int(each) for each in wanted.split(",") if each.isdigit() and len(each) < 20]  # noqa: PLR2004
        request.setHeader("Content-Disposition", 'attachment; filename="ipcserver.pcapng"')
        return 200, "application/octet-stream", self._console.recorder.capture(numbers if wanted else None)

    def _health(self, _request: Request) -> Answer:
        wrong = self._console.health()
        return 503 if wrong else 200, _TEXT, f"{wrong or 'ok'}\n".encode()

    def _metrics(self, _request: Request) -> Answer:
        if self._console.registry is None:
            return 501, _TEXT, b"the package prometheus_client is not installed: pip install ipcserver[metrics]\n"
        from prometheus_client import generate_latest

        return 200, _PROMETHEUS, generate_latest(self._console.registry)

    def _events(self, request: Request) -> Any:
        request.setHeader("Content-Type", "text/event-stream")
        if request.method == b"HEAD":
            return b""
        if not self._console.listen(request):
            return _write(request, _refused(503, "too many pages listen already"))
        return NOT_DONE_YET

    def _explain(self, request: Request, host: str | None) -> Any:
        body, refusal = _body(request, host, MAX_BODY)
        if refusal is not None:
            return _write(request, refusal)

        async def answer() -> Answer:
            try:
                return 200, _JSON, await explain(read_question(body))
            except CannotExplain as error:
                return _refused(400, str(error))

        return _later(request, answer(), request.notifyFinish())

    def _act(self, request: Request, host: str | None, name: str) -> Any:
        """Do something; who may not learns nothing, not even whether there is such an action."""
        actor = self._console.actor
        assert actor is not None
        body, refusal = _body(request, host, actions.MAX_BODY)
        if refusal is not None:
            return _write(request, refusal)
        client = request.getClientAddress()
        who = f"{getattr(client, 'host', '?')}:{getattr(client, 'port', '?')}"
        if not actor.allows(_header(request, b"authorization"), who):
            request.setHeader("WWW-Authenticate", "Bearer")
            return _write(request, _refused(401, "the token is wrong, or there is none: Authorization: Bearer TOKEN"))
        try:
            action = read_action(name, body, pid=os.getpid())
        except KeyError:
            return _write(request, _refused(404, f"there is no such action (there are: {', '.join(ACTIONS)})"))
        except BadAction as error:
            return _write(request, _refused(400, str(error)))
        try:
            doing = actor.perform(action, who, request.notifyFinish())
        except TooMany:
            return _write(request, _refused(503, "too many actions wait already"))

        async def answer() -> Answer:
            return _json(await doing)

        return _later(request, answer(), request.notifyFinish())


def _header(request: Request, name: bytes) -> str | None:
    """Return a header, whatever bytes it has: the first one of the name; None if there is none."""
    values = request.requestHeaders.getRawHeaders(name)
    return values[0].decode("utf-8", "replace") if values else None


def _is_json(request: Request) -> bool:
    """Return whether the body of a request is said to be JSON, which no page but ours can post."""
    return (_header(request, b"content-type") or "").partition(";")[0].strip() == _JSON


def _body(request: Request, host: str | None, most: int) -> tuple[bytes, Answer | None]:
    """Return the body of a request from our own page, or why it is not taken."""
    if not _is_json(request) or not allowed_origin(_header(request, b"origin"), host):
        return b"", _refused(403, "only this console's own page, and JSON")
    assert request.content is not None
    body = request.content.read(most + 1)
    return body, _refused(413, f"more than {most} bytes") if len(body) > most else None


def _later(request: Request, answering: Awaitable[Answer], gone: Any) -> Any:
    """Answer a request when the answer is there, if anybody still waits for it."""
    state = {"gone": False}
    gone.addBoth(lambda _: state.update(gone=True))

    async def answer() -> None:
        try:
            found = await answering
        except Exception:  # noqa: BLE001 - a fault of ours ends this request and nothing else
            _log.failure("the console could not answer {path}", path=(request.path or b"").decode("ascii", "replace"))
            found = _refused(500, "this failed; the log says why")
        if not state["gone"]:
            request.write(_write(request, found))
            request.finish()

    ensureDeferred(answer())
    return NOT_DONE_YET


def _write(request: Request, answer: Answer, *, allow: str = "") -> bytes:
    """Set status and headers; return the body."""
    status, kind, body = answer
    request.setResponseCode(status)
    request.setHeader("Content-Type", kind)
    request.setHeader("Content-Length", str(len(body)))
    if allow:
        request.setHeader("Allow", allow)
    return b"" if request.method == b"HEAD" else body
