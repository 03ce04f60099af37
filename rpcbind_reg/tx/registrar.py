"""Keeps programs registered with this machine's registry for as long as a service runs.

::

    registrar = Registrar(lambda: registrations([MyProgram], rpc_service.addresses))
    registrar.setServiceParent(application)

Best effort with a long breath: a registry that is absent, restarts or forgets is met again within seconds, and the
service goes on meanwhile. What is registered, and what is not and why, is in `state` and once in the log.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults, maybeDeferred, succeed
from twisted.logger import Logger

from oncrpc.address import Address
from oncrpc.errors import NotConnected, ProgramUnavailable, RPCError
from oncrpc.program import ClientStub, Procedure
from oncrpc.tx import client as calling
from rpcbind_reg import client as conversations
from rpcbind_reg.client import PMAPVERS, Place, RegistryTooOld, explain_refusal
from rpcbind_reg.registration import Action, Standing, Status, Step, compare, probe_address, same_address
from rpcbind_reg.tx.client import drive
from rpcbind_reg.tx.detect import PLACES, Detection, Presence, search
from rpcbind_reg.uaddr import UniversalAddressError, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted.python.failure import Failure

    from oncrpc.observe import Observer
    from rpcbind_reg.client import Line
    from rpcbind_reg.mappings import Mapping

POLL_INTERVAL: Final = 20.0
"""Seconds between two looks into the registry's table: an entry that somebody removed is back after at most so long."""

RETRY_INTERVAL: Final = 1.0
"""Seconds between two attempts to reach a registry that is not there."""

CALL_TIMEOUT: Final = 5.0
"""Seconds for a connection to the registry and for each call."""

STOP_TIMEOUT: Final = 2.0
"""Seconds that unregistering may hold up the end of the service."""

ROUNDS: Final = 3
"""Version 2 removes TCP and UDP together, so that one repair can make another one needed; more rounds never help."""

log = Logger()


class Phase(enum.Enum):
    """What a registrar is doing."""

    STOPPED = "stopped"
    SEARCHING = "looking for a registry"
    KEEPING = "keeping the registrations"


@dataclass(frozen=True, slots=True)
class RegistrarState:
    """What a registrar knows, for a console or a start-up message.

    Attributes:
        phase: What it is doing.
        detection: The registry, as last found.
        standings: Each wanted mapping, and how it stands.
    """

    phase: Phase
    detection: Detection
    standings: tuple[Standing, ...] = ()

    @property
    def registered(self) -> bool:
        """Whether everything that this registry can hold is registered there."""
        fine = (Status.REGISTERED, Status.IMPOSSIBLE)
        held = any(standing.status is Status.REGISTERED for standing in self.standings)
        return held and all(standing.status in fine for standing in self.standings)


