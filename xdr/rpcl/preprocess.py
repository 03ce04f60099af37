"""The C preprocessor before the language, as rpcgen runs it: ``#include``, ``#define``, ``#if``, and ``%`` lines.

The work is pcpp's. Around it stands what C does not know: ``%`` lines, which pass through rpcgen into its output and
must not be looked into, and places that survive macro expansion and inclusion.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from pcpp.parser import default_lexer
from pcpp.preprocessor import Action, OutputDirective, Preprocessor

from xdr.rpcl.errors import Diagnostics, Place
from xdr.rpcl.tokens import END, Comment, Token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["MAX_INCLUDE_DEPTH", "TARGETS", "Preprocessed", "preprocess"]

TARGETS: Final = {
    "hdr": "RPC_HDR",
    "xdr": "RPC_XDR",
    "svc": "RPC_SVC",
    "clnt": "RPC_CLNT",
    "tbl": "RPC_TBL",
    "none": "",
}
"""Which of rpcgen's macros is defined: rpcgen runs the preprocessor once for each file it writes, each with its own."""

MAX_INCLUDE_DEPTH: Final = 64
"""Files that include each other; gcc allows 200, and each level costs the preprocessor a generator frame."""

MAX_EXPANSIONS: Final = 20_000
"""Macro expansions of one run. Thirty macros that each hold the last one twice would make a thousand million words."""

MAX_SOURCE: Final = 16 * 1024 * 1024
"""Bytes of one included file; the largest public .x file has 300 kB."""

_MARK: Final = "\x01"
_NUMBER = r"-?(?:0[xX][\da-fA-F]+|\d+)"
_PASSTHROUGH_DEFINE = re.compile(rf"#\s*define\s+([A-Za-z_]\w*)\s+\(?\s*({_NUMBER})[uUlL]*\s*\)?\s*(?:/\*|//|$)")
_PASSTHROUGH_INCLUDE = re.compile(r"#\s*include\s*[<\"]([^<>\"]+)[>\"]")
_SCAN = re.compile(r"/\*|//|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|\n")
_DIGITS_APART = re.compile(r"'[0-9A-Fa-f]+'\Z")
_INTEGER_SUFFIX = re.compile(r"[uUlL]+\Z")


class Passed(NamedTuple):
    """A header that the C output of rpcgen includes, and the file that says so."""

    header: str
    file: str


@dataclass(slots=True)
class Preprocessed:
    """The tokens of a file and of all that it includes."""

    tokens: list[Token]
    """Ends with one token of kind "end"."""
    passthrough_constants: dict[str, int] = field(default_factory=dict)
    """Numbers that ``%#define`` lines give to names."""
    cyclic: bool = False
    """Whether a file that this one includes includes this one."""
    passthrough_includes: list[Passed] = field(default_factory=list)
    """Headers that ``%#include`` lines name."""


