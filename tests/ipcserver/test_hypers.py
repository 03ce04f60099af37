"""64-bit values in two words."""

from __future__ import annotations

from typing import Annotated

from hypothesis import given
from hypothesis import strategies as st

import xdr
from ipcserver._gen.ipc import ripc_hyper
from ipcserver.hypers import from_hyper, to_hyper


@given(value=st.integers(-(2**63), 2**63 - 1))
def test_the_two_words_are_the_bytes_of_an_xdr_hyper(value: int) -> None:
    assert from_hyper(to_hyper(value)) == value
    assert xdr.encode(ripc_hyper, to_hyper(value)) == xdr.encode(Annotated[int, xdr.Hyper], value)
