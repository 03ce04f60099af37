"""The other ways to start a server: twistd, systemd's sockets, root that becomes somebody else, an ordinary user."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ipcserver.client import connect
from tests.ipcserver.serving import IPCSERVER, Serving, served_port
from tests.peers import ROOT, Background, environment, require, wait_until

if TYPE_CHECKING:
    from tests.peers import Namespace

LAUNCH = """
import os, sys
for number, descriptor in enumerate(map(int, sys.argv[1].split(",")), 3):
    os.dup2(descriptor, number)
names = ":".join(["ipcserver.socket"] * (number - 2))
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(number - 2), LISTEN_FDNAMES=names)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does between fork and exec."""


def converse(address: str) -> None:
    """Send a message and take it out again."""
    with connect(address) as ipc:
        queue = ipc.msgget(0x51, create=True)
        queue.send(b"hello", 3)
        assert queue.receive(3).text == b"hello"


def passed_descriptors(*sockets: socket.socket) -> list[int]:
    """Copy sockets to inheritable descriptors that are out of the way of 3, 4, 5."""
    numbers = [700 + offset for offset in range(len(sockets))]
    for number, sock in zip(numbers, sockets, strict=True):
        os.dup2(sock.fileno(), number)
        sock.close()
    return numbers


def a_state_for_nobody(namespace: Namespace, directory: Path) -> pwd.struct_passwd:
    """Make a state directory that nobody owns, and let nobody reach it, the interpreter and the checkout."""
    nobody = pwd.getpwnam("nobody")
    directory.chmod(0o755)
    namespace.share(directory, Path(sys.base_prefix), Path(sys.prefix), ROOT)
    (directory / "state").mkdir()
    os.chown(directory / "state", nobody.pw_uid, nobody.pw_gid)
    return nobody


def test_twistd_runs_the_same_server(tmp_path: Path) -> None:
    state = tmp_path / "state"
    arguments = [
        str(Path(sys.executable).parent / "twistd"),
        "--nodaemon",
        "--pidfile=",
        "ipcserver",
        f"--state={state}",
    ]
    options = ["--port=0", "--listen=127.0.0.1", "--portmapper=none"]
    with Background([*arguments, *options], tmp_path / "log", cwd=tmp_path) as background:
        converse(f"tcp:127.0.0.1:{served_port(background)}")
        assert background.stop() == -signal.SIGTERM, "twistd ends itself with the signal that stopped it"
        assert "nothing that was acknowledged is lost" in background.output


def test_sockets_that_systemd_passes_are_served_and_it_is_told_when(tmp_path: Path) -> None:
    stream = socket.create_server(("127.0.0.1", 0))
    port = stream.getsockname()[1]
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagram.bind(("127.0.0.1", port))
    local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    local.bind(str(tmp_path / "local"))
    local.listen()
    descriptors = passed_descriptors(stream, datagram, local)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        inner = [*IPCSERVER, "serve", "--state", str(tmp_path / "state"), "--portmapper", "none"]
        try:
            process = Background(
                [sys.executable, "-c", LAUNCH, ",".join(map(str, descriptors)), *inner],
                tmp_path / "log",
                env=environment(NOTIFY_SOCKET=str(tmp_path / "notify")),
                pass_fds=descriptors,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        with process:
            assert served_port(process) == port
            assert manager.recv(100) == b"READY=1"
            for address in (f"tcp:127.0.0.1:{port}", f"unix:{tmp_path / 'local'}"):
                converse(address)
            with connect(f"udp:127.0.0.1:{port}", session=False) as ipc:
                assert ipc.info().queues.used == 1
            assert process.stop() == 0
            assert manager.recv(100) == b"STOPPING=1"
    assert (tmp_path / "local").exists(), "systemd's socket is systemd's to remove"


def test_root_binds_port_600_and_becomes_another_user(namespace: Namespace, tmp_path: Path) -> None:
    nobody = a_state_for_nobody(namespace, tmp_path)
    server = Serving(tmp_path, "--user", "nobody", "--portmapper", "builtin", namespace=namespace)
    server.start()
    assert server.port == 600
    wait_until(lambda: 111 in namespace.ports(), "the portmapper")
    status = Path(f"/proc/{server.process.process.pid}/status").read_text()
    ids = {line.split()[0]: line.split()[1:] for line in status.splitlines() if line.startswith(("Uid", "Gid"))}
    assert ids == {"Uid:": [str(nobody.pw_uid)] * 4, "Gid:": [str(nobody.pw_gid)] * 4}
    require("rpcinfo")
    assert "ready and waiting" in namespace.run("rpcinfo", "-T", "udp", "127.0.0.1", "536871512", "1").stdout
    assert server.stop() == 0


def test_an_ordinary_user_is_told_what_is_privileged_and_how_to_reach_the_server(
    namespace: Namespace, tmp_path: Path
) -> None:
    require("setpriv", "rpcinfo")
    nobody = a_state_for_nobody(namespace, tmp_path)
    who = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--inh-caps=-all"]
    background = namespace.start("setpriv", *who, *IPCSERVER, "serve", "--state", tmp_path / "state")
    assert served_port(background) == 6600
    output = background.wait_for_output("ipcs -H 127.0.0.1:6600")
    assert "600 and 111 are privileged" in output
    (command,) = [line[line.index("rpcinfo") :] for line in output.splitlines() if "  rpcinfo " in line]
    assert "ready and waiting" in namespace.run(*command.split()).stdout
    assert background.stop() == 0
