"""Sockets passed by a service manager, and word back to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from ipcserver.activation import inherited_sockets, notify
from ipcserver.config import ConfigError
from tests.peers import ROOT, find, require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNITS = ROOT / "contrib" / "systemd"


@contextmanager
def passed(*sockets: socket.socket) -> Iterator[int]:
    """Put copies of sockets on descriptors in a row; give the first one's number."""
    first = 700
    for offset, sock in enumerate(sockets):
        os.dup2(sock.fileno(), first + offset)
        sock.close()
    try:
        yield first
    finally:
        for offset in range(len(sockets)):
            try:
                os.close(first + offset)
            except OSError:
                continue


def environment(count: int) -> dict[str, str]:
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": "a:b", "OTHER": "stays"}


class TestInheritedSockets:
    def test_tcp_udp_and_local_sockets_are_taken_in_their_order(self, tmp_path: Path) -> None:
        stream = socket.create_server(("127.0.0.1", 0))
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagram.bind(("127.0.0.1", 0))
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        local.bind(str(tmp_path / "s"))
        names = [stream.getsockname(), datagram.getsockname(), local.getsockname()]
        environ = environment(3)
        with passed(stream, datagram, local) as first:
            taken = inherited_sockets(environ, first=first)
            assert [sock.getsockname() for sock in taken] == names
            assert all(not sock.get_inheritable() and not sock.getblocking() for sock in taken)
            assert environ == {"OTHER": "stays"}
            for sock in taken:
                sock.close()

    def test_without_the_variables_there_are_none(self) -> None:
        assert inherited_sockets({}) == []

    def test_variables_meant_for_another_process_are_not_ours(self) -> None:
        environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
        assert inherited_sockets(environ) == []
        assert environ == {}

    def test_a_count_that_is_no_number_is_none(self) -> None:
        assert inherited_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "-1"}) == []

    def test_a_descriptor_that_is_no_socket_is_refused_by_number(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("wb") as file, pytest.raises(ConfigError, match=str(file.fileno())):
            inherited_sockets(environment(1), first=file.fileno())

    def test_a_socket_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        packets = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        packets.bind(str(tmp_path / "s"))
        with passed(packets) as first, pytest.raises(ConfigError, match="local stream"):
            inherited_sockets(environment(1), first=first)


class TestNotify:
    def test_the_manager_is_told(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            assert notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
            assert manager.recv(100) == b"READY=1"

    def test_an_abstract_address_works(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            name = f"ipcserver-test-{os.getpid()}"
            manager.bind(f"\0{name}")
            assert notify("STOPPING=1", {"NOTIFY_SOCKET": f"@{name}"})
            assert manager.recv(100) == b"STOPPING=1"

    @pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nobody/there"}, {"NOTIFY_SOCKET": "relative"}])
    def test_nobody_to_tell_is_no_error(self, environ: dict[str, str]) -> None:
        assert not notify("READY=1", environ)


class TestUnits:
    def test_systemd_accepts_the_units(self, tmp_path: Path) -> None:
        """The path of the program is this environment's: systemd looks whether it is there."""
        require("systemd-analyze")
        for unit in UNITS.iterdir():
            text = unit.read_text().replace("/opt/ipcserver/bin/ipcserver", sys.executable)
            (tmp_path / unit.name).write_text(text.replace("User=ipcserver", "User=root"))
        (tmp_path / "ipcserver.sysusers").unlink()
        done = subprocess.run(
            [
                find("systemd-analyze") or "",
                "verify",
                "--man=no",
                tmp_path / "ipcserver.socket",
                tmp_path / "ipcserver.service",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        ours = [line for line in done.stderr.splitlines() if "ipcserver" in line and "rpcbind" not in line]
        assert ours == []

    def test_port_600_is_served_over_tcp_and_udp_on_loopback_alone(self) -> None:
        lines = (UNITS / "ipcserver.socket").read_text().splitlines()
        listen = {line for line in lines if line.startswith("Listen") and ":" in line}
        assert listen == {
            "ListenStream=127.0.0.1:600",
            "ListenStream=[::1]:600",
            "ListenDatagram=127.0.0.1:600",
            "ListenDatagram=[::1]:600",
        }
