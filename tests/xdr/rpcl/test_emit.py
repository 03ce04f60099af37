"""The Python that comes out: readable, typed, the same every time."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import xdr
from tests.xdr.rpcl.snippets import compiled, module
from xdr import tree

if TYPE_CHECKING:
    from pathlib import Path

HARD = """
/* Every way in which a name of the file is a name of Python or of another thing. */
const from = 1;
const None = 2;
typedef opaque bytes<8>;
typedef int Annotated;
enum class { pass = 1, name = 2, value = 3, real = 4, __init = 5, _sunder_ = 6 };
struct int_ { int int; int def; float float; bytes list; };
struct stateid { int stateid; };
struct holder { stateid stateid; stateid *other; class class; class again<2>; };
struct self { int self; int self_; int __hidden; int _; };
union status switch (class class) { case pass: int value; case name: status *status; default: void; };
struct list { list *next; };
typedef list lists<>;
struct str { string str<4>; bool bool; hyper xdr; quadruple quad; quadruple Literal; };
program P { version V {
    void lists(lists) = 1;
    holder holder(holder) = 2;
    int close(int timeout, int self, int call) = 3;
    int Close(void) = 4;
    stateid program(void) = 5;
    status status(status) = 6;
    class import(class) = 7;
} = 1; } = 1;
"""


class TestReadability:
    """What people see."""

    TEXT = """
/*
 * thing.x: things.
 *
 * And what they do.
 */

/* Licence of the rest. */

const LIMIT = 0x10;     /* most things */

/* A thing. */
struct thing {
    int id;             /* its number */
    /* Its name. */
    string name<LIMIT>;
    opaque rest<010>;
};

/* What a thing is. */
enum kind {
    GOOD = 1,           /* as it should be */
    BAD = -1            // as it should not be
};

/* One of two. */
union either switch (kind k) {
case GOOD:              /* a thing */
    thing what;
default:
    void;
};
"""

    def test_the_whole_module_is_this(self) -> None:
        body = compiled(self.TEXT, name="thing.x").text.split("do not edit.\n", 1)[1]
        assert body == (
            '''
thing.x: things.

And what they do.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import xdr

# Licence of the rest.

LIMIT: Final = 0x10
"""most things"""


@xdr.struct
class thing:
    """A thing."""

    id: Annotated[int, xdr.Int]
    """its number"""
    name: Annotated[str, xdr.String(max=LIMIT)]
    """Its name."""
    rest: Annotated[bytes, xdr.Opaque(max=8)]


class kind(xdr.Enum):
    """What a thing is."""

    GOOD = 1
    """as it should be"""
    BAD = -1
    """as it should not be"""


GOOD: Final = kind.GOOD
BAD: Final = kind.BAD


@xdr.arm("either", "k", kind, cases=(GOOD,))
class either_GOOD:
    """a thing"""

    what: thing
    k: Literal[kind.GOOD] = GOOD


@xdr.arm("either", "k", kind, default=True)
class either_default:
    k: kind


either: TypeAlias = either_GOOD | either_default
"""One of two."""


__all__ = [
    "LIMIT",
    "thing",
    "kind",
    "GOOD",
    "BAD",
    "either_GOOD",
    "either_default",
    "either",
]
'''
        )

    def test_the_header_names_the_file_without_its_folder(self) -> None:
        assert compiled("const A = 1;", name="/some/where/a.x").text.startswith('"""Types, compiled from a.x.\n')

    def test_licences_stay_comments(self) -> None:
        assert "\n# Copyright 1984 Somebody\n" in compiled("/* Copyright 1984 Somebody */\n\nconst A = 1;").text

    def test_long_unions_are_wrapped(self) -> None:
        arms = "".join(f"case {i}: int value_number_{i};" for i in range(20))
        text = compiled(f"union quite_a_long_name switch (int t) {{ {arms} }};").text
        assert "quite_a_long_name: TypeAlias = (\n    quite_a_long_name_0\n    | quite_a_long_name_1\n" in text

    def test_texts_that_would_end_a_docstring_do_not(self) -> None:
        m = module('const A = 1; /* """ \\ " */\nstruct s { int a; /* ends in " */ };')
        assert m.A == 1