class _Source:
    """One file: its text as people wrote it, and as the preprocessor may see it."""

    def __init__(self, path: str, shown: str, text: str, report: Diagnostics) -> None:
        self.shown = shown
        self.passthrough: list[tuple[str, ...]] = []
        clean = text.replace("\r\n", "\n").replace("\r", "\n").replace(_MARK, " ")
        # str.splitlines() in pcpp would see line ends in these, and every later line number would be wrong.
        clean = re.sub(r"[\f\v\x1c-\x1e\x85\u2028\u2029]", " ", clean)
        self.lines = [line.rstrip() for line in clean.split("\n")]
        self._report = report
        self.masked = self._mask("\n".join(self.lines))
        self._starts = [0]
        for line in self.masked.split("\n"):
            self._starts.append(self._starts[-1] + len(line.rstrip()) + 1)
        self.path = path

    def place(self, line: int, column: int, length: int) -> Place:
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return Place(self.shown, line, column, length, text)

    def find(self, line: int, offset: int, word: str) -> Place:
        """Give the place of a word that the lexer saw at an offset, or that a macro left on a line."""
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        column = offset - self._starts[line - 1] if 0 < line < len(self._starts) else -1
        if column < 0 or not text.startswith(word, column):
            found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)
            column = found.start() if found else len(text) - len(text.lstrip())
        return Place(self.shown, line, column + 1, len(word), text)

    def _mask(self, text: str) -> str:
        """Hide ``%`` lines in comments of one line, and take comments off directives, which pcpp evaluates whole."""
        out: list[str] = []
        position = 0
        while position < len(text):
            end = self._logical_end(text, position)
            line = text[position:end]
            sign = line.lstrip()[:1]
            if sign == "%":
                end = self._comment_end(text, position, end)
                out.append(self._pass(text[position:end]))
            elif sign == "#":
                end = self._comment_end(text, position, end)
                out.append(_blank_comments(text[position:end]))
            else:
                end = self._comment_end(text, position, end)
                out.append(text[position:end])
            position = end
            if position < len(text):
                out.append("\n")
                position += 1
        return "".join(out)

    @staticmethod
    def _logical_end(text: str, start: int) -> int:
        """Find the end of a line that backslashes may continue."""
        end = text.find("\n", start)
        while end > 0 and text[end - 1] == "\\" and end > start:
            end = text.find("\n", end + 1)
        return len(text) if end < 0 else end

    def _comment_end(self, text: str, start: int, end: int) -> int:
        """Go on to the end of a line that has no comment open."""
        position = start
        while (found := _SCAN.search(text, position, end)) is not None:
            position = found.end()
            if found.group() == "//":
                return end
            if found.group() == "/*":
                close = text.find("*/", position)
                if close < 0:
                    line = text.count("\n", 0, found.start()) + 1
                    column = found.start() - text.rfind("\n", 0, found.start())
                    self._report.error(self.place(line, column, 2), "this comment is never closed", "end it with '*/'")
                    return len(text)
                position = close + 2
                end = max(end, self._logical_end(text, position))
        return end

    def _pass(self, block: str) -> str:
        self.passthrough.append(tuple(line.strip() for line in block.split("\n")))
        return f"/*{_MARK}{len(self.passthrough) - 1}*/" + "\n" * block.count("\n")


def _blank_comments(line: str) -> str:
    out: list[str] = []
    position = 0
    for found in re.finditer(r"/\*.*?(?:\*/|\Z)|//[^\n]*|\"(?:[^\"\\\n]|\\.)*\"", line, re.DOTALL):
        out.append(line[position : found.start()])
        word = found.group()
        out.append(word if word[0] == '"' else " " + "\n" * word.count("\n"))
        position = found.end()
    out.append(line[position:])
    return "".join(out)


@cache
def _lexer() -> Any:
    """Give pcpp's lexer; to make it anew for each file takes longer than most files take."""
    return default_lexer()


class _TooManyExpansions(Exception):
    """Macros multiply without bound."""


