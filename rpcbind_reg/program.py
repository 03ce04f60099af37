"""The registry's programs: portmap version 2, rpcbind versions 3 and 4 (RFC 1833), over one registry.

One method per procedure of portmap.x and rpcbind.x, under its name there. Everything outside comes in by constructor
arguments: who is behind a loopback port, what time it is, how a call is passed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from oncrpc.errors import AuthenticationFailed, AuthStat, ProgramMismatch, ProgramUnavailable, SystemFailure
from oncrpc.program import LATER, NO_REPLY
from rpcbind_reg._gen import portmap, rpcbind
from rpcbind_reg.access import Caller, Origin
from rpcbind_reg.mappings import REGISTRY_PROGRAM, Mapping
from rpcbind_reg.uaddr import (
    SUN_PATH,
    UniversalAddressError,
    from_sockaddr,
    join,
    netid_of_protocol,
    to_sockaddr,
    transport_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from oncrpc.program import Call, LaterType, Result
    from rpcbind_reg.registry import Registry


class Forwarder(Protocol):
    """Passes a call on to a program of this machine (forward.py decides what is sent, tx/forward.py sends it)."""

    def forward(
        self, mapping: Mapping, procedure: int, arguments: bytes, done: Callable[[bytes | Exception], None]
    ) -> None:
        """Call `procedure` of the program behind `mapping`.

        Args:
            mapping: Where the program is.
            procedure: Its procedure number.
            arguments: The arguments, encoded.
            done: Called at most once: with the encoded result, or with what went wrong.
        """


class _Programs:
    """What the three versions share.

    Args:
        registry: The table and its rules.
        now: Returns the wall clock, in seconds since 1970 (GETTIME).
        identify: Returns the uid behind a loopback port, from "tcp" or "udp", host and port; None if unknown.
        forwarder: Passes calls on, where the registry's policy allows it; None passes nothing on.
    """

    _any_flavor = True  # nobody is asked who they are by credential: the kernel tells
    _version = 0

    def __init__(
        self,
        registry: Registry,
        *,
        now: Callable[[], float],
        identify: Callable[[str, str, int], int | None],
        forwarder: Forwarder | None = None,
    ) -> None:
        self._registry = registry
        self._now = now
        self._identify = identify
        self._forwarder = forwarder

    def _caller(self, call: Call) -> Caller:
        """Return who calls, without the uid of a loopback port: that takes a look into the kernel's lists."""
        self._registry.statistics.called(self._version, call.procedure.number)
        connection = call.connection
        credentials = None if connection is None else connection.peer_credentials
        uid = None if credentials is None else credentials.uid
        return Caller(call.netid, call.peer.host, call.peer.port, uid)

    def _changer(self, call: Call, what: str) -> Caller:
        """Return who wants to change the table.

        Raises:
            AuthenticationFailed: AUTH_TOOWEAK, to callers from elsewhere, as rpcbind answers.
        """
        caller = self._caller(call)
        if not caller.may_change:
            self._registry.observer.on_refused(caller, f"{what} from another machine")
            raise AuthenticationFailed(AuthStat.AUTH_TOOWEAK, f"{what} is for programs of this machine")
        if caller.origin is Origin.LOOPBACK:
            protocol = caller.netid.removesuffix("6")
            return Caller(caller.netid, caller.host, caller.port, self._identify(protocol, caller.host, caller.port))
        return caller

    def _set(self, call: Call, mapping: Mapping) -> bool:
        granted = self._registry.set(mapping, self._changer(call, "SET")).granted
        if granted:
            self._registry.statistics.set_granted(self._version)
        return granted

    def _unset(self, call: Call, program: int, version: int, *netids: str) -> bool:
        caller = self._changer(call, "UNSET")
        # Version 2 removes TCP's and UDP's, and rpcbind answers true if either is gone or was never there.
        outcomes = [self._registry.unset(program, version, netid, caller) for netid in netids]
        granted = any(outcome.granted for outcome in outcomes)
        if granted:
            self._registry.statistics.unset_granted(self._version)
        return granted

    def _pass_on(
        self,
        call: Call,
        what: tuple[int, int, int],
        arguments: bytes,
        answer: Callable[[str, bytes], object],
        *,
        indirect: bool = False,
    ) -> LaterType:
        """Pass a call on.

        CALLIT and BCAST answer successes only, and are silent about everything else: a broadcast must not be answered
        by all who do not know (RFC 1833, section 2.2.1). INDIRECT answers errors too (section 2.2.2).

        Args:
            call: The call.
            what: Program, version and procedure to call.
            arguments: Encoded.
            answer: Makes the result from an address and an encoded result.
            indirect: Answer errors.
        """
        try:
            mapping, caller = self._forwardable(call, what, indirect=indirect)
        except Exception:
            if indirect:
                raise
            return NO_REPLY

        def done(outcome: bytes | Exception) -> None:
            if isinstance(outcome, bytes):
                call.reply(answer(self._registry.merged(mapping, caller), outcome))
            elif indirect:
                call.fail(outcome)
            else:
                call.reply(NO_REPLY)

        if mapping.program == REGISTRY_PROGRAM:
            # Discovery calls the registry's own procedure 0: answered here, nothing is sent.
            done(b"")
            return LATER
        assert self._forwarder is not None
        self._forwarder.forward(mapping, what[2], arguments, done)
        return LATER

    def _forwardable(self, call: Call, what: tuple[int, int, int], *, indirect: bool) -> tuple[Mapping, Caller]:
        program, version, procedure = what
        caller = self._caller(call)
        registry = self._registry
        if self._forwarder is None or not registry.policy.callit.allows(program, procedure):
            registry.observer.on_refused(caller, f"a call to be passed on to program {program} procedure {procedure}")
            raise AuthenticationFailed(AuthStat.AUTH_TOOWEAK, "this call is not passed on")
        transport = transport_of(caller.netid)
        if transport is None or transport.protocol != "udp":
            # RFC 1833, section 3.2, note 2: the port mapper calls others by UDP only; rpcbind keeps that for all.
            reason = "calls are passed on from UDP to UDP only"
            raise SystemFailure(reason)
        mapping = registry.mappings.find_exactly(program, version, caller.netid)
        registry.statistics.passed_on(
            self._version, program, version, procedure, caller.netid, found=mapping is not None, indirect=indirect
        )
        if mapping is None:
            versions = registry.mappings.versions(program, caller.netid)
            raise ProgramUnavailable if versions is None else ProgramMismatch(*versions)
        return mapping, caller


