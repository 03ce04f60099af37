from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from oncrpc.tx import sockets
from oncrpc.tx.sockets import (
    CannotServe,
    Endpoint,
    ServedAddress,
    address_of,
    netid_of,
    open_endpoints,
    parse_endpoint,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp:600", Endpoint("tcp", 600)),
        ("udp:600:interface=0.0.0.0", Endpoint("udp", 600, "0.0.0.0")),
        ("tcp:600:interface=::1", Endpoint("tcp", 600, "::1")),
        ("tcp:600:interface=\\:\\:1", Endpoint("tcp", 600, "::1")),
        ("tcp:600:interface=[::1]", Endpoint("tcp", 600, "::1")),
        ("tcp:600:interface=fe80::1:backlog=5", Endpoint("tcp", 600, "fe80::1", backlog=5)),
        ("tcp6:600", Endpoint("tcp", 600, "::1")),
        ("tcp:port=600:interface=::", Endpoint("tcp", 600, "::")),
        ("unix:/run/a.sock", Endpoint("unix", path="/run/a.sock")),
        ("unix:/run/a.sock:mode=660", Endpoint("unix", path="/run/a.sock", mode=0o660)),
        ("unix:/run/a\\:b.sock", Endpoint("unix", path="/run/a:b.sock")),
        ("systemd:domain=INET:index=1", Endpoint("systemd", index=1)),
    ],
)
def test_endpoint_strings_are_read_as_people_write_them(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text", ["", "tcp", "tcp:x", "tcp:70000", "tcp:-1", "sctp:600", "tcp:600:x=1:y", "unix", "tcp:1:2"]
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"endpoint|invalid literal"):
        parse_endpoint(text)


def test_nothing_is_said_about_the_interface_means_loopback() -> None:
    assert parse_endpoint("tcp:600").interface == parse_endpoint("udp:600").interface == "127.0.0.1"


def test_sockets_know_their_netid_and_address() -> None:
    opened = open_endpoints(["tcp:0", "udp:0", "tcp:0:interface=::1", "udp:0:interface=::1"])
    assert [netid_of(each) for each in opened] == ["tcp", "udp", "tcp6", "udp6"]
    address = address_of(opened[0])
    assert (address.netid, address.host) == ("tcp", "127.0.0.1")
    assert str(address) == f"tcp 127.0.0.1:{address.port}"
    assert str(address_of(opened[2])).startswith("tcp6 [::1]:")
    assert str(ServedAddress("local", "", 0, "/x")) == "local /x"
    for each in opened:
        each.close()


def test_all_endpoints_are_opened_or_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotServe) as caught:
            open_endpoints(["tcp:0", f"tcp:{port}"])
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "ss -tlnp" in str(caught.value)


def test_a_privileged_port_is_named_to_those_who_may_not_have_it() -> None:
    _hint = sockets._hint
    assert "CAP_NET_BIND_SERVICE" in _hint(Endpoint("tcp", 600), PermissionError(13, "Permission denied"))
    assert "bindresvport" in _hint(Endpoint("tcp", 600), OSError(98, "Address already in use"))
    assert "bindresvport" not in _hint(Endpoint("tcp", 6000), OSError(98, "Address already in use"))


class TestLocalSockets:
    def test_the_file_has_the_mode_that_was_asked_for(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        (opened,) = open_endpoints([f"unix:{path}:mode=620"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o620
        opened.close()

    def test_a_file_that_a_killed_server_left_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        (left,) = open_endpoints([f"unix:{path}"])
        left.close()
        assert path.exists()
        (opened,) = open_endpoints([f"unix:{path}"])
        opened.close()

    def test_a_file_that_somebody_listens_on_is_not(self, tmp_path: Path) -> None:
        (opened,) = open_endpoints([f"unix:{tmp_path / 's'}"])
        with pytest.raises(CannotServe, match="another server"):
            open_endpoints([f"unix:{tmp_path / 's'}"])
        opened.close()

    def test_a_file_that_is_no_socket_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        path.write_text("precious")
        with pytest.raises(CannotServe):
            open_endpoints([f"unix:{path}"])
        assert path.read_text() == "precious"


def test_systemd_passes_sockets_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        passed = os.dup(listening.fileno())
    monkeypatch.setattr(sockets, "passed_descriptors", lambda: [passed])
    (opened,) = open_endpoints(["systemd:domain=INET:index=0"])
    assert address_of(opened).port == port
    assert not opened.get_inheritable()
    opened.close()
    with pytest.raises(CannotServe, match="systemd passed 1"):
        open_endpoints(["systemd:index=3"])
