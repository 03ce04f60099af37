"""The machine's interfaces."""

from __future__ import annotations

import ipaddress
import socket

from rpcbind_reg.interfaces import list_interfaces


def test_the_loopback_interface_is_listed_and_not_ordinary() -> None:
    loopback = [i for i in list_interfaces() if i.address.ip == ipaddress.ip_address("127.0.0.1")]
    assert [i.ordinary for i in loopback] == [False]
    assert loopback[0].address.network == ipaddress.ip_network("127.0.0.0/8")


def test_names_are_those_the_system_gives() -> None:
    assert {i.name.partition(":")[0] for i in list_interfaces()} <= {name for _, name in socket.if_nameindex()}


def test_a_thousand_listings_leak_nothing() -> None:
    first = list_interfaces()
    assert all(list_interfaces() == first for _ in range(1000))
