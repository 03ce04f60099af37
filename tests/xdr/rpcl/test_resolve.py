"""Names, types and the rules of RFC 4506, section 6.4, and RFC 5531, section 12.3."""

from __future__ import annotations

from pathlib import Path

import pytest

import xdr
from tests.xdr.rpcl.snippets import check, compiled, fault, faults, module
from xdr.rpcl.compiler import Settings


class TestRules:
    """What a file must not do."""

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("struct s { int a; int a; };", "1:23: struct s has two fields called 'a'"),
            ("struct s { int a; }; struct s { int b; };", "1:29: 's' is defined twice"),
            ("typedef int t; struct t { int b; };", "1:23: 't' is defined twice"),
            ("typedef opaque t[-1];", "1:18: a size is 0 to 4294967295, not -1"),
            ("typedef int t<4294967296>;", "1:15: a size is 0 to 4294967295, not 4294967296"),
            ("union u switch (float t) { case 1: void; };", "1:23: the discriminant of union u is no integer"),
            ("union u switch (hyper t) { case 1: void; };", "1:23: the discriminant of union u is no integer"),
            ("union u switch (int t) { case 1: void; case 1: void; };", "1:45: union u has two arms for 1"),
            ("union u switch (int t) { default: void; default: void; };", "1:50: union u has two defaults"),
            ("union u switch (int t) { case 5000000000: void; };", "1:31: the label of a case is 5000000000"),
            ("struct s { nowhere a; };", "1:12: the type 'nowhere' is not defined"),
            ("struct s { struct nowhere a; };", "1:19: the type 'struct nowhere' is not defined"),
            (
                "program P { version V { void F(void)=0; } = 1; version V { void F(void)=0; } = 2; } = 1;",
                "1:56: program",
            ),
            (
                "program P { version V { void F(void)=0; } = 1; version W { void F(void)=0; } = 1; } = 1;",
                "1:56: version W",
            ),
            ("program P { version V { void F(void) = 0; void F(int) = 1; } = 1; } = 1;", "1:48: version V has two"),
            ("program P { version V { void F(void) = 0; void G(int) = 0; } = 1; } = 1;", "1:48: 'G' has the number 0"),
            ("program P { version V { void F(void) = -1; } = 1; } = 1;", "1:40: the number of 'F' is -1"),
        ],
    )
    def test_it_is_said_with_its_place(self, text: str, said: str) -> None:
        assert fault(text).startswith(said)

    def test_a_definition_repeated_word_by_word_is_one(self) -> None:
        assert len(check("struct s { int a; }; typedef s t; struct s { int a; }; typedef s t;").entries) == 2

    def test_a_label_that_the_enum_has_not_is_left_out_with_a_warning(self) -> None:
        result = compiled("enum e { A }; union u switch (e t) { case A: int a; case 5: int b; };")
        assert "u_5" not in result.text
        assert "which enum e does not have" in str(result.warnings[0])


class TestExternal:
    """Types that something else declares."""

    def test_a_missing_type_says_how_to_supply_it(self) -> None:
        (only,) = faults("struct s { des_key a; des_key b; };")
        assert (
            only.hint == "if a C header has it: --type des_key=MODULE.TYPE, or --stub-opaque to take it as opaque data"
        )

    def test_a_type_that_is_almost_there_is_suggested(self) -> None:
        (only,) = faults("struct message { int a; }; struct s { mesage b; };")
        assert only.hint == "did you mean 'message'?"

    def test_a_type_can_be_supplied(self) -> None:
        settings = Settings(types={"auth": "oncrpc._gen.rpc_msg.opaque_auth"})
        m = module("struct s { auth a; };", settings)
        assert xdr.encode(m.s, m.s(m.auth(0, b""))) == bytes(8)

    @pytest.mark.parametrize("target", ["int", "a.b c", "a..b", "os;print", "1.2"])
    def test_what_is_no_name_of_python_is_refused(self, target: str) -> None:
        assert "no MODULE.TYPE" in fault("struct s { auth a; };", Settings(types={"auth": target}))

    def test_a_stub_is_opaque_data_on_request(self) -> None:
        m = module("struct s { des_key a; };", Settings(stub_opaque=True))
        assert xdr.encode(m.s, m.s(b"abcd")) == b"\0\0\0\4abcd"

    def test_an_enum_of_a_header_can_be_a_discriminant_of_a_stub(self) -> None:
        m = module("union u switch (clnt_stat s) { case 0: int a; };", Settings(stub_opaque=True))
        assert xdr.encode(m.u, m.u_0(1)) == bytes([0, 0, 0, 0, 0, 0, 0, 1])


