"""The registry as a service, on ports of its own choice: what an ordinary user can run too."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from oncrpc.errors import AuthenticationFailed
from oncrpc.tx.sockets import CannotServe
from rpcbind_reg import sync
from rpcbind_reg.client import Place, RegistryError
from rpcbind_reg.mappings import Mapping, SetOutcome, owner_name
from rpcbind_reg.state import decode_state
from rpcbind_reg.tx import client
from rpcbind_reg.tx.embedded import PortmapperService, default_endpoints, own_mappings, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from twisted.internet.defer import Deferred

TCP = Mapping(300000, 1, "tcp", "0.0.0.0.4.1")
ME = owner_name(os.geteuid())


def place_of(service: PortmapperService, netid: str = "tcp") -> Place:
    address = next(address for address in service.addresses if address.netid == netid)
    return Place(address.path) if address.path else Place(address.host, address.port)


class Started:
    """Makes services on a local socket, TCP and UDP, and stops them at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services: list[PortmapperService] = []

    def __call__(self, **how: Any) -> PortmapperService:
        path = f"unix:{self.folder / f'socket{len(self.services)}'}"
        service = PortmapperService([path, "tcp:0", "udp:0", "tcp:0:interface=::1"], **how)
        service.privilegedStartService()
        service.startService()
        self.services.append(service)
        return service

    async def stop(self) -> None:
        services, self.services = self.services, []
        for service in services:
            await service.stopService()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Started]:
    made = Started(tmp_path)
    yield made
    pytest_twisted.blockon(ensureDeferred(made.stop()))


def in_thread(call: Callable[..., Any], *arguments: Any, **named: Any) -> Deferred[Any]:
    return deferToThread(call, *arguments, **named)


@pytest_twisted.ensureDeferred
async def test_it_lists_itself_on_all_it_listens_on(start: Started) -> None:
    service = start()
    rows = await client.dump(place_of(service, "local"))
    assert {(row.version, row.netid) for row in rows} == {
        (version, netid)
        for netid, versions in {"local": (3, 4), "tcp": (2, 3, 4), "udp": (2, 3, 4), "tcp6": (3, 4)}.items()
        for version in versions
    }
    assert {row.owner for row in rows} == {"superuser"}


@pytest_twisted.ensureDeferred
async def test_registrations_are_found_by_both_clients(start: Started) -> None:
    service = start()
    local, tcp = place_of(service, "local"), place_of(service)
    assert await in_thread(sync.register, TCP, place=local)
    assert [row.owner for row in service.registry.mappings if row.program == 300000] == [ME]
    assert await client.find(300000, 1, tcp) == "127.0.0.1.4.1"
    assert await in_thread(sync.find, 300000, 1, tcp) == "127.0.0.1.4.1"
    with pytest.raises(RegistryError, match="knows no program 300001"):
        await client.find(300001, 1, tcp)
    counted = await client.read_statistics(tcp)
    assert counted.by_version[4].lookups[300000, 1, "tcp"].success == 2
    assert await in_thread(sync.read_time, tcp) > 1_700_000_000
    assert await in_thread(sync.unregister, 300000, 1, place=local)


@pytest_twisted.ensureDeferred
async def test_loopback_callers_are_known(start: Started) -> None:
    service = start()
    assert await in_thread(sync.register, TCP, place=place_of(service))
    assert [row.owner for row in service.registry.mappings if row.program == 300000] == [ME]


@pytest_twisted.ensureDeferred
async def test_indirect_calls_are_refused_by_default(start: Started) -> None:
    service = start()
    udp = place_of(service, "udp")
    with pytest.raises(AuthenticationFailed):
        await client.call_indirectly(100000, 2, 0, host=udp.host, port=udp.port)


@pytest_twisted.ensureDeferred
async def test_the_owner_process_registers_without_a_call(start: Started) -> None:
    service = start()
    assert service.register([TCP]) == [SetOutcome.ADDED]
    moved = Mapping(300000, 1, "tcp", "0.0.0.0.4.2")
    assert service.register([moved]) == [SetOutcome.ADDED]
    assert [row.uaddr for row in service.registry.mappings if row.program == 300000] == ["0.0.0.0.4.2"]
    service.unregister([moved])
    assert [row for row in service.registry.mappings if row.program == 300000] == []


@pytest_twisted.ensureDeferred
async def test_the_state_file_is_written_and_read_again(start: Started, tmp_path: Path) -> None:
    state = tmp_path / "folder" / "state.xdr"
    service = start(state_file=state)
    await in_thread(sync.register, TCP, place=place_of(service, "local"))
    await start.stop()
    assert [(row.program, row.owner) for row in decode_state(state.read_bytes())] == [(300000, ME)]
    assert state.stat().st_mode & 0o777 == 0o600
    service = start(state_file=state)
    assert service.registry.mappings.find_exactly(300000, 1, "tcp") is not None


@pytest_twisted.ensureDeferred
async def test_a_damaged_state_file_is_put_aside(start: Started, tmp_path: Path) -> None:
    state = tmp_path / "state.xdr"
    state.write_bytes(b"no list")
    service = start(state_file=state)
    assert all(row.program == 100000 for row in service.registry.mappings)
    assert (tmp_path / "state.xdr.bad").read_bytes() == b"no list"


@pytest_twisted.ensureDeferred
async def test_ten_thousand_registrations_are_dumped_whole(start: Started) -> None:
    service = start()
    for number in range(10_000):
        service.registry.mappings.set(Mapping(400000 + number, 1, "tcp", "0.0.0.0.4.1", "superuser"))
    assert len(await client.dump(place_of(service, "local"))) == 10_010
    assert await client.find(409999, 1, place_of(service)) == "127.0.0.1.4.1"


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        service = PortmapperService([f"unix:{tmp_path / 's'}", f"tcp:{port}"])
        with pytest.raises(CannotServe, match=str(port)):
            service.privilegedStartService()


def test_the_network_is_an_explicit_choice() -> None:
    assert default_endpoints() == [
        "unix:/run/rpcbind.sock:mode=666",
        "tcp:111:interface=127.0.0.1",
        "udp:111:interface=127.0.0.1",
        "tcp:111:interface=::1",
        "udp:111:interface=::1",
    ]
    assert default_endpoints(["0.0.0.0"], port=1111, path=None) == [
        "tcp:1111:interface=0.0.0.0",
        "udp:1111:interface=0.0.0.0",
    ]
    assert own_mappings([]) == []


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [each.name for each in path.parent.iterdir()] == ["file"]
