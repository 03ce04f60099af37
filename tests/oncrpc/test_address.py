"""oncrpc.address: places as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncrpc.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp:localhost:600", Address("tcp", "localhost", 600)),
        ("udp:127.0.0.1:1", Address("udp", "127.0.0.1", 1)),
        ("tcp:[::1]:600", Address("tcp", "::1", 600)),
        ("tcp:::1:600", Address("tcp", "::1", 600)),
        ("unix:/run/a:b.sock", Address("unix", path="/run/a:b.sock")),
    ],
)
def test_each_transport_is_read(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@given(st.sampled_from(["tcp", "udp"]), st.sampled_from(["h", "10.0.0.1", "fe80::1"]), st.integers(1, 65535))
def test_an_address_survives_being_written_and_read(transport: str, host: str, port: int) -> None:
    address = Address("tcp" if transport == "tcp" else "udp", host, port)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize("text", ["", "tcp", "tcp:host", "tcp:host:0", "tcp:host:70000", "tcp:h:٣", "unix:", "x:h:1"])
def test_another_shape_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|port from 1"):
        parse_address(text)
