"""Constants by name."""

from __future__ import annotations

import pytest

from tests.xdr.rpcl.snippets import check, compiled, fault, faults, module


def test_enumerators_without_values_count_on() -> None:
    m = module("enum e { A, B, C = 7, D, E = -2, F };")
    assert [int(m.e[name]) for name in "ABCDEF"] == [0, 1, 7, 8, -2, -1]


def test_enumerators_may_be_given_by_others_and_by_constants() -> None:
    m = module("const N = 4; enum e { A = N, B = A + 1, C = B }; enum f { D = B };")
    assert (m.A, m.B, m.C, m.D) == (4, 5, 5, 5)


def test_order_does_not_matter() -> None:
    m = module("const A = B + 1; const B = C; enum e { C = 3 };")
    assert (m.A, m.B) == (4, 3)


def test_an_enumerator_beyond_31_bits_is_the_word_that_c_would_send() -> None:
    assert module("enum e { A = 0x80000000, B = 4294967295 };").A == -(2**31)


def test_a_long_enum_is_no_recursion() -> None:
    names = ", ".join(f"E{i}" for i in range(5000))
    assert module(f"enum e {{ {names} }};").E4999 == 4999


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("const A = B; const B = A;", "is defined by itself: "),
        ("enum e { A = A };", "is defined by itself: A -> A"),
        ("const A = NOWHERE;", "the constant 'NOWHERE' is not defined, in the value of 'A'"),
        ("const A = 1; const A = 2;", "'A' is defined twice, with other values"),
        ("enum e { A = 4294967296 };", "the enumerator 'A' is 4294967296, which does not fit 32 bits"),
        ("enum e { A, A };", "this enum has two enumerators called 'A'"),
    ],
)
def test_faults_are_reported(text: str, said: str) -> None:
    assert said in fault(text)


def test_a_name_that_is_almost_there_is_suggested() -> None:
    (only,) = faults("const MAXIMUM = 4; typedef opaque x<MAXIMUN>;")
    assert only.hint == "did you mean 'MAXIMUM'?"


def test_a_name_of_a_c_header_is_asked_for() -> None:
    (only,) = faults("typedef opaque x<PATH_MAX>;")
    assert only.hint == "if a C header has it: -D PATH_MAX=VALUE"


def test_a_missing_constant_is_reported_once() -> None:
    assert len(faults("typedef opaque x<N>; typedef opaque y<N>;")) == 1


def test_a_chain_of_constants_is_bounded() -> None:
    text = "".join(f"const A{i} = A{i + 1};" for i in range(3000)) + "const A3000 = 1;"
    assert "defined by each other in a row" in faults(text)[0].message


def test_the_same_constant_twice_is_one() -> None:
    assert len(check("const A = 1; const A = 1;").entries) == 1


def test_names_of_rpc_headers_have_their_numbers() -> None:
    assert "max=400" in compiled("typedef opaque x<MAX_AUTH_BYTES>;").text
