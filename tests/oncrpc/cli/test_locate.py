"""oncrpc.cli.locate: asking the portmapper, the real one in a namespace of the test's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oncrpc import sync
from oncrpc.cli import locate
from oncrpc.errors import NotConnected, RPCError

if TYPE_CHECKING:
    from tests.peers import Namespace

ONCRPC = Path(sys.executable).parent / "oncrpc"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_portmapper_finds_its_own_port(rpcbind_namespace: Namespace, host: str, transport: str) -> None:
    done = rpcbind_namespace.run(ONCRPC, "ping", host, "100000", "4", f"--{transport}", "-c", "1", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["summary"]["answered"] == 1


def test_a_program_that_is_not_registered_is_told(rpcbind_namespace: Namespace) -> None:
    done = rpcbind_namespace.run(ONCRPC, "ping", "127.0.0.1", "77", "1", check=False)
    assert done.returncode == 1
    assert "knows no program 77 version 1 over tcp" in done.stdout


def test_an_absent_portmapper_is_told(namespace: Namespace) -> None:
    done = namespace.run(ONCRPC, "ping", "127.0.0.1", "77", "1", check=False)
    assert done.returncode == 3
    assert "nothing listens on port 111" in done.stdout
    assert "--port" in done.stdout


def test_a_name_without_an_address_is_told() -> None:
    with pytest.raises(NotConnected, match=r"host\.invalid"):
        locate.find_port("host.invalid", 1, 1, "tcp", 1.0)


class Liar(sync.StreamCaller):
    """A portmapper that answers whatever it is told to."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def call_raw(
        self, program: int, version: int, procedure: int, arguments: bytes, *, timeout: float | None = None
    ) -> bytes:
        return self.answer


@pytest.mark.parametrize("answer", [b"", b"\0\1", b"\0\1\0\0", b"\xff\xff\xff\xff"])
def test_a_port_that_is_none_is_refused(answer: bytes) -> None:
    with pytest.raises(RPCError, match="no port"):
        locate._getport(Liar(answer), 1, 1, "tcp")


@pytest.mark.parametrize("answer", [b"\0\0\0\5abc", b"\xff\xff\xff\xff", b"\0\0\0\3a.b", b"\0\0\0\5a.b.c"])
def test_a_universal_address_that_is_none_is_refused(answer: bytes) -> None:
    with pytest.raises(RPCError, match="no universal address"):
        locate._getaddr(Liar(answer), 1, 1, "tcp")


def test_universal_addresses_are_read() -> None:
    assert locate._getaddr(Liar(b"\0\0\0\x08::1.2.88"), 1, 1, "tcp") == 600
    assert locate._getaddr(Liar(b"\0\0\0\0"), 1, 1, "tcp") == 0