class TestBorrowed:
    """Types of .x files whose C headers are included by ``%`` lines."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A folder with an .x file and its header's name."""
        (tmp_path / "base.x").write_text(
            "const LEN = 4; enum kind { ONE = 1, TWO }; struct base { opaque b<LEN>; }; struct unused { int z; };"
        )
        return tmp_path

    def test_what_is_needed_is_taken_in_and_nothing_else(self, folder: Path) -> None:
        text = '%#include "gen/base.h"\nstruct s { base a; }; union u switch (kind k) { case TWO: opaque c<LEN>; };'
        assert {e.name for e in check(text, name=str(folder / "main.x")).entries} == {"LEN", "kind", "base", "s", "u"}
        m = module(text, name=str(folder / "main.x"))
        assert xdr.encode(m.u, m.u_TWO(b"ab")) == b"\0\0\0\2\0\0\0\2ab\0\0"

    def test_definitions_of_the_file_itself_come_first(self, folder: Path) -> None:
        text = '%#include "base.h"\nconst LEN = 2; struct base { int mine; }; struct s { base a; opaque c<LEN>; };'
        assert len(check(text, name=str(folder / "main.x")).entries) == 3

    def test_without_the_file_the_type_is_missing(self, tmp_path: Path) -> None:
        (only,) = faults('%#include "base.h"\nstruct s { base a; };', name=str(tmp_path / "main.x"))
        assert "'base' is not defined" in only.message

    def test_files_that_need_each_other_are_read_once(self, tmp_path: Path) -> None:
        (tmp_path / "a.x").write_text('%#include "b.h"\nstruct a { b *x; };')
        (tmp_path / "b.x").write_text('%#include "a.h"\nstruct b { a *x; };')
        m = module((tmp_path / "a.x").read_text(), name=str(tmp_path / "a.x"))
        value = m.a(m.b(m.a(None)))
        assert xdr.decode(m.a, xdr.encode(m.a, value)) == value


class TestImports:
    """Types that another generated module has."""

    def test_they_are_imported_rather_than_written_again(self) -> None:
        root = Path(__file__).resolve().parents[3]
        settings = Settings(modules={"ipc.x": "ipcserver._gen.ipc"}, include=[str(root / "ipcserver" / "spec")])
        result = compiled(
            '#include "ipc.x"\nstruct mine { ripc_hyper a; opaque b<RIPC_CHUNK>; ripc_id_res c; };', settings
        )
        assert "from ipcserver._gen.ipc import RIPC_CHUNK, ripc_hyper, ripc_id_res\n" in result.text
        assert result.text.count("class ") == 1

    def test_they_are_the_same_types(self) -> None:
        from ipcserver._gen import ipc

        root = Path(__file__).resolve().parents[3]
        settings = Settings(modules={"ipc.x": "ipcserver._gen.ipc"}, include=[str(root / "ipcserver" / "spec")])
        m = module('#include "ipc.x"\nstruct mine { ripc_hyper a; };', settings)
        assert xdr.encode(m.mine, m.mine(ipc.ripc_hyper(1, 2))) == bytes([0, 0, 0, 1, 0, 0, 0, 2])

    def test_a_union_may_switch_on_an_imported_enum(self) -> None:
        root = Path(__file__).resolve().parents[3]
        settings = Settings(modules={"ipc.x": "ipcserver._gen.ipc"}, include=[str(root / "ipcserver" / "spec")])
        m = module(
            '#include "ipc.x"\nunion u switch (ripc_status s) { case RIPC_EPERM: int a; default: void; };', settings
        )
        assert xdr.encode(m.u, m.u_RIPC_EPERM(7)) == bytes([0, 0, 0, 1, 0, 0, 0, 7])
