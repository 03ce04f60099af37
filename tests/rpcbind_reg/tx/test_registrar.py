"""The registrar beside a registry in the same process; its life beside the real rpcbind is in interop/rpcbind."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from oncrpc.observe import MessageSeen, Observer
from oncrpc.tx.service import RPCService
from rpcbind_reg.client import Place
from rpcbind_reg.mappings import Mapping, owner_name
from rpcbind_reg.program import Portmapper
from rpcbind_reg.registration import Status
from rpcbind_reg.registry import Registry
from rpcbind_reg.tx.detect import Presence, detect
from rpcbind_reg.tx.embedded import PortmapperService
from rpcbind_reg.tx.registrar import Phase, Registrar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

clock = IReactorTime(reactor)
TCP = Mapping(300000, 1, "tcp", "127.0.0.1.4.1")
LOCAL = Mapping(300000, 1, "local", "/nowhere/x")


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = clock.seconds() + seconds
    while not condition():
        assert clock.seconds() < deadline, "waited in vain"
        await deferLater(clock, 0.02)


class Bench:
    """A place for a registry, which comes and goes."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "rpcbind.sock")
        self.place = Place(self.path)
        self.registry: PortmapperService | None = None
        self.registrars: list[Registrar] = []

    def start_registry(self) -> PortmapperService:
        self.registry = PortmapperService([f"unix:{self.path}"])
        self.registry.privilegedStartService()
        self.registry.startService()
        return self.registry

    async def stop_registry(self) -> None:
        registry, self.registry = self.registry, None
        if registry is not None:
            await registry.stopService()

    def start_registrar(self, *wanted: Mapping, observers: Sequence[Observer] = ()) -> Registrar:
        made = Registrar(wanted, places=[self.place], retry_interval=0.05, poll_interval=0.1, observers=observers)
        made.startService()
        self.registrars.append(made)
        return made

    def rows(self) -> list[Mapping]:
        assert self.registry is not None
        return [row for row in self.registry.registry.mappings if row.program != 100000]

    async def stop(self) -> None:
        for registrar in self.registrars:
            await registrar.stopService()
        await self.stop_registry()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    pytest_twisted.blockon(ensureDeferred(made.stop()))


@pytest_twisted.ensureDeferred
async def test_it_registers_at_the_start_and_unregisters_at_the_stop(bench: Bench) -> None:
    bench.start_registry()
    registrar = bench.start_registrar(TCP, LOCAL)
    state = await registrar.when_settled()
    assert (state.phase, state.registered, state.detection.presence) == (Phase.KEEPING, True, Presence.LOCAL_SOCKET)
    assert [standing.status for standing in state.standings] == [Status.REGISTERED] * 2
    assert {row.owner for row in bench.rows()} == {owner_name(os.geteuid())}
    await registrar.stopService()
    assert registrar.state.phase is Phase.STOPPED
    assert [standing.status for standing in registrar.state.standings] == [Status.REMOVED] * 2
    assert bench.rows() == []


@pytest_twisted.ensureDeferred
async def test_observers_see_what_is_said_to_the_registry(bench: Bench) -> None:
    class Told(Observer):
        def __init__(self) -> None:
            self.seen: list[MessageSeen] = []

        def message_seen(self, message: MessageSeen) -> None:
            self.seen.append(message)

    bench.start_registry()
    told = Told()
    registrar = bench.start_registrar(TCP, observers=[told])
    await registrar.when_settled()
    calls = [int.from_bytes(each.parts[0][20:24], "big") for each in told.seen if not each.outgoing]
    assert 1 in calls  # RPCBPROC_SET
    assert sum(each.outgoing for each in told.seen) == len(calls)
    assert {(each.netid, each.local.path) for each in told.seen} == {("local", bench.path)}


@pytest_twisted.ensureDeferred
async def test_without_a_registry_it_settles_and_goes_on_looking(bench: Bench) -> None:
    registrar = bench.start_registrar(TCP)
    state = await registrar.when_settled()
    assert (state.phase, state.registered, state.detection.presence) == (Phase.SEARCHING, False, Presence.ABSENT)
    assert state.standings[0].status is Status.WAITING
    bench.start_registry()
    await until(lambda: registrar.state.registered)
    assert [row.uaddr for row in bench.rows()] == [TCP.uaddr]


@pytest_twisted.ensureDeferred
async def test_a_registry_that_went_is_met_again(bench: Bench) -> None:
    bench.start_registry()
    registrar = bench.start_registrar(TCP)
    await registrar.when_settled()
    for _ in range(3):
        await bench.stop_registry()
        await until(lambda: registrar.state.phase is Phase.SEARCHING)
        bench.start_registry()
        await until(lambda: registrar.state.registered)
        assert len(bench.rows()) == 1


@pytest_twisted.ensureDeferred
async def test_an_entry_that_was_removed_comes_back_at_the_next_look(bench: Bench) -> None:
    registry = bench.start_registry()
    registrar = bench.start_registrar(TCP)
    await registrar.when_settled()
    registry.registry.unset(300000, 1, "", None)
    registrar.check_now()
    await until(lambda: len(bench.rows()) == 1)


@pytest_twisted.ensureDeferred
async def test_a_stale_entry_is_replaced(bench: Bench) -> None:
    registry = bench.start_registry()
    stale = Mapping(300000, 1, "local", "/nowhere/dead", owner_name(os.geteuid()))
    registry.registry.mappings.set(stale)
    state = await bench.start_registrar(LOCAL).when_settled()
    assert state.registered
    assert [row.uaddr for row in bench.rows()] == [LOCAL.uaddr]


