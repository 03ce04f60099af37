"""A place in a list of tokens, and what every production of the grammar does there: look, take, expect, recover."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from xdr.rpcl.nodes import Notes
from xdr.rpcl.tokens import Comment, Token, comment_text

if TYPE_CHECKING:
    from xdr.rpcl.errors import Diagnostics

__all__ = ["Cursor", "ParseError", "notes_of", "split_comments"]


class ParseError(Exception):
    """The text is not what the grammar allows here; already reported."""


class Cursor:
    """Reads tokens one after the other."""

    def __init__(self, tokens: list[Token], report: Diagnostics) -> None:
        self._tokens = tokens
        self._index = 0
        self.report = report

    @property
    def next(self) -> Token:
        """The token that comes next; at the end, the end token for ever."""
        return self._tokens[self._index]

    @property
    def last(self) -> Token:
        """The token taken last; the first one before anything was taken."""
        return self._tokens[max(self._index - 1, 0)]

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.next.kind == "end"

    def peek(self, ahead: int = 1) -> Token:
        """Give the token that many after the next one."""
        return self._tokens[min(self._index + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Take the next token."""
        token = self.next
        if token.kind != "end":
            self._index += 1
        return token

    def sees(self, *texts: str) -> bool:
        """Tell whether the next token is one of these words or signs."""
        token = self.next
        return token.text in texts and token.kind not in ("end", "string", "char")

    def accept(self, *texts: str) -> Token | None:
        """Take the next token if it is one of these."""
        return self.take() if self.sees(*texts) else None

    def expect(self, text: str, where: str, hint: str = "") -> Token:
        """Take this word or sign.

        Raises:
            ParseError: Something else stands there; reported with `where`, which ends the sentence.
        """
        if self.sees(text):
            return self.take()
        self.fail(f"expected {text!r} {where}", hint)
        return None

    def expect_name(self, what: str) -> Token:
        """Take an identifier; words of the language count, since many files use them as names.

        Raises:
            ParseError: Something else stands there.
        """
        if self.next.kind == "name":
            return self.take()
        self.fail(f"expected {what}")
        return None

    def take_qualified(self) -> Token:
        """Take a name that may have namespaces before it, as in xdrpp and goxdr files; give the last part.

        Only ``::`` between two names counts: in ``case A: B b;`` the colon ends a label.
        """
        token = self.next
        while True:
            if self.next.kind == "name":
                token = self.take()
            if not (self.sees(":") and self.peek().text == ":" and self.peek(2).kind == "name"):
                return token
            self.take()
            self.take()

    def fail(self, message: str, hint: str = "", token: Token | None = None) -> NoReturn:
        """Report a fault at a token, or at the next one with what was found there.

        Raises:
            ParseError: Always.
        """
        if token is None:
            token = self.next
            found = "the file ends" if token.kind == "end" else f"found {token.text!r}"
            message = f"{message}, {found}" if token.kind != "end" else f"{message}, but {found}"
            # A missing sign is missing behind the last word, which may be lines before the next one.
            if message.startswith("expected ';'") and self._index and self.last.place.line < token.place.line:
                last = self.last.place
                place = last._replace(column=last.column + last.length, length=1)
                self.report.error(place, message, hint)
                raise ParseError
        self.report.error(token.place, message, hint)
        raise ParseError

    def skip_item(self) -> None:
        """Go past the next ``;`` or up to the ``}`` that ends the body that we are in."""
        depth = 0
        while not self.at_end:
            if self._starts_definition():
                return
            if self.sees("{"):
                depth += 1
            elif self.sees("}"):
                if depth == 0:
                    return
                depth -= 1
            elif self.sees(";") and depth == 0:
                self.take()
                return
            self.take()

    @property
    def position(self) -> int:
        """How many tokens were taken."""
        return self._index

    def names_since(self, start: int) -> set[str]:
        """Return the names among the tokens from a position on."""
        return {token.text for token in self._tokens[start : self._index] if token.kind == "name"}

    def skip_definition(self, start: int) -> None:
        """Go to where the next definition may begin, at least one token on from `start`."""
        depth = 0
        while not self.at_end:
            if self._index > start and self._starts_definition():
                return
            if self.sees("{"):
                depth += 1
            elif self.sees("}"):
                depth = max(depth - 1, 0)
            elif self.sees(";") and depth == 0:
                self.take()
                return
            self.take()

    def _starts_definition(self) -> bool:
        """Tell whether a word stands at the left margin that only a definition begins with."""
        return self.next.place.column == 1 and self.sees("struct", "union", "enum", "typedef", "const", "program")


def split_comments(first: Token) -> tuple[list[Comment], list[Comment]]:
    """Part the comments above a token into those that stand alone and those that touch it, which are about it."""
    line = first.place.line
    about: list[Comment] = []
    alone = list(first.before)
    while (
        alone and not alone[-1].passthrough and alone[-1].last_line >= line - 1 and alone[-1].file == first.place.file
    ):
        line = alone[-1].first_line
        about.insert(0, alone.pop())
    return alone, about


def remarks_of(comments: list[Comment]) -> tuple[str, ...]:
    """Turn comments that stand alone into lines, an empty one between two."""
    lines: list[str] = []
    for comment in comments:
        text = comment.text if comment.passthrough else comment_text(comment.text)
        if not text.strip(" %"):
            continue
        if lines and not (comment.passthrough and lines[-1].startswith("%")):
            lines.append("")
        lines.extend(text.split("\n"))
    return tuple(lines)


def notes_of(first: Token, *ends: Token, skip: int = 0) -> Notes:
    """Gather what is written about an item.

    Args:
        first: Its first token; comments above it may be about it.
        ends: Tokens whose comments on the same line are about it.
        skip: So many comments above the first token belong to something else.
    """
    alone, about = split_comments(first)
    alone = alone[skip:]
    texts = [comment_text("\n".join(c.text for c in about)) if _all_slashes(about) else ""]
    if not texts[0]:
        texts = [comment_text(c.text) for c in about]
    for end in ends:
        texts.extend(comment_text(c.text) for c in end.after)
    return Notes("\n".join(text for text in texts if text), remarks_of(alone))


def _all_slashes(comments: list[Comment]) -> bool:
    return len(comments) > 1 and all(comment.text.startswith("//") for comment in comments)
