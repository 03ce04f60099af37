"""The state file: Debian's rpcbind reads and writes the same (interop/rpcbind/test_warm_start.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcbind_reg.mappings import Mapping
from rpcbind_reg.state import StateError, decode_state, encode_state

ROWS = [Mapping(300000, 1, "tcp", "0.0.0.0.4.1", "superuser"), Mapping(300000, 1, "local", "/run/é", "1000")]


def test_a_table_survives_without_the_registrys_own_rows() -> None:
    own = Mapping(100000, 4, "tcp", "0.0.0.0.0.111", "superuser")
    assert decode_state(encode_state([own, *ROWS])) == ROWS
    assert decode_state(encode_state([])) == []


def test_the_registrys_own_rows_in_a_file_are_left_out() -> None:
    data = encode_state([Mapping(100001, 4, "tcp", "0.0.0.0.0.111", "superuser")]).replace(b"\x86\xa1", b"\x86\xa0")
    assert decode_state(data) == []


@pytest.mark.parametrize("end", range(1, 40))
def test_a_file_cut_short_is_refused(end: int) -> None:
    data = encode_state(ROWS)
    with pytest.raises(StateError):
        decode_state(data[:-end])


@given(st.binary(max_size=200))
def test_no_content_does_more_than_be_refused(data: bytes) -> None:
    try:
        rows = decode_state(data)
    except StateError:
        return
    assert all(row.program != 100000 for row in rows)
