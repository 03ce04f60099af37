"""oncrpc.cli.specs: .x files compiled in memory."""

from __future__ import annotations

import pytest

from oncrpc.cli.programs import installed_specs
from oncrpc.cli.specs import example, load_file, load_installed, load_text
from oncrpc.stubs import ProcedureCodec
from tests.oncrpc.libtirpc import SPEC
from xdr import codec, jsonform
from xdr.rpcl.errors import CompileError


def test_versions_are_found_by_names_or_numbers() -> None:
    spec = load_file(str(SPEC))
    for program in ("SAMPLE_PROG", "sample_prog", "0x20000601", "536872449"):
        for version in ("SAMPLE_VERS", "1", ""):
            found = spec.find(program, version)
            assert found is not None
            assert (found.program, found.version) == (0x20000601, 1)
    assert spec.find("SAMPLE_PROG", "2") is None
    assert spec.find("OTHER", "") is None
    assert spec.version(0x20000601, 2) is None


def test_the_highest_version_is_meant_where_none_is_given() -> None:
    text = "program P { version A { void N(void) = 0; } = 1; version B { void N(void) = 0; } = 7; } = 0x20000000;"
    found = load_text(text, "p.x").find("P", "")
    assert found is not None
    assert found.version_name == "B"


def test_a_shared_prefix_may_be_left_out_where_that_is_clear() -> None:
    text = """
    program P { version A { void P_GET(void) = 1; void P_DO_SET(void) = 2; void P_UN_SET(void) = 3; } = 1; } = 1;
    """
    (version,) = load_text(text, "p.x").versions
    assert [version.procedure(name) for name in ("get", "P_GET", "1")] == [version.procedures[0]] * 3
    assert version.procedure("set") is None
    assert version.procedure("9") is None


def test_declarations_come_with_what_they_build_on_and_in_order() -> None:
    text = """enum colour { RED = 1 };
struct inner {
    colour c;
    opaque data<8>; /* a { brace; in a comment */
};
union outer switch (colour c) {
case RED:
    inner *maybe;
default:
    void;
};
typedef outer many<3>;
struct unused { int x; };
program P { version A { many F(inner, int) = 1; } = 1; } = 1;
"""
    spec = load_text(text, "p.x")
    shown = spec.declarations(spec.versions[0].entries[0])
    assert [one.split("\n")[0] for one in shown] == [
        "enum colour { RED = 1 };",
        "struct inner {",
        "union outer switch (colour c) {",
        "typedef outer many<3>;",
    ]
    assert shown[1].endswith("};")


@pytest.mark.parametrize(("name", "file"), list(installed_specs()), ids=str)
def test_every_example_of_installed_specifications_is_encodable(name: str, file: object) -> None:
    spec = load_file(str(file))
    for version in spec.versions:
        for procedure in version.procedures:
            kinds = [*procedure.arguments, *([] if procedure.result is None else [procedure.result])]
            for kind in kinds:
                codec(kind).encode(jsonform.from_json(kind, example(kind)))
            ProcedureCodec(procedure)


def test_examples_of_recursive_and_odd_types_are_encodable() -> None:
    text = """
    struct node { hyper h; quadruple q; double d; node *next; };
    struct tree { bool leaf; tree children<>; opaque mac[6]; string name<>; unsigned hyper u; };
    union pick switch (bool yes) { case TRUE: tree t; case FALSE: void; };
    union number switch (int n) { case 3: int x[2]; default: void; };
    program P { version A { node *F(tree, pick) = 1; number G(void) = 2; } = 1; } = 1;
    """
    for procedure in load_text(text, "p.x").versions[0].procedures:
        for kind in (*procedure.arguments, procedure.result):
            codec(kind).encode(jsonform.from_json(kind, example(kind)))


def test_installed_specifications_are_found_by_program() -> None:
    found = load_installed("100000", "2")
    assert found is not None
    assert found[1].program_name == "PMAP_PROG"
    assert load_installed("NOBODY", "1") is None
    assert load_installed("100000", "99") is None


def test_a_faulty_file_is_refused() -> None:
    with pytest.raises(CompileError):
        load_text("struct {", "p.x")