class _Reader(Preprocessor):  # type: ignore[misc]  # pcpp has no annotations
    """pcpp with our files, our messages, and no date or time in what it gives."""

    def __init__(self, report: Diagnostics, include: Sequence[str]) -> None:
        super().__init__(_lexer().clone())
        self.report = report
        self.sources: dict[str, _Source] = {}
        self.headers: list[Passed] = []
        self.expansions = 0
        self.main = ""
        self.cyclic = False
        self.rewrite_paths: list[Any] = []
        self.line_directive = None
        for name in ("__DATE__", "__TIME__", "__PCPP__"):
            self.undef(name)
        for folder in include:
            self.add_path(os.path.abspath(folder))  # noqa: PTH100 - symbolic links stay as the user wrote them
        self.rewrite_paths = []

    def place(self, file: str, line: int) -> Place:
        source = self.sources.get(os.path.abspath(file)) if file else None  # noqa: PTH100
        if source is None:
            return Place(file or "<command line>", max(line, 1), 1, 1, "")
        text = source.lines[line - 1] if 0 < line <= len(source.lines) else ""
        return source.place(line, len(text) - len(text.lstrip()) + 1, max(len(text.strip()), 1))

    def add(self, path: str, shown: str, text: str) -> str:
        source = self.sources.get(path)
        if source is None:
            source = self.sources[path] = _Source(path, shown, text, self.report)
        return source.masked

    def on_error(self, file: str, line: int, msg: str) -> None:
        self.report.error(self.place(file, line), f"preprocessor: {msg[:1].lower()}{msg[1:]}")

    def on_file_open(self, is_system_include: bool, includepath: str) -> IO[str]:  # noqa: ARG002, FBT001 - pcpp's call
        if self.include_depth > MAX_INCLUDE_DEPTH:
            place = self.place(self.lastdirective.source, self.lastdirective.lineno)
            self.report.error(place, f"more than {MAX_INCLUDE_DEPTH} files include each other")
            return io.StringIO("")
        self.cyclic |= includepath == self.main
        path = Path(includepath)
        if not path.is_file():
            raise FileNotFoundError(includepath)
        if path.stat().st_size > MAX_SOURCE:
            place = self.place(self.lastdirective.source, self.lastdirective.lineno)
            self.report.error(place, f"{includepath!r} has more than {MAX_SOURCE} bytes")
            return io.StringIO("")
        text = path.read_bytes().decode("utf-8-sig", "replace")
        return io.StringIO(self.add(includepath, os.path.relpath(includepath), text))

    def on_include_not_found(self, is_malformed: bool, is_system_include: bool, curdir: str, includepath: str) -> None:  # noqa: ARG002, FBT001
        place = self.place(self.lastdirective.source, self.lastdirective.lineno)
        if is_malformed:
            self.report.error(place, f"malformed #include: {includepath}", 'write #include "FILE.x"')
        elif is_system_include:
            # A C header: nothing in it is RPC language. What the file needs of it is reported where it is missing.
            self.report.warn(place, f"<{includepath}> was not found and is left out")
        elif includepath.endswith(".h"):
            # rpcgen would read C there and fail; but if the .x file of the header is at hand it has what is wanted.
            self.headers.append(Passed(includepath, self.lastdirective.source))
            self.report.warn(place, f"{includepath!r} was not found and is left out")
        else:
            self.report.error(place, f"cannot find {includepath!r} to include", "say where it is with -I DIRECTORY")
        raise OutputDirective(Action.IgnoreAndRemove)

    def on_directive_handle(self, directive: Any, toks: Any, ifpassthru: bool, precedingtoks: Any) -> bool:  # noqa: ARG002, FBT001
        self.lastdirective = directive
        if not toks and directive.value in ("if", "ifdef", "ifndef", "elif", "define", "undef", "include"):
            self.on_error(directive.source, directive.lineno, f"#{directive.value} with nothing behind it")
            # pcpp would fail on the missing word; an #if that fails leaves its block out.
            if directive.value in ("if", "ifdef", "ifndef", "elif"):
                toks.extend(_located(self, "0", directive))
                return True
            raise OutputDirective(Action.IgnoreAndRemove)
        return True

    def on_directive_unknown(self, directive: Any, toks: Any, ifpassthru: bool, precedingtoks: Any) -> bool:  # noqa: ARG002, FBT001
        if directive.value == "error":
            said = "".join(token.value for token in toks).strip()
            self.report.error(self.place(directive.source, directive.lineno), f"#error {said}")
        # #ident, #pragma and line markers say nothing to us.
        return True

    def expand_macros(self, tokens: Any, expanding_from: Any = ()) -> Any:
        self.expansions += 1
        if self.expansions > MAX_EXPANSIONS:
            raise _TooManyExpansions
        return super().expand_macros(tokens, list(expanding_from))

    def on_comment(self, tok: Any) -> bool:  # noqa: ARG002
        return True


def _located(reader: _Reader, text: str, like: Any) -> list[Any]:
    tokens: list[Any] = reader.tokenize(text)
    for token in tokens:
        token.source, token.lineno = like.source, like.lineno
    return tokens


