"""Conversations with a registry, driven by hand: fallbacks, and what hostile registries may not do (goal S13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from oncrpc.address import Address
from oncrpc.errors import (
    AuthenticationFailed,
    CallTimedOut,
    MalformedMessage,
    NotConnected,
    ProgramMismatch,
    ProgramUnavailable,
    RPCError,
)
from rpcbind_reg import client
from rpcbind_reg._gen import portmap, rpcbind
from rpcbind_reg.client import NotRegistered, Place, RegistryTooOld
from rpcbind_reg.mappings import Mapping

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcbind_reg.client import Ask, Steps

TCP = Mapping(300000, 1, "tcp", "0.0.0.0.4.1")


def hold(steps: Steps[Any], answer: Callable[[Ask], Any]) -> tuple[Any, list[tuple[int, int]]]:
    """Drive a conversation; return what it gives and the (version, procedure) of each call."""
    asked: list[tuple[int, int]] = []
    given: Any = None
    error: RPCError | None = None
    while True:
        try:
            ask = steps.send(given) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value, asked
        asked.append((ask.version, ask.procedure))
        error = None
        given = answer(ask)
        if isinstance(given, RPCError):
            error = given


def only(version: int, result: Any, refusal: RPCError | None = None) -> Callable[[Ask], Any]:
    """Answer as a registry that speaks one version."""
    return lambda ask: result if ask.version == version else refusal or ProgramMismatch(version, version)


class TestFinding:
    """GETVERSADDR, GETADDR, GETPORT: newest version first."""

    def test_a_modern_registry_is_asked_once(self) -> None:
        found, asked = hold(client.find(300000, 1, "tcp", "here"), only(4, "10.0.0.1.4.1"))
        assert (found, asked) == ("10.0.0.1.4.1", [(4, 9)])

    @pytest.mark.parametrize("refusal", [ProgramMismatch(2, 2), ProgramUnavailable(), CallTimedOut("silence")])
    def test_older_ones_are_met_by_falling_back(self, refusal: RPCError) -> None:
        found, asked = hold(client.find(300000, 1, "tcp", "here"), only(3, "10.0.0.1.4.1", refusal))
        assert (found, asked) == ("10.0.0.1.4.1", [(4, 9), (3, 3)])
        found, asked = hold(client.find(300000, 1, "udp", "here"), only(2, 1025, refusal))
        assert (found, asked) == ("0.0.0.0.4.1", [(4, 9), (3, 3), (2, 3)])

    @pytest.mark.parametrize(("version", "nothing"), [(4, ""), (3, ""), (2, 0), (2, 65536), (4, "0.0.0.0.0.0")])
    def test_what_is_not_there_is_said(self, version: int, nothing: Any) -> None:
        with pytest.raises(NotRegistered, match="at here knows no program 300000 version 1 on tcp"):
            hold(client.find(300000, 1, "tcp", "here"), only(version, nothing))

    def test_version_2_knows_no_ipv6(self) -> None:
        with pytest.raises(RegistryTooOld, match="not tcp6"):
            hold(client.find(300000, 1, "tcp6", "here"), only(2, 1025))

    def test_when_none_answers_the_last_error_is_told(self) -> None:
        with pytest.raises(ProgramUnavailable):
            hold(client.find(300000, 1, "tcp", "here"), lambda _: ProgramUnavailable())

    def test_each_version_has_its_share_of_the_time(self) -> None:
        waits: list[float | None] = []

        def silent(ask: Ask) -> RPCError:
            waits.append(ask.timeout)
            return CallTimedOut("silence")

        with pytest.raises(CallTimedOut):
            hold(client.find(300000, 1, "tcp", "here", 9.0), silent)
        assert waits == [3.0, 3.0, 9.0]


class TestDump:
    """DUMP, and its bound."""

    def test_rows_are_read(self) -> None:
        rows = rpcbind.rp__list(rpcbind.rpcb(300000, 1, "tcp", "0.0.0.0.4.1", "1000"), None)
        found, _ = hold(client.dump(), only(4, rows))
        assert found == [Mapping(300000, 1, "tcp", "0.0.0.0.4.1", "1000")]

    def test_rows_of_version_2_are_read_even_with_nonsense_in_them(self) -> None:
        rows = portmap.pmaplist(portmap.mapping(1, 1, 99, 70000), None)
        rows = portmap.pmaplist(portmap.mapping(300000, 1, 6, 1025), rows)
        found, _ = hold(client.dump(), only(2, rows))
        assert found == [TCP, Mapping(1, 1, "protocol 99", "70000")]

    def test_a_dump_without_end_is_cut_off(self) -> None:
        loop = portmap.pmaplist(portmap.mapping(300000, 1, 6, 1025), None)
        loop.next = loop
        with pytest.raises(MalformedMessage, match="more than 65536 rows"):
            hold(client.dump(), only(2, loop))


class TestChanges:
    """SET and UNSET."""

    def test_set_by_the_newest_version(self) -> None:
        assert hold(client.register(TCP), only(4, True)) == (True, [(4, 1)])
        assert hold(client.register(TCP), only(2, False)) == (False, [(4, 1), (3, 1), (2, 1)])

    def test_what_version_2_cannot_say_is_said(self) -> None:
        with pytest.raises(RegistryTooOld, match="cannot name local"):
            hold(client.register(Mapping(300000, 1, "local", "/run/x")), only(2, True))

    def test_unset(self) -> None:
        assert hold(client.unregister(300000, 1), only(3, True)) == (True, [(4, 2), (3, 2)])
        assert hold(client.unregister(300000, 1), only(2, True)) == (True, [(4, 2), (3, 2), (2, 2)])

    def test_a_refusal_is_no_reason_to_try_an_older_version(self) -> None:
        with pytest.raises(AuthenticationFailed):
            hold(client.register(TCP), lambda _: AuthenticationFailed(5))


class TestOthers:
    """GETSTAT, GETTIME, GETADDRLIST, INDIRECT, BCAST."""

    def test_statistics(self) -> None:
        lookup = rpcbind.rpcbs_addrlist(300000, 1, 3, 1, "tcp", None)
        passed = rpcbind.rpcbs_rmtcalllist(300000, 1, 0, 2, 1, 1, "udp", None)
        rows = [
            rpcbind.rpcb_stat([0] * 13, 0, 0, None, None),
            rpcbind.rpcb_stat([0] * 13, 0, 0, None, None),
            rpcbind.rpcb_stat([1] * 13, 5, 6, lookup, passed),
        ]
        counted, _ = hold(client.read_statistics(), only(4, rows))
        four = counted.by_version[4]
        assert (four.calls, four.sets, four.unsets) == ([1] * 13, 5, 6)
        assert four.lookups[300000, 1, "tcp"].success == 3
        assert four.forwarded[300000, 1, 0, "udp"].indirect == 1

    def test_statistics_need_version_4(self) -> None:
        with pytest.raises(RegistryTooOld, match="keeps no statistics"):
            hold(client.read_statistics(), only(2, None))

    def test_time_and_version(self) -> None:
        assert hold(client.read_time(), only(3, 1_800_000_000)) == (1_800_000_000, [(4, 6), (3, 6)])
        assert hold(client.detect_version(), only(2, None)) == (2, [(4, 0), (3, 0), (2, 0)])

    def test_transports(self) -> None:
        entry = rpcbind.rpcb_entry("10.0.0.1.4.1", "tcp", 3, "inet", "tcp")
        assert hold(client.find_transports(300000, 1), only(4, rpcbind.rpcb_entry_list(entry, None)))[0] == [entry]

    def test_calls_passed_on(self) -> None:
        answer = rpcbind.rpcb_rmtcallres("10.0.0.1.4.1", b"done")
        found, asked = hold(client.call_indirectly(300000, 1, 0), only(4, answer))
        assert (found.uaddr, found.results, asked) == ("10.0.0.1.4.1", b"done", [(4, 10)])
        assert hold(client.call_indirectly(300000, 1, 0, indirect=False), only(4, answer))[1] == [(4, 5)]


class TestPlaces:
    """Where to connect."""

    def test_a_registry_is_asked_over_the_transport_in_question(self) -> None:
        place = Place("10.0.0.1")
        assert place.address("tcp") == Address("tcp", "10.0.0.1", 111)
        assert place.address("udp6") == Address("udp", "10.0.0.1", 111)
        assert Place("/run/rpcbind.sock").address("udp") == Address("unix", path="/run/rpcbind.sock")
        assert [str(place), str(Place("::1", 1111)), str(Place())] == [
            "10.0.0.1:111",
            "[::1]:1111",
            "/run/rpcbind.sock",
        ]

    def test_a_registry_cannot_send_us_to_another_host(self) -> None:
        place = Place("10.0.0.1")
        assert client.service_address(place, "tcp", "203.0.113.9.4.1") == Address("tcp", "10.0.0.1", 1025)
        assert client.service_address(place, "udp", "0.0.0.0.4.1") == Address("udp", "10.0.0.1", 1025)
        local = Place("/run/rpcbind.sock")
        assert client.service_address(local, "tcp6", "::.4.1") == Address("tcp", "::1", 1025)
        assert client.service_address(local, "local", "/run/x") == Address("unix", path="/run/x")
        with pytest.raises(NotConnected):
            client.service_address(place, "local", "/run/x")

    def test_netids_follow_the_host(self) -> None:
        assert [client.default_netid(host) for host in ("10.0.0.1", "::1", "fe80::1%eth0", "server.lab")] == [
            "tcp",
            "tcp6",
            "tcp6",
            "tcp",
        ]

    def test_refusals_are_explained(self) -> None:
        assert "run this there" in client.explain_refusal(AuthenticationFailed(5))
        assert "in time" in client.explain_refusal(CallTimedOut("silence"))
        assert "ProgramUnavailable" in client.explain_refusal(ProgramUnavailable())
