"""The machine that the tour calls "the server": portmapper, ipcserver and console in one process.

It is put together from the same public parts as anybody's, tells the tour what it hears (ipcserver.demo.tape), does
what it is told on standard input ("register", "unregister"), and ends when that is closed: with the tour, whatever
ends it.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.stdio import StandardIO
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver

from ipcserver.bind import Sockets, bind_hosts
from ipcserver.config import PORT, PORTMAPPER_PORT, Config, ConfigError
from ipcserver.demo.tape import Ended, Failed, Heard, Ready, Said, encode
from ipcserver.identity import Trust
from ipcserver.logs import begin_logging
from ipcserver.program import IPCProgram
from ipcserver.service import IPCService
from oncrpc.observe import Observer
from oncrpc.tx.client import connect
from oncrpc.tx.reactor import install
from oncrpc.tx.sockets import CannotServe
from rpcbind_reg._gen.portmap import IPPROTO_TCP, IPPROTO_UDP, PMAP_PROG_2_Client, mapping
from rpcbind_reg.tx.embedded import PortmapperService

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipcserver.demo.tape import Entry
    from oncrpc.observe import CallSeen, MessageSeen
    from oncrpc.replay import ReplayCache

__all__ = ["main"]

HOST: Final = "127.0.0.1"

_CANNOT_HAVE: Final = {errno.EACCES: "privileged, and this user may not bind it", errno.EADDRINUSE: "taken"}
_MOST_UNSENT: Final = 4096
_RETRY: Final = 0.1


class _Tape:
    """Writes entries without ever waiting: who is not read in time loses the newest."""

    def __init__(self, descriptor: int, reactor: Any) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor, self._reactor = descriptor, reactor
        self._unsent: deque[bytes] = deque()
        self._again: Any = None

    def write(self, entry: Entry) -> None:
        """Write an entry."""
        if len(self._unsent) < _MOST_UNSENT:
            self._unsent.append(encode(entry))
        self._flush()

    def _flush(self) -> None:
        if self._again is not None and not self._again.active():
            self._again = None
        while self._unsent:
            line = self._unsent[0]
            try:
                sent = os.write(self._descriptor, line)
            except BlockingIOError:
                if self._again is None:
                    self._again = self._reactor.callLater(_RETRY, self._flush)
                return
            except OSError:  # nobody reads any more; standard input will tell
                self._unsent.clear()
                return
            if sent == len(line):
                self._unsent.popleft()
            else:
                self._unsent[0] = line[sent:]


class _Listening(Observer):
    """Tells what one server hears and says.

    Args:
        lane: "server" or "portmapper".
        tape: Where.
        replay: Gives its replay cache, if it has one that is to be told of.
    """

    def __init__(self, lane: str, tape: _Tape, replay: Callable[[], ReplayCache | None] = lambda: None) -> None:
        self._lane, self._tape, self._replay = lane, tape, replay

    def message_seen(self, message: MessageSeen) -> None:
        """Tell of a message."""
        self._tape.write(
            Heard(
                self._lane,
                time.time(),
                message.netid,
                message.connection,
                (message.peer.host, message.peer.port),
                (message.local.host, message.local.port),
                message.outgoing,
                b"".join(message.parts),
            )
        )

    def call_ended(self, call: CallSeen) -> None:
        """Tell what became of a call."""
        cache = self._replay()
        resent, dropped = (0, 0) if cache is None else (cache.resent, cache.dropped)
        self._tape.write(Ended(self._lane, time.time(), call.xid, call.procedure_name, call.outcome, resent, dropped))


class _Orders(LineReceiver):
    """Standard input: what to do, and that the tour is still there."""

    delimiter = b"\n"

    def __init__(self, machine: _Machine) -> None:
        self._machine = machine

    def lineReceived(self, line: bytes) -> None:
        """Do something."""
        self._machine.order(line.decode())

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002 - as the hook
        """The tour is over."""
        self._machine.end()


class _Machine:
    """All of it.

    Args:
        settings: What ipcserver.demo.host.Host passes.
        tape: Where to tell of it.
        reactor: The reactor.

    Raises:
        CannotServe: A port cannot be had.
        ConfigError: Likewise.
    """

    _log = Logger(namespace="ipcserver")

    def __init__(self, settings: dict[str, Any], tape: _Tape, reactor: Any) -> None:
        self._tape, self._reactor = tape, reactor
        self._ending = False
        self._notes: list[str] = []
        portmapper = self._bind(settings["portmapper_port"], PORTMAPPER_PORT)
        # The service binds its port by itself; here it is only found out which one can be had.
        probe = self._bind(settings["port"], PORT)
        probe.close()
        folder = Path(settings["folder"])
        config = Config(
            listen=(HOST,),
            port=probe.port,
            state=folder / "state",
            socket=folder / "socket",
            portmapper="none",
            trust=tuple(Trust.parse(text) for text in settings["trust"]),
            console=self._console(settings["console"], may_move=settings["console_may_move"]),
        )
        self._service = service = IPCService(
            config, reactor=reactor, observers=(_Listening("server", tape, self._replay),)
        )
        console = () if service.console is None else service.console.observers("portmapper")
        service.portmapper = self._portmapper = PortmapperService(
            portmapper.bound, observers=(_Listening("portmapper", tape), *console), reactor=reactor
        )
        self._portmapper_port = portmapper.port
        service.privilegedStartService()

    def _replay(self) -> ReplayCache | None:
        return None if self._service.rpc is None else self._service.rpc.replay

    def _bind(self, wanted: int | None, usual: int) -> Sockets:
        """Bind TCP and UDP on the port that is wanted; without a wish on the usual one, or else on a free one.

        Raises:
            CannotServe: The port that is wanted cannot be had.
        """
        try:
            return bind_hosts((HOST,), usual if wanted is None else wanted, skip_absent=False)
        except CannotServe as error:
            why = _CANNOT_HAVE.get(error.socketError.errno or 0)
            if wanted is not None or why is None:
                raise
        self._notes.append(f"{usual} is {why}")
        return bind_hosts((HOST,), 0, skip_absent=False)

    @staticmethod
    def _console(place: list[Any] | None, *, may_move: bool) -> tuple[str, int] | None:
        """Return where the console is to be: on a free port, if the one that is proposed is taken."""
        if place is None:
            return None
        host, port = place
        if may_move:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, port))
                except OSError:
                    port = 0
        return host, port

    def start(self) -> None:
        """Serve; the reactor runs already.

        Raises:
            CannotServe: A port cannot be listened on.
            ConfigError: The journal cannot be read.
        """
        self._portmapper.privilegedStartService()
        self._portmapper.startService()
        self._service.startService()
        console = self._service.console
        url = (
            ""
            if console is None
            else f"http://{f'[{console.host}]' if ':' in console.host else console.host}:{console.port}/"
        )
        port = next(address.port for address in self._service.addresses if address.netid == "tcp")
        self._tape.write(Ready(port, self._portmapper_port, url, tuple(self._notes)))
        StandardIO(_Orders(self))

    def order(self, word: str) -> None:
        """Do what the tour says."""
        ensureDeferred(self._register() if word == "register" else self._unregister()).addErrback(
            lambda failure: self._log.failure("the order {word} failed", failure, word=word)
        )

    async def _register(self) -> None:
        """Register as programs did with svc_register(): whatever was there goes first, then TCP and UDP."""
        await self._unregister(tell=False)
        stub = await connect(PMAP_PROG_2_Client, f"udp:{HOST}:{self._portmapper_port}")
        for protocol in (IPPROTO_UDP, IPPROTO_TCP):
            port = next(each.port for each in self._service.addresses if each.netid == "tcp")
            await stub.pmapproc_set(mapping(IPCProgram.program, IPCProgram.version, protocol, port))
        await stub.close()
        self._tape.write(Said("registered"))

    async def _unregister(self, *, tell: bool = True) -> None:
        stub = await connect(PMAP_PROG_2_Client, f"udp:{HOST}:{self._portmapper_port}")
        await stub.pmapproc_unset(mapping(IPCProgram.program, IPCProgram.version, 0, 0))
        await stub.close()
        if tell:
            self._tape.write(Said("unregistered"))

    def end(self) -> None:
        """Stop, in good order."""
        if self._ending:
            return
        self._ending = True
        maybeDeferred(self._service.stopService).addBoth(lambda _: self._stop_reactor())

    def _stop_reactor(self) -> None:
        with suppress(ReactorNotRunning):
            self._reactor.stop()


def main() -> None:
    """Run until standard input is closed; the one argument is a JSON object, see ipcserver.demo.host."""
    settings = json.loads(sys.argv[1])
    # Ctrl-C in the terminal is for the tour, which closes our standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reactor: Any = install()
    begin_logging(sys.stderr)
    tape = _Tape(settings["tape"], reactor)
    failures: list[Exception] = []

    def start() -> None:
        try:
            _Machine(settings, tape, reactor).start()
        except Exception as error:  # noqa: BLE001 - told to the tour, which ends
            if not isinstance(error, CannotServe | ConfigError):
                Logger(namespace="ipcserver").failure("the machine cannot start")
            failures.append(error)
            tape.write(Failed(str(error) or type(error).__name__))
            reactor.stop()

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
