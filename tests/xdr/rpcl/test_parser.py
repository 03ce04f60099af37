"""The grammar: RFC 4506, section 6.3, RFC 5531, section 12.2, and what real files hold beyond it."""

from __future__ import annotations

import pytest

import xdr
from tests.xdr.rpcl.snippets import check, compiled, fault, faults, module


class TestDeclarations:
    """RFC 4506, section 6.3: declaration."""

    @pytest.mark.parametrize(
        ("declared", "annotation"),
        [
            ("int x", "Annotated[int, xdr.Int]"),
            ("unsigned int x", "Annotated[int, xdr.UInt]"),
            ("unsigned x", "Annotated[int, xdr.UInt]"),
            ("hyper x", "Annotated[int, xdr.Hyper]"),
            ("unsigned hyper x", "Annotated[int, xdr.UHyper]"),
            ("float x", "Annotated[float, xdr.Float]"),
            ("double x", "Annotated[float, xdr.Double]"),
            ("quadruple x", "xdr.Quad"),
            ("bool x", "bool"),
            ("opaque x[6]", "Annotated[bytes, xdr.FixedOpaque(6)]"),
            ("opaque x<6>", "Annotated[bytes, xdr.Opaque(max=6)]"),
            ("opaque x<>", "Annotated[bytes, xdr.Opaque()]"),
            ("string x<6>", "Annotated[str, xdr.String(max=6)]"),
            ("string x<>", "Annotated[str, xdr.String()]"),
            ("string x", "Annotated[str, xdr.String()]"),
            ("int x[3]", "Annotated[list[Annotated[int, xdr.Int]], xdr.FixedArray(3)]"),
            ("int x<3>", "Annotated[list[Annotated[int, xdr.Int]], xdr.Array(max=3)]"),
            ("int *x", "Annotated[int, xdr.Int] | None"),
            ("string *x<4>", "Annotated[str, xdr.String(max=4)] | None"),
            ("int *x<4>", "Annotated[list[Annotated[int, xdr.Int] | None], xdr.Array(max=4)]"),
            (
                "int x[2][3]",
                "Annotated[list[Annotated[list[Annotated[int, xdr.Int]], xdr.FixedArray(3)]], xdr.FixedArray(2)]",
            ),
        ],
    )
    def test_each_form_becomes_its_annotation(self, declared: str, annotation: str) -> None:
        assert f"    x: {annotation}\n" in compiled(f"struct s {{ {declared}; }};").text

    @pytest.mark.parametrize(
        "spelling",
        ["char", "short", "long", "long int", "short int", "signed int", "signed", "int8_t", "int16_t", "int32_t"],
    )
    def test_c_spellings_of_small_signed_integers_are_words(self, spelling: str) -> None:
        assert "    x: Annotated[int, xdr.Int]\n" in compiled(f"struct s {{ {spelling} x; }};").text

    @pytest.mark.parametrize(
        "spelling",
        [
            "unsigned char",
            "unsigned short",
            "unsigned long",
            "u_char",
            "u_short",
            "u_int",
            "u_long",
            "uint8_t",
            "uint32_t",
        ],
    )
    def test_c_spellings_of_small_unsigned_integers_are_words(self, spelling: str) -> None:
        assert "    x: Annotated[int, xdr.UInt]\n" in compiled(f"struct s {{ {spelling} x; }};").text

    @pytest.mark.parametrize("spelling", ["long long", "int64_t", "longlong_t", "quad_t", "long long int"])
    def test_c_spellings_of_long_integers_are_hypers(self, spelling: str) -> None:
        assert "    x: Annotated[int, xdr.Hyper]\n" in compiled(f"struct s {{ {spelling} x; }};").text

    @pytest.mark.parametrize("spelling", ["unsigned long long", "uint64_t", "u_longlong_t", "u_quad_t", "u_int64_t"])
    def test_c_spellings_of_long_unsigned_integers_are_unsigned_hypers(self, spelling: str) -> None:
        assert "    x: Annotated[int, xdr.UHyper]\n" in compiled(f"struct s {{ {spelling} x; }};").text

    def test_a_file_may_define_such_a_name_itself(self) -> None:
        assert "    x: uint32_t\n" in compiled("typedef hyper uint32_t; struct s { uint32_t x; };").text

    @pytest.mark.parametrize(
        "name", ["string", "opaque", "version", "program", "long", "char", "hyper", "switch", "case"]
    )
    def test_words_of_the_language_can_be_names_of_fields(self, name: str) -> None:
        (entry,) = check(f"struct s {{ int {name}; string {name}2<>; }};").entries
        assert [field.name for field in entry.fields] == [name, f"{name}2"]  # type: ignore[union-attr]

    def test_a_struct_may_have_no_fields(self) -> None:
        empty = module("struct s { };")
        assert xdr.encode(empty.s, empty.s()) == b""

    def test_void_in_a_struct_is_no_field(self) -> None:
        loaded = module("struct s { void; int a; };")
        assert xdr.encode(loaded.s, loaded.s(1)) == b"\0\0\0\1"


