"""The same calls, byte for byte, to Debian's rpcbind and to ours: what must be the same, and where ours is safer."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests import peers
from tests.interop.rpcbind.conftest import Machine, start_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOWEAK = "000000010000000100000005"
OK = "00" * 16
TRUE, FALSE = OK + "00000001", OK + "00000000"


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def rpcb(program: int, version: int, netid: str = "", addr: str = "") -> str:
    return (struct.pack(">2I", program, version) + text(netid) + text(addr) + text("")).hex()


def pmap(program: int, version: int, protocol: int, port: int) -> str:
    return struct.pack(">4I", program, version, protocol, port).hex()


def call(kind: str, version: int, procedure: int, arguments: str = "", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "version": version, "procedure": procedure, "arguments": arguments, **more}


def uaddr(answer: str) -> str:
    data = bytes.fromhex(answer)[16:]
    return data[4 : 4 + struct.unpack(">I", data[:4])[0]].decode()


@pytest.fixture(scope="module", params=["rpcbind", "ours"])
def homed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with two networks besides the loopback."""
    with peers.namespace(tmp_path_factory.mktemp("homed")) as space:
        for name, address in (("net0", "10.9.8.1/24"), ("net1", "192.168.7.1/24")):
            space.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}peer")
            space.run("ip", "addr", "add", address, "dev", name)
            space.run("ip", "link", "set", name, "up")
            space.run("ip", "link", "set", f"{name}peer", "up")
        space.run("ip", "addr", "add", "fd00:9::1/64", "dev", "net0", "nodad")
        yield start_registry(space, request.param)


def test_versions_and_procedures_that_are_not_there(homed: Machine) -> None:
    mismatch = "00" * 12 + "00000002" + "0000000200000004"
    unavailable = "00" * 12 + "00000003"
    requests = [call(kind, version, 0) for kind in ("tcp", "udp", "local") for version in (0, 1, 5)]
    assert homed.raw(*requests) == [mismatch] * 9
    requests = [call("tcp", version, procedure) for version, procedure in ((2, 6), (3, 9), (4, 13))]
    assert homed.raw(*requests) == [unavailable] * 3


def test_changes_from_elsewhere_are_refused_whatever_the_port(homed: Machine) -> None:
    for source in (["127.0.0.2", 700], ["127.0.0.2", 7000]):
        changes = [
            call("udp", 2, 1, pmap(440000, 1, 17, 5000), source=source),
            call("udp", 2, 2, pmap(100000, 2, 17, 111), source=source),
            call("udp", 3, 1, rpcb(440000, 1, "udp", "0.0.0.0.4.1"), source=source),
            call("tcp", 4, 2, rpcb(100000, 4, "tcp"), source=source),
        ]
        assert homed.raw(*changes) == [TOOWEAK] * 4
    assert homed.raw(call("udp", 4, 1, rpcb(440000, 1, "udp", "0.0.0.0.4.1"), host="10.9.8.1")) == [TOOWEAK]
    assert homed.rows(440_000) == []


def test_version_2_says_true_when_it_removed_nothing(homed: Machine) -> None:
    assert homed.raw(call("udp", 2, 2, pmap(440001, 1, 0, 0))) == [TRUE]


def test_a_set_is_granted_again_and_refused_for_another_address(homed: Machine) -> None:
    first, other = rpcb(440002, 1, "tcp", "0.0.0.0.4.1"), rpcb(440002, 1, "TCP", "0.0.0.0.4.2")
    answers = homed.raw(call("local", 4, 1, first), call("local", 3, 1, first), call("local", 4, 1, other))
    assert answers == [TRUE, TRUE, FALSE]


def test_surplus_bytes_after_the_arguments_are_ignored(homed: Machine) -> None:
    assert homed.raw(call("udp", 2, 3, pmap(100000, 2, 17, 0) + "00" * 8)) == [OK + "0000006f"]


def test_the_netid_of_a_lookup_is_that_of_the_call(homed: Machine) -> None:
    homed.raw(call("local", 4, 1, rpcb(440003, 1, "tcp", "0.0.0.0.4.1")))
    lookups = homed.raw(
        call("udp", 4, 3, rpcb(440003, 1, "tcp")),
        call("local", 4, 3, rpcb(440003, 1, "tcp")),
        call("tcp", 4, 3, rpcb(440003, 1, "udp")),
        call("tcp", 3, 3, rpcb(440003, 7)),
        call("tcp", 4, 9, rpcb(440003, 7)),
    )
    assert [uaddr(found) for found in lookups] == ["", "", "127.0.0.1.4.1", "127.0.0.1.4.1", ""]