class Portmapper(_Programs, portmap.PMAP_PROG_2_Server):
    """The port mapper, version 2 (RFC 1833, section 3)."""

    _version = 2
    _repeatable = frozenset({"pmapproc_null", "pmapproc_set", "pmapproc_unset", "pmapproc_getport", "pmapproc_dump"})

    def pmapproc_null(self, call: Call) -> Result[None]:
        """Do nothing."""
        self._caller(call)
        return None

    def pmapproc_set(self, call: Call, arg: portmap.mapping) -> Result[bool]:
        """Register a port on every IPv4 address of the machine."""
        netid = netid_of_protocol(arg.prot)
        try:
            uaddr = join("0.0.0.0", arg.port)
        except UniversalAddressError:
            netid = None
        if netid is None:
            self._changer(call, "SET")
            return False
        return self._set(call, Mapping(arg.prog, arg.vers, netid, uaddr))

    def pmapproc_unset(self, call: Call, arg: portmap.mapping) -> Result[bool]:
        """Remove a version's ports."""
        return self._unset(call, arg.prog, arg.vers, "tcp", "udp")

    def pmapproc_getport(self, call: Call, arg: portmap.mapping) -> Result[int]:
        """Find a port; 0 if there is none."""
        self._caller(call)
        netid = netid_of_protocol(arg.prot)
        if netid is None:
            return 0
        port = self._registry.find_port(arg.prog, arg.vers, netid)
        self._registry.statistics.looked_up(2, arg.prog, arg.vers, netid, found=port != 0)
        return port

    def pmapproc_dump(self, call: Call) -> Result[portmap.pmaplist | None]:
        """List what version 2 can express: TCP and UDP over IPv4."""
        self._caller(call)
        head: portmap.pmaplist | None = None
        for mapping in reversed([*self._registry.mappings]):
            transport = transport_of(mapping.netid)
            protocol = None if transport is None else transport.ip_protocol
            if protocol is not None:
                row = portmap.mapping(mapping.program, mapping.version, protocol, mapping.port or 0)
                head = portmap.pmaplist(row, head)
        return head

    def pmapproc_callit(self, call: Call, arg: portmap.call_args) -> Result[portmap.call_result]:
        """Pass a call on; answered only if it succeeds."""

        def answer(uaddr: str, result: bytes) -> portmap.call_result:
            return portmap.call_result(Mapping(arg.prog, arg.vers, "udp", uaddr).port or 0, result)

        return self._pass_on(call, (arg.prog, arg.vers, arg.proc), arg.args, answer)


