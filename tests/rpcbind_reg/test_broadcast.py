"""Discovery by broadcast: what is sent, and which answers count. On a network: interop/rpcbind/test_commands.py."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xdr
from oncrpc.errors import ProgramUnavailable
from oncrpc.message import encode_error, encode_success
from rpcbind_reg._gen import portmap, rpcbind
from rpcbind_reg.addresses import Interface
from rpcbind_reg.broadcast import ANSWERS_MAX, Discovered, Discovery, broadcast_addresses

XID = 0x01020304


def search() -> Discovery:
    return Discovery(300000, 1, xid=XID)


def answer(port: int = 1025, xid: int = XID) -> bytes:
    return encode_success(xid) + xdr.encode(portmap.call_result, portmap.call_result(port, b"done"))


def test_the_call_is_callit_over_ipv4_and_bcast_over_ipv6() -> None:
    old, new = search().datagram(), search().datagram(ipv6=True)
    assert old[:24].hex() == "01020304" + "00000000" + "00000002" + "000186a0" + "00000002" + "00000005"
    assert new[16:24].hex() == "00000004" + "00000005"
    assert xdr.decode(portmap.call_args, old[40:]) == portmap.call_args(300000, 1, 0, b"")


def test_each_machine_is_told_once_under_the_address_it_answered_from() -> None:
    made = search()
    found = Discovered("10.9.8.1", "10.9.8.1.4.1", b"done")
    assert made.receive(answer(), "10.9.8.1") == found
    assert made.receive(answer(), "10.9.8.1") is None
    assert made.receive(answer(2), "10.9.8.2") is not None
    assert made.found[0] == found
    assert len(made.found) == 2


def test_over_ipv6_the_port_is_taken_and_the_zone_left_out() -> None:
    data = encode_success(XID) + xdr.encode(rpcbind.rpcb_rmtcallres, rpcbind.rpcb_rmtcallres("fd00::9.4.1", b""))
    assert search().receive(data, "fe80::1%eth0", ipv6=True) == Discovered("fe80::1%eth0", "fe80::1.4.1", b"")


@pytest.mark.parametrize(
    "data", [b"", answer(xid=7), answer()[:-1], encode_error(XID, ProgramUnavailable()), search().datagram()]
)
def test_what_is_no_answer_is_dropped(data: bytes) -> None:
    made = search()
    assert made.receive(data, "10.9.8.1") is None
    assert made.found == []


@given(st.binary(max_size=80), st.booleans())
def test_no_datagram_raises(data: bytes, ipv6: bool) -> None:
    search().receive(XID.to_bytes(4, "big") + b"\0\0\0\1" + data, "::1" if ipv6 else "10.9.8.1", ipv6=ipv6)


def test_a_forger_cannot_fill_the_memory() -> None:
    made = search()
    for number in range(ANSWERS_MAX + 10):
        made.receive(answer(), str(ipaddress.IPv4Address(number)))
    assert len(made.found) == ANSWERS_MAX


def test_broadcasts_go_to_each_network_and_to_the_group_on_each_interface() -> None:
    def interface(name: str, address: str, *, ordinary: bool = True) -> Interface:
        return Interface(name, ipaddress.ip_interface(address), ordinary)

    interfaces = [
        interface("lo", "127.0.0.1/8", ordinary=False),
        interface("eth0", "10.9.8.1/24"),
        interface("eth0", "10.9.8.2/24"),
        interface("eth1", "192.168.7.1/31"),
        interface("eth0", "fe80::1%eth0/64"),
        interface("eth0", "fd00:9::1/64"),
    ]
    assert broadcast_addresses(interfaces) == ["10.9.8.255", "ff02::202%eth0"]
