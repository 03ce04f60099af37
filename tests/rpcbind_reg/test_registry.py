"""A registry's decisions, without RPC."""

from __future__ import annotations

import ipaddress

from rpcbind_reg.access import Caller
from rpcbind_reg.addresses import Interface
from rpcbind_reg.mappings import Mapping, SetOutcome, UnsetOutcome
from rpcbind_reg.registry import Registry

ROOT = Caller("local", uid=0)
USER = Caller("local", uid=1000)
REMOTE = Caller("tcp", "10.9.8.77", 4000)
HOST = (Interface("eth0", ipaddress.ip_interface("10.9.8.1/24"), True),)


class Record:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_set(self, mapping: Mapping, caller: Caller | None, outcome: SetOutcome) -> None:
        self.told.append((mapping, caller, outcome))

    def on_unset(self, caller: Caller | None, outcome: UnsetOutcome) -> None:
        self.told.append((caller, outcome))

    def on_refused(self, caller: Caller, what: str) -> None:
        self.told.append((caller, what))


def test_the_owner_is_who_asks_whatever_the_argument_says() -> None:
    registry = Registry()
    registry.set(Mapping(300000, 1, "tcp", "0.0.0.0.4.1", "superuser"), USER)
    assert [m.owner for m in registry.mappings] == ["1000"]


def test_each_change_is_told_once_and_counted() -> None:
    record = Record()
    registry = Registry(observer=record)
    mapping = Mapping(300000, 1, "tcp", "0.0.0.0.4.1", "1000")
    assert registry.set(mapping, USER).granted
    assert registry.set(mapping, USER) is SetOutcome.SAME
    assert registry.generation == 1
    assert registry.unset(300000, 1, "", USER).granted
    assert registry.generation == 2
    assert record.told == [
        (mapping, USER, SetOutcome.ADDED),
        (mapping, USER, SetOutcome.SAME),
        (USER, UnsetOutcome((mapping,), ())),
    ]


def test_addresses_are_merged_for_the_caller() -> None:
    registry = Registry(interfaces=lambda: HOST)
    registry.set(Mapping(300000, 1, "tcp", "0.0.0.0.4.1"), ROOT)
    registry.set(Mapping(300000, 1, "tcp6", "::.4.1"), ROOT)
    registry.set(Mapping(300000, 1, "udp", "0.0.0.0.4.2"), ROOT)
    registry.set(Mapping(300000, 1, "x25", "017"), ROOT)
    assert registry.find_address(300000, 1, REMOTE) == "10.9.8.1.4.1"
    assert registry.find_address(300000, 2, REMOTE) == "10.9.8.1.4.1"
    assert registry.find_address(300000, 2, REMOTE, this_version=True) == ""
    assert registry.find_address(300000, 1, ROOT) == ""  # nothing is registered on the local transport
    assert [found[0] for found in registry.find_transports(300000, 1, REMOTE, "")] == ["10.9.8.1.4.1", "10.9.8.1.4.2"]
    assert registry.find_port(300000, 1, "udp") == 1026
    assert registry.find_port(300000, 1, "x25") == 0
