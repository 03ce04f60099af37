from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xdr
from ipcserver.journal.records import body_digest, link, pack_batch, unpack_batch

BATCH = xdr.codec(Annotated[list[Annotated[bytes, xdr.Opaque()]], xdr.Array()])


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_a_batch_is_the_xdr_of_an_array_of_opaques(commands: list[bytes]) -> None:
    assert pack_batch(commands) == BATCH.encode(commands)
    assert unpack_batch(pack_batch(commands)) == commands


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_a_batch_cut_short_is_refused_at_every_length(commands: list[bytes], data: st.DataObject) -> None:
    body = pack_batch(commands)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ValueError, match=r"batch|command"):
        unpack_batch(body[:cut])


def test_a_batch_with_bytes_behind_it_is_refused() -> None:
    with pytest.raises(ValueError, match="4 bytes past the last command"):
        unpack_batch(pack_batch([b"abc"]) + bytes(4))


def test_a_count_that_cannot_be_true_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(ValueError, match="4294967295 commands announced, 8 bytes"):
        unpack_batch(b"\xff\xff\xff\xff" + bytes(4))


@given(st.binary(max_size=60))
def test_no_bytes_bring_anything_but_a_value_error(body: bytes) -> None:
    try:
        commands = unpack_batch(body)
    except ValueError:
        return
    assert len(pack_batch(commands)) == len(body)


def test_the_digest_depends_on_the_batch_before_the_number_and_the_bytes() -> None:
    digests = {link(b"a" * 16, 1, b"x"), link(b"b" * 16, 1, b"x"), link(b"a" * 16, 2, b"x"), link(b"a" * 16, 1, b"y")}
    assert len(digests) == 4
    assert {len(digest) for digest in digests} == {16}


def test_the_digest_of_a_snapshot_does_not_depend_on_how_it_is_cut() -> None:
    assert body_digest([b"ab", b"c"]) == body_digest([b"", b"abc"])
