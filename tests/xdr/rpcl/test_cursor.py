"""Which comment belongs to what."""

from __future__ import annotations

import pytest

from tests.xdr.rpcl.snippets import check, compiled
from xdr.rpcl.model import Structure


def docs(text: str) -> tuple[str, list[str]]:
    """Give the doc of the first struct and those of its fields."""
    entry = next(entry for entry in check(text).entries if isinstance(entry, Structure))
    return entry.notes.doc, [field.notes.doc for field in entry.fields]


@pytest.mark.parametrize(
    ("text", "whole", "fields"),
    [
        ("\n\n/* about s */\nstruct s { int a; };", "about s", [""]),
        ("\n\n/* one */\n/* two */\nstruct s { int a; };", "one\ntwo", [""]),
        ("\n\n// one\n// two\nstruct s { int a; };", "one\ntwo", [""]),
        ("struct s { /* about s */\n int a; };", "about s", [""]),
        ("struct s { int a; }; /* about s */", "about s", [""]),
        ("struct s {\n int a; /* about a */\n int b; // about b\n};", "", ["about a", "about b"]),
        ("struct s {\n /* about a */\n int a;\n\n /* about b */\n int b;\n};", "", ["about a", "about b"]),
        ("struct s {\n int a /* about a */;\n int b;\n};", "", ["about a", ""]),
        ("struct s {\n int a; /* about a\n          and more */\n int b;\n};", "", ["about a\nand more", ""]),
        ("const A = 1; /* about A */\nstruct s { int a; };", "", [""]),
        ("/* the file */\n\n/* alone */\n\nstruct s { int a; };", "", [""]),
    ],
)
def test_a_comment_belongs_to_what_it_touches(text: str, whole: str, fields: list[str]) -> None:
    assert docs(text) == (whole, fields)


def test_comments_that_stand_alone_stay_comments() -> None:
    text = compiled("/* the file */\n\n/* ---- a section ---- */\n\nstruct s { int a; };\n\n/* the end */\n").text
    assert "\n# a section\n" in text
    assert text.endswith("# the end\n")
    assert "\nthe file\n" in text.split("from __future__")[0]
