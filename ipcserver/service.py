"""The composition root: the one place that builds a whole server from a Config.

Order of a start: bind (as root, if need be), become another user, replay the journal, serve, register. A stop goes the
other way: the registration is taken back, calls in hand are answered, the journal is closed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import sys
import time
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.logger import Logger

from ipcserver.bind import Sockets, bind_hosts, bind_service
from ipcserver.config import PORT, PORTMAPPER_PORT, UNPRIVILEGED_PORTMAPPER_PORT, Config, ConfigError
from ipcserver.identity import Identities
from ipcserver.journal import JournalError, MemoryJournal, SQLiteJournal
from ipcserver.machine import LINUX, SOLARIS_2, Limits, Machine, start
from ipcserver.notify import notify
from ipcserver.program import IPCProgram
from ipcserver.replica import Replica, Settings
from oncrpc.trust import LOOPBACK, Trust
from oncrpc.tx.service import RPCService
from oncrpc.tx.sockets import CannotServe
from rpcbind_reg.client import SOCKET_PATHS
from rpcbind_reg.registration import registrations
from rpcbind_reg.tx.detect import PLACES
from rpcbind_reg.tx.embedded import PortmapperService
from rpcbind_reg.tx.registrar import Registrar

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from ipcserver.console.service import Console
    from oncrpc.observe import Observer
    from oncrpc.tx.service import ServedAddress
    from rpcbind_reg.mappings import Mapping

__all__ = ["IPCService", "StartError"]

_LIMITS: Final = {"linux": LINUX, "solaris2": SOLARIS_2}


class StartError(ConfigError):
    """The server cannot start; the text says what is in the way, and nothing was changed."""


class IPCService(Service):
    """A whole server, as one Twisted service.

    Args:
        config: How it is set up.
        reactor: The reactor; its clock must be monotonic (oncrpc.tx.reactor).
        observers: Told of every call; see oncrpc.observe.

    Raises:
        StartError: A limit cannot be so.

    Attributes:
        replica: The machine and its journal.
        rpc: The RPC server; known after the start.
        registrar: Keeps the program registered with the system's rpcbind; None if it does not.
        portmapper: The builtin portmapper; None if there is none.
        console: The web console; None if there is none.
    """

    _log = Logger(namespace="ipcserver")

    def __init__(self, config: Config, *, reactor: Any, observers: tuple[Observer, ...] = ()) -> None:
        self.config = config
        self._reactor = reactor
        self._observers = observers
        self._sockets: Sockets | None = None
        self._portmapper_sockets: Sockets | None = None
        self._registered: tuple[Mapping, ...] = ()
        self.portmapper: PortmapperService | None = None
        self.registrar: Registrar | None = None
        self.rpc: RPCService | None = None
        self._limits = limits_of(config)
        self.replica = self._make_replica()
        self.console = None if config.console is None else self._make_console(*config.console)

    @property
    def addresses(self) -> list[ServedAddress]:
        """Where it serves; empty before the start."""
        return [] if self.rpc is None else list(self.rpc.addresses)

    def _make_replica(self) -> Replica:
        """Build the machine's keeper over the journal that the configuration names."""
        config = self.config
        journal = MemoryJournal() if config.journal == "memory" else SQLiteJournal(config.journal_path)
        settings = Settings(snapshot_commands=config.snapshot_commands)
        return Replica(Machine, journal, reactor=self._reactor, settings=settings)

    def _make_console(self, host: str, port: int) -> Console:
        """Build the web console; what it needs is loaded only here."""
        from ipcserver.console.service import Console

        return Console(self, host, port, reactor=self._reactor)

    def _observers_of(self, lane: str) -> tuple[Observer, ...]:
        """Return those who are told what a server does."""
        own = () if self.console is None else self.console.observers(lane)
        return (*self._observers, *own) if lane == "server" else own

    # -- the start ---------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Bind every socket; what follows needs no privilege.

        Raises:
            StartError: A port is taken or not allowed.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        try:
            self._sockets = bind_service(self.config)
            if self.config.portmapper in {"auto", "builtin"}:
                self._portmapper_sockets = self._bind_portmapper()
            if self.console is not None:
                self.console.bind()
        except CannotServe as error:
            self._close_sockets()
            raise StartError(str(error)) from None

    def startService(self) -> None:
        """Replay the journal, then serve and register.

        Raises:
            StartError: A port cannot be had, or the journal cannot be read; its files are as they were.
        """
        if self._sockets is None:
            self.privilegedStartService()
        assert self._sockets is not None
        sockets = self._sockets
        try:
            self._replay()
        except JournalError as error:
            self._close_sockets()
            raise StartError(str(error)) from None
        super().startService()  # type: ignore[no-untyped-call]
        networks = (*(str(trust.network) for trust in self.config.trust), *LOOPBACK)
        self._program = IPCProgram(self.replica, Identities(self.config.trust))
        self.rpc = RPCService(
            [self._program],
            sockets.bound,
            reactor=self._reactor,
            observers=self._observers_of("server"),
            # Who is squashed is told for each network apart: ipcserver.identity does it.
            trust=Trust(networks, squash_root=False),
        )
        self.rpc.privilegedStartService()
        self.rpc.startService()
        for note in sockets.notes:
            self._log.warn("{note}", note=note)
        self._announce()
        self._start_portmapper()
        if self.console is not None:
            self.console.start()
        notify("READY=1", os.environ)

    def _replay(self) -> None:
        """Bring the machine to where the journal ends; tell about it if it takes long.

        Raises:
            StoreRefused: The journal is damaged, newer, or another server's.
        """
        began = time.monotonic()

        def progress(done: int, total: int) -> None:
            self._log.info("replaying the journal: {done} of {total} commands", done=done, total=total)

        if self.config.journal == "memory":
            self._log.warn("the journal is in memory: everything is lost when this server ends")
        else:
            self.config.state_directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        boot = secrets.randbits(63)
        self.replica.start(start(boot, self._limits), progress=progress)
        if self.config.journal != "memory":
            self._log.info(
                "journal {path} is open, replayed in {seconds:.2f} s",
                path=str(self.config.journal_path),
                seconds=time.monotonic() - began,
            )

    def _bind_portmapper(self) -> Sockets | None:
        """Bind the builtin portmapper's sockets; None with "auto" where a system's rpcbind is in their place.

        Raises:
            CannotServe: With "builtin": they cannot be had.
        """
        config = self.config
        wanted = PORTMAPPER_PORT if config.portmapper_port is None else config.portmapper_port
        skip_absent = config.listen == Config().listen
        try:
            sockets = bind_hosts(config.listen, wanted, skip_absent=skip_absent)
        except CannotServe as error:
            number = error.socketError.errno
            if config.portmapper == "auto" and number == errno.EADDRINUSE:
                return None
            if config.portmapper_port is not None or number != errno.EACCES:
                raise
            if config.portmapper == "auto" and _system_registry_answers():
                return None
            sockets = bind_hosts(config.listen, UNPRIVILEGED_PORTMAPPER_PORT, skip_absent=skip_absent)
            sockets.fell_back = True
        if sockets.port == PORTMAPPER_PORT:
            # Programs of this machine register over the local socket. Without it they still can, over loopback.
            with suppress(CannotServe):
                sockets.bind_local(Path(SOCKET_PATHS[0]))
        return sockets

    def _start_portmapper(self) -> None:
        """Register with the builtin portmapper, or with the system's rpcbind."""
        assert self.rpc is not None
        programs = [IPCProgram]
        if self._portmapper_sockets is not None:
            self.portmapper = PortmapperService(
                self._portmapper_sockets.bound, observers=self._observers_of("portmapper"), reactor=self._reactor
            )
            self.portmapper.privilegedStartService()
            self.portmapper.startService()
            self._registered = registrations(programs, self.rpc.addresses)
            self.portmapper.register(self._registered)
        elif self.config.portmapper in {"auto", "system"}:
            addresses = self.rpc.addresses
            self.registrar = Registrar(
                lambda: registrations(programs, addresses),
                reactor=self._reactor,
                observers=self._observers_of("rpcbind"),
            )
            self.registrar.startService()

    def _announce(self) -> None:
        """Tell where the server is, and, where it is not at its usual place, how to reach it."""
        assert self.rpc is not None
        assert self._sockets is not None
        self._log.info(
            "serving program {program} version 1 on {where}",
            program=IPCProgram.program,
            where=", ".join(str(address) for address in self.rpc.addresses),
        )
        portmapper = self._portmapper_sockets
        wanted = [str(PORT)] if self._sockets.fell_back else []
        if portmapper is not None and portmapper.fell_back:
            wanted.append(str(PORTMAPPER_PORT))
        if not wanted:
            return
        self._log.warn(
            "{ports} privileged and this user may not bind {them}: serving on port {port}{portmapper} instead",
            ports=" and ".join(wanted) + (" are" if len(wanted) > 1 else " is"),
            them="them" if len(wanted) > 1 else "it",
            port=self._sockets.port,
            portmapper="" if portmapper is None else f" with a portmapper on {portmapper.port}",
        )
        port = None if portmapper is None else portmapper.port
        for line in reach(self.config.listen[0], self._sockets.port, port, _folder_of_commands()):
            self._log.info("  {line}", line=line)

    # -- the stop ------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Unregister, answer the calls in hand, close the journal.

        Returns:
            A Deferred that fires when all of it is done.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        """Do it, step by step."""
        notify("STOPPING=1", os.environ)
        if self.console is not None:
            await self.console.stop()
        if self.registrar is not None:
            await self.registrar.stopService()
            self.registrar = None
        if self.portmapper is not None:
            self.portmapper.unregister(self._registered)
            await maybeDeferred(self.portmapper.stopService)
            self.portmapper = None
        if self.rpc is not None:
            self._program.stop()
            await self.rpc.stopService()
            self.rpc = None
            await self.replica.stop()
            self._log.info("stopped; nothing that was acknowledged is lost")
        self._close_sockets()

    def _close_sockets(self) -> None:
        """Close what was bound, and take away the local sockets' files that are ours."""
        for sockets in (self._sockets, self._portmapper_sockets):
            if sockets is not None:
                sockets.close()
        self._sockets = self._portmapper_sockets = None
        if self.console is not None:
            self.console.close()


