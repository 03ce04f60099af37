"""The preprocessor: what C does with a file before the language sees it, and ``%`` lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xdr.rpcl.snippets import check, compiled, fault, faults
from xdr.rpcl.compiler import Settings
from xdr.rpcl.model import ConstantDefinition


def constants(text: str, settings: Settings | None = None, name: str = "piece.x") -> dict[str, object]:
    """Give the constants of a piece."""
    return {e.name: e.value for e in check(text, settings, name).entries if isinstance(e, ConstantDefinition)}


class TestDirectives:
    """#define, #if, #include."""

    def test_macros_are_replaced(self) -> None:
        assert constants("#define N 7\n#define TWICE(x) ((x) * 2)\nconst A = TWICE(N);") == {"A": 14}

    def test_conditions_choose(self) -> None:
        text = "#if defined(X) && X > 1\nconst A = 1;\n#elif !defined(Y)\nconst A = 2;\n#else\nconst A = 3;\n#endif\n"
        assert constants(text) == {"A": 2}
        assert constants(text, Settings(defines={"X": "2"})) == {"A": 1}
        assert constants(text, Settings(defines={"Y": "1"})) == {"A": 3}

    @pytest.mark.parametrize(
        ("target", "chosen"), [("hdr", {"HDR": 1}), ("xdr", {"XDR": 1}), ("svc", {"SVC": 1}), ("none", {})]
    )
    def test_the_target_is_one_of_rpcgens_macros(self, target: str, chosen: dict[str, int]) -> None:
        text = "".join(f"#ifdef RPC_{name}\nconst {name} = 1;\n#endif\n" for name in ("HDR", "XDR", "SVC", "CLNT"))
        assert constants(text, Settings(target=target)) == chosen

    def test_comments_on_directives_are_no_part_of_them(self) -> None:
        text = "#define N 7 /* seven, not (8) */\n#if N == 7 // indeed\nconst A = N;\n#endif /* N\n */\n"
        assert constants(text) == {"A": 7}

    def test_unknown_directives_are_passed_over(self) -> None:
        assert constants('#ident "@(#)x"\n#pragma once\n# 12 "other.x"\nconst A = 1;') == {"A": 1}

    def test_an_error_directive_is_an_error(self) -> None:
        assert fault("const A = 1;\n#error not for you\n") == "2:1: #error not for you"

    @pytest.mark.parametrize(
        "directive", ["#if", "#ifdef", "#include", "#define", "#elif 1", "#else", "#endif", "#if 1"]
    )
    def test_a_directive_that_makes_no_sense_is_a_fault(self, directive: str) -> None:
        assert faults(f"const A = 1;\n{directive}\n")[0].place.line == 2

    def test_macros_that_multiply_without_bound_are_a_fault(self) -> None:
        bomb = "#define A0 1 +\n" + "".join(f"#define A{i + 1} A{i} A{i}\n" for i in range(40))
        assert "macro expansions" in fault(f"{bomb}const A = A40 1;")

    def test_date_and_time_are_no_macros(self) -> None:
        assert compiled("const A = __LINE__;").text
        assert "not defined" in fault("const A = __DATE__;")


