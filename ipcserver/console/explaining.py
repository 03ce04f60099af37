"""The explainer of the console: ``oncrpc explain`` in a process of its own.

What people upload is compiled there, not here: it may take long and much memory, and the service must not notice. An
``#include`` would read files with the server's rights, so it is refused.
"""

from __future__ import annotations

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

from oncrpc.pasted import parse_hex

if TYPE_CHECKING:
    from twisted.python.failure import Failure

__all__ = ["MAX_BODY", "CannotExplain", "Question", "explain", "read_question"]

MAX_BODY: Final = 1 << 20
"""Bytes of a question."""

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
        data: The bytes.
        spec: Text of a ``.x`` file; "" for none.
        form: "stream", "message", or "" to have it guessed.
        call: PROG.VERS.PROC for replies; "" if it is not known.
    """

    data: bytes
    spec: str = ""
    form: str = ""
    call: str = ""


def read_question(body: bytes) -> Question:
    """Read the body of a request: JSON with hex, spec, form, call; all but hex may be left out.

    Raises:
        CannotExplain: It is too large, or not so.
    """
    if len(body) > MAX_BODY:
        message = f"more than {MAX_BODY} bytes"
        raise CannotExplain(message)
    try:
        asked = json.loads(body)
        given = {name: asked.get(name, "") for name in ("hex", "spec", "form", "call")}
    except (ValueError, AttributeError, RecursionError):
        given = {}
    if not given or not all(isinstance(value, str) for value in given.values()):
        message = "a JSON object with texts named hex, spec, form and call is expected"
        raise CannotExplain(message)
    try:
        question = Question(parse_hex(given["hex"]), given["spec"], given["form"], given["call"])
    except ValueError as error:
        raise CannotExplain(str(error)) from None
    if not question.data:
        message = "there are no bytes to explain"
        raise CannotExplain(message)
    if question.form not in {"", "stream", "message"} or (question.call and not _CALL.fullmatch(question.call)):
        message = "form is stream or message, call is PROG.VERS.PROC"
        raise CannotExplain(message)
    # A backslash or a trigraph could hide the word from us.
    if re.search(r"include|\\|\?\?", question.spec):
        message = (
            "the specification has an #include or a backslash in it: send it preprocessed (xdr preprocesses with cpp)"
        )
        raise CannotExplain(message)
    return question


async def explain(question: Question) -> dict[str, Any]:
    """Answer a question.

    Returns:
        ``hex``: the bytes; ``messages``: as ``oncrpc explain --json`` prints them.

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
            arguments += [f"--{question.form}"] if question.form else []
            arguments += ["--call", question.call] if question.call else []
            run = _Run(question.data)
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
    try:
        return {"hex": question.data.hex(), "messages": json.loads(run.answer)}
    except ValueError:
        lines = run.complaint.decode("utf-8", "replace").strip().splitlines()
        why = "; ".join(line.removeprefix("Error: ") for line in lines[-8:] if not line.startswith(("Usage", "Try")))
        raise CannotExplain(why or f"no answer within {SECONDS} seconds") from None


class _Run(ProcessProtocol):
    """The process: hexadecimal in, JSON out, and an end in any case."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.answer = bytearray()
        self.complaint = bytearray()
        self.ended: Deferred[None] = Deferred()
        self._timer: Any = None

    def connectionMade(self) -> None:
        """It runs."""
        self._timer = reactor.callLater(SECONDS, self._end)
        self.transport.write(self._data.hex().encode())  # type: ignore[union-attr]
        self.transport.closeStdin()  # type: ignore[union-attr]

    def outReceived(self, data: bytes) -> None:
        """Keep so much."""
        self.answer += data
        if len(self.answer) > _MAX_ANSWER:
            self._end()

    def errReceived(self, data: bytes) -> None:
        """Keep the end."""
        self.complaint = (self.complaint + data)[-4096:]

    def processEnded(self, reason: Failure) -> None:  # noqa: ARG002 - as the hook
        """It is over."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.ended.callback(None)

    def _end(self) -> None:
        self.transport.signalProcess("KILL")  # type: ignore[union-attr]