def limits_of(config: Config) -> Limits:
    """Return the limits in force: the preset, and what differs from it.

    Raises:
        StartError: There is no limit of that name, or the number is out of its range.
    """
    preset = _LIMITS[config.limits]
    known = {field.name for field in fields(preset)}
    for name, _ in config.limit:
        if name not in known:
            message = f"limit: there is no limit {name!r} (known: {', '.join(sorted(known))})"
            raise StartError(message)
    try:
        return replace(preset, **dict(config.limit))
    except ValueError as error:
        message = f"limit: {error}"
        raise StartError(message) from None


def _system_registry_answers() -> bool:
    """Return whether somebody listens where the system's rpcbind does."""
    for place in PLACES:
        family = socket.AF_UNIX if place.is_local else socket.AF_INET6 if ":" in place.host else socket.AF_INET
        with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.connect(place.host if place.is_local else (place.host, place.port))
            return True
    return False


def _folder_of_commands() -> str:
    """Return what must stand before our commands: nothing if the PATH has them, else the folder of this one."""
    if shutil.which("ipcserver") is not None:
        return ""
    folder = Path(sys.argv[0]).parent
    return f"{folder}/" if (folder / "ipcserver").exists() else ""


def reach(host: str, port: int, portmapper: int | None, folder: str = "") -> list[str]:
    """Return commands that reach a server on unusual ports.

    Args:
        host: An address that it listens on.
        port: Its TCP and UDP port.
        portmapper: Its portmapper's port; None if it has none of its own.
        folder: Where our commands are, with a slash at its end; empty: in the PATH.
    """
    uaddr = f"{host}.{port >> 8}.{port & 255}"
    netid = "tcp6" if ":" in host else "tcp"
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [
        f"rpcinfo -a {uaddr} -T {netid} {IPCProgram.program} 1",
        f"{folder}ipcserver ipcs -H {target}",
    ]
    if portmapper is not None:
        lines.append(f"{folder}rpcbind-reg list {f'[{host}]' if ':' in host else host}:{portmapper}")
    return lines
