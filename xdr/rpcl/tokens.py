"""Text to tokens, each with its place and the comments around it (RFC 4506, section 6.2).

The preprocessor's lexer finds the words; this module gives them places, drops white space, and keeps comments
beside the tokens that they are about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from xdr.rpcl.errors import Place

__all__ = ["Comment", "Token", "comment_text"]

END: Final = "end of file"


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment, or a run of ``%`` lines."""

    text: str
    file: str
    first_line: int
    last_line: int
    passthrough: bool = False


@dataclass(slots=True)
class Token:
    """One word of the language.

    `kind` is "name", "number", "string", "char", "end", or the sign itself.
    """

    kind: str
    text: str
    place: Place
    before: list[Comment] = field(default_factory=list)
    """Comments between the last token's line and this token."""
    after: list[Comment] = field(default_factory=list)
    """Comments behind it on its own line."""


_BORDER = re.compile(r"[-*=_#~/\s]*\Z")
_RULE = re.compile(r"^\s*[-*=_#~/+]{3,}\s*|\s*[-*=_#~/+]{3,}$")


def comment_text(raw: str) -> str:
    """Take a comment's signs, stars and rules off and keep its paragraphs.

    Args:
        raw: The comment as it stands in the file, with ``/*`` and ``*/`` or with ``//``.
    """
    if raw.startswith("//"):
        lines = [re.sub(r"^//[/!<]*", "", line.strip()) for line in raw.split("\n")]
    else:
        lines = re.sub(r"^/\*[*!<]*|\**\*/$", "", raw).split("\n")
        # The stars of a block are decoration if every line of it has one; else they may be a list.
        rest = [line for line in lines[1:] if line.strip()]
        if rest and all(line.lstrip().startswith(("*", "|")) for line in rest):
            lines = lines[:1] + [re.sub(r"^\s*[*|]+", "", line) for line in lines[1:]]
    cleaned = ["" if _BORDER.match(line) else _RULE.sub("", line.expandtabs().rstrip()) for line in lines]
    indents = [len(line) - len(line.lstrip()) for line in cleaned[1:] if line.strip()]
    indent = min(indents, default=0)
    body = [cleaned[0].strip()] + [line[indent:] for line in cleaned[1:]]
    while body and not body[0]:
        del body[0]
    while body and not body[-1]:
        del body[-1]
    return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in body)