class TestTags:
    """C's ``struct NAME`` as a type."""

    @pytest.mark.parametrize("tag", ["struct ", ""])
    def test_a_struct_is_known_with_and_without_its_tag(self, tag: str) -> None:
        assert "    a: inner\n" in compiled(f"struct inner {{ int x; }}; struct outer {{ {tag}inner a; }};").text

    def test_an_enum_is_known_with_its_tag(self) -> None:
        assert "    a: e\n" in compiled("enum e { A }; struct outer { enum e a; };").text

    def test_a_union_may_switch_on_a_tagged_enum(self) -> None:
        loaded = module("enum e { A }; union u switch (enum e x) { case A: int v; };")
        assert xdr.encode(loaded.u, loaded.u_A(5)) == bytes([0, 0, 0, 0, 0, 0, 0, 5])

    def test_struct_forward_declarations_are_passed_over(self) -> None:
        assert len(check("struct s; struct s { int a; };").entries) == 1

    def test_a_typedef_of_a_tag_to_its_own_name_adds_nothing(self) -> None:
        assert len(check("struct s { int a; }; typedef struct s s;").entries) == 1

    def test_a_typedef_before_its_struct_is_found(self) -> None:
        loaded = module("typedef struct s *link; struct s { int a; link next; };")
        value = loaded.s(1, loaded.s(2, None))
        assert xdr.decode(loaded.link, xdr.encode(loaded.link, value)) == value


class TestTypedefs:
    """Typedef of everything."""

    @pytest.mark.parametrize(
        "body", ["enum { A = 1, B }", "struct { int a; }", "union switch (int t) { case 1: int v; }"]
    )
    def test_an_anonymous_type_gets_the_name_of_the_typedef(self, body: str) -> None:
        assert [e.name for e in check(f"typedef {body} t;").entries] == ["t"]

    def test_a_typedef_may_define_a_named_struct_too(self) -> None:
        assert [e.name for e in check("typedef struct s { int a; } t;").entries] == ["s", "t"]

    def test_an_array_of_an_anonymous_struct_has_a_class_for_it(self) -> None:
        loaded = module("typedef struct { int a; } points<>;")
        assert xdr.encode(loaded.points, [loaded.points_type(7)]) == bytes([0, 0, 0, 1, 0, 0, 0, 7])

    def test_void_can_have_a_name(self) -> None:
        assert xdr.encode(module("typedef void nothing;").nothing, None) == b""

    def test_optional_of_optional_keeps_both_words(self) -> None:
        loaded = module("typedef int *maybe; struct s { maybe *twice; };")
        assert xdr.encode(loaded.s, loaded.s([None])) == bytes([0, 0, 0, 1, 0, 0, 0, 0])
        assert xdr.encode(loaded.s, loaded.s([])) == bytes([0, 0, 0, 0])


class TestNested:
    """Anonymous types within types, which rpcgen cannot do."""

    TEXT = """
    struct outer {
        struct { int a; int b; } pair;
        enum { RED, BLUE } colour;
        union switch (bool there) { case TRUE: struct { int deep; } inner; case FALSE: void; } choice;
        struct named { int n; } other<2>;
    };
    """

    def test_they_are_named_after_where_they_stand(self) -> None:
        names = {entry.name for entry in check(self.TEXT).entries}
        assert names == {"outer", "outer_pair", "outer_colour", "outer_choice", "outer_choice_inner", "named"}

    def test_their_values_go_there_and_back(self) -> None:
        m = module(self.TEXT)
        value = m.outer(
            pair=m.outer_pair(1, 2),
            colour=m.BLUE,
            choice=m.outer_choice_TRUE(m.outer_choice_inner(3)),
            other=[m.named(4)],
        )
        data = xdr.encode(m.outer, value)
        assert data == b"".join(n.to_bytes(4, "big") for n in (1, 2, 1, 1, 3, 1, 4))
        assert xdr.decode(m.outer, data) == value

    def test_a_name_that_is_taken_is_not_taken_again(self) -> None:
        names = [e.name for e in check("struct a { struct { int x; } b; }; struct a_b { int y; };").entries]
        assert sorted(names) == ["a", "a_b", "a_b_"]


