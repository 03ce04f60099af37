"""The registry's programs: every procedure of portmap 2 and rpcbind 3 and 4, called directly (RFC 1833)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest

from oncrpc.errors import AuthenticationFailed, ProgramMismatch, ProgramUnavailable, SystemFailure
from oncrpc.program import LATER, NO_REPLY, Connection, Peer, PeerCredentials
from oncrpc.testing import make_call
from rpcbind_reg._gen import portmap, rpcbind
from rpcbind_reg.access import CallitPolicy
from rpcbind_reg.addresses import Interface
from rpcbind_reg.mappings import Mapping
from rpcbind_reg.program import Portmapper, Rpcbind3, Rpcbind4
from rpcbind_reg.registry import Registry, RegistryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from oncrpc.program import Caller, Program
    from oncrpc.testing import MadeCall

HOST = (Interface("eth0", ipaddress.ip_interface("10.9.8.1/24"), True),)
REMOTE = Peer("10.9.8.77", 700)
NOW = 1_800_000_000.9


class LocalSocket(Connection):
    """A connection on the local socket."""

    def __init__(self, uid: int) -> None:
        self.id, self.netid, self.peer, self.closed = 1, "local", Peer("", 0), False
        self.peer_credentials = PeerCredentials(4711, uid, uid)

    def on_close(self, callback: Callable[[], object]) -> None:
        raise NotImplementedError

    def caller(self) -> Caller:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Forwarded:
    """Takes calls to be passed on."""

    def __init__(self) -> None:
        self.calls: list[tuple[Mapping, int, bytes]] = []
        self.done: list[Callable[[bytes | Exception], None]] = []

    def forward(
        self, mapping: Mapping, procedure: int, arguments: bytes, done: Callable[[bytes | Exception], None]
    ) -> None:
        self.calls.append((mapping, procedure, arguments))
        self.done.append(done)


class Bench:
    """The three versions over one registry, and calls for them."""

    def __init__(self, *, callit: bool = False, uid: int | None = 1000) -> None:
        policy = RegistryPolicy(callit=CallitPolicy(enabled=callit))
        self.registry = Registry(policy, interfaces=lambda: HOST)
        self.forwarded = Forwarded()
        self.asked: list[tuple[str, str, int]] = []

        def identify(protocol: str, host: str, port: int) -> int | None:
            self.asked.append((protocol, host, port))
            return uid

        self.v2, self.v3, self.v4 = (
            kind(self.registry, now=lambda: NOW, identify=identify, forwarder=self.forwarded)
            for kind in (Portmapper, Rpcbind3, Rpcbind4)
        )

    def call(self, program: Program, method: str, *arguments: Any, made: MadeCall | None = None, **how: Any) -> Any:
        procedure = next(each for each in program.procedures if each.method == method)
        if made is None:
            made = make_call(procedure, **how)
        made._procedure = procedure
        return getattr(program, method)(made, *arguments)

    def local(self, program: Program, method: str, *arguments: Any, uid: int = 0) -> Any:
        return self.call(program, method, *arguments, netid="local", peer=Peer("", 0), connection=LocalSocket(uid))


def rpcb(program: int, version: int, netid: str = "", addr: str = "", owner: str = "") -> rpcbind.rpcb:
    return rpcbind.rpcb(program, version, netid, addr, owner)


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestChanges:
    """SET and UNSET in all versions."""

    def test_over_the_local_socket_the_kernel_tells_the_owner(self, bench: Bench) -> None:
        assert bench.local(bench.v4, "rpcbproc_set", rpcb(300000, 1, "tcp", "0.0.0.0.4.1", "superuser"), uid=1000)
        assert bench.local(bench.v3, "rpcbproc_set", rpcb(300000, 2, "tcp", "0.0.0.0.4.1", "nobody"), uid=0)
        assert [m.owner for m in bench.registry.mappings] == ["1000", "superuser"]
        assert bench.asked == []

    def test_over_loopback_the_system_is_asked_and_a_low_port_adds_nothing(self, bench: Bench) -> None:
        assert bench.call(bench.v2, "pmapproc_set", portmap.mapping(300000, 1, 17, 1025), netid="udp")
        assert bench.asked == [("udp", "127.0.0.1", 1023)]
        assert [*bench.registry.mappings] == [Mapping(300000, 1, "udp", "0.0.0.0.4.1", "1000")]

    def test_where_the_system_cannot_tell_the_owner_is_unknown(self) -> None:
        bench = Bench(uid=None)
        bench.call(bench.v4, "rpcbproc_set", rpcb(300000, 1, "tcp6", "::.4.1"), netid="tcp6", peer=Peer("::1", 5000))
        assert [m.owner for m in bench.registry.mappings] == ["unknown"]
        assert bench.asked == [("tcp", "::1", 5000)]

    @pytest.mark.parametrize("peer", [REMOTE, Peer("127.0.0.2", 700), Peer("2001:db8::1", 700)])
    def test_from_elsewhere_nothing_is_changed_whatever_the_port(self, bench: Bench, peer: Peer) -> None:
        for program, method, argument in (
            (bench.v2, "pmapproc_set", portmap.mapping(300000, 1, 17, 1025)),
            (bench.v2, "pmapproc_unset", portmap.mapping(300000, 1, 0, 0)),
            (bench.v3, "rpcbproc_set", rpcb(300000, 1, "tcp", "0.0.0.0.4.1")),
            (bench.v4, "rpcbproc_unset", rpcb(300000, 1)),
        ):
            with pytest.raises(AuthenticationFailed, match="AUTH_TOOWEAK"):
                bench.call(program, method, argument, peer=peer, netid="udp")
        assert len(bench.registry.mappings) == 0

    @pytest.mark.parametrize(("protocol", "port"), [(1, 1025), (6, 0), (6, 65536), (17, 2**32 - 1)])
    def test_version_2_takes_tcp_and_udp_with_a_port(self, bench: Bench, protocol: int, port: int) -> None:
        assert not bench.call(bench.v2, "pmapproc_set", portmap.mapping(300000, 1, protocol, port))
        assert len(bench.registry.mappings) == 0

    def test_version_2_removes_both_protocols(self, bench: Bench) -> None:
        for protocol in (6, 17):
            assert bench.local(bench.v2, "pmapproc_set", portmap.mapping(300000, 1, protocol, 1025))
        assert bench.local(bench.v4, "rpcbproc_set", rpcb(300000, 1, "tcp6", "::.4.1"))
        assert bench.local(bench.v2, "pmapproc_unset", portmap.mapping(300000, 1, 0, 0))
        assert [m.netid for m in bench.registry.mappings] == ["tcp6"]

    def test_version_2_answers_true_about_a_foreign_entry_and_keeps_it(self, bench: Bench) -> None:
        bench.local(bench.v4, "rpcbproc_set", rpcb(300000, 1, "tcp", "0.0.0.0.4.1"), uid=0)
        assert bench.local(bench.v2, "pmapproc_unset", portmap.mapping(300000, 1, 0, 0), uid=1000)
        assert len(bench.registry.mappings) == 1

    def test_version_4_answers_false_about_a_foreign_entry_and_keeps_it(self, bench: Bench) -> None:
        bench.local(bench.v4, "rpcbproc_set", rpcb(300000, 1, "tcp", "0.0.0.0.4.1"), uid=0)
        assert not bench.local(bench.v4, "rpcbproc_unset", rpcb(300000, 1), uid=1000)
        assert len(bench.registry.mappings) == 1


@pytest.fixture
def filled(bench: Bench) -> Bench:
    for version, netid, uaddr in (
        (1, "tcp", "0.0.0.0.4.1"),
        (3, "tcp", "0.0.0.0.4.3"),
        (1, "udp", "0.0.0.0.4.2"),
        (1, "tcp6", "::.4.1"),
        (1, "local", "/run/x"),
    ):
        assert bench.local(bench.v4, "rpcbproc_set", rpcb(300000, version, netid, uaddr))
    return bench


class TestLookups:
    """GETPORT, GETADDR, GETVERSADDR, GETADDRLIST, DUMP."""

    def test_getport(self, filled: Bench) -> None:
        def port(version: int, protocol: int) -> Any:
            return filled.call(filled.v2, "pmapproc_getport", portmap.mapping(300000, version, protocol, 9))

        assert [port(1, 6), port(1, 17), port(9, 6), port(1, 1)] == [1025, 1026, 1027, 0]
        assert filled.call(filled.v2, "pmapproc_getport", portmap.mapping(7, 1, 6, 0)) == 0

    def test_getaddr_goes_by_the_transport_of_the_call_not_by_the_argument(self, filled: Bench) -> None:
        argument = rpcb(300000, 1, "udp")
        for program in (filled.v3, filled.v4):
            assert filled.call(program, "rpcbproc_getaddr", argument, peer=REMOTE, netid="tcp") == "10.9.8.1.4.1"
            assert filled.call(program, "rpcbproc_getaddr", argument, peer=REMOTE, netid="udp") == "10.9.8.1.4.2"
            assert filled.local(program, "rpcbproc_getaddr", argument) == "/run/x"
            assert filled.call(program, "rpcbproc_getaddr", rpcb(7, 1), peer=REMOTE) == ""

    def test_getversaddr_accepts_no_other_version(self, filled: Bench) -> None:
        assert filled.call(filled.v4, "rpcbproc_getversaddr", rpcb(300000, 3), peer=REMOTE) == "10.9.8.1.4.3"
        assert filled.call(filled.v4, "rpcbproc_getversaddr", rpcb(300000, 2), peer=REMOTE) == ""
        assert filled.call(filled.v4, "rpcbproc_getaddr", rpcb(300000, 2), peer=REMOTE) == "10.9.8.1.4.3"

    def test_getaddrlist_lists_the_family_of_the_call(self, filled: Bench) -> None:
        head = filled.call(filled.v4, "rpcbproc_getaddrlist", rpcb(300000, 1), peer=REMOTE)
        first, second = head.rpcb_entry_map, head.rpcb_entry_next.rpcb_entry_map
        assert (first.r_maddr, first.r_nc_netid, first.r_nc_semantics) == ("10.9.8.1.4.1", "tcp", 3)
        assert (second.r_maddr, second.r_nc_netid, second.r_nc_semantics) == ("10.9.8.1.4.2", "udp", 1)
        assert (first.r_nc_protofmly, first.r_nc_proto) == ("inet", "tcp")
        assert head.rpcb_entry_next.rpcb_entry_next is None
        assert filled.call(filled.v4, "rpcbproc_getaddrlist", rpcb(7, 1), peer=REMOTE) is None

    def test_dump_lists_everything_and_version_2_what_it_can_say(self, filled: Bench) -> None:
        for program in (filled.v3, filled.v4):
            rows = filled.call(program, "rpcbproc_dump")
            listed = []
            while rows is not None:
                listed.append((rows.rpcb_map.r_vers, rows.rpcb_map.r_netid, rows.rpcb_map.r_addr))
                rows = rows.rpcb_next
            assert listed == [(m.version, m.netid, m.uaddr) for m in filled.registry.mappings]
        rows = filled.call(filled.v2, "pmapproc_dump")
        assert (rows.map.vers, rows.map.prot, rows.map.port) == (1, 6, 1025)
        assert (rows.next.map.vers, rows.next.map.prot) == (3, 6)
        assert (rows.next.next.map.prot, rows.next.next.next) == (17, None)

    def test_an_empty_table_is_an_empty_list(self, bench: Bench) -> None:
        assert bench.call(bench.v2, "pmapproc_dump") is None
        assert bench.call(bench.v4, "rpcbproc_dump") is None


class TestOthers:
    """NULL, GETTIME, UADDR2TADDR, TADDR2UADDR, GETSTAT."""

    def test_null_and_time(self, bench: Bench) -> None:
        assert bench.call(bench.v2, "pmapproc_null") is None
        assert bench.call(bench.v3, "rpcbproc_null") is None
        assert bench.call(bench.v3, "rpcbproc_gettime") == 1_800_000_000

    def test_addresses_are_converted_for_the_transport_of_the_call(self, bench: Bench) -> None:
        turned = bench.call(bench.v4, "rpcbproc_uaddr2taddr", "127.0.0.1.0.111")
        assert (turned.maxlen, len(turned.buf)) == (16, 16)
        assert bench.call(bench.v4, "rpcbproc_taddr2uaddr", turned) == "127.0.0.1.0.111"
        assert bench.call(bench.v4, "rpcbproc_uaddr2taddr", "junk") == rpcbind.netbuf(0, b"")
        assert bench.call(bench.v4, "rpcbproc_taddr2uaddr", rpcbind.netbuf(2, b"xx")) == ""
        assert bench.local(bench.v4, "rpcbproc_uaddr2taddr", "/run/x").maxlen == 110

    def test_statistics_count_what_was_done(self, filled: Bench) -> None:
        filled.call(filled.v2, "pmapproc_getport", portmap.mapping(300000, 1, 6, 0))
        filled.call(filled.v2, "pmapproc_getport", portmap.mapping(300001, 1, 17, 0))
        by_version = filled.call(filled.v4, "rpcbproc_getstat")
        assert len(by_version) == 3
        two, _, four = by_version
        assert (two.info[3], four.info[1], four.setinfo, four.info[12]) == (2, 5, 5, 1)
        last = two.addrinfo
        assert (last.prog, last.netid, last.success, last.failure) == (300001, "udp", 0, 1)
        assert (last.next.prog, last.next.netid, last.next.success) == (300000, "tcp", 1)


CALL = rpcbind.rpcb_rmtcallargs(300000, 1, 0, b"args")


def forwarding() -> Bench:
    bench = Bench(callit=True)
    bench.registry.set(Mapping(300000, 1, "udp", "0.0.0.0.4.2"), None)
    return bench


class TestPassingOn:
    """CALLIT, BCAST, INDIRECT (RFC 1833, sections 2.2 and 3.2)."""

    def test_off_unless_asked_for_and_then_silent(self, bench: Bench) -> None:
        bench.registry.set(Mapping(300000, 1, "udp", "0.0.0.0.4.2"), None)
        assert bench.call(bench.v2, "pmapproc_callit", portmap.call_args(300000, 1, 0, b""), netid="udp") is NO_REPLY
        assert bench.call(bench.v3, "rpcbproc_callit", CALL, netid="udp") is NO_REPLY
        assert bench.call(bench.v4, "rpcbproc_bcast", CALL, netid="udp") is NO_REPLY
        with pytest.raises(AuthenticationFailed):
            bench.call(bench.v4, "rpcbproc_indirect", CALL, netid="udp")
        assert bench.forwarded.calls == []

    def test_a_success_is_answered_with_the_callers_view_of_the_address(self) -> None:
        bench = forwarding()
        made = make_call(netid="udp", peer=REMOTE)
        assert bench.call(bench.v4, "rpcbproc_bcast", CALL, made=made) is LATER
        assert bench.forwarded.calls == [(Mapping(300000, 1, "udp", "0.0.0.0.4.2"), 0, b"args")]
        bench.forwarded.done[0](b"results!")
        assert made.replies == [rpcbind.rpcb_rmtcallres("10.9.8.1.4.2", b"results!")]

    def test_version_2_answers_the_port(self) -> None:
        bench = forwarding()
        made = make_call(netid="udp", peer=REMOTE)
        argument = portmap.call_args(300000, 1, 0, b"")
        assert bench.call(bench.v2, "pmapproc_callit", argument, made=made) is LATER
        bench.forwarded.done[0](b"")
        assert made.replies == [portmap.call_result(1026, b"")]

    def test_errors_are_silent_but_for_indirect(self) -> None:
        bench = forwarding()
        made = make_call(netid="udp", peer=REMOTE)
        bench.call(bench.v4, "rpcbproc_bcast", CALL, made=made)
        bench.forwarded.done[0](SystemFailure())
        assert made.replies == [NO_REPLY]
        made = make_call(netid="udp", peer=REMOTE)
        bench.call(bench.v4, "rpcbproc_indirect", CALL, made=made)
        bench.forwarded.done[1](SystemFailure())
        assert [type(error) for error in made.failures] == [SystemFailure]

    def test_what_is_not_registered_is_silent_but_for_indirect(self) -> None:
        bench = forwarding()
        unknown = rpcbind.rpcb_rmtcallargs(300009, 1, 0, b"")
        other = rpcbind.rpcb_rmtcallargs(300000, 2, 0, b"")
        assert bench.call(bench.v4, "rpcbproc_bcast", unknown, netid="udp") is NO_REPLY
        with pytest.raises(ProgramUnavailable):
            bench.call(bench.v4, "rpcbproc_indirect", unknown, netid="udp")
        with pytest.raises(ProgramMismatch, match="versions 1 to 1"):
            bench.call(bench.v4, "rpcbproc_indirect", other, netid="udp")

    def test_never_to_the_registry_itself(self) -> None:
        bench = forwarding()
        bench.registry.set(Mapping(100000, 2, "udp", "0.0.0.0.0.111"), None)
        forged = rpcbind.rpcb_rmtcallargs(100000, 2, 1, bytes(16))
        assert bench.call(bench.v4, "rpcbproc_bcast", forged, netid="udp") is NO_REPLY
        assert bench.forwarded.calls == []

    def test_the_registrys_own_procedure_0_is_answered_without_calling_anybody(self) -> None:
        bench = forwarding()
        bench.registry.set(Mapping(100000, 2, "udp", "0.0.0.0.0.111"), None)
        made = make_call(netid="udp", peer=REMOTE)
        discovery = rpcbind.rpcb_rmtcallargs(100000, 2, 0, b"")
        assert bench.call(bench.v4, "rpcbproc_bcast", discovery, made=made) is LATER
        assert made.replies == [rpcbind.rpcb_rmtcallres("10.9.8.1.0.111", b"")]
        assert bench.forwarded.calls == []

    def test_streams_are_not_passed_on(self) -> None:
        bench = forwarding()
        assert bench.call(bench.v4, "rpcbproc_bcast", CALL, netid="tcp") is NO_REPLY
        with pytest.raises(SystemFailure):
            bench.call(bench.v4, "rpcbproc_indirect", CALL, netid="tcp")

    def test_calls_passed_on_are_counted(self) -> None:
        bench = forwarding()
        bench.call(bench.v4, "rpcbproc_bcast", CALL, netid="udp")
        row = bench.call(bench.v4, "rpcbproc_getstat")[2].rmtinfo
        assert (row.prog, row.vers, row.proc, row.netid, row.success, row.indirect) == (300000, 1, 0, "udp", 1, 0)


def test_every_procedure_of_the_x_files_is_there() -> None:
    for program in (Portmapper, Rpcbind3, Rpcbind4):
        for procedure in program.procedures:
            assert not getattr(getattr(program, procedure.method), "__isabstractmethod__", False), procedure.name
