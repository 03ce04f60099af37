"""Which address a caller is told. What rpcbind answers in the same place is in test_beside_rpcbind.py."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcbind_reg.addresses import Interface, merge


def interface(name: str, address: str, *, ordinary: bool = True) -> Interface:
    return Interface(name, ipaddress.ip_interface(address), ordinary)


HOST = (
    interface("lo", "127.0.0.1/8", ordinary=False),
    interface("lo", "::1/128", ordinary=False),
    interface("ppp0", "10.64.0.2/32", ordinary=False),
    interface("eth0", "10.9.8.1/24"),
    interface("eth1", "192.168.7.1/24"),
    interface("eth1", "192.168.7.2/24"),
    interface("eth0", "fe80::1%eth0/64"),
    interface("eth1", "fe80::2%eth1/64"),
    interface("eth0", "fd00:9::1/64"),
)


@pytest.mark.parametrize(
    ("caller", "hint", "expected"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("10.9.8.77", "", "10.9.8.1"),
        ("192.168.7.50", "", "192.168.7.1"),
        ("203.0.113.9", "", "10.9.8.1"),
        ("203.0.113.9", "192.168.7.2.0.111", "192.168.7.2"),
        ("203.0.113.9", "192.168.7.77.0.111", "192.168.7.1"),
        ("203.0.113.9", "198.51.100.1.0.111", "10.9.8.1"),
        ("127.0.0.1", "10.9.8.1.0.111", "10.9.8.1"),
        ("192.168.7.50", "junk", "192.168.7.1"),
        ("192.168.7.50", "::1.0.111", "192.168.7.1"),
        ("192.168.7.50", "0.0.0.0.0.111", "192.168.7.1"),
        ("10.64.0.2", "", "10.64.0.2"),
    ],
)
def test_ipv4_callers_are_told_the_address_nearest_to_them(caller: str, hint: str, expected: str) -> None:
    assert merge("tcp", "0.0.0.0.4.1", caller, hint, HOST) == expected + ".4.1"


@pytest.mark.parametrize(
    ("caller", "hint", "expected"),
    [
        ("::1", "", "::1"),
        ("fd00:9::77", "", "fd00:9::1"),
        ("2001:db8::1", "", "fd00:9::1"),
        ("fe80::77%eth0", "", "fe80::1"),
        ("fe80::77%eth1", "", "fe80::2"),
        ("2001:db8::1", "::1.0.111", "::1"),
    ],
)
def test_ipv6_callers_are_told_the_address_nearest_to_them(caller: str, hint: str, expected: str) -> None:
    assert merge("tcp6", "::.4.1", caller, hint, HOST) == expected + ".4.1"


def test_an_address_that_is_no_wildcard_stays() -> None:
    assert merge("tcp", "192.168.7.2.4.1", "10.9.8.77", "10.9.8.1.0.111", HOST) == "192.168.7.2.4.1"


def test_local_callers_and_local_addresses_see_what_was_registered() -> None:
    assert merge("tcp", "0.0.0.0.4.1", "", "", HOST) == "0.0.0.0.4.1"
    assert merge("local", "/run/x", "10.9.8.77", "", HOST) == "/run/x"
    assert merge("x25", "017", "10.9.8.77", "", HOST) == "017"


def test_without_interfaces_the_registered_address_is_told() -> None:
    assert merge("tcp", "0.0.0.0.4.1", "10.9.8.77", "", ()) == "0.0.0.0.4.1"


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_no_text_raises(uaddr: str, caller: str, hint: str) -> None:
    merge("tcp", uaddr, caller, hint, HOST)
