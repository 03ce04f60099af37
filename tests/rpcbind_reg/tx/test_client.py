"""Finding a program through its registry and calling it, over Twisted and blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from rpcbind_reg import sync
from rpcbind_reg._gen import portmap, rpcbind
from rpcbind_reg.client import NotRegistered, Place, RegistryUnavailable
from rpcbind_reg.registration import registrations
from rpcbind_reg.tx import client
from rpcbind_reg.tx.embedded import PortmapperService

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place() -> Iterator[Place]:
    """A registry that also lists itself under the numbers of its own programs, as any program would be."""
    service = PortmapperService(["tcp:0", "udp:0", "tcp:0:interface=::1", "udp:0:interface=::1"])
    service.privilegedStartService()
    service.startService()
    service.register(registrations([portmap.PMAP_PROG_2_Server], service.addresses))
    yield Place("127.0.0.1", service.addresses[0].port)
    pytest_twisted.blockon(ensureDeferred(stop(service)))


async def stop(service: PortmapperService) -> None:
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_a_stub_is_connected_by_program_number(place: Place) -> None:
    stub = await client.connect(rpcbind.RPCBPROG_4_Client, place)
    assert await stub.rpcbproc_gettime() > 1_700_000_000
    await stub.close()


@pytest_twisted.ensureDeferred
async def test_a_blocking_stub_is_connected_by_program_number(place: Place) -> None:
    def ask() -> int:
        with sync.connect(rpcbind.RPCBPROG_3_SyncClient, place) as stub:
            return stub.rpcbproc_gettime()

    assert await deferToThread(ask) > 1_700_000_000


@pytest_twisted.ensureDeferred
async def test_what_is_not_registered_is_said(place: Place) -> None:
    with pytest.raises(NotRegistered, match="knows no program 7 version 1 on tcp"):
        await client.find(7, 1, place)
    with pytest.raises(NotRegistered):
        await deferToThread(sync.find, 7, 1, place)


@pytest_twisted.ensureDeferred
async def test_where_no_registry_answers_is_said() -> None:
    nowhere = Place("127.0.0.1", 1)
    with pytest.raises(RegistryUnavailable, match=r"no registry .* answers at 127\.0\.0\.1:1"):
        await client.dump(nowhere)
    with pytest.raises(RegistryUnavailable):
        await deferToThread(sync.dump, nowhere)
    with pytest.raises(RegistryUnavailable):
        await deferToThread(sync.wait_for_registry, nowhere, timeout=0.2)


@pytest_twisted.ensureDeferred
async def test_a_registry_is_waited_for(place: Place) -> None:
    assert await deferToThread(sync.wait_for_registry, place) == 4
