"""Compiled files as modules, without a file in between."""

from __future__ import annotations

import sys

import pytest

import xdr
from tests.xdr.rpcl.snippets import compiled
from xdr.rpcl.compiler import Settings
from xdr.rpcl.load import load, types_in

TEXT = """
struct s { int a; };
typedef s class;
program P {
    version ONE { s F(int) = 1; void G(s, int) = 2; } = 1;
    version TWO { int F(hyper) = 1; } = 2;
} = 9;
"""


def test_a_module_can_be_used_at_once() -> None:
    module = load(compiled("struct s { t *next; }; typedef s t;"))
    assert xdr.decode(module.s, xdr.encode(module.s, module.s(module.s(None)))) == module.s(module.s(None))


def test_it_has_the_name_that_was_asked_for() -> None:
    assert load(compiled("const A = 1;"), "loaded_for_a_test").__name__ == "loaded_for_a_test"
    del sys.modules["loaded_for_a_test"]


def test_what_cannot_be_imported_leaves_nothing_behind() -> None:
    result = compiled("struct s { t a; };", Settings(types={"t": "no_such_module_at_all.T"}))
    with pytest.raises(ImportError):
        load(result, "never_loaded")
    assert "never_loaded" not in sys.modules


def test_types_arguments_and_results_have_names() -> None:
    result = compiled(TEXT)
    names = set(types_in(load(result), result))
    assert names >= {
        "s",
        "class",
        "F.args",
        "F.result",
        "G.args.1",
        "G.args.2",
        "G.result",
        "P_2.F.args",
        "P_1.F.result",
    }


def test_the_first_version_counts_unless_one_is_named() -> None:
    result = compiled(TEXT)
    types = types_in(load(result), result)
    assert len(xdr.encode(types["F.args"], 1)) == 4
    assert len(xdr.encode(types["P_2.F.args"], 1)) == 8


def test_types_are_found_by_the_names_of_the_file() -> None:
    made = compiled(
        "struct __inner { int a; }; struct class { int b; }; struct class_ { int c; }; typedef int list<3>;"
    )
    types = types_in(load(made), made)
    assert set(types) == {"__inner", "class", "class_", "list"}
    assert types["class"].__match_args__ == ("b",)
    assert types["class_"].__match_args__ == ("c",)
