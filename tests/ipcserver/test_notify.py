"""Word to the service manager, and the units that it reads."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ipcserver.notify import notify
from tests.peers import ROOT, find, require

if TYPE_CHECKING:
    from pathlib import Path

UNITS = ROOT / "contrib" / "systemd"


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
