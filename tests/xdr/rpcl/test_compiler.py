"""The compiler as a whole: files, and arbitrary text."""

from __future__ import annotations

import contextlib
import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests import peers
from tests.xdr.rpcl.snippets import compiled, faults
from xdr.rpcl.compiler import Settings, compile_file, compile_text
from xdr.rpcl.errors import CompileError
from xdr.rpcl.wireshark import emit_dissector

SEEDS = [path.read_text(encoding="utf-8") for path in sorted(peers.ROOT.glob("*/spec/*.x"))]

WORDS = [
    *[
        "struct",
        "union",
        "enum",
        "typedef",
        "const",
        "program",
        "version",
        "switch",
        "case",
        "default",
        "void",
        "opaque",
        "string",
        "unsigned",
        "int",
        "hyper",
    ],
    *[
        "float",
        "double",
        "quadruple",
        "bool",
        "char",
        "short",
        "long",
        "namespace",
        "pragma",
        "a",
        "b",
        "c",
        "S",
        "U",
        "E",
        "P",
        "0",
        "1",
        "-1",
        "010",
        "0x7",
        "1.5",
        "09",
        "99999999999",
    ],
    *[
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "<",
        ">",
        ";",
        ":",
        ",",
        "=",
        "*",
        "+",
        "-",
        "/",
        "%",
        "<<",
        ">>",
        "|",
        "&",
        "^",
        "~",
        "::",
        "'",
        '"',
        "/*",
        "*/",
        "//",
        "#",
        "\\",
        "\n",
        "\n",
        "\n",
    ],
    *[
        "#define X 1\n",
        "#if 1\n",
        "#endif\n",
        '#include "x.x"\n',
        "%line\n",
        "#ifdef X\n",
        "#define F(a) a##a\n",
        "F(",
        "X",
    ],
    *["\x00", "\x01", "\u2028", "\xff", "é", "'a'", '"s"', "/* c */", "\f", "\t", "@", "$", "`", "?", "??=", "\\\n"],
]


def try_to_compile(text: str) -> None:
    """Compile, and accept nothing but success or the compiler's own exception."""
    for options in (Settings(), Settings(stub_opaque=True)):
        with contextlib.suppress(CompileError):
            result = compile_text(text, "fuzz.x", options)
            compile(result.text, "fuzz.py", "exec", dont_inherit=True)
            emit_dissector(result.module, "fuzz.x", "0")


class TestArbitraryText:
    """Whatever the text, the compiler succeeds or says what is wrong; nothing else comes out of it."""

    @pytest.mark.fuzz
    @given(st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join))
    @example("#define A A B\n#define B B A\nconst x = A;")
    @example("#include")
    @example("#if (\n#endif")
    @example("#define F(\nF(")
    @example("#define F(a) #a\nF(")
    def test_words_in_any_order(self, text: str) -> None:
        try_to_compile(text)

    @pytest.mark.fuzz
    @given(st.text(max_size=200))
    def test_any_characters(self, text: str) -> None:
        try_to_compile(text)

    @pytest.mark.fuzz
    @given(st.integers(0, 2**32))
    def test_real_files_with_damage(self, seed: int) -> None:
        try_to_compile(damaged(seed))


def damaged(seed: int) -> str:
    """Give a piece of a real file with a few tokens changed."""
    rng = random.Random(seed)
    text = rng.choice(SEEDS)
    start = rng.randrange(len(text))
    piece = list(text[start : start + 1500])
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(piece))
        match rng.randrange(3):
            case 0:
                del piece[at : at + rng.randint(1, 20)]
            case 1:
                piece.insert(at, rng.choice(WORDS))
            case _:
                piece[at] = rng.choice(WORDS)
        piece = piece or [" "]
    return "".join(piece)


class TestFiles:
    """Files and their digests."""

    def test_the_header_has_the_digest_of_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.x"
        path.write_bytes(b"const A = 1;\n")
        assert f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()};" in compile_file(str(path)).text

    def test_the_output_does_not_depend_on_where_the_file_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "a.x"
        path.write_text("struct s { int a; };\n")
        here = compile_file(str(path)).text
        monkeypatch.chdir(tmp_path)
        assert compile_file("a.x").text == here

    def test_a_file_that_cannot_be_read_is_an_oserror(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            compile_file(str(tmp_path / "nowhere.x"))

    def test_an_empty_file_is_an_empty_module(self) -> None:
        assert "__all__: list[str] = []" in compiled("").text


class TestRpcgensFiles:
    """The files that rpcgen's own package installs; they are not part of this one."""

    def test_all_of_them_compile(self) -> None:
        files = sorted(Path("/usr/include/rpcsvc").glob("*.x"))
        if not files:
            peers.unavailable("no .x files in /usr/include/rpcsvc: install rpcsvc-proto")
        for file in files:
            options = Settings(stub_opaque=True, defines={"MAXNAMELEN": "255"})
            compile(compile_file(str(file), options).text, file.name, "exec", dont_inherit=True)


def test_a_definition_that_does_not_parse_hides_no_fault_of_the_others_and_makes_none() -> None:
    text = """struct broken { int x };
enum hue { H1 = , H2 };
struct user { broken a; hue b; int c[H2]; nosuch d; };
union chosen switch (hue d) { case H1: broken m; default: void; };
struct twice { int z; };
struct twice { hyper z; };
const N = UNKNOWN + 1;
struct same { int q; int q; };
"""
    found = faults(text)
    assert [(fault.place.line, fault.message) for fault in found] == [
        (1, "expected ';' after the field 'x', found '}'"),
        (2, found[1].message),
        (3, "the type 'nosuch' is not defined"),
        (6, "'twice' is defined twice"),
        (7, "the constant 'UNKNOWN' is not defined, in the value of 'N'"),
        (8, found[-1].message),
    ]
