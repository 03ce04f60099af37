"""oncrpc.stubs: arguments to bytes, bytes to results."""

from __future__ import annotations

from typing import Annotated

import pytest

import xdr
from oncrpc.errors import ArgumentsNotEncodable, MalformedMessage
from oncrpc.program import Procedure
from oncrpc.stubs import CodecTable, ProcedureCodec
from tests.oncrpc.sample import PROCEDURES, Pair

Int = Annotated[int, xdr.Int]
TWO = Procedure(1, "TWO", "two", (Int, Int), None)


def test_one_argument_is_encoded_as_declared() -> None:
    assert ProcedureCodec(PROCEDURES[2]).encode((Pair(1, 2),)) == bytes((0, 0, 0, 1, 0, 0, 0, 2))


def test_several_arguments_stand_one_behind_the_other() -> None:
    assert ProcedureCodec(TWO).encode((1, 2)) == bytes((0, 0, 0, 1, 0, 0, 0, 2))


@pytest.mark.parametrize("values", [(), (1,), (1, 2, 3)])
def test_another_number_of_arguments_is_refused(values: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentsNotEncodable, match="TWO takes 2 arguments"):
        ProcedureCodec(TWO).encode(values)


@pytest.mark.parametrize("value", [2**31, "1", None, 1.5])
def test_a_value_that_does_not_fit_is_refused(value: object) -> None:
    with pytest.raises(ArgumentsNotEncodable, match="TWO"):
        ProcedureCodec(TWO).encode((1, value))


def test_surplus_bytes_behind_a_result_are_ignored() -> None:
    assert ProcedureCodec(PROCEDURES[2]).decode(b"\0\0\0\5surplus") == 5
    assert ProcedureCodec(TWO).decode(b"surplus") is None


def test_a_result_that_does_not_decode_names_its_procedure() -> None:
    with pytest.raises(MalformedMessage, match="SAMPLE_ADD"):
        ProcedureCodec(PROCEDURES[2]).decode(b"\0\0")


def test_codecs_are_made_once() -> None:
    table = CodecTable()
    assert table.of(TWO) is table.of(TWO)
    assert table.of(TWO) is not table.of(PROCEDURES[2])