@pytest_twisted.ensureDeferred
async def test_a_living_server_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    registry = bench.start_registry()

    class Living(Portmapper):
        program, version = 300000, 1

    living = RPCService(
        [Living(Registry(), now=lambda: 0.0, identify=lambda *_: None)], [f"unix:{tmp_path / 'living'}"]
    )
    living.startService()
    theirs = Mapping(300000, 1, "local", str(tmp_path / "living"), owner_name(os.geteuid()))
    registry.registry.mappings.set(theirs)
    registrar = bench.start_registrar(LOCAL)
    state = await registrar.when_settled()
    assert state.standings[0].status is Status.TAKEN
    assert "answers there" in state.standings[0].sentence
    await registrar.stopService()
    assert bench.rows() == [theirs]
    await living.stopService()


@pytest_twisted.ensureDeferred
async def test_stopping_before_anything_was_found_leaves_nothing_behind(bench: Bench) -> None:
    registrar = bench.start_registrar(TCP)
    await registrar.stopService()
    assert registrar.state.phase is Phase.STOPPED


@pytest_twisted.ensureDeferred
async def test_stopping_beside_a_registry_that_hangs_closes_the_connection(bench: Bench) -> None:
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(bench.path)
        hanging.listen()
        hanging.setblocking(False)
        registrar = bench.start_registrar(TCP)
        accepted: list[socket.socket] = []

        def accepts() -> bool:
            try:
                accepted.append(hanging.accept()[0])
            except BlockingIOError:
                return False
            return True

        await until(accepts)
        await registrar.stopService()
        (connection,) = accepted
        connection.setblocking(False)

        def ended() -> bool:
            try:
                return connection.recv(65536) == b""
            except BlockingIOError:
                return False

        await until(ended)
        connection.close()


@pytest_twisted.ensureDeferred
async def test_version_2_alone_is_registered_with_as_far_as_it_goes(bench: Bench) -> None:
    old = Registry()
    service = RPCService([Portmapper(old, now=lambda: 0.0, identify=lambda *_: 0)], [f"unix:{bench.path}"])
    service.startService()
    udp = Mapping(300000, 1, "udp", "127.0.0.1.4.2")
    registrar = bench.start_registrar(TCP, udp, LOCAL)
    state = await registrar.when_settled()
    assert (state.detection.presence, state.registered) == (Presence.VERSION_2_ONLY, True)
    assert [standing.status.name for standing in state.standings] == ["REGISTERED", "REGISTERED", "IMPOSSIBLE"]
    assert "version 2 only" in state.detection.sentence
    # A stale port on TCP: version 2 removes UDP's along with it, and both must be back.
    old.mappings.unset(300000, 1, "tcp", "superuser")
    old.mappings.set(Mapping(300000, 1, "tcp", "0.0.0.0.0.9", "superuser"))
    registrar.check_now()
    await until(lambda: {row.port for row in old.mappings} == {1025, 1026})
    await registrar.stopService()
    assert [*old.mappings] == []
    await service.stopService()


class TestDetection:
    """One word and one sentence on what was found."""

    @pytest_twisted.ensureDeferred
    async def test_nothing(self, tmp_path: Path) -> None:
        found = await detect([Place(str(tmp_path / "none"))])
        assert (found.presence, found.usable, found.owner) == (Presence.ABSENT, False, "")
        assert "start rpcbind" in found.sentence

    @pytest_twisted.ensureDeferred
    async def test_a_registry(self, bench: Bench) -> None:
        bench.start_registry()
        found = await detect([bench.place])
        assert (found.presence, found.version, found.owner) == (Presence.LOCAL_SOCKET, 4, owner_name(os.geteuid()))

    @pytest_twisted.ensureDeferred
    async def test_loopback(self) -> None:
        service = PortmapperService(["tcp:0"])
        service.privilegedStartService()
        service.startService()
        found = await detect([Place("127.0.0.1", service.addresses[0].port)])
        assert found.presence is Presence.LOOPBACK
        assert "may not know whose we are" in found.sentence
        await service.stopService()

    @pytest_twisted.ensureDeferred
    async def test_a_socket_that_nobody_listens_on(self, tmp_path: Path) -> None:
        dead = tmp_path / "dead"
        dead.touch()
        found = await detect([Place(str(dead))])
        assert found.presence is Presence.REFUSED
        assert "refused" in found.sentence

    @pytest_twisted.ensureDeferred
    async def test_something_that_is_no_registry(self, tmp_path: Path) -> None:
        class Other(Portmapper):
            program = 300000

        service = RPCService(
            [Other(Registry(), now=lambda: 0.0, identify=lambda *_: None)], [f"unix:{tmp_path / 'other'}"]
        )
        service.startService()
        found = await detect([Place(str(tmp_path / "other"))])
        assert found.presence is Presence.REFUSED
        assert "is no registry" in found.sentence
        await service.stopService()


def test_a_state_can_be_asked_for_before_the_start(tmp_path: Path) -> None:
    registrar = Registrar([TCP], places=[Place(str(tmp_path / "none"))])
    assert registrar.state.phase is Phase.STOPPED
    assert isinstance(registrar.when_settled(), Deferred)
