"""The helpers that give tests their peers."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import peers

if TYPE_CHECKING:
    from pathlib import Path


def test_a_missing_peer_is_a_skip_here_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "IN_CI", False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program"):
        peers.require("no-such-program")
    monkeypatch.setattr(peers, "IN_CI", True)
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        peers.require("no-such-program")


def test_a_peer_that_is_there_lets_the_test_go_on() -> None:
    peers.require("sh")


def test_ci_installs_every_package_that_a_peer_comes_from() -> None:
    lines = (peers.ROOT / ".ci" / "packages").read_text().splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    assert set(peers.PACKAGES.values()) <= listed | {"libc-bin"}


def test_output_is_waited_for_and_kept(tmp_path: Path) -> None:
    script = "import time; print('first', flush=True); time.sleep(60)"
    with peers.Background([sys.executable, "-c", script], tmp_path / "log") as program:
        assert program.wait_for_output("first") == "first\n"
    assert program.process.returncode < 0


def test_a_program_that_ends_early_fails_the_wait_at_once(tmp_path: Path) -> None:
    with (
        peers.Background([sys.executable, "-c", "print('only this')"], tmp_path / "log") as program,
        pytest.raises(pytest.fail.Exception, match="only this"),
    ):
        program.wait_for_output("something else")


def test_a_namespace_has_ports_of_its_own(namespace: peers.Namespace) -> None:
    script = "import socket, time; s = socket.create_server(('127.0.0.1', 600)); time.sleep(60)"
    namespace.start(sys.executable, "-c", script)
    namespace.wait_for_port(600)
    assert namespace.ports("tcp") == {600}
    assert namespace.ports("udp") == set()


def test_the_real_rpcbind_runs_in_a_namespace(rpcbind_namespace: peers.Namespace) -> None:
    peers.require("rpcinfo")
    assert "portmapper" in rpcbind_namespace.run("rpcinfo", "-p").stdout


def test_what_ran_in_a_namespace_has_ended_with_it(tmp_path: Path) -> None:
    with peers.namespace(tmp_path) as made:
        background = made.start("sleep", "60")
    assert background.process.poll() is not None


def test_a_c_program_is_generated_compiled_and_linked(tmp_path: Path) -> None:
    (tmp_path / "toy.x").write_text("program TOY { version ONE { int ADD(int) = 1; } = 1; } = 0x20001234;\n")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "toy.h"\n'
        'int main(void) { void *stub = (void *)add_1; printf("%lx %d\\n", (long)TOY, stub != 0); return 0; }\n'
    )
    program = peers.compile_rpc_client(tmp_path, tmp_path / "toy.x", [tmp_path / "main.c"], "toy")
    assert subprocess.run([program], capture_output=True, check=True, text=True).stdout == "20001234 1\n"