class TestUnions:
    """RFC 4506, section 4.15."""

    def test_several_labels_share_an_arm(self) -> None:
        m = module("union u switch (int t) { case 1: case 2: int v; default: void; };")
        assert xdr.encode(m.u, m.u_1(2, 9)) == bytes([0, 0, 0, 2, 0, 0, 0, 9])

    def test_default_may_come_first(self) -> None:
        m = module("union u switch (int t) { default: void; case 1: int v; };")
        assert xdr.decode(m.u, bytes([0, 0, 0, 5])) == m.u_default(5)

    def test_default_may_share_its_arm_with_labels(self) -> None:
        m = module("union u switch (int t) { case 1: default: int v; case 2: void; };")
        assert xdr.encode(m.u, m.u_1(1, 3)) == bytes([0, 0, 0, 1, 0, 0, 0, 3])
        assert xdr.encode(m.u, m.u_1(8, 3)) == bytes([0, 0, 0, 8, 0, 0, 0, 3])

    @pytest.mark.parametrize(("kind", "label"), [("int", "-1"), ("unsigned int", "4294967295"), ("bool", "TRUE")])
    def test_the_discriminant_may_be_any_integer_type(self, kind: str, label: str) -> None:
        m = module(f"union u switch ({kind} t) {{ case {label}: int v; }};")
        (arm,) = [value for name, value in vars(m).items() if name.startswith("u_")]
        assert xdr.decode(m.u, xdr.encode(m.u, arm(v=5))) == arm(v=5)

    def test_an_arm_may_be_called_like_the_discriminant(self) -> None:
        m = module("union u switch (int type) { case 1: int type; };")
        assert xdr.encode(m.u, m.u_1(type_=7)) == bytes([0, 0, 0, 1, 0, 0, 0, 7])

    def test_an_arm_without_a_declaration_is_void(self) -> None:
        m = module("union u switch (int t) { case 1: ; case 2: };")
        assert xdr.encode(m.u, m.u_2()) == bytes([0, 0, 0, 2])

    def test_labels_are_looked_up_in_the_enum_of_the_discriminant_first(self) -> None:
        text = "enum a { X = 1 }; enum b { Y = 0, X = 2 }; union u switch (b t) { case X: int v; default: void; };"
        m = module(text)
        assert xdr.encode(m.u, m.u_X(3)) == bytes([0, 0, 0, 2, 0, 0, 0, 3])


class TestPrograms:
    """RFC 5531, section 12."""

    def test_versions_and_procedures_have_their_numbers(self) -> None:
        program = check(
            "program P { version V1 { void NULLPROC(void) = 0; } = 1;"
            "version V2 { int F(int) = 3; } = 2; } = 0x20000001;"
        ).programs[0]
        assert program.number == 0x20000001
        assert [(v.name, v.number, [(p.name, p.number) for p in v.procedures]) for v in program.versions] == [
            ("V1", 1, [("NULLPROC", 0)]),
            ("V2", 2, [("F", 3)]),
        ]

    def test_a_procedure_may_have_several_arguments_with_or_without_names(self) -> None:
        program = check("program P { version V { int ADD(int a, string b<4>, int) = 1; } = 1; } = 9;").programs[0]
        assert [a.name for a in program.versions[0].procedures[0].arguments] == ["a", "b", ""]

    @pytest.mark.parametrize("argument", ["string", "string<>", "string<8>", "string s", "string s<8>", "opaque<>"])
    def test_strings_and_opaque_data_can_be_arguments_and_results(self, argument: str) -> None:
        kind = argument.replace(" s", "")
        assert check(f"program P {{ version V {{ {kind} F({argument}) = 1; }} = 1; }} = 9;").programs

    def test_numbers_may_be_constants_by_name(self) -> None:
        text = "const N = 7; program P { version V { void F(void) = N; } = N + 1; } = N * 2;"
        program = check(text).programs[0]
        assert (program.number, program.versions[0].number, program.versions[0].procedures[0].number) == (14, 8, 7)

    def test_results_may_be_optional_and_tagged(self) -> None:
        assert check("struct s { int a; }; program P { version V { struct s *F(struct s *) = 1; } = 1; } = 9;").programs