class _Rpcbind(_Programs):
    """What versions 3 and 4 share; the procedures have the same numbers and types in both."""

    _repeatable = frozenset(
        {
            "rpcbproc_null",
            "rpcbproc_set",
            "rpcbproc_unset",
            "rpcbproc_getaddr",
            "rpcbproc_dump",
            "rpcbproc_gettime",
            "rpcbproc_uaddr2taddr",
            "rpcbproc_taddr2uaddr",
            "rpcbproc_getversaddr",
            "rpcbproc_getaddrlist",
            "rpcbproc_getstat",
        }
    )

    def rpcbproc_null(self, call: Call) -> Result[None]:
        """Do nothing."""
        self._caller(call)
        return None

    def rpcbproc_set(self, call: Call, arg: rpcbind.rpcb) -> Result[bool]:
        """Register an address."""
        return self._set(call, Mapping(arg.r_prog, arg.r_vers, arg.r_netid, arg.r_addr))

    def rpcbproc_unset(self, call: Call, arg: rpcbind.rpcb) -> Result[bool]:
        """Remove the address of one netid, or of all."""
        return self._unset(call, arg.r_prog, arg.r_vers, arg.r_netid)

    def rpcbproc_getaddr(self, call: Call, arg: rpcbind.rpcb) -> Result[str]:
        """Find an address on the transport of this call, of another version if need be; "" if there is none."""
        return self._find(call, arg, this_version=False)

    def _find(self, call: Call, arg: rpcbind.rpcb, *, this_version: bool) -> str:
        caller = self._caller(call)
        found = self._registry.find_address(arg.r_prog, arg.r_vers, caller, hint=arg.r_addr, this_version=this_version)
        self._registry.statistics.looked_up(self._version, arg.r_prog, arg.r_vers, caller.netid, found=bool(found))
        return found

    def rpcbproc_dump(self, call: Call) -> Result[rpcbind.rp__list | None]:
        """List everything."""
        self._caller(call)
        head: rpcbind.rp__list | None = None
        for row in reversed([*self._registry.mappings]):
            head = rpcbind.rp__list(rpcbind.rpcb(row.program, row.version, row.netid, row.uaddr, row.owner), head)
        return head

    def rpcbproc_gettime(self, call: Call) -> Result[int]:
        """Tell the time."""
        self._caller(call)
        return int(self._now()) & 0xFFFFFFFF

    def rpcbproc_uaddr2taddr(self, call: Call, arg: str) -> Result[rpcbind.netbuf]:
        """Turn a universal address of this call's transport into a socket address; empty if it is none."""
        caller = self._caller(call)
        try:
            sockaddr = to_sockaddr(caller.netid, arg)
        except UniversalAddressError:
            return rpcbind.netbuf(0, b"")
        return rpcbind.netbuf(len(sockaddr) if caller.host else 2 + SUN_PATH, sockaddr)

    def rpcbproc_taddr2uaddr(self, call: Call, arg: rpcbind.netbuf) -> Result[str]:
        """Turn a socket address of this call's transport into a universal address; empty if it is none."""
        caller = self._caller(call)
        try:
            return from_sockaddr(caller.netid, arg.buf)
        except UniversalAddressError:
            return ""

    def _call_remote(self, call: Call, arg: rpcbind.rpcb_rmtcallargs, *, indirect: bool) -> LaterType:
        return self._pass_on(call, (arg.prog, arg.vers, arg.proc), arg.args, rpcbind.rpcb_rmtcallres, indirect=indirect)


