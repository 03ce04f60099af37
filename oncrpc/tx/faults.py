"""The fault server over Twisted: plays scripts on connections and datagram sockets."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone

from oncrpc.errors import RPCError
from oncrpc.faults.answers import Answers, right_reply
from oncrpc.faults.script import Close, Hold, Plan, Script, Send, Step, Wait, facts_of
from oncrpc.records import RecordReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport
    from twisted.python.failure import Failure

__all__ = ["FaultDatagrams", "FaultFactory", "FaultStream"]

MAX_RECORD = 16 << 20
"""Most bytes of a call; a fault server echoes what it gets."""

MAX_SCRIPTS = 10_000
"""Most scripts that one peer can have waiting; further calls are dropped."""


class _Player:
    """Plays scripts against one peer, each at its own pace.

    On a stream, a script that has begun to write is finished before another one writes: bytes written slowly are
    still one record.
    """

    def __init__(self, clock: IReactorTime, send: Callable[[bytes], None], close: Callable[[bool], None]) -> None:
        self._clock, self._send, self._close = clock, send, close
        self._timers: set[IDelayedCall] = set()
        self._held: list[deque[Step]] = []
        self._writing: deque[Step] | None = None
        self._waiting: deque[deque[Step]] = deque()

    def play(self, script: Script) -> None:
        """Begin a script."""
        if len(self._timers) + len(self._held) + len(self._waiting) >= MAX_SCRIPTS:
            return
        held, self._held = self._held, []
        self._go_on(deque(script.steps))
        for steps in held:
            self._go_on(steps)

    def stop(self) -> None:
        """Forget everything; the peer is gone."""
        timers, self._timers = self._timers, set()
        for timer in timers:
            timer.cancel()
        self._held.clear()
        self._waiting.clear()

    def _go_on(self, steps: deque[Step]) -> None:
        while steps:
            if isinstance(steps[0], Send) and self._writing is not None and self._writing is not steps:
                self._waiting.append(steps)
                return
            match steps.popleft():
                case Send(data):
                    self._writing = steps
                    self._send(data)
                case Close(reset):
                    self._close(reset)
                case Hold():
                    self._held.append(steps)
                    return
                case Wait(seconds):
                    self._later(seconds, steps)
                    return
        if self._writing is steps:
            self._writing = None
            if self._waiting:
                self._go_on(self._waiting.popleft())

    def _later(self, seconds: float, steps: deque[Step]) -> None:
        def due() -> None:
            self._timers.discard(timer)
            self._go_on(steps)

        timer = self._clock.callLater(seconds, due)
        self._timers.add(timer)


class FaultStream(Protocol):
    """One connection of the fault server.

    Args:
        clock: The reactor, or a Clock in tests.
        plan: What is done wrong.
        answers: What is right.
        over: "tcp" or "unix", for the rules.
        tell: Called with each script and the peer.
    """

    def __init__(
        self,
        clock: IReactorTime,
        plan: Plan,
        answers: Answers,
        over: str,
        tell: Callable[[Script, str], None],
    ) -> None:
        self._plan, self._answers, self._over, self._tell = plan, answers, over, tell
        self._records = RecordReader(MAX_RECORD)
        self._player = _Player(clock, self._send, self._close)

    def connectionMade(self) -> None:
        """Send at once what is written, so that single bytes go out as single segments."""
        if callable(no_delay := getattr(self.transport, "setTcpNoDelay", None)):
            no_delay(True)

    def dataReceived(self, data: bytes) -> None:
        """Answer every call in the plan's way."""
        self._records.receive_data(data)
        try:
            while (record := self._records.next_record()) is not None:
                reply = right_reply(record, self._answers)
                if reply is not None:
                    script = self._plan.script(facts_of(record, self._over), reply)
                    self._tell(script, str(self._peer()))
                    self._player.play(script)
        except RPCError:
            self._close(False)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Play no further."""
        del reason
        self._player.stop()

    def _peer(self) -> str:
        assert self.transport is not None
        peer: Any = self.transport.getPeer()
        return f"{peer.host}:{peer.port}" if hasattr(peer, "port") else "local"

    def _send(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def _close(self, reset: bool) -> None:  # noqa: FBT001, what the player hands over
        transport = cast("ITCPTransport", self.transport)
        if reset:
            transport.abortConnection()
        else:
            transport.loseConnection()


class FaultFactory(Factory):
    """Makes the connections of a fault server; arguments as for FaultStream."""

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        plan: Plan,
        answers: Answers,
        over: str,
        tell: Callable[[Script, str], None],
    ) -> None:
        self._arguments = clock, plan, answers, over, tell

    def buildProtocol(self, addr: IAddress | None) -> FaultStream:
        """Make one."""
        del addr
        stream = FaultStream(*self._arguments)
        stream.factory = self
        return stream


class FaultDatagrams(DatagramProtocol):
    """The datagram socket of a fault server; arguments as for FaultStream."""

    def __init__(self, clock: IReactorTime, plan: Plan, answers: Answers, tell: Callable[[Script, str], None]) -> None:
        self._clock, self._plan, self._answers, self._tell = clock, plan, answers, tell
        self._players: dict[Any, _Player] = {}

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer a call in the plan's way."""
        reply = right_reply(datagram, self._answers)
        if reply is None:
            return
        try:
            script = self._plan.script(facts_of(datagram, "udp"), reply)
        except RPCError:
            return
        self._tell(script, f"{addr[0]}:{addr[1]}")
        self._player(addr).play(script)

    def _player(self, addr: Any) -> _Player:
        player = self._players.pop(addr, None)
        if player is None:
            player = _Player(self._clock, lambda data: self._send(data, addr), lambda _: None)
            if len(self._players) >= MAX_SCRIPTS:
                # The peer that was silent longest; what was held for it is lost, as datagrams may be.
                self._players.pop(next(iter(self._players))).stop()
        self._players[addr] = player
        return player

    def _send(self, data: bytes, addr: Any) -> None:
        if self.transport is not None:
            self.transport.write(data, addr)
