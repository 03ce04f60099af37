"""The examples that RFC 4506 and RFC 5531 print, and their lexical rules: what they compile to, and the bytes."""

from __future__ import annotations

import xdr
from tests.xdr.rpcl.snippets import module

FILE = """
const MAXUSERNAME = 32;
const MAXFILELEN = 65535;
const MAXNAMELEN = 255;
enum filekind { TEXT = 0, DATA = 1, EXEC = 2 };
union filetype switch (filekind kind) {
case TEXT: void;
case DATA: string creator<MAXNAMELEN>;
case EXEC: string interpretor<MAXNAMELEN>;
};
struct file {
    string filename<MAXNAMELEN>;
    filetype type;
    string owner<MAXUSERNAME>;
    opaque data<MAXFILELEN>;
};
"""

FILE_BYTES = (
    "00000009 73696c6c 7970726f 67000000 00000002 00000004 6c697370 00000004 6a6f686e 00000006 28717569 74290000"
)

PING = """
program PING_PROG {
    version PING_VERS_PINGBACK {
        void PINGPROC_NULL(void) = 0;
        int PINGPROC_PINGBACK(void) = 1;
    } = 2;
    version PING_VERS_ORIG {
        void PINGPROC_NULL(void) = 0;
    } = 1;
} = 1;
const PING_VERS = 2;
"""


def test_the_file_of_rfc_4506_section_7_has_the_bytes_printed_there() -> None:
    made = module(FILE)
    value = made.file("sillyprog", made.filetype_EXEC("lisp"), "john", b"(quit)")
    assert xdr.encode(made.file, value) == bytes.fromhex(FILE_BYTES)
    assert xdr.decode(made.file, bytes.fromhex(FILE_BYTES)) == value


def test_the_ping_program_of_rfc_5531_section_12_has_its_two_versions() -> None:
    made = module(PING)
    listed = [
        (server.program, server.version, [(each.number, each.name) for each in server.procedures])
        for server in (made.PING_PROG_1_Server, made.PING_PROG_2_Server)
    ]
    assert listed == [
        (1, 1, [(0, "PINGPROC_NULL")]),
        (1, 2, [(0, "PINGPROC_NULL"), (1, "PINGPROC_PINGBACK")]),
    ]
    assert made.PING_VERS == 2


def test_names_differ_by_case_and_constants_have_three_bases() -> None:
    made = module("const a = 1; const A = -2; const h = 0xAbC; /* not const h = 1; */ const o = 017;\n\tconst\nz=0;")
    assert (made.a, made.A, made.h, made.o, made.z) == (1, -2, 0xABC, 0o17, 0)


def test_optional_data_a_union_and_an_array_of_one_are_the_same_bytes() -> None:
    made = module("""
        struct as_optional { int *x; };
        union as_union switch (bool opted) { case TRUE: int x; case FALSE: void; };
        struct as_array { int x<1>; };
    """)
    for value in (None, 7):
        optional = xdr.encode(made.as_optional, made.as_optional(value))
        union = made.as_union_FALSE() if value is None else made.as_union_TRUE(value)
        assert optional == xdr.encode(made.as_union, union)
        assert optional == xdr.encode(made.as_array, made.as_array([] if value is None else [value]))


def test_a_typedef_of_an_array_declares_what_the_array_would() -> None:
    made = module("""
        const DOZEN = 12;
        typedef short egg;
        typedef egg eggbox[DOZEN];
        struct bought { eggbox fresheggs; };
        struct laid { egg fresheggs[DOZEN]; };
    """)
    eggs = list(range(12))
    assert xdr.encode(made.bought, made.bought(eggs)) == xdr.encode(made.laid, made.laid(eggs))
    assert len(xdr.encode(made.eggbox, eggs)) == 48
