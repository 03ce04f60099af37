from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from oncrpc.records import frame_record
from tests.adversity.victim import NULL, NULL_REPLY, Others, Victim, closed, receive

if TYPE_CHECKING:
    from pathlib import Path

lean = pytest.importorskip("oncrpc.tx.lean")


def test_it_is_used_where_twisted_has_what_it_is_made_from() -> None:
    assert lean.usable() is sys.platform.startswith("linux")


@pytest.mark.parametrize("reactor", ["", "epoll", "poll", "select", "asyncio"])
def test_a_server_does_the_same_on_every_reactor(tmp_path: Path, reactor: str) -> None:
    with Victim(tmp_path, reactor=reactor, limits={"record_timeout": 2}) as victim:
        with victim.connect() as client, victim.connect() as slow, victim.datagrams() as datagrams, Others(victim):
            slow.send(b"\x80")
            client.sendall(frame_record(NULL) * 100)
            for _ in range(100):
                assert receive(client) == NULL_REPLY
            datagrams.send(NULL)
            assert datagrams.recv(100) == NULL_REPLY
            assert closed(slow, within=20)
        assert victim.stop() == 0
        assert "Traceback" not in victim.output
