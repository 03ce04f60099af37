"""The explainer of the console: ``oncrpc explain`` in a process of its own.

What people upload is compiled there, not here: it may take long and much memory, and the service must not notice. An
``#include`` would read files with the server's rights, so it is refused.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol

from oncrpc.capture_files import is_capture
from oncrpc.cli.programs import installed_specs
from oncrpc.pasted import parse_hex

if TYPE_CHECKING:
    from twisted.python.failure import Failure

__all__ = ["MAX_BODY", "MAX_CAPTURE", "MAX_HEX", "CannotExplain", "Question", "explain", "read_question"]

MAX_CAPTURE: Final = 8 << 20
"""Bytes of a capture file."""

MAX_HEX: Final = 1 << 20
"""Characters of hexadecimal."""

MAX_BODY: Final = MAX_CAPTURE * 4 // 3 + (1 << 20)
"""Bytes of a question: a capture in base64, and a specification."""

SECONDS: Final = 10
"""How long an answer may take, in seconds of the processor and of the clock."""

AT_ONCE: Final = 2
"""Questions that are worked on at a time."""

_MAX_ANSWER: Final = 16 << 20
_MEMORY: Final = 1 << 30
_CALL: Final = re.compile(r"[\w.]{1,200}")
_PROGRAM: Final = (
    f"import resource as r; r.setrlimit(r.RLIMIT_CPU, ({SECONDS}, {SECONDS})); "
    f"r.setrlimit(r.RLIMIT_AS, ({_MEMORY}, {_MEMORY})); "
    "from oncrpc.cli import main; main()"
)
_busy: list[object] = []


class CannotExplain(ValueError):
    """A question that has no answer; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be explained.

    Attributes:
        data: The bytes: of a message, of a stream of records, or of a capture file.
        capture: Whether they are a capture file.
        spec: Text of a ``.x`` file; "" for none.
        known: Name of an installed ``.x`` file; "" for none.
        form: "stream", "message", or "" to have it guessed.
        call: PROG.VERS.PROC for replies; "" if it is not known.
    """

    data: bytes
    capture: bool = False
    spec: str = ""
    known: str = ""
    form: str = ""
    call: str = ""


def read_question(body: bytes) -> Question:
    """Read the body of a request: JSON with hex or capture (base64), and if need be spec, known, form, call.

    Raises:
        CannotExplain: It is too large, or not so.
    """
    if len(body) > MAX_BODY:
        message = f"more than {MAX_BODY} bytes"
        raise CannotExplain(message)
    try:
        asked = json.loads(body)
        given = {name: asked.get(name, "") for name in ("hex", "capture", "spec", "known", "form", "call")}
    except (ValueError, AttributeError, RecursionError):
        given = {}
    if not given or not all(isinstance(value, str) for value in given.values()):
        message = "a JSON object with texts named hex or capture, spec, known, form and call is expected"
        raise CannotExplain(message)
    data = _bytes_of(given["hex"], given["capture"])
    question = Question(data, bool(given["capture"]), given["spec"], given["known"], given["form"], given["call"])
    if question.form not in {"", "stream", "message"} or (question.call and not _CALL.fullmatch(question.call)):
        message = "form is stream or message, call is PROG.VERS.PROC"
        raise CannotExplain(message)
    if question.known and question.known not in {name for name, _ in installed_specs()}:
        message = "there is no installed specification of this name"
        raise CannotExplain(message)
    # A backslash or a trigraph could hide the word from us.
    if re.search(r"include|\\|\?\?", question.spec):
        message = (
            "the specification has an #include or a backslash in it: send it preprocessed (xdr preprocesses with cpp)"
        )
        raise CannotExplain(message)
    return question


def _bytes_of(digits: str, capture: str) -> bytes:
    """Return what is to be explained.

    Raises:
        CannotExplain: It cannot be read, or there is nothing.
    """
    if len(digits) > MAX_HEX:
        message = f"more than {MAX_HEX} characters of hexadecimal"
        raise CannotExplain(message)
    try:
        data = base64.b64decode(capture, validate=True) if capture else parse_hex(digits)
    except ValueError as error:
        raise CannotExplain("capture is not base64" if capture else str(error)) from None
    if not data:
        message = "there are no bytes to explain"
        raise CannotExplain(message)
    if capture and not (is_capture(data) or data[:2] == b"\x1f\x8b"):
        message = "the file is neither pcap nor pcapng"
        raise CannotExplain(message)
    return data


async def explain(question: Question) -> bytes:
    """Answer a question.

    Returns:
        JSON. Of a message ``hex``, the bytes, and ``messages``, as ``oncrpc explain --json`` prints them; of a capture
        ``capture``, its list. It is not read here: it may be long, and the reactor has other things to do.

    Raises:
        CannotExplain: Too much at once, or the specification is wrong.
    """
    if len(_busy) >= AT_ONCE:
        message = "others are being answered: try again in a moment"
        raise CannotExplain(message)
    ticket = object()
    _busy.append(ticket)
    try:
        with tempfile.TemporaryDirectory(prefix="ipcserver-explain-") as folder:
            arguments = ["explain", "--json"]
            if question.spec:
                (Path(folder) / "uploaded.x").write_text(question.spec, encoding="utf-8", errors="replace")
                arguments += ["--spec", "uploaded.x"]
            arguments += ["--spec", question.known] if question.known else []
            arguments += [f"--{question.form}"] if question.form and not question.capture else []
            arguments += ["--call", question.call] if question.call and not question.capture else []
            run = _Run(question.data if question.capture else question.data.hex().encode())
            reactor.spawnProcess(
                run,
                sys.executable,
                [sys.executable, "-c", _PROGRAM, *arguments],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                path=folder,
            )
            await run.ended
    finally:
        _busy.remove(ticket)
    # Status 1 says that something is wrong with a message, which is an answer too.
    if run.status in {0, 1} and run.answer.startswith((b"[", b"{")):
        if question.capture:
            return b'{"capture": ' + run.answer.rstrip() + b"}"
        return b'{"hex": "' + question.data.hex().encode() + b'", "messages": ' + run.answer.rstrip() + b"}"
    lines = run.complaint.decode("utf-8", "replace").strip().splitlines()
    why = "; ".join(line.removeprefix("Error: ") for line in lines[-8:] if not line.startswith(("Usage", "Try")))
    raise CannotExplain(why or f"no answer within {SECONDS} seconds")


class _Run(ProcessProtocol):
    """The process: the question in, JSON out, and an end in any case.

    Attributes:
        answer: What it wrote.
        complaint: The end of what it wrote to standard error.
        status: Its exit status; None if it was killed.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.status: int | None = None
        self.answer = bytearray()
        self.complaint = bytearray()
        self.ended: Deferred[None] = Deferred()
        self._timer: Any = None

    def connectionMade(self) -> None:
        """It runs."""
        self._timer = reactor.callLater(SECONDS, self._end)
        self.transport.write(self._data)  # type: ignore[union-attr]
        self.transport.closeStdin()  # type: ignore[union-attr]

    def outReceived(self, data: bytes) -> None:
        """Keep so much."""
        self.answer += data
        if len(self.answer) > _MAX_ANSWER:
            self._end()

    def errReceived(self, data: bytes) -> None:
        """Keep the end."""
        self.complaint = (self.complaint + data)[-4096:]

    def processEnded(self, reason: Failure) -> None:
        """It is over."""
        self.status = getattr(reason.value, "exitCode", None)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.ended.callback(None)

    def _end(self) -> None:
        self.transport.signalProcess("KILL")  # type: ignore[union-attr]