class TestSlips:
    """What is no more than a slip is passed over."""

    @pytest.mark.parametrize(
        "text",
        [
            "enum e { A, B, };",
            "struct s { int a;; };;",
            "const A = 1;;",
            "union u switch (int t) { case 1: int a;; };",
            "program P { version V { void F(void) = 1;; } = 1;; } = 2;;",
            "// a line comment\nconst A = 1; // another",
            "namespace one { namespace two { const A = 1; } };",
            "namespace one::two { const A = 1; }",
            "pragma header nfs4;\nconst A = 1;",
            'package "example.org/x";\nconst A = 1;',
            "",
            "/* nothing */",
            "%#include <stdio.h>\n%",
        ],
    )
    def test_it_compiles(self, text: str) -> None:
        compiled(text)

    def test_names_may_be_qualified_by_namespaces(self) -> None:
        text = "namespace n { enum e { A = 3 }; } union u switch (n::e t) { case ::n::A: n::e v; };"
        assert module(text).u_A


class TestFaults:
    """Each fault says where it is, what was expected and what stands there; parsing goes on behind it."""

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("struct s { int a };", "1:18: expected ';' after the field 'a', found '}'"),
            ("struct s { int a; }", "1:20: expected ';' after the '}' of struct 's', but the file ends"),
            ("struct s { int; };", "1:12: this field has no name"),
            ("const A 5;", "1:9: expected '=' after the constant's name 'A', found '5'"),
            ("const A = ;", "1:11: expected a number or the name of a constant as the value of 'A', found ';'"),
            ("const A = 1.5;", "1:11: constants are integers"),
            ("const A = 09;", "1:11: 09 is no octal number, though it begins with 0"),
            ("enum e { A B };", "1:12: expected ',' or '}' after the enumerator 'A', found 'B'"),
            ("enum e { };", "1:6: enum e has no enumerators"),
            ("struct s { opaque a; };", "1:12: opaque data needs a size"),
            ("struct s { string a[4]; };", "1:20: a string has no fixed size"),
            ("struct s { int a[]; };", "1:18: expected the size of 'a', found ']'"),
            ("struct s { unsigned signed a; };", "1:12: a type is signed or unsigned, not both"),
            ("union u switch (int a) { int b; };", "1:26: expected 'case', 'default' or '}', found 'int'"),
            ("union u switch (int a) { };", "1:7: union u has no arms"),
            ("typedef int;", "1:12: expected the name of the new type, found ';'"),
            ("int a;", "1:1: expected const, typedef, struct, union, enum or program, found 'int'"),
            ("}", "1:1: this '}' closes nothing"),
            ("program P { version V { void F(void) = 0; } } = 1;", "1:45: expected '=' and the version's number after"),
            ("program P { void F(void) = 0; } = 1;", "1:13: expected 'version' in a program, found 'void'"),
            (
                "program P { version V { void F(int, void) = 0; } = 1; } = 1;",
                "1:30: 'F' has void among other arguments",
            ),
        ],
    )
    def test_it_is_said_with_its_place(self, text: str, said: str) -> None:
        assert fault(text).startswith(said)

    def test_a_missing_semicolon_is_missing_behind_the_last_word(self) -> None:
        assert fault("const A = 1\nconst B = 2;").startswith("1:12: expected ';' after the constant 'A'")

    def test_all_faults_of_a_file_are_reported(self) -> None:
        text = "const A 1;\nstruct s {\n  int a b;\n  opaque c;\n  int d;\n};\nenum e { X Y };\nconst B = 2;\n"
        assert [d.place.line for d in faults(text)] == [1, 3, 4, 7]

    def test_a_body_that_is_never_closed_does_not_hide_what_follows(self) -> None:
        found = faults("struct s {\n  int a;\n\nstruct t {\n  int b;\n};\n\nconst A 1;\n")
        assert {(d.place.line, d.message.split(",")[0]) for d in found} >= {
            (1, "struct s is never closed"),
            (8, "expected '=' after the constant's name 'A'"),
        }

    def test_types_may_not_be_nested_without_bound(self) -> None:
        text = "struct a { " + "struct { " * 500 + "int x; " + "} y; " * 500 + "};"
        assert any("nested more than" in d.message for d in faults(text))

    def test_the_number_of_reported_faults_is_bounded(self) -> None:
        assert len(faults("x\n;" * 5000)) == 100
