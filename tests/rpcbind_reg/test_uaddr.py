"""Universal addresses and netids: RFC 5665, sections 5.1 and 5.2."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcbind_reg.uaddr import (
    TRANSPORTS,
    Address,
    UniversalAddressError,
    from_sockaddr,
    join,
    netid_of_protocol,
    parse,
    port_of,
    to_sockaddr,
    transport_of,
)

PORTS = st.integers(0, 65535)


class TestAddresses:
    """RFC 5665, sections 5.2.3.1, 5.2.3.3 and 5.2.3.4."""

    def test_the_example_of_the_rfc_is_read_and_written(self) -> None:
        assert parse("tcp", "192.0.2.7.203.81") == Address("192.0.2.7", 52049)
        assert join("192.0.2.7", 52049) == "192.0.2.7.203.81"

    @given(st.ip_addresses(v=4), PORTS)
    def test_every_ipv4_address_survives(self, ip: ipaddress.IPv4Address, port: int) -> None:
        assert parse("udp", join(str(ip), port)) == Address(str(ip), port)

    @given(st.ip_addresses(v=6), PORTS)
    def test_every_ipv6_address_survives(self, ip: ipaddress.IPv6Address, port: int) -> None:
        assert parse("tcp6", join(str(ip), port)) == Address(str(ip), port)

    @pytest.mark.parametrize(
        ("text", "host"),
        [
            ("::ffff:10.1.2.3.2.88", "::ffff:10.1.2.3"),
            ("1080:0:0:0:8:800:200C:417A.2.88", "1080::8:800:200c:417a"),
            ("fe80::1%eth0.2.88", "fe80::1%eth0"),
        ],
    )
    def test_all_forms_of_an_ipv6_address_are_read(self, text: str, host: str) -> None:
        parsed = parse("udp6", text)
        assert parsed.port == 600
        assert ipaddress.ip_address(parsed.host) == ipaddress.ip_address(host)

    def test_a_local_address_is_its_path(self) -> None:
        assert parse("local", "/run/rpcbind.sock") == Address("/run/rpcbind.sock", None)
        assert join("/run/rpcbind.sock", 0) == "/run/rpcbind.sock"

    @pytest.mark.parametrize(
        ("netid", "text"),
        [
            ("tcp", ""),
            ("tcp", "1.2"),
            ("tcp", "127.0.0.1"),
            ("tcp", "127.0.0.1.256.1"),
            ("tcp", "127.0.0.1.-1.1"),
            ("tcp", "127.0.0.1.1.1.1"),
            ("tcp", "127.0.0.1.²3.1"),
            ("tcp", "127.0.0.1.0001.1"),
            ("tcp", "::1.0.111"),
            ("tcp6", "127.0.0.1.0.111"),
            ("tcp6", "localhost.0.111"),
            ("local", ""),
            ("teleport", "127.0.0.1.0.111"),
        ],
    )
    def test_what_is_no_address_of_the_netid_is_refused(self, netid: str, text: str) -> None:
        with pytest.raises(UniversalAddressError):
            parse(netid, text)
        assert port_of(netid, text) is None

    @given(st.sampled_from(sorted(TRANSPORTS)), st.text(max_size=60))
    def test_no_text_does_more_than_be_refused(self, netid: str, text: str) -> None:
        with contextlib.suppress(UniversalAddressError):
            assert parse(netid, text).host

    @pytest.mark.parametrize(("host", "port"), [("localhost", 600), ("", 600), ("10.0.0.1", -1), ("::1", 65536)])
    def test_what_cannot_be_written_is_refused(self, host: str, port: int) -> None:
        with pytest.raises(UniversalAddressError):
            join(host, port)

    def test_wildcards_are_told_from_addresses(self) -> None:
        assert parse("tcp", "0.0.0.0.2.88").is_wildcard
        assert parse("tcp6", "::.2.88").is_wildcard
        assert not parse("tcp", "127.0.0.1.2.88").is_wildcard
        assert not parse("local", "/x").is_wildcard


class TestNetids:
    """RFC 5665, section 5.1; netconfig(5)."""

    def test_case_does_not_matter(self) -> None:
        assert transport_of("TCP6") is transport_of("tcp6")

    def test_unknown_netids_are_none(self) -> None:
        assert transport_of("teleport") is None

    def test_portmap_knows_two_protocols(self) -> None:
        assert (netid_of_protocol(6), netid_of_protocol(17), netid_of_protocol(1)) == ("tcp", "udp", None)
        assert {t.netid for t in TRANSPORTS.values() if t.ip_protocol} == {"tcp", "udp"}

    def test_each_family_has_its_wildcard(self) -> None:
        assert [TRANSPORTS[netid].any_host for netid in ("udp", "udp6", "local")] == ["0.0.0.0", "::", ""]


class TestSocketAddresses:
    """RFC 1833, section 2.2.1, UADDR2TADDR and TADDR2UADDR, as rpcbind answers on this machine."""

    @pytest.mark.parametrize(
        ("netid", "uaddr"), [("tcp", "127.0.0.1.0.111"), ("udp6", "::1.0.111"), ("local", "/run/rpcbind.sock")]
    )
    def test_addresses_survive_both_ways(self, netid: str, uaddr: str) -> None:
        assert from_sockaddr(netid, to_sockaddr(netid, uaddr)) == uaddr

    def test_the_bytes_are_those_of_rpcbind(self) -> None:
        assert to_sockaddr("tcp", "127.0.0.1.0.111").hex() == "0200006f7f0000010000000000000000"
        assert to_sockaddr("tcp6", "::1.0.111").hex() == "0a00006f00000000" + "00" * 15 + "01" + "00000000"
        assert to_sockaddr("local", "/run/x") == b"\x01\x00/run/x"

    def test_a_numeric_zone_becomes_the_scope(self) -> None:
        assert to_sockaddr("tcp6", "fe80::1%3.0.111")[-4:] in (b"\x03\0\0\0", b"\0\0\0\x03")

    @pytest.mark.parametrize("netid", ["tcp", "tcp6", "local", "teleport"])
    @pytest.mark.parametrize("sockaddr", [b"", b"\x02", bytes(7), bytes(40), b"\x01\x00", b"\x01\x00\x00"])
    def test_what_is_no_socket_address_is_refused(self, netid: str, sockaddr: bytes) -> None:
        with pytest.raises(UniversalAddressError):
            from_sockaddr(netid, sockaddr)