class Registrar(Service):
    """A Twisted service that registers programs at its start, keeps them registered, and unregisters them at its stop.

    Start it after the service whose programs it registers: ports are known then.

    Args:
        wanted: The mappings, or a function that returns them, called at the start. See
            rpcbind_reg.registration.registrations().
        reactor: The global one if None.
        places: Where to look for the registry, best first.
        poll_interval: Seconds between two looks into the table.
        retry_interval: Seconds between two searches for a registry.
        timeout: Seconds for each call.
        observers: Told of every message to and from the registry, as it would see them.

    Attributes:
        state: What is known; replaced at every change.
    """

    def __init__(
        self,
        wanted: Iterable[Mapping] | Callable[[], Iterable[Mapping]],
        *,
        reactor: Any = None,
        places: Sequence[Place] = PLACES,
        poll_interval: float = POLL_INTERVAL,
        retry_interval: float = RETRY_INTERVAL,
        timeout: float = CALL_TIMEOUT,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._wanted_source = wanted
        self._wanted: tuple[Mapping, ...] = ()
        self._reactor = reactor
        self._places = tuple(places)
        self._poll_interval = poll_interval
        self._retry_interval = retry_interval
        self._timeout = timeout
        self._observers = tuple(observers)
        self._standings: dict[Mapping, Standing] = {}
        self._line: Line | None = None
        self._work: Deferred[None] | None = None
        self._pausing: Deferred[None] | None = None
        self._settled: list[Deferred[RegistrarState]] = []
        self._is_settled = False
        self.state = RegistrarState(Phase.STOPPED, Detection(Presence.ABSENT, "not looked for yet"))

    def startService(self) -> None:
        """Begin to look for the registry."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        source = self._wanted_source
        self._wanted = tuple(source() if callable(source) else source)
        self._standings = {m: Standing(m, Status.WAITING, "waiting for a registry") for m in self._wanted}
        self._is_settled = False
        self._show(Phase.SEARCHING, self.state.detection)
        self._work = ensureDeferred(self._keep()).addErrback(self._ended)

    def stopService(self) -> Deferred[None]:
        """Unregister, in at most STOP_TIMEOUT seconds.

        Returns:
            Fires when it is done, or given up; does not fail.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
        line, self._line = self._line, None
        if line is None:
            self._show(Phase.STOPPED, self.state.detection)
            return succeed(None)
        leaving = ensureDeferred(self._leave(line)).addTimeout(STOP_TIMEOUT, self._reactor)
        leaving.addErrback(self._left_badly)
        return leaving.addCallback(lambda _: maybeDeferred(line.close)).addCallback(self._stopped)

    def when_settled(self) -> Deferred[RegistrarState]:
        """Return a Deferred of the state after the first attempt, whatever came of it; for start-up messages."""
        if self._is_settled:
            return succeed(self.state)
        waiting: Deferred[RegistrarState] = Deferred()
        self._settled.append(waiting)
        return waiting

    def check_now(self) -> None:
        """Look into the registry's table now instead of at the next poll."""
        self._wake()

    # The work: search, register, watch, again.

    async def _keep(self) -> None:
        while True:
            line, detection = await search(
                self._places,
                seconds=self._timeout,
                reactor=self._reactor,
                on_lost=self._lost,
                observers=self._observers,
            )
            self._found(detection)
            if line is None:
                self._settle()
                await self._pause(self._retry_interval)
                continue
            self._line = line
            try:
                while self._line is line:
                    await self._reconcile(line, detection)
                    self._settle()
                    if self._line is line:
                        await self._pause(self._poll_interval)
            except RPCError as error:
                log.warn("the registry at {place} failed: {error}", place=detection.place, error=error)
                self._line = None
                await maybeDeferred(line.close)
            self._settle()
            self._show(Phase.SEARCHING, detection)
            await self._pause(self._retry_interval / 4)

    async def _reconcile(self, line: Line, detection: Detection) -> None:
        for _ in range(ROUNDS):
            present = await drive(conversations.dump(), line)
            steps = compare(self._wanted, present, version=detection.version, owner=detection.owner)
            living = await self._living([s.present for s in steps if s.action is Action.PROBE and s.present])
            changed = False
            for step in steps:
                standing, removed = await self._do(line, step, detection, living)
                changed = changed or removed
                self._stands(standing)
            self._show(Phase.KEEPING, detection)
            if not (changed and detection.version == PMAPVERS):
                return

    async def _living(self, others: list[Mapping]) -> set[Mapping]:
        """Return those of these mappings behind which somebody serves the program."""
        answers = await gatherResults([ensureDeferred(self._is_served(other)) for other in others], consumeErrors=True)
        return {other for other, answer in zip(others, answers, strict=True) if answer}

    async def _do(self, line: Line, step: Step, detection: Detection, living: set[Mapping]) -> tuple[Standing, bool]:
        """Do one step; return how the mapping stands, and whether something was removed for it."""
        mapping = step.mapping
        match step.action:
            case Action.NOTHING:
                return Standing(mapping, Status.REGISTERED, f"registered at {detection.place}"), False
            case Action.IMPOSSIBLE:
                why = f"the registry at {detection.place} speaks version 2 only, which cannot name {mapping.netid}"
                return Standing(mapping, Status.IMPOSSIBLE, why), False
            case Action.SET:
                return await self._set(line, mapping, detection), False
        present = step.present
        assert present is not None
        if step.action is Action.PROBE and present in living:
            whose = f" (owner {present.owner})" if present.owner else ""
            why = f"another server of this program is registered at {present.uaddr}{whose} and answers there"
            return Standing(mapping, Status.TAKEN, why), False
        granted = await self._unset(line, present)
        if not granted and step.action is Action.RENEW:
            return Standing(mapping, Status.REGISTERED, f"registered at {detection.place} by {present.owner}"), False
        if not granted:
            why = (
                f"a server that is gone left {present.uaddr}, owned by {present.owner or 'somebody else'}; "
                f"remove it as root: rpcinfo -d {present.program} {present.version}"
            )
            return Standing(mapping, Status.REFUSED, why), False
        return await self._set(line, mapping, detection), True

    async def _set(self, line: Line, mapping: Mapping, detection: Detection) -> Standing:
        try:
            granted = await drive(conversations.register(replace(mapping, owner=detection.owner)), line)
        except NotConnected:
            raise
        except RegistryTooOld as error:
            return Standing(mapping, Status.IMPOSSIBLE, str(error))
        except RPCError as error:
            return Standing(mapping, Status.REFUSED, explain_refusal(error))
        if granted:
            return Standing(mapping, Status.REGISTERED, f"registered at {detection.place}")
        return Standing(mapping, Status.REFUSED, f"the registry at {detection.place} answered no")

    async def _unset(self, line: Line, present: Mapping) -> bool:
        steps = conversations.unregister(present.program, present.version, present.netid)
        try:
            if not await drive(steps, line):
                return False
            # A "yes" also means "nothing was there", and version 2's means even less: look.
            left = await drive(conversations.dump(), line)
        except NotConnected:
            raise
        except RPCError:
            return False
        key = (present.program, present.version, present.netid)
        return all((row.program, row.version, row.netid) != key for row in left)

    async def _is_served(self, present: Mapping) -> bool:
        """Whether anybody serves the program where it is registered: somebody who does not answer still counts."""
        address = _place_of(present)
        if address is None:
            return False
        stub_class = _null_stub(present.program, present.version)
        try:
            stub = await calling.connect(stub_class, address, timeout=1.5, reactor=self._reactor)
        except (NotConnected, ValueError):
            return False
        try:
            await stub.null()
        except (NotConnected, ProgramUnavailable):
            return False
        except RPCError:
            return True
        finally:
            await maybeDeferred(stub.close)
        return True

    async def _leave(self, line: Line) -> None:
        present = await drive(conversations.dump(), line)
        for standing in list(self._standings.values()):
            mapping = standing.mapping
            mine = standing.status is Status.REGISTERED and any(_is_same(row, mapping) for row in present)
            if mine:
                steps = conversations.unregister(mapping.program, mapping.version, mapping.netid)
                await drive(steps, line)
                self._stands(Standing(mapping, Status.REMOVED, "unregistered"))

    # Pauses that a lost line or a stop ends.

    def _pause(self, seconds: float) -> Deferred[None]:
        pausing: Deferred[None] = Deferred()
        timer = self._reactor.callLater(seconds, self._wake)

        def over(result: object) -> object:
            self._pausing = None
            if timer.active():
                timer.cancel()
            return result

        self._pausing = pausing
        pausing.addBoth(over)
        return pausing

    def _wake(self) -> None:
        if self._pausing is not None:
            self._pausing.callback(None)

    def _lost(self, error: RPCError) -> None:
        if self._line is not None:
            self._line = None
            log.warn("the line to the registry was lost ({error}); registering again when it is back", error=error)
            self._standings = {m: Standing(m, Status.WAITING, "waiting for a registry") for m in self._wanted}
            self._wake()

    # What is told.

    def _found(self, detection: Detection) -> None:
        before = self.state.detection
        if detection != before:
            tell = log.info if detection.usable else log.warn
            tell("registry: {sentence}", sentence=detection.sentence)
        self._show(Phase.KEEPING if detection.usable else Phase.SEARCHING, detection)

    def _stands(self, standing: Standing) -> None:
        before = self._standings.get(standing.mapping)
        self._standings[standing.mapping] = standing
        if before == standing:
            return
        bad = standing.status in (Status.TAKEN, Status.REFUSED)
        tell = log.error if bad else log.info
        tell("{mapping}: {sentence}", mapping=standing.mapping, sentence=standing.sentence)

    def _show(self, phase: Phase, detection: Detection) -> None:
        self.state = RegistrarState(phase, detection, tuple(self._standings.values()))

    def _settle(self) -> None:
        self._is_settled = True
        settled, self._settled = self._settled, []
        for waiting in settled:
            waiting.callback(self.state)

    def _stopped(self, _result: object) -> None:
        self._show(Phase.STOPPED, self.state.detection)

    def _left_badly(self, failure: Failure) -> None:
        log.warn("not unregistered: {reason}", reason=failure.getErrorMessage())

    def _ended(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            log.failure("the registrar failed", failure)


class _NullStub(ClientStub):
    """Calls procedure 0, which does nothing, of any program."""

    procedures = (Procedure(0, "NULL", "null", (), None),)

    def null(self) -> Deferred[None]:
        """Call it."""
        called: Deferred[None] = self._call(0)
        return called


def _null_stub(program: int, version: int) -> type[_NullStub]:
    return type("NullStub", (_NullStub,), {"program": program, "version": version})


def _place_of(mapping: Mapping) -> Address | None:
    near = probe_address(mapping)
    try:
        place = parse(near.netid, near.uaddr)
    except UniversalAddressError:
        return None
    if place.port is None:
        return Address("unix", path=place.host)
    return Address("udp" if near.netid.startswith("udp") else "tcp", host=place.host, port=place.port)


def _is_same(row: Mapping, mapping: Mapping) -> bool:
    if (row.program, row.version, row.netid) != (mapping.program, mapping.version, mapping.netid):
        return False
    # Version 2 shows the port only.
    return same_address(row.netid, row.uaddr, mapping.uaddr) or (not row.owner and row.port == mapping.port)
