"""Whose socket a loopback port is, from the kernel's own lists."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from rpcbind_reg.owners import uid_of_socket

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:5d}        0 4711 1\n"

little_endian_linux = pytest.mark.skipif(
    sys.platform != "linux" or sys.byteorder != "little", reason="the lines below are a little-endian kernel's"
)


def tables(folder: Path, **lists: list[tuple[str, int, str]]) -> Path:
    for name, rows in lists.items():
        text = HEAD + "".join(LINE.format(local=local, uid=uid, state=state) for local, uid, state in rows)
        (folder / name).write_text(text)
    return folder


@little_endian_linux
class TestLists:
    """/proc/net/tcp and its kin, proc(5)."""

    def test_a_connection_is_found_by_its_address(self, tmp_path: Path) -> None:
        lists = tables(tmp_path, tcp=[("0100007F:1388", 1000, "01"), ("0100007F:1389", 2000, "01")])
        assert uid_of_socket("tcp", "127.0.0.1", 5000, tables=lists) == 1000
        assert uid_of_socket("tcp", "127.0.0.1", 5001, tables=lists) == 2000
        assert uid_of_socket("tcp", "127.0.0.1", 5002, tables=lists) is None

    def test_a_datagram_socket_is_found_by_its_wildcard(self, tmp_path: Path) -> None:
        lists = tables(tmp_path, udp=[("00000000:1388", 1000, "07")], udp6=[])
        assert uid_of_socket("udp", "127.0.0.1", 5000, tables=lists) == 1000

    def test_an_ipv6_socket_that_speaks_ipv4_is_found(self, tmp_path: Path) -> None:
        mapped = "0000000000000000FFFF00000100007F:1388"
        lists = tables(tmp_path, tcp=[], tcp6=[(mapped, 1000, "01")], udp6=[("0" * 32 + ":1388", 1001, "07")])
        assert uid_of_socket("tcp", "127.0.0.1", 5000, tables=lists) == 1000
        assert uid_of_socket("udp", "127.0.0.1", 5000, tables=lists) == 1001
        assert uid_of_socket("udp", "::1", 5000, tables=lists) == 1001

    def test_two_users_on_one_port_cannot_be_told_apart(self, tmp_path: Path) -> None:
        lists = tables(tmp_path, udp=[("00000000:1388", 1000, "07"), ("0100007F:1388", 0, "07")])
        assert uid_of_socket("udp", "127.0.0.1", 5000, tables=lists) is None

    def test_a_socket_that_is_gone_says_nothing(self, tmp_path: Path) -> None:
        lists = tables(tmp_path, tcp=[("0100007F:1388", 0, "06")])
        assert uid_of_socket("tcp", "127.0.0.1", 5000, tables=lists) is None


def test_without_lists_nobody_is_told(tmp_path: Path) -> None:
    assert uid_of_socket("tcp", "127.0.0.1", 5000, tables=tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/net")
@pytest.mark.parametrize(("kind", "protocol"), [(socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")])
def test_this_process_is_found_in_the_real_lists(kind: socket.SocketKind, protocol: str) -> None:
    with socket.socket(socket.AF_INET, kind) as server, socket.socket(socket.AF_INET, kind) as client:
        server.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            server.listen()
        client.connect(server.getsockname())
        assert uid_of_socket(protocol, *client.getsockname()) == os.getuid()
