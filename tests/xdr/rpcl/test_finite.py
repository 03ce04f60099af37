"""Types that contain themselves."""

from __future__ import annotations

import pytest

from tests.xdr.rpcl.snippets import check, fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("struct s { s a; };", "'s' contains itself and could never end: s -> s"),
        ("struct s { t a; }; struct t { s b[2]; };", "contains itself and could never end"),
        ("typedef t s; struct t { s b; };", "contains itself and could never end"),
        ("union u switch (int t) { case 1: u a; };", "'u' contains itself and could never end: u -> u"),
        ("typedef t t<>;", "'t' is a typedef of itself: t -> t"),
        ("typedef b a; typedef a *b;", "is a typedef of itself"),
    ],
)
def test_without_an_end_they_are_a_fault(text: str, said: str) -> None:
    assert said in fault(text)


@pytest.mark.parametrize(
    "text",
    [
        "struct s { s *a; };",
        "struct s { s a<>; };",
        "struct s { s a[0]; };",
        "typedef struct s *link; struct s { link a; };",
        "union u switch (int t) { case 1: u a; default: void; };",
        "struct a { b *x; }; struct b { a *y; };",
    ],
)
def test_with_an_end_they_are_fine(text: str) -> None:
    assert check(text).entries


def test_a_long_chain_of_typedefs_is_no_recursion() -> None:
    text = "typedef int t0;" + "".join(f"typedef t{i} t{i + 1};" for i in range(3000))
    assert len(check(text).entries) == 3001