def preprocess(
    text: str,
    name: str,
    report: Diagnostics,
    *,
    include: Sequence[str] = (),
    defines: Mapping[str, str] | None = None,
    target: str = "hdr",
) -> Preprocessed:
    """Turn a file into tokens.

    Args:
        text: The file's text.
        name: Its path, for messages and for ``#include`` beside it; it need not exist.
        report: Takes the faults.
        include: Folders to look for included files in, after that of the including file.
        defines: Macros, each with its replacement.
        target: A key of `TARGETS`. With "hdr" a file shows what rpcgen would write into its header: all types.
    """
    reader = _Reader(report, include)
    path = os.path.abspath(name)  # noqa: PTH100
    masked = reader.add(path, name, text)
    reader.main = path
    if TARGETS[target]:
        reader.define(f"{TARGETS[target]} 1")
    for macro, value in (defines or {}).items():
        reader.define(f"{macro} {value}")
    # Names start with a path, so that pcpp finds what stands beside the file.
    reader.parse(masked, path)
    tokens: list[Token] = []
    result = Preprocessed(tokens)
    try:
        # A comment that is never closed: everything behind it would be a fault too.
        if not report.faulty:
            tokens.extend(_tokens(reader, result, path))
    except _TooManyExpansions:
        report.error(reader.place(path, 1), f"preprocessor: more than {MAX_EXPANSIONS} macro expansions")
    except RecursionError:
        report.error(reader.place(path, 1), "preprocessor: macros or conditions nest too deeply")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, AssertionError) as error:
        # pcpp trips over some malformed directives; the directive it was at is the best place to show.
        at = reader.lastdirective
        place = reader.place(at.source, at.lineno) if at is not None else reader.place(path, 1)
        report.error(place, f"preprocessor: cannot make sense of this ({type(error).__name__}: {error})")
    result.passthrough_includes.extend(reader.headers)
    result.cyclic = reader.cyclic
    if not tokens or tokens[-1].kind != "end":
        tokens.append(Token("end", END, reader.place(path, len(reader.sources[path].lines))))
    return result


_KINDS: Final = {
    "CPP_ID": "name",
    "CPP_INTEGER": "number",
    "CPP_FLOAT": "float",
    "CPP_STRING": "string",
    "CPP_CHAR": "char",
}


def _tokens(reader: _Reader, result: Preprocessed, main: str) -> Iterator[Token]:
    pending: list[Comment] = []
    last: Token | None = None
    last_line = ("", 0)
    while (raw := reader.token()) is not None:
        kind: str = raw.type
        if kind in ("CPP_WS", "CPP_LINECONT") or not raw.value.strip():
            continue
        # Words of a macro from the command line have no file of their own.
        source = reader.sources.get(raw.source or main) or reader.sources[main]
        if kind in ("CPP_COMMENT1", "CPP_COMMENT2"):
            comment = _comment(raw, source, result)
            if last is not None and (source.shown, raw.lineno) == last_line and not comment.passthrough:
                last.after.append(comment)
            else:
                pending.append(comment)
            continue
        place = source.find(raw.lineno, raw.lexpos, raw.value)
        if last is not None and last.kind == "number" and _continues(last, raw.value, place):
            last.text += raw.value
            continue
        if last is not None:
            yield last
        last = Token(_KINDS.get(kind, raw.value), raw.value, place, pending)
        last_line = (source.shown, raw.lineno)
        pending = []
    if last is not None:
        yield last
    source = reader.sources[main]
    final = max(len(source.lines), 1)
    yield Token("end", END, source.place(final, len(source.lines[final - 1]) + 1, 1), pending)


def _continues(number: Token, text: str, place: Place) -> bool:
    """Tell whether a word belongs to the number right before it, which pcpp has cut.

    That is the second L of 1ULL, and what C++ lets stand between digits: 1'000'000.
    """
    if number.place.line != place.line or number.place.column + len(number.text) != place.column:
        return False
    return bool(_INTEGER_SUFFIX.match(text) or _DIGITS_APART.match(text) or number.text[-1:] == "'")


def _comment(raw: Any, source: _Source, result: Preprocessed) -> Comment:
    value: str = raw.value
    height = value.count("\n")
    if value.startswith("/*" + _MARK):
        lines = source.passthrough[int(value[3:-2])]
        for line in lines:
            code = line.lstrip("%").strip()
            if (found := _PASSTHROUGH_DEFINE.match(code)) is not None:
                result.passthrough_constants.setdefault(found[1], _c_integer(found[2]))
            elif (found := _PASSTHROUGH_INCLUDE.match(code)) is not None:
                result.passthrough_includes.append(Passed(found[1], source.path))
        return Comment("\n".join(lines), source.shown, raw.lineno, raw.lineno + len(lines) - 1, passthrough=True)
    return Comment(value, source.shown, raw.lineno, raw.lineno + height)


def _c_integer(spelling: str) -> int:
    digits = spelling.lstrip("-")
    if digits[:2].lower() == "0x":
        value = int(digits, 16)
    elif digits.isdigit() and digits.startswith("0") and not set(digits) - set("01234567"):
        value = int(digits, 8)
    else:
        value = int(digits)
    return -value if spelling.startswith("-") else value
