"""The functions under specialised code."""

from __future__ import annotations

import array
from struct import pack

import pytest

from xdr import runtime


def test_structs_for_lengths_are_made_as_needed_and_never_beyond_the_bound() -> None:
    unpackers = runtime.ShortUnpackers("I", "i", 40)
    unpack, size, pad = unpackers[5]
    assert (size, pad) == (16, bytes(3))
    assert unpack(pack(">I5s3xi", 5, b"abcde", -1), 0) == (5, b"abcde", bytes(3), -1)
    assert list(unpackers) == [5]
    with pytest.raises(runtime.Unfit):
        unpackers[41]
    packers = runtime.ShortPackers("I", "i", 40)
    assert packers[5](5, b"abcde", -1) == pack(">I5s3xi", 5, b"abcde", -1)
    with pytest.raises(runtime.Unfit):
        packers[41]


def test_low_bounds_have_all_their_structs_in_a_list() -> None:
    table = runtime.ShortUnpackers("", "", 3).quick()
    assert isinstance(table, list)
    assert len(table) == 4


def test_structs_for_arrays_are_kept_in_bounds() -> None:
    for count in range(2000):
        runtime.unpack_many("i", count)
        runtime.pack_many("i", count)
    assert runtime.unpack_many.cache_info().currsize <= 1024
    assert runtime.pack_many.cache_info().currsize <= 1024


def test_numbers_are_swapped_to_network_order_and_back() -> None:
    made = runtime.swapped("i", pack(">3i", 1, -2, 3))
    assert made == array.array("i", [1, -2, 3])
    assert runtime.swapped("i", made).tobytes() == pack(">3i", 1, -2, 3)


@pytest.mark.parametrize("code", "iIqQfd")
def test_arrays_have_the_sizes_of_the_wire_on_this_machine(code: str) -> None:
    assert array.array(code).itemsize == len(pack(">" + code, 0))
