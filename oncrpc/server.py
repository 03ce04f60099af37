"""The server without I/O: a message in; a reply, none, or one later (RFC 5531, sections 8 and 9).

Knows programs and answers calls for origins: a stream connection (:mod:`oncrpc.session`) or the
sender of a datagram. Has no clock of its own, and never raises for what a peer sent.

A header that was accepted before is not decoded again: the same bytes (but the xid) from the same
kind of peer mean the same procedure and the same caller, so a dictionary finds the
:class:`Route` for them.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import xdr
from oncrpc.errors import (
    AcceptStat,
    AuthenticationFailed,
    AuthStat,
    CallNotExecuted,
    CallRejected,
    GarbageArguments,
    MalformedMessage,
    ProcedureUnavailable,
    ProgramMismatch,
    ProgramUnavailable,
    RejectStat,
    ReplyTooLarge,
    SystemFailure,
)
from oncrpc.flavors import Attempt, Dropped, Flavors, default_flavors
from oncrpc.limits import Limits
from oncrpc.message import (
    CALL,
    REPLY,
    CallHeader,
    encode_error,
    message_type,
    parse_call,
)
from oncrpc.observe import CallSeen, MessageSeen, Notice, Observer
from oncrpc.program import LaterType, Procedure, Program
from oncrpc.records import MAX_NOTED
from oncrpc.replay import IN_PROGRESS
from oncrpc.routes import PROCEDURE_NULL, Counters, Entry, Origin, Route
from oncrpc.served_call import ServedCall
from oncrpc.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from oncrpc.program import Caller, Connection, Peer
    from oncrpc.session import StreamSession

__all__ = ["LATER_KINDS", "Server"]

_DIGEST_SIZE: Final = 16
_SUCCESS: Final = AcceptStat.SUCCESS.name
_UNKNOWN: Final = {
    AcceptStat.PROG_UNAVAIL: "unknown program",
    AcceptStat.PROG_MISMATCH: "unknown version",
    AcceptStat.PROC_UNAVAIL: "unknown procedure",
}
"""kinds of notices"""


LATER_KINDS: Final[dict[type, bool]] = {LaterType: True}
"""By type, for those seen: whether what a procedure returned is something else than its result."""


class Server:
    """Answers the calls of any number of origins.

    Args:
        programs: What is served: one object for each version of each program.
        limits: The budget.
        flavors: What is made of credentials; None takes oncrpc.flavors.default_flavors(trust).
        trust: Which addresses are trusted.
        observers: Told what happens. The first of a kind that logs should be here.
        clock: Gives seconds of a monotonic clock; asked only if there are observers or a replay cache.
        run_awaitable: Called with an awaitable that a procedure returned and the call to answer.
            None refuses procedures that return one with SYSTEM_ERR.

    Raises:
        ValueError: Two programs have the same number and version.
        TypeError: A program lacks a method.
    """

    def __init__(
        self,
        programs: Iterable[Program],
        *,
        limits: Limits | None = None,
        flavors: Flavors | None = None,
        trust: Trust | None = None,
        observers: Sequence[Observer] = (),
        clock: Callable[[], float] = float,
        run_awaitable: Callable[[Awaitable[Any], ServedCall], None] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.trust = trust or Trust()
        self.flavors = default_flavors(self.trust) if flavors is None else flavors
        self.observers = tuple(observers)
        self.counters = Counters()
        self.clock = clock
        self._run_awaitable = run_awaitable
        self.make_caller: Callable[[StreamSession], Caller] | None = None
        """makes what calls the peer of a stream; the service sets it"""
        self._programs: dict[int, dict[int, dict[int, Entry]]] = {}
        self._any_flavor: set[tuple[int, int]] = set()
        self._memos: dict[object, dict[bytes, Route]] = {}
        self.served: list[Program] = []
        # Hooks that are called for each message cost time, so it is asked once who has any.
        self._watched = any(type(each).call_started is not Observer.call_started for each in self.observers) or any(
            type(each).call_ended is not Observer.call_ended for each in self.observers
        )
        self.taps = [each for each in self.observers if type(each).message_seen is not Observer.message_seen]
        self.watched = self._watched or bool(self.taps)
        for program in programs:
            self.add(program)

    def add(self, program: Program) -> None:
        """Serve one more version of a program.

        Raises:
            ValueError: It is served already.
            TypeError: It lacks a method.
        """
        versions = self._programs.setdefault(program.program, {})
        if program.version in versions:
            msg = f"program {program.program} version {program.version} is served already"
            raise ValueError(msg)
        versions[program.version] = {each.number: Entry(program, each) for each in program.procedures}
        # Procedure 0 does nothing in every program, and needs no declaration (RFC 5531, section 12.1).
        if PROCEDURE_NULL not in versions[program.version]:
            versions[program.version][PROCEDURE_NULL] = Entry(_Null(program), _Null.procedures[0])
        if program._any_flavor:  # noqa: SLF001 - ours to read
            self._any_flavor.add((program.program, program.version))
        self.served.append(program)
        self._memos.clear()

    def memo(self, kind: object) -> dict[bytes, Route]:
        """Return the routes remembered for one kind of peer: those whose calls are judged alike."""
        return self._memos.setdefault(kind, {})

    # The way of a message.

    def answer(self, record: bytes | bytearray, origin: Origin) -> Sequence[bytes] | None:
        """Answer one message; the transport has shown it to those who tap the wire.

        Args:
            record: The whole message, without record marks.
            origin: Where it came from.

        Returns:
            The reply in parts, without record mark; None if there is none, or not yet.

        Raises:
            MalformedMessage: It is no message: a stream is to be closed, a datagram forgotten.
        """
        xid, kind = message_type(record)
        if kind != CALL:
            if kind != REPLY:
                msg = f"message type {kind}"
                raise MalformedMessage(msg)
            self.counters.replies_ignored += 1
            return None
        started = self.clock() if self.watched else 0.0
        header: CallHeader | None = None
        try:
            header = parse_call(record)
            route = self._route(header, record, origin)
        except Dropped:
            self.counters.dropped += 1
            return None
        except CallRejected as refusal:
            self.counters.rejected += 1
            kind_of = "authentication" if isinstance(refusal, AuthenticationFailed) else "RPC version"
            self.notice(kind_of, origin.peer, f"call {xid:#x} denied: {refusal}")
            reply = self._sized([encode_error(xid, refusal)], record, origin)
            self._refused(header, xid, record, origin, started, refusal, reply)
            return reply
        except CallNotExecuted as refusal:
            self.counters.refused += 1
            reply = self._sized([encode_error(xid, refusal)], record, origin)
            assert header is not None
            # Who does not know which versions there are calls one that is not there, and is told (rpcinfo does).
            probe = isinstance(refusal, ProgramMismatch)
            self.notice(
                _UNKNOWN.get(refusal.accept_stat, "call refused"),
                origin.peer,
                f"program {header.program} version {header.version} procedure {header.procedure}: "
                f"{refusal.accept_stat.name}{f', {refusal}' if probe else ''}",
                routine=probe,
            )
            self._refused(header, xid, record, origin, started, refusal, reply)
            return reply
        return self.execute(route, record, origin, started)

    def _route(self, header: CallHeader, record: bytes | bytearray, origin: Origin) -> Route:
        """Find out who calls what."""
        flavor = self.flavors.get(header.flavor)
        if flavor is None:
            # As servers without RPC-with-TLS answer its probe, and libtirpc any flavor it has not.
            raise AuthenticationFailed(AuthStat.AUTH_REJECTEDCRED, f"flavor {header.flavor} is not served")
        accepted = flavor.accept(
            Attempt(
                header,
                record,
                origin.peer,
                origin.netid,
                origin.known,
                origin.process,
                origin.connection,
                (header.program, header.version) in self._any_flavor,
            )
        )
        versions = self._programs.get(header.program)
        if versions is None:
            raise ProgramUnavailable
        procedures = versions.get(header.version)
        if procedures is None:
            raise ProgramMismatch(min(versions), max(versions))
        entry = procedures.get(header.procedure)
        if entry is None:
            raise ProcedureUnavailable
        route = Route(self, entry, accepted, header.arguments)
        if accepted.reusable and accepted.answer is None:
            origin.remember(bytes(record[4 : header.arguments]), route)
        return route

    def execute(
        self, route: Route, record: bytes | bytearray | memoryview, origin: Origin, started: float = 0.0
    ) -> Sequence[bytes] | None:
        """Answer a call whose header is known.

        Args:
            route: What the header means.
            record: The whole message.
            origin: Where it came from.
            started: When it was read; 0 if nobody watches.

        Returns:
            The reply in parts, without record mark; None if there is none, or not yet.
        """
        call = ServedCall(bytes(record[:4]), route, origin)
        if self._watched:
            call.more.seen = self._start(call, record, origin, started)
        cache = origin.replay
        if cache is not None and route.replayed:
            key = (
                origin.peer,
                call.raw_xid,
                route.program.program,
                route.program.version,
                route.procedure.number,
                route.credential,
                blake2b(memoryview(record)[route.head :], digest_size=_DIGEST_SIZE).digest(),
            )
            kept = cache.begin(key, self.clock())
            if kept is IN_PROGRESS:
                self._end(call, "REPLAYED", ())
                return None
            if kept is not None:
                self._end(call, "REPLAYED", kept)
                return kept
            call.more.replay_key = key
        try:
            if route.accepted.answer is not None:
                body = [route.accepted.answer]
                return self._finish(call, [call.raw_xid + route.after_xid, *body], _SUCCESS)
            head = route.head
            data: bytes | bytearray | memoryview = record
            if route.accepted.unwrap is not None:
                data, head = route.accepted.unwrap(bytes(record[head:])), 0
            lenient = not route.strict
            values: tuple[Any, ...] = ()
            end = head
            for decode in route.decoders:
                value, end = decode(data, end, lenient_padding=lenient)
                values += (value,)
            if end != len(data):
                self._surplus(route, len(data) - end)
        except (xdr.XDRDecodeError, GarbageArguments) as error:
            return self._garbage(call, error, record)
        except Exception as error:  # noqa: BLE001 - a codec of somebody else's (xdr.bridge) may raise anything
            return self._garbage(call, error, record)
        try:
            result = route.method(call, *values)
        except Exception as error:  # noqa: BLE001 - becomes the reply
            return self.failure(call, error)
        return self.settle(call, result)

    def settle(self, call: ServedCall, result: Any) -> Sequence[bytes] | None:
        """Make of what a procedure returned its reply; None if there is none, or not yet."""
        kind = result.__class__
        later = LATER_KINDS.get(kind)
        if later is None:
            later = LATER_KINDS[kind] = hasattr(kind, "__await__")
        if not later:
            return self.success(call, result)
        if result is LaterType.LATER:
            return self._later(call)
        if result is LaterType.NO_REPLY:
            self._no_reply(call)
            return None
        return self._await(call, result)

    def success(self, call: ServedCall, result: Any) -> Sequence[bytes]:
        """Make the reply that carries a result; or the one that says it cannot be carried."""
        route = call.route
        reply = [call.raw_xid + route.after_xid]
        try:
            route.encode_to(result, reply.append)
            if route.accepted.wrap is not None:
                reply[1:] = [route.accepted.wrap(b"".join(reply[1:]))]
            size = sum(map(len, reply))
            limit = call.whole_limit
            if size > limit:
                raise ReplyTooLarge(size, limit)  # noqa: TRY301 - answered as every failure is
        except Exception as error:  # noqa: BLE001 - becomes the reply
            return self.failure(call, error)
        return self._finish(call, reply, _SUCCESS)

    def failure(self, call: ServedCall, error: BaseException) -> Sequence[bytes]:
        """Make the reply that says what went wrong in a procedure."""
        route = call.route
        outcome: CallNotExecuted | CallRejected
        if isinstance(error, CallNotExecuted | CallRejected):
            outcome = error
        else:
            outcome = SystemFailure()
            text = f"{route.procedure.name} failed"
            if isinstance(error, ReplyTooLarge):
                self.notice("reply too large", call.peer, f"{route.procedure.name}: {error}")
            else:
                self.notice("handler failed", call.peer, text, error)
        name: str
        if isinstance(outcome, CallNotExecuted):
            name = outcome.accept_stat.name
            if isinstance(outcome, SystemFailure):
                self.counters.failed += 1
            elif isinstance(outcome, GarbageArguments):
                self.counters.garbage += 1
            else:
                self.counters.refused += 1
        else:
            name = RejectStat.AUTH_ERROR.name if isinstance(outcome, AuthenticationFailed) else outcome.reject_stat.name
            self.counters.rejected += 1
        if call.seen is not None:
            call.seen.error = error
        return self._finish(call, [encode_error(call.xid, outcome, route.verifier)], name)

    def lost(self, call: ServedCall) -> None:
        """The connection is gone before the call was answered: its reply would go nowhere."""
        self.counters.cancelled += 1
        self._end(call, "CANCELLED", ())
        # The key, if there is one, stays in progress until the procedure ends: it is still running.

    def notice(
        self, kind: str, peer: Peer | None, text: str, error: BaseException | None = None, *, routine: bool = False
    ) -> None:
        """Tell the observers something for the log."""
        notice = Notice(kind, peer, text, error, routine)
        for observer in self.observers:
            with suppress(Exception):  # there is nowhere left to report what a reporter raises
                observer.noticed(notice)

    def sent(self, origin: Origin, message: Sequence[bytes]) -> None:
        """A message goes to the transport: show it to those who tap the wire."""
        most = self.limits.fragment_size
        fragments: tuple[int, ...] = ()
        if most and origin.connection is not None and (size := sum(map(len, message))) > most:
            full, rest = divmod(size, most)
            fragments = (most,) * min(full, MAX_NOTED) + ((rest,) if rest and full < MAX_NOTED else ())
        self._show(MessageSeen(origin.peer, origin.local, origin.netid, origin.number, True, message, fragments))

    def received(self, origin: Origin, message: bytes | bytearray, fragments: Sequence[int] = ()) -> None:
        """A message came: show it to those who tap the wire."""
        self._show(MessageSeen(origin.peer, origin.local, origin.netid, origin.number, False, (message,), fragments))

    def _show(self, message: MessageSeen) -> None:
        for tap in self.taps:
            self._tell(tap.message_seen, message)

    def opened(self, connection: Connection) -> None:
        """A connection was accepted."""
        for observer in self.observers:
            self._tell(observer.connection_opened, connection)

    def closed(self, connection: Connection, reason: str) -> None:
        """A connection is gone."""
        for observer in self.observers:
            self._tell(observer.connection_closed, connection, reason)

    def _tell(self, hook: Callable[..., None], *what: object) -> None:
        try:
            hook(*what)
        except Exception as error:  # noqa: BLE001 - an observer's fault is no fault of the call's
            self.notice("observer failed", None, f"{hook!r}", error)

    # Ends of the way.

    def _garbage(self, call: ServedCall, error: Exception, record: bytes | bytearray | memoryview) -> Sequence[bytes]:
        self.counters.garbage += 1
        self.notice(
            "garbage arguments", call.peer, f"{call.route.procedure.name}: {error} ({len(record)} bytes of call)"
        )
        if call.seen is not None:
            call.seen.error = error
        reply = [encode_error(call.xid, GarbageArguments(), call.route.verifier)]
        return self._finish(call, reply, AcceptStat.GARBAGE_ARGS.name)

    def _surplus(self, route: Route, size: int) -> None:
        """Bytes follow the arguments. Clients exist that send some; every C server ignores them."""
        if route.strict:
            msg = f"{size} bytes follow the arguments"
            raise GarbageArguments(msg)
        self.counters.surplus_calls += 1
        self.counters.surplus_bytes += size

    def _later(self, call: ServedCall) -> Sequence[bytes] | None:
        """The procedure answers later; or it did already, before it returned."""
        ready = call.take_ready()
        if ready is not None:
            # Nothing, if the procedure chose to make no reply.
            return ready or None
        if not call.answered:
            more = call.more
            more.waiting = True
            more.limit = call.origin.reply_limit
            call.origin.in_hand.add(call)
        return None

    def silence(self, call: ServedCall, _no_reply: object = None) -> Sequence[bytes]:
        """Make no reply: the call is done, and its caller hears nothing."""
        self._no_reply(call)
        return ()

    def _no_reply(self, call: ServedCall) -> None:
        call.answered = True
        if call.replay_key is not None and call.origin.replay is not None:
            call.origin.replay.forget(call.replay_key)
        self._end(call, LaterType.NO_REPLY.name, ())

    def _await(self, call: ServedCall, result: Awaitable[Any]) -> Sequence[bytes] | None:
        if self._run_awaitable is None:
            return self.failure(call, TypeError("this server has nothing that runs awaitables"))
        try:
            self._run_awaitable(result, call)
        except Exception as error:  # noqa: BLE001 - becomes the reply
            return self.failure(call, error)
        return self._later(call)

    def _finish(self, call: ServedCall, reply: Sequence[bytes], outcome: str) -> Sequence[bytes]:
        call.answered = True
        if call.replay_key is not None and call.origin.replay is not None:
            call.origin.replay.finish(call.replay_key, [bytes(part) for part in reply], self.clock())
        if call.seen is not None:
            self._end(call, outcome, reply)
        return reply

    def _sized(self, reply: list[bytes], record: bytes | bytearray, origin: Origin) -> Sequence[bytes] | None:
        """Return an error reply, unless it is longer than a datagram's call: nobody is to be reflected at."""
        if origin.connection is None and len(reply[0]) > len(record):
            self.counters.dropped += 1
            return None
        return reply

    # Observers.

    def _start(
        self, call: ServedCall, record: bytes | bytearray | memoryview, origin: Origin, started: float
    ) -> CallSeen:
        route = call.route
        seen = CallSeen(
            call.xid,
            route.program.program,
            route.program.version,
            route.procedure.number,
            route.program.program_name,
            route.procedure.name,
            int.from_bytes(record[24:28], "big"),
            origin.peer,
            origin.netid,
            origin.number,
            len(record),
            started or self.clock(),
        )
        for observer in self.observers:
            self._tell(observer.call_started, seen)
        return seen

    def _end(self, call: ServedCall, outcome: str, reply: Sequence[bytes]) -> None:
        seen = call.seen
        if seen is None:
            return
        call.more.seen = None
        seen.outcome = outcome
        seen.reply_bytes = sum(map(len, reply))
        seen.seconds = self.clock() - seen.started
        for observer in self.observers:
            self._tell(observer.call_ended, seen)

    def _refused(  # noqa: PLR0917 - called in two places
        self,
        header: CallHeader | None,
        xid: int,
        record: bytes | bytearray,
        origin: Origin,
        started: float,
        refusal: CallNotExecuted | CallRejected,
        reply: Sequence[bytes] | None,
    ) -> None:
        """Show the observers a call that never reached a procedure."""
        if not self._watched:
            return
        outcome = refusal.accept_stat.name if isinstance(refusal, CallNotExecuted) else refusal.reject_stat.name
        numbers = (header.program, header.version, header.procedure, header.flavor) if header else (0, 0, 0, 0)
        versions = self._programs.get(numbers[0])
        name = next((p.program_name for p in self.served if p.program == numbers[0]), "") if versions else ""
        seen = CallSeen(
            xid,
            *numbers[:3],
            name,
            "",
            numbers[3],
            origin.peer,
            origin.netid,
            origin.number,
            len(record),
            started,
            outcome,
            sum(map(len, reply or ())),
            self.clock() - started,
            refusal,
        )
        for observer in self.observers:
            self._tell(observer.call_started, seen)
            self._tell(observer.call_ended, seen)


class _Null(Program):
    """Stands in for a program that does not declare its NULL procedure."""

    procedures = (Procedure(PROCEDURE_NULL, "NULL", "null", (), None),)

    def __init__(self, program: Program) -> None:
        # Instance attributes over class variables: the numbers are those of the program stood in for.
        vars(self).update(
            program=program.program,
            version=program.version,
            program_name=program.program_name,
            version_name=program.version_name,
            _strict=program._strict,  # noqa: SLF001 - ours to read
        )

    def null(self, call: object) -> None:  # noqa: ARG002 - as every procedure
        """Do nothing."""
        return None  # noqa: RET501 - the whole body, as the compiler writes it