class Rpcbind3(_Rpcbind, rpcbind.RPCBPROG_3_Server):
    """rpcbind, version 3 (RFC 1833, section 2.2.1)."""

    _version = 3

    def rpcbproc_callit(self, call: Call, arg: rpcbind.rpcb_rmtcallargs) -> Result[rpcbind.rpcb_rmtcallres]:
        """Pass a call on; answered only if it succeeds."""
        return self._call_remote(call, arg, indirect=False)


class Rpcbind4(_Rpcbind, rpcbind.RPCBPROG_4_Server):
    """rpcbind, version 4 (RFC 1833, section 2.2.2)."""

    _version = 4

    def rpcbproc_bcast(self, call: Call, arg: rpcbind.rpcb_rmtcallargs) -> Result[rpcbind.rpcb_rmtcallres]:
        """Pass a broadcast call on; answered only if it succeeds."""
        return self._call_remote(call, arg, indirect=False)

    def rpcbproc_getversaddr(self, call: Call, arg: rpcbind.rpcb) -> Result[str]:
        """Find an address of exactly this version on the transport of this call; "" if there is none."""
        return self._find(call, arg, this_version=True)

    def rpcbproc_indirect(self, call: Call, arg: rpcbind.rpcb_rmtcallargs) -> Result[rpcbind.rpcb_rmtcallres]:
        """Pass a call on, and answer errors too."""
        return self._call_remote(call, arg, indirect=True)

    def rpcbproc_getaddrlist(self, call: Call, arg: rpcbind.rpcb) -> Result[rpcbind.rpcb_entry_list | None]:
        """List the addresses on all transports of the caller's protocol family."""
        caller = self._caller(call)
        found = self._registry.find_transports(arg.r_prog, arg.r_vers, caller, arg.r_addr)
        self._registry.statistics.looked_up(4, arg.r_prog, arg.r_vers, caller.netid, found=bool(found))
        head: rpcbind.rpcb_entry_list | None = None
        for uaddr, _, transport in reversed(found):
            entry = rpcbind.rpcb_entry(
                uaddr, transport.netid, transport.semantics, transport.family, transport.protocol
            )
            head = rpcbind.rpcb_entry_list(entry, head)
        return head

    def rpcbproc_getstat(self, call: Call) -> Result[list[rpcbind.rpcb_stat]]:
        """Tell the statistics of versions 2, 3 and 4, the rows touched last first."""
        self._caller(call)
        answer: list[rpcbind.rpcb_stat] = []
        for counted in self._registry.statistics.by_version.values():
            lookups: rpcbind.rpcbs_addrlist | None = None
            for (program, version, netid), tally in counted.lookups.items():
                lookups = rpcbind.rpcbs_addrlist(program, version, tally.success, tally.failure, netid, lookups)
            forwarded: rpcbind.rpcbs_rmtcalllist | None = None
            for (program, version, procedure, netid), tally in counted.forwarded.items():
                forwarded = rpcbind.rpcbs_rmtcalllist(
                    program, version, procedure, tally.success, tally.failure, tally.indirect, netid, forwarded
                )
            answer.append(rpcbind.rpcb_stat([*counted.calls], counted.sets, counted.unsets, lookups, forwarded))
        return answer
