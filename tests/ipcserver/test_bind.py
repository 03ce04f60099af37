"""The sockets of a server: bound, not listening, and explained when they cannot be had."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ipcserver import bind as module
from ipcserver.bind import bind_hosts, bind_service
from ipcserver.config import PORT, UNPRIVILEGED_PORT, Config
from oncrpc.tx.sockets import CannotServe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def closing() -> Iterator[list[socket.socket]]:
    """Close what a test put into the list."""
    sockets: list[socket.socket] = []
    yield sockets
    for sock in sockets:
        sock.close()


class TestAddresses:
    """TCP and UDP sockets."""

    def test_tcp_and_udp_share_a_free_port(self, closing: list[socket.socket]) -> None:
        found = bind_hosts(["127.0.0.1"], 0, skip_absent=False)
        closing += found.bound
        assert {sock.type for sock in found.bound} == {socket.SOCK_STREAM, socket.SOCK_DGRAM}
        assert {sock.getsockname()[1] for sock in found.bound} == {found.port}
        assert found.port

    def test_nobody_can_connect_before_the_server_listens(self, closing: list[socket.socket]) -> None:
        found = bind_hosts(["127.0.0.1"], 0, skip_absent=False)
        closing += found.bound
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", found.port), timeout=5)

    def test_a_port_that_is_taken_is_named(self, closing: list[socket.socket]) -> None:
        holder = bind_hosts(["127.0.0.1"], 0, skip_absent=False)
        closing += holder.bound
        with pytest.raises(CannotServe, match=f"127.0.0.1:{holder.port}"):
            bind_hosts(["127.0.0.1"], holder.port, skip_absent=False)

    def test_nothing_stays_bound_when_one_address_fails(self) -> None:
        with pytest.raises(CannotServe):
            bind_hosts(["127.0.0.1", "192.0.2.1"], 0, skip_absent=False)

    def test_a_default_address_that_the_machine_lacks_is_left_out_and_noted(self, closing: list[socket.socket]) -> None:
        found = bind_hosts(["127.0.0.1", "192.0.2.1"], 0, skip_absent=True)
        closing += found.bound
        assert len(found.bound) == 2
        assert found.notes == ["192.0.2.1 is not there on this machine; not served"]


class TestService:
    """What a configuration asks for."""

    def test_an_ordinary_user_gets_the_unprivileged_port(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closing: list[socket.socket]
    ) -> None:
        asked: list[int] = []

        def hosts(_hosts: object, port: int, *, skip_absent: bool) -> module.Sockets:
            assert skip_absent
            asked.append(port)
            if port == PORT:
                place = "tcp 127.0.0.1:600"
                raise CannotServe(place, OSError(errno.EACCES, "Permission denied"))
            return module.Sockets(port=port)

        monkeypatch.setattr(module, "bind_hosts", hosts)
        found = bind_service(Config(state=tmp_path))
        closing += found.bound
        assert asked == [PORT, UNPRIVILEGED_PORT]
        assert (found.port, found.fell_back) == (UNPRIVILEGED_PORT, True)

    def test_a_port_that_was_asked_for_is_had_or_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def hosts(_hosts: object, _port: int, *, skip_absent: bool) -> module.Sockets:
            del skip_absent
            place = "tcp 127.0.0.1:600"
            raise CannotServe(place, OSError(errno.EACCES, "Permission denied"))

        monkeypatch.setattr(module, "bind_hosts", hosts)
        with pytest.raises(CannotServe):
            bind_service(Config(state=tmp_path, port=600))

    def test_the_local_socket_is_open_to_every_user_because_the_kernel_names_them(
        self, tmp_path: Path, closing: list[socket.socket]
    ) -> None:
        config = Config(state=tmp_path / "a:b" / "new", port=0, listen=("127.0.0.1",))
        found = bind_service(config)
        closing += found.bound
        assert [sock.family for sock in found.bound] == [socket.AF_INET, socket.AF_INET, socket.AF_UNIX]
        assert stat.S_IMODE(config.socket_path.stat().st_mode) == 0o666

    def test_what_a_killed_server_left_is_replaced(self, tmp_path: Path, closing: list[socket.socket]) -> None:
        config = Config(state=tmp_path, port=0, listen=("127.0.0.1",))
        bind_service(config).close()
        closing += bind_service(config).bound

    def test_a_living_servers_local_socket_is_not(self, tmp_path: Path, closing: list[socket.socket]) -> None:
        config = Config(state=tmp_path, port=0, listen=("127.0.0.1",))
        closing += bind_service(config).bound
        closing[-1].listen()
        with pytest.raises(CannotServe, match="another server listens there"):
            bind_service(config)

    def test_nor_is_a_file_that_is_no_socket(self, tmp_path: Path) -> None:
        (tmp_path / "ipcserver.sock").write_text("precious")
        with pytest.raises(CannotServe, match="no socket"):
            bind_service(Config(state=tmp_path, port=0, listen=("127.0.0.1",)))
        assert (tmp_path / "ipcserver.sock").read_text() == "precious"


class TestSocketActivation:
    """sd_listen_fds(3): systemd passes sockets from descriptor 3 on."""

    def test_passed_sockets_take_the_place_of_the_configured_ones(self, tmp_path: Path) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        ):
            datagrams.bind(("127.0.0.1", stream.getsockname()[1]))
            script = (
                "import os, sys; from pathlib import Path; os.environ['LISTEN_PID'] = str(os.getpid());"
                "from ipcserver.bind import bind_service; from ipcserver.config import Config;"
                "found = bind_service(Config(state=Path(sys.argv[1]), port=1));"
                "print(found.port, [sock.type.name for sock in found.bound], 'LISTEN_FDS' in os.environ)"
            )

            def pass_them() -> None:
                first, second = os.dup(stream.fileno()), os.dup(datagrams.fileno())
                os.dup2(first, 3)
                os.dup2(second, 4)

            done = subprocess.run(
                [sys.executable, "-c", script, str(tmp_path)],
                preexec_fn=pass_them,
                close_fds=False,
                env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "tcp:udp"},
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            port = stream.getsockname()[1]
        assert done.stdout.strip() == f"{port} ['SOCK_STREAM', 'SOCK_DGRAM', 'SOCK_STREAM'] False"
