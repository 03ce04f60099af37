from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from ipcserver._gen.ipc import IPCPROG_1_SyncClient
from ipcserver.demo import show
from ipcserver.demo.calls import msgget
from oncrpc.auth import AuthSys
from oncrpc.explain import Explanation, Programs, explain_stream
from oncrpc.identity import Identity
from oncrpc.records import frame_record
from oncrpc.stubs import CodecTable

HEADER = bytes.fromhex("12345678 00000000 00000002 20000258 00000001 0000000a")


def shown(block: RenderableType, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, theme=show.THEME).print(block)
    return out.getvalue()


def example(machine: str = "sparc1") -> tuple[bytes, Explanation]:
    stub, number, *arguments = msgget(0x604)
    procedure = next(each for each in stub.procedures if each.number == number)
    body = CodecTable().of(procedure).encode(arguments)
    data = frame_record(Identity(AuthSys(1, machine, 1001, 100)).seal(HEADER, body))
    return data, next(iter(explain_stream(data, Programs([IPCPROG_1_SyncClient]))))


@pytest.mark.parametrize("width", [50, 80, 120])
def test_every_byte_of_a_call_is_in_its_rows_and_every_field_has_a_section(width: int) -> None:
    data, told = example()
    rows = show.field_rows(told, data)
    assert sum(row.part.size for row in rows) == len(data)
    assert [row.part.name for row in rows if "RFC" not in row.part.section] == []
    text = "".join(shown(row, width) for row in rows)
    assert max(map(len, text.splitlines())) <= width
    assert "20 00 02 58" in text
    assert "AUTH_SYS (1)" in text


def test_what_a_field_is_for_can_be_told() -> None:
    data, told = example()
    rows = show.field_rows(told, data, only=("body",), sentences={"key": "Its name."})
    (key,) = (row for row in rows if row.part.name == "key")
    assert (key.part.sentence, key.part.section) == ("Its name.", "int: RFC 4506, 4.1")
    assert rows[0].part.level == 0


def test_fields_are_chosen_by_group_and_by_name() -> None:
    data, told = example()
    assert {row.group for row in show.field_rows(told, data, only=("cred",))} == {"cred"}
    assert [row.part.name for row in show.field_rows(told, data, names=("uid",))] == ["uid"]


def test_a_name_from_the_wire_is_neither_markup_nor_a_command_to_the_terminal() -> None:
    data, told = example("[red]\x1b[2J")
    text = "".join(shown(row, 120) for row in show.field_rows(told, data))
    assert "[red]" in text
    assert "\x1b" not in text
    assert "\x1b" not in show.safe("\x1b[2J")
    assert shown(f"[b]{show.safe('[/b]x')}[/]") == "[/b]x\n"


def test_a_dump_has_offsets_bytes_and_text() -> None:
    lines = shown(show.hex_dump(b"0123456789abcdef" + b"\x00\xffxyz")).splitlines()
    assert lines == [
        "0000  30 31 32 33  34 35 36 37  38 39 61 62  63 64 65 66  0123456789abcdef",
        "0010  00 ff 78 79  7a                                     ..xyz",
    ]


def test_a_long_dump_says_how_much_it_leaves_out() -> None:
    assert "… 84 more bytes" in shown(show.hex_dump(bytes(100), most=16))


def test_a_legend_counts_the_bytes_of_each_group() -> None:
    _data, told = example()
    text = shown(show.legend(told), 200)
    assert "record mark 4  RPC header 24  credential 34  padding 2  verifier 8  arguments 32" in text


def test_the_first_bit_of_a_mark_stands_apart() -> None:
    assert shown(show.bits(b"\x80\x00\x00\x28")) == "1 0000000 00000000 00000000 00101000\n"


def test_two_machines_stand_side_by_side_in_the_order_of_time() -> None:
    lines = shown(show.side_by_side("left", "right", [(2.0, 1, "later"), (1.0, 0, "first")])).splitlines()
    assert lines[1].split() == ["1.000", "first"]
    assert lines[2].split() == ["2.000", "later"]
    assert lines[2].index("later") == lines[0].index("right")


def test_counts_are_words_where_people_have_them() -> None:
    assert [show.times(count) for count in (0, 1, 2, 3)] == ["never", "once", "twice", "3 times"]
