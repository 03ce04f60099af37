"""The sockets of a server: bound, not listening, and explained when they cannot be had."""

from __future__ import annotations

import errno
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipcserver import bind as module
from ipcserver.bind import BindError, bind_address, bind_hosts, bind_local, bind_service
from ipcserver.config import PORT, UNPRIVILEGED_PORT, Config


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

    def test_a_port_that_is_taken_is_named_with_who_may_hold_it(self, closing: list[socket.socket]) -> None:
        holder = bind_address("127.0.0.1", 0, socket.SOCK_DGRAM)
        closing.append(holder)
        port = holder.getsockname()[1]
        with pytest.raises(BindError) as caught:
            bind_address("127.0.0.1", port, socket.SOCK_DGRAM)
        assert caught.value.errno == errno.EADDRINUSE
        assert f"UDP port {port} on 127.0.0.1 is taken" in str(caught.value)
        assert "ss -lntup" in str(caught.value)

    def test_for_port_600_bindresvport_is_suspected(self) -> None:
        error = module._explain(OSError(errno.EADDRINUSE, "in use"), "::1", 600, "TCP")
        assert "bindresvport" in str(error)
        assert "/etc/bindresvport.blacklist" in str(error)

    def test_for_port_111_rpcbind_is_suspected(self) -> None:
        assert "rpcbind" in str(module._explain(OSError(errno.EADDRINUSE, "in use"), "::1", 111, "UDP"))

    @pytest.mark.parametrize("host", ["localhost", "256.1.1.1", "", "\u0130"])
    def test_a_text_that_is_no_address_is_refused(self, host: str) -> None:
        with pytest.raises(BindError, match="is not an IPv4 or IPv6 address"):
            bind_address(host or "x y", 0, socket.SOCK_STREAM)

    def test_nothing_stays_bound_when_one_address_fails(self, closing: list[socket.socket]) -> None:
        with pytest.raises(BindError):
            bind_hosts(["127.0.0.1", "192.0.2.1"], 0, skip_absent=False)

    def test_a_default_address_that_the_machine_lacks_is_left_out_and_noted(
        self, closing: list[socket.socket]
    ) -> None:
        found = bind_hosts(["127.0.0.1", "192.0.2.1"], 0, skip_absent=True)
        closing += found.bound
        assert len(found.bound) == 2
        assert found.notes == ["192.0.2.1 is not there on this machine; not served"]


class TestLocalSocket:
    """The path in the file system."""

    def test_it_is_open_to_every_user_because_the_kernel_names_them(
        self, tmp_path: Path, closing: list[socket.socket]
    ) -> None:
        closing.append(bind_local(tmp_path / "new" / "ipc.sock"))
        assert stat.S_IMODE((tmp_path / "new" / "ipc.sock").stat().st_mode) == 0o666

    def test_what_a_killed_server_left_is_replaced(self, tmp_path: Path, closing: list[socket.socket]) -> None:
        bind_local(tmp_path / "ipc.sock").close()
        closing.append(bind_local(tmp_path / "ipc.sock"))

    def test_a_living_servers_socket_is_not(self, tmp_path: Path, closing: list[socket.socket]) -> None:
        other = bind_local(tmp_path / "ipc.sock")
        closing.append(other)
        other.listen()
        with pytest.raises(BindError, match="another server is running"):
            bind_local(tmp_path / "ipc.sock")

    def test_nor_is_a_file_that_is_no_socket(self, tmp_path: Path) -> None:
        (tmp_path / "ipc.sock").write_text("precious")
        with pytest.raises(BindError, match="something else is there"):
            bind_local(tmp_path / "ipc.sock")
        assert (tmp_path / "ipc.sock").read_text() == "precious"


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
                message = "privileged"
                raise BindError(message, errno.EACCES)
            return module.Sockets(port=port)

        monkeypatch.setattr(module, "bind_hosts", hosts)
        found = bind_service(Config(state=tmp_path))
        closing += found.bound
        assert asked == [PORT, UNPRIVILEGED_PORT]
        assert found.port == UNPRIVILEGED_PORT

    def test_a_port_that_was_asked_for_is_had_or_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def hosts(_hosts: object, _port: int, *, skip_absent: bool) -> module.Sockets:
            message = "privileged"
            raise BindError(message, errno.EACCES)

        monkeypatch.setattr(module, "bind_hosts", hosts)
        with pytest.raises(BindError):
            bind_service(Config(state=tmp_path, port=600))

    def test_the_local_socket_comes_with_it(self, tmp_path: Path, closing: list[socket.socket]) -> None:
        found = bind_service(Config(state=tmp_path, port=0, listen=("127.0.0.1",)))
        closing += found.bound
        assert [sock.family for sock in found.bound] == [socket.AF_INET, socket.AF_INET, socket.AF_UNIX]