@pytest.mark.parametrize(
    ("caller", "hint", "told"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("10.9.8.1", "", "10.9.8.1"),
        ("192.168.7.1", "", "192.168.7.1"),
        ("127.0.0.1", "192.168.7.1.0.111", "192.168.7.1"),
        ("10.9.8.1", "127.0.0.1.0.111", "127.0.0.1"),
        ("127.0.0.1", "10.9.8.77.0.111", "10.9.8.1"),
        ("127.0.0.1", "203.0.113.1.0.111", "10.9.8.1"),
        ("::1", "", "::1"),
        ("fd00:9::1", "", "fd00:9::1"),
        ("::1", "fd00:9::1.0.111", "fd00:9::1"),
    ],
)
def test_callers_of_a_multi_homed_machine_are_told_the_address_they_can_reach(
    homed: Machine, caller: str, hint: str, told: str
) -> None:
    homed.raw(
        call("local", 4, 1, rpcb(440004, 1, "tcp", "0.0.0.0.4.1")),
        call("local", 4, 1, rpcb(440004, 1, "tcp6", "::.4.1")),
    )
    answers = homed.raw(*(call("tcp", version, 3, rpcb(440004, 1, "", hint), host=caller) for version in (3, 4)))
    assert [uaddr(answer) for answer in answers] == [f"{told}.4.1"] * 2


def test_addresses_are_converted_to_the_machines_own_form_and_back(homed: Machine) -> None:
    own = "0200006f7f000001" + "00" * 8
    turned = homed.raw(
        call("tcp", 4, 7, text("127.0.0.1.0.111").hex()),
        call("udp", 3, 7, text("junk").hex()),
        call("local", 4, 7, text("/run/x").hex()),
        call("tcp", 4, 7, text("::1.0.111").hex(), host="::1"),
        call("tcp", 4, 8, "00000010" + text(bytes.fromhex(own)).hex()),
        call("tcp", 4, 8, "00000002" + text(b"ab").hex()),
    )
    assert turned == [
        OK + "0000001000000010" + own,
        OK + "00" * 8,
        OK + "0000006e00000008" + "0100" + b"/run/x".hex(),
        OK + "0000001c0000001c" + "0a00006f" + "00" * 19 + "01" + "00000000",
        OK + text("127.0.0.1.0.111").hex(),
        OK + "00000000",
    ]


def test_calls_are_not_passed_on_unless_it_was_asked_for(homed: Machine) -> None:
    null = (struct.pack(">3I", 100000, 2, 0) + text("")).hex()
    silent = [call("udp", version, 5, null, wait=0.5) for version in (2, 3, 4)]
    assert homed.raw(*silent, call("tcp", 2, 5, null, wait=0.5)) == ["silence"] * 4


@pytest.mark.parametrize("homed", ["ours"], indirect=True)
class TestSafer:
    """Where ours differs from Debian's rpcbind on purpose."""

    def test_loopback_callers_are_known_by_their_user_not_by_their_port(self, homed: Machine) -> None:
        assert homed.raw(call("udp", 2, 1, pmap(441000, 1, 17, 5000)), uid=1000) == [TRUE]
        assert homed.raw(call("tcp", 4, 1, rpcb(441000, 2, "tcp6", "::.4.1"), host="::1"), uid=1001) == [TRUE]
        assert homed.raw(call("udp", 4, 1, rpcb(441000, 3, "tcp", "0.0.0.0.4.1")), uid=0) == [TRUE]
        assert [row[3] for row in homed.rows(441_000)] == ["1000", "1001", "superuser"]

    def test_one_user_cannot_take_anothers_place_over_loopback(self, homed: Machine) -> None:
        """With rpcbind any local user removes and replaces what was registered from a port above 1023."""
        homed.raw(call("udp", 2, 1, pmap(441001, 1, 17, 5000)), uid=1000)
        homed.raw(call("udp", 2, 2, pmap(441001, 1, 17, 0)), call("udp", 4, 2, rpcb(441001, 1)), uid=1001)
        assert homed.raw(call("udp", 2, 1, pmap(441001, 1, 17, 6000)), uid=1001) == [FALSE]
        assert [row[2:] for row in homed.rows(441_001)] == [["0.0.0.0.19.136", "1000"]]

    def test_the_registrys_number_and_nonsense_cannot_be_registered(self, homed: Machine) -> None:
        """Debian's rpcbind grants all of these."""
        refused = [
            rpcb(100000, 5, "tcp", "0.0.0.0.4.1"),
            rpcb(441002, 1, "", "0.0.0.0.4.1"),
            rpcb(441002, 1, "tcp", "bar"),
            rpcb(441002, 1, "tcp", ""),
            rpcb(441002, 1, "tcp", "0.0.0.0.0.0"),
        ]
        assert homed.raw(*(call("local", 4, 1, argument) for argument in refused)) == [FALSE] * 5
        assert homed.raw(call("local", 2, 1, pmap(441002, 1, 6, 70000))) == [FALSE]

    def test_an_address_that_is_no_wildcard_is_told_as_it_is(self, homed: Machine) -> None:
        """Debian's rpcbind tells the address of another interface, where nobody listens."""
        homed.raw(call("local", 4, 1, rpcb(441003, 1, "tcp", "192.168.7.1.4.1")))
        assert uaddr(homed.raw(call("tcp", 4, 3, rpcb(441003, 1), host="10.9.8.1"))[0]) == "192.168.7.1.4.1"