class TestOrder:
    """Python must see some things earlier than the file shows them."""

    @pytest.mark.parametrize(
        "text",
        [
            "typedef s list<>; struct s { int a; };",
            "union u switch (e t) { case A: int v; }; enum e { A };",
            "typedef opaque t<N>; const N = 4;",
            "const B = A; const A = 1;",
            "const B = X; enum e { X = 3 };",
            "typedef b a; typedef c b; typedef u c; union u switch (int t) { case 1: void; };",
            "struct s { u x; }; union u switch (t y) { case 1: void; }; typedef int t;",
        ],
    )
    def test_definitions_may_come_in_any_order(self, text: str) -> None:
        module(text)

    def test_the_order_of_the_file_is_kept_otherwise(self) -> None:
        text = compiled("struct b { int x; }; struct a { int x; }; const C = 1;").text
        assert text.index("class b") < text.index("class a") < text.index("C: Final")


class TestNames:
    """The fixed renaming."""

    def test_hard_names_compile_import_and_encode(self) -> None:
        m = module(HARD)
        value = m.holder(m.stateid(1), m.stateid(2), m.class_.pass_, [m.class_.name_])
        assert xdr.decode(m.holder, xdr.encode(m.holder, value)) == value
        assert m.from_ == 1
        assert m.self(1, 2, 3, 4)._hidden == 3

    def test_methods_do_not_hide_what_programs_have(self) -> None:
        m = module(HARD)
        methods = [procedure.method for procedure in m.P_1_Server.procedures]
        assert methods == ["lists", "holder", "close_", "Close", "program_", "status", "import_"]

    def test_exports_are_exact(self) -> None:
        m = module(HARD)
        assert all(hasattr(m, name) for name in m.__all__)
        assert len(set(m.__all__)) == len(m.__all__)

    def test_mypy_strict_takes_hard_names(self, tmp_path: Path) -> None:
        path = tmp_path / "hard.py"
        path.write_text(compiled(HARD).text)
        use = tmp_path / "use.py"
        use.write_text(USE)
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(path), str(use)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.stdout.splitlines()[-1].startswith("Success"), done.stdout


USE = """
from typing import assert_never, assert_type
import hard

def which(status: hard.status) -> int:
    match status:
        case hard.status_pass():
            assert_type(status.value, int)
            return status.value
        case hard.status_name():
            return 2
        case hard.status_default():
            return 3
        case _:
            assert_never(status)

def by_discriminant(status: hard.status_pass | hard.status_name) -> int:
    if status.class_ is hard.pass_:
        return status.value
    return 0

which(hard.status_pass(5))
"""


def test_the_same_file_gives_the_same_bytes() -> None:
    assert compiled(HARD).text == compiled(HARD).text


def test_a_big_file_is_compiled_and_imported_in_reasonable_time() -> None:
    text = "".join(
        f"struct s{i} {{ int a; s{i - i % 50} *b; opaque c<{i}>; }};"
        f"union u{i} switch (int t) {{ case 1: s{i} x; default: void; }};"
        for i in range(1000)
    )
    m = module(text)
    assert xdr.encode(m.u999, m.u999_default(2)) == b"\0\0\0\2"


def test_a_class_with_renamed_fields_or_members_keeps_the_names_of_the_file() -> None:
    text = """struct s { opaque bytes<4>; int __len; int copy_; };
enum e { None = 0, name = 1 };
union u switch (e list) { case None: int from; default: void; };
"""
    made = module(text)
    assert made.s.__xdr_names__ == {"bytes_": "bytes", "_len": "__len"}
    assert made.e.__xdr_names__ == {"None_": "None", "name_": "name"}
    assert made.u_None.__xdr_names__ == {"list_": "list", "from_": "from"}
    shown = [item.name for item in tree.walk(made.u, xdr.encode(made.u, made.u_None(from_=3)))]
    assert shown == ["u", "list", "from"]
    assert made.e(1) is made.name