class TestIncludes:
    """Included files."""

    def test_a_file_is_found_beside_the_one_that_includes_it(self, tmp_path: Path) -> None:
        (tmp_path / "other.x").write_text("const A = 5;")
        assert constants('#include "other.x"\nconst B = A;', name=str(tmp_path / "main.x")) == {"A": 5, "B": 5}

    def test_a_file_is_found_in_the_folders_given(self, tmp_path: Path) -> None:
        folder = tmp_path / "deep"
        folder.mkdir()
        (folder / "other.x").write_text("const A = 5;")
        assert constants("#include <other.x>\n", Settings(include=[str(folder)])) == {"A": 5}

    def test_faults_of_an_included_file_are_placed_in_it(self, tmp_path: Path) -> None:
        (tmp_path / "other.x").write_text("const A = 5;\nconst B 5;\n")
        (only,) = faults('#include "other.x"\n', name=str(tmp_path / "main.x"))
        assert (Path(only.place.file).name, only.place.line, only.place.column) == ("other.x", 2, 9)
        assert only.place.line_text == "const B 5;"

    def test_a_file_that_is_not_there_is_a_fault(self) -> None:
        assert fault('\n#include "nowhere.x"\n').startswith("2:1: cannot find 'nowhere.x' to include")

    def test_a_c_header_that_is_not_there_is_left_out_with_a_warning(self) -> None:
        (warning,) = compiled("#include <sys/types.h>\nconst A = 1;").warnings
        assert "<sys/types.h> was not found" in str(warning)

    def test_files_that_include_each_other_for_ever_are_a_fault(self, tmp_path: Path) -> None:
        main = tmp_path / "main.x"
        main.write_text('#include "main.x"\nconst A = 1;\n')
        found = faults(main.read_text(), name=str(main))
        assert "include each other" in found[0].message

    def test_a_device_is_no_file_to_include(self) -> None:
        assert fault('#include "/dev/zero"\n').startswith("1:1: cannot find '/dev/zero'")

    def test_include_guards_work(self, tmp_path: Path) -> None:
        (tmp_path / "a.x").write_text('#ifndef A_X\n#define A_X\n#include "b.x"\nconst A = 1;\n#endif\n')
        (tmp_path / "b.x").write_text('#ifndef B_X\n#define B_X\n#include "a.x"\nconst B = 2;\n#endif\n')
        assert constants('#include "a.x"\n#include "b.x"\n', name=str(tmp_path / "m.x")) == {"A": 1, "B": 2}


class TestPassthrough:
    """``%`` lines go into rpcgen's output: here they are comments."""

    @pytest.mark.parametrize(
        "line",
        [
            "%#include <stdio.h>",
            "  % indented",
            "%#ifdef NEVER",
            "%/* don't, \"or else */",
            "%#define LONG \\\n   goes on { ; \\\n   and on",
            "%/* opened here\n  and closed here */",
            "%",
            "%{ } ; struct",
        ],
    )
    def test_what_they_say_is_not_looked_into(self, line: str) -> None:
        assert constants(f"const A = 1;\n{line}\nconst B = 2;") == {"A": 1, "B": 2}

    def test_they_may_stand_within_definitions(self) -> None:
        text = "struct s {\n  int a;\n% int c_only;\n  int b;\n};\nenum e {\n A,\n%/* x */\n B\n};"
        assert len(check(text).entries) == 2

    def test_they_stay_as_comments(self) -> None:
        assert (
            "# %#include <stdio.h>\n# %extern int x;\n"
            in compiled("%#include <stdio.h>\n%extern int x;\nconst A = 1;").text
        )

    def test_they_obey_conditions_of_the_preprocessor(self) -> None:
        assert "no_such" not in compiled("#ifdef RPC_SVC\n%int no_such;\n#endif\nconst A = 1;").text

    def test_numbers_that_they_define_can_be_bounds(self) -> None:
        assert "xdr.Opaque(max=32)" in compiled("%#define NAMELEN 0x20 /* bytes */\ntypedef opaque name<NAMELEN>;").text

    def test_places_after_them_are_right(self) -> None:
        assert fault("% /* one\n% two */\n%#define X \\\n  y\n\nconst A 5;").startswith("6:9:")


class TestPlaces:
    """Line and column are those of the text that people wrote."""

    def test_line_ends_of_other_systems_count(self) -> None:
        assert fault("const A = 1;\r\nconst B 2;\r\n").startswith("2:9:")

    def test_a_fault_in_a_macro_is_placed_where_it_is_used(self) -> None:
        assert faults("#define BAD 09\n\nconst A = BAD;\n")[0].place.line == 3

    def test_a_comment_that_is_never_closed_is_placed_where_it_opens(self) -> None:
        assert fault("const A = 1;\n  /* never\nconst B = 2;\n") == "2:3: this comment is never closed"

    def test_signs_like_comments_in_texts_open_none(self) -> None:
        assert constants('const A = "/*";\nconst B = 1;') == {"A": "/*", "B": 1}

    def test_bytes_of_old_character_sets_do_no_harm(self, tmp_path: Path) -> None:
        from xdr.rpcl.compiler import compile_file

        path = tmp_path / "old.x"
        path.write_bytes(b"/* \xa9 1988 */\nconst A = 1;\n")
        assert "A: Final = 1" in compile_file(str(path)).text

    def test_numbers_with_suffixes_and_marks_are_whole(self) -> None:
        assert constants("const A = 1ULL; const B = 1'000'000; const C = 0xFFuL;") == {"A": 1, "B": 10**6, "C": 255}
