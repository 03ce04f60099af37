"""The ``xdr`` command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from xdr.cli import main, module_name

SPEC = """
struct point { int x; hyper y; string label<8>; opaque rest<>; };
program P { version V { point MOVE(point) = 1; } = 1; } = 0x20000001;
"""
POINT = bytes.fromhex("00000001 fffffffffffffffe 00000003 61626300 00000002 beef0000")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """An .x file."""
    path = tmp_path / "some.x"
    path.write_text(SPEC)
    return path


def run(*arguments: str | Path, given: bytes | str | None = None) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=given)


class TestCompile:
    """xdr compile."""

    def test_the_module_is_written_beside_the_file(self, spec: Path) -> None:
        assert run("compile", spec).exit_code == 0
        assert "class point:" in spec.with_suffix(".py").read_text()

    def test_the_module_can_go_to_standard_output(self, spec: Path) -> None:
        assert "class point:" in run("compile", spec, "-o", "-").output
        assert not spec.with_suffix(".py").exists()

    def test_faults_are_shown_and_nothing_is_written(self, spec: Path) -> None:
        spec.write_text("const A 1;\nconst B 2;\n")
        result = run("compile", spec)
        assert result.exit_code == 1
        assert result.output.count("error: expected '='") == 2
        assert not spec.with_suffix(".py").exists()

    def test_check_says_whether_the_module_is_current(self, spec: Path) -> None:
        assert run("compile", spec, "--check").exit_code == 1
        run("compile", spec)
        assert run("compile", spec, "--check").exit_code == 0
        spec.write_text(SPEC + "const A = 1;\n")
        assert run("compile", spec, "--check").exit_code == 1
        assert "A: Final" not in spec.with_suffix(".py").read_text()

    def test_diff_shows_what_would_change(self, spec: Path) -> None:
        run("compile", spec)
        spec.write_text(SPEC + "const A = 1;\n")
        result = run("compile", spec, "--diff")
        assert result.exit_code == 0
        assert "\n+A: Final = 1\n" in result.output

    def test_macros_folders_and_targets_are_passed_on(self, tmp_path: Path) -> None:
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "other.x").write_text("const OTHER = N;\n")
        main_file = tmp_path / "main.x"
        main_file.write_text('#include "other.x"\n#ifdef RPC_XDR\nconst HERE = FLAG;\n#endif\n')
        result = run(
            "compile", main_file, "-o", "-", "-I", tmp_path / "deep", "-D", "N=4", "-D", "FLAG", "--target", "xdr"
        )
        assert "OTHER: Final = 4" in result.output
        assert "HERE: Final = 1" in result.output

    def test_files_of_a_package_import_from_each_other(self, tmp_path: Path) -> None:
        (tmp_path / "a.x").write_text("struct a { int x; };\n")
        (tmp_path / "b.x").write_text('#include "a.x"\nstruct b { a y; };\n')
        out = tmp_path / "mypackage"
        out.mkdir()
        result = run("compile", "--package", "mypackage", "-o", out, tmp_path / "a.x", tmp_path / "b.x")
        assert result.exit_code == 0, result.output
        (out / "__init__.py").touch()
        code = "import mypackage.a as a, mypackage.b as b, xdr; print(xdr.encode(b.b, b.b(a.a(5))).hex())"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parents[2]}"},
        )
        assert done.stdout == "00000005\n"

    @pytest.mark.parametrize("first", ["a", "b"])
    def test_files_that_include_each_other_share_their_types(self, tmp_path: Path, first: str) -> None:
        (tmp_path / "a.x").write_text(
            '#ifndef A_X\n#define A_X\n#include "b.x"\n'
            "enum kind { ONE = 1 }; const LEN = 8; struct a { int v; b *other; };\n#endif\n"
        )
        (tmp_path / "b.x").write_text(
            '#ifndef B_X\n#define B_X\n#include "a.x"\n'
            "struct b { a *other; opaque x<LEN>; };"
            "union u switch (kind k) { case ONE: a v; default: void; };\n#endif\n"
        )
        out = tmp_path / "mutual"
        out.mkdir()
        (out / "__init__.py").touch()
        result = run("compile", "--package", "mutual", "-o", out, tmp_path / "a.x", tmp_path / "b.x")
        assert result.exit_code == 0, result.output
        code = (
            f"import mutual.{first}, mutual.a as a, mutual.b as b, xdr;"
            "print(xdr.encode(b.u, b.u_ONE(a.a(1, b.b(None, b'x')))).hex())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parents[2]}"},
        )
        assert done.stdout == "000000010000000100000001000000000000000178000000\n"

    @pytest.mark.parametrize("option", ["--type=a", "--type=a=b c", "-D9=1", "--import=a.x=b-c"])
    def test_options_that_make_no_sense_are_refused(self, spec: Path, option: str) -> None:
        assert run("compile", spec, option).exit_code == 2

    def test_an_output_that_cannot_be_written_is_an_error(self, spec: Path) -> None:
        result = run("compile", spec, "-o", spec.parent / "no" / "such" / "folder.py")
        assert result.exit_code == 1
        assert "No such file or directory" in result.output

    @pytest.mark.parametrize(("file", "name"), [("a.x", "a"), ("rpc-msg.v2.x", "rpc_msg_v2"), ("9p.x", "_9p")])
    def test_modules_have_names_that_can_be_imported(self, file: str, name: str) -> None:
        assert module_name(file) == name


class TestDecode:
    """xdr decode."""

    def test_fields_are_shown_with_their_offsets(self, spec: Path) -> None:
        result = run("decode", "--spec", spec, "--type", "point", given=POINT.hex())
        lines = [line.split(None, 1) for line in result.output.splitlines()]
        assert [line[0] for line in lines] == ["0", "0", "4", "12", "20"]
        assert "y: hyper = -2" in result.output

    @pytest.mark.parametrize("given", [POINT, POINT.hex().encode(), b"0x" + POINT.hex(" ").encode() + b"\n"])
    def test_data_may_be_bytes_or_hex(self, spec: Path, given: bytes) -> None:
        result = run("decode", "--spec", spec, "--type", "MOVE.args", "--json", given=given)
        assert json.loads(result.output) == {"x": 1, "y": "-2", "label": "abc", "rest": "beef"}

    def test_data_may_come_from_a_file(self, spec: Path) -> None:
        data = spec.with_suffix(".bin")
        data.write_bytes(POINT)
        assert "label: string<8> = 'abc'" in run("decode", data, "--spec", spec, "--type", "point").output

    def test_bytes_that_look_like_hex_can_be_said_to_be_bytes(self, spec: Path) -> None:
        result = run("decode", "--spec", spec, "--type", "point", "--input", "binary", given=b"00")
        assert result.exit_code == 1

    def test_of_faulty_data_what_was_in_order_is_shown(self, spec: Path) -> None:
        result = run("decode", "--spec", spec, "--type", "point", given=POINT[:12] + b"\0\0\0\x09")
        assert "y: hyper = -2" in result.output
        assert result.output.splitlines()[-1].startswith("error: point.label")
        assert result.exit_code == 1

    def test_padding_may_be_forgiven(self, spec: Path) -> None:
        bad = POINT[:-1] + b"\1"
        assert run("decode", "--spec", spec, "--type", "point", given=bad.hex()).exit_code == 1
        assert run("decode", "--spec", spec, "--type", "point", "--lenient-padding", given=bad.hex()).exit_code == 0

    def test_a_type_that_is_almost_there_is_suggested(self, spec: Path) -> None:
        result = run("decode", "--spec", spec, "--type", "pont", given=b"")
        assert result.exit_code == 1
        assert "did you mean point" in result.output

    def test_what_is_no_hex_is_refused_when_hex_was_promised(self, spec: Path) -> None:
        assert run("decode", "--spec", spec, "--type", "point", "--input", "hex", given=b"xyz").exit_code == 1


class TestEncode:
    """xdr encode."""

    def test_json_becomes_hex_or_bytes(self, spec: Path) -> None:
        text = json.dumps({"x": 1, "y": "-2", "label": "abc", "rest": "beef"})
        assert run("encode", "--spec", spec, "--type", "point", given=text).output == POINT.hex() + "\n"
        assert run("encode", "--spec", spec, "--type", "point", "--binary", given=text).stdout_bytes == POINT

    @pytest.mark.parametrize("text", ["{", "[]", '{"x": 1}', '{"x": 1e99, "y": 1, "label": "", "rest": ""}'])
    def test_what_does_not_fit_is_an_error_with_its_place(self, spec: Path, text: str) -> None:
        result = run("encode", "--spec", spec, "--type", "point", given=text)
        assert result.exit_code == 1
        assert result.output.startswith("error: ")


class TestWireshark:
    """xdr wireshark; what it writes is tried with tshark in rpcl/test_wireshark.py."""

    def test_a_dissector_is_written(self, spec: Path) -> None:
        result = run("wireshark", spec, "--name", "mine")
        assert 'local PROTO = "mine"' in result.output

    def test_a_file_without_programs_has_none(self, spec: Path) -> None:
        spec.write_text("const A = 1;\n")
        assert run("wireshark", spec).exit_code == 1

    def test_a_name_that_no_filter_can_have_is_refused(self, spec: Path) -> None:
        assert run("wireshark", spec, "--name", "Not This").exit_code == 2


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "xdr", "--help"], capture_output=True, text=True, check=True)
    assert "compile" in done.stdout
