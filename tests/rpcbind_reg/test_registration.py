"""What is wanted in a registry, compared with what is there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from rpcbind_reg.mappings import Mapping
from rpcbind_reg.registration import Action, compare, probe_address, registrations, same_address


@dataclass
class Address:
    netid: str
    host: str
    port: int
    path: str = ""


class One:
    program, version = 300000, 1


class Two:
    program, version = 300000, 2


TCP = Mapping(300000, 1, "tcp", "0.0.0.0.4.1")
LOCAL = Mapping(300000, 1, "local", "/run/x")
THERE = replace(TCP, owner="superuser")


def test_every_version_is_wanted_on_every_transport() -> None:
    addresses = [Address("tcp", "0.0.0.0", 1025), Address("udp6", "::1", 1025), Address("local", "", 0, "/run/x")]
    assert registrations([One, Two], addresses) == (
        TCP,
        Mapping(300000, 1, "udp6", "::1.4.1"),
        LOCAL,
        Mapping(300000, 2, "tcp", "0.0.0.0.4.1"),
        Mapping(300000, 2, "udp6", "::1.4.1"),
        Mapping(300000, 2, "local", "/run/x"),
    )


def test_of_two_addresses_on_one_transport_the_first_is_registered() -> None:
    addresses = [Address("tcp", "127.0.0.1", 1025), Address("tcp", "10.0.0.1", 1025)]
    assert registrations([One], addresses) == (Mapping(300000, 1, "tcp", "127.0.0.1.4.1"),)


@pytest.mark.parametrize(
    ("present", "owner", "action"),
    [
        ([], "superuser", Action.SET),
        ([THERE], "superuser", Action.NOTHING),
        ([replace(THERE, owner="unknown")], "superuser", Action.RENEW),
        ([replace(THERE, owner="1000")], "1000", Action.NOTHING),
        ([replace(THERE, owner="unknown")], "", Action.NOTHING),
        ([replace(THERE, uaddr="0.0.0.0.4.2")], "superuser", Action.PROBE),
        ([replace(THERE, uaddr="127.0.0.1.4.1")], "superuser", Action.PROBE),
        ([replace(THERE, netid="udp")], "superuser", Action.SET),
        ([replace(THERE, version=2)], "superuser", Action.SET),
    ],
)
def test_what_to_do_follows_from_what_is_there(present: list[Mapping], owner: str, action: Action) -> None:
    assert [step.action for step in compare([TCP], present, version=4, owner=owner)] == [action]


def test_version_2_shows_ports_only_and_cannot_hold_everything() -> None:
    present = [Mapping(300000, 1, "tcp", "0.0.0.0.4.1")]
    wanted = [replace(TCP, uaddr="127.0.0.1.4.1"), LOCAL]
    actions = [step.action for step in compare(wanted, present, version=2, owner="")]
    assert actions == [Action.NOTHING, Action.IMPOSSIBLE]


def test_addresses_are_compared_by_what_they_mean() -> None:
    assert same_address("tcp6", "::1.4.1", "0:0:0:0:0:0:0:1.4.1")
    assert not same_address("tcp", "0.0.0.0.4.1", "127.0.0.1.4.1")
    assert not same_address("tcp", "junk", "0.0.0.0.4.1")


def test_servers_are_looked_for_on_this_machine() -> None:
    assert probe_address(TCP).uaddr == "127.0.0.1.4.1"
    assert probe_address(replace(TCP, netid="tcp6", uaddr="::.4.1")).uaddr == "::1.4.1"
    assert probe_address(replace(TCP, uaddr="10.0.0.1.4.1")).uaddr == "10.0.0.1.4.1"
    assert probe_address(LOCAL) == LOCAL
    assert probe_address(replace(TCP, uaddr="junk")).uaddr == "junk"
