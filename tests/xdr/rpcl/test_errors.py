"""How faults are shown."""

from __future__ import annotations

import pytest

from tests.xdr.rpcl.snippets import compiled, faults
from xdr.errors import XDRError
from xdr.rpcl.errors import CompileError, Diagnostic, Diagnostics, Place


def test_a_fault_shows_its_line_with_a_caret_and_a_hint() -> None:
    (only,) = faults("struct s {\n\topaque data;\n};\n")
    assert str(only) == (
        "piece.x:2:2: error: opaque data needs a size\n"
        "            opaque data;\n"
        "            ^~~~~~\n"
        "    hint: write opaque NAME[SIZE], NAME<MAX> or NAME<>"
    )


def test_all_faults_are_in_the_text_of_the_exception() -> None:
    with pytest.raises(XDRError) as caught:
        compiled("const A 1;\nconst B 2;\n")
    said = str(caught.value)
    assert said.count("error:") == 2
    assert said.endswith("2 errors")


def test_a_line_of_many_kilobytes_is_not_shown() -> None:
    (only,) = faults(f"const A 1; /* {'x' * 10000} */")
    assert len(str(only)) < 200


def test_the_same_fault_at_the_same_place_counts_once() -> None:
    report = Diagnostics()
    place = Place("a.x", 1, 1, 1, "x")
    report.error(place, "bad")
    report.error(place, "bad")
    with pytest.raises(CompileError) as caught:
        report.check()
    assert caught.value.diagnostics == (Diagnostic(place, "bad"),)


def test_warnings_stop_nothing() -> None:
    report = Diagnostics()
    report.warn(Place("a.x", 1, 1, 1, "x"), "odd")
    report.check()
    assert "warning: odd" in str(report.warnings[0])
