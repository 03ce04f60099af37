"""Every call with all combinations of good and bad arguments gives what the kernel gives, also to other users."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from tests.ipcserver.serving import Serving
from tests.peers import environment, require, require_root

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("getting", "sends", "receives", "controls", "operations", "set_controls", "removed", "empty")
USERS = (
    (),
    ("54321", "444"),
    ("54321", "222"),
    ("54321", "666"),
    ("54321", "0"),
    ("54321", "600", "own"),
    ("54321", "444", "own"),
    ("54321", "222", "own"),
)
FEW = (
    "echo 4 > /proc/sys/kernel/msgmni && echo '32000 1024000000 500 4' > /proc/sys/kernel/sem && exec \"$@\""  # semmni
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server whose local socket everybody may reach."""
    with TemporaryDirectory(dir="/tmp") as open_to_all:
        Path(open_to_all).chmod(0o755)
        arguments = ("--journal", "memory", "--limit", "semmns=1024000000", "--socket", f"{open_to_all}/socket")
        with Serving(tmp_path_factory.mktemp("server"), *arguments) as serving:
            serving.changes["socket"] = f"{open_to_all}/socket"
            yield serving


def _run(env: dict[str, str], *arguments: str | Path) -> list[str]:
    require("unshare")
    done = subprocess.run(
        [str(argument) for argument in arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
        env=env,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", KINDS)
def test_all_combinations_of_arguments_give_what_the_kernel_gives(
    library: Path, server: Serving, matrix: Path, kind: str
) -> None:
    require_root()
    preloaded = environment(LD_PRELOAD=str(library), IPCSERVER=server.changes["socket"])
    for user in USERS:
        if user and kind in {"removed", "empty"}:
            continue
        native = _run(environment(), "unshare", "--ipc", matrix, kind, *user)
        assert len(native) >= 8
        assert _run(preloaded, matrix, kind, *user) == native, user


def test_a_full_table_gives_what_the_kernel_gives(library: Path, matrix: Path, tmp_path: Path) -> None:
    require_root()
    native = _run(environment(), "unshare", "--ipc", "sh", "-c", FEW, "sh", matrix, "full")
    assert "3: ENOSPC ENOSPC" in native
    with Serving(tmp_path, "--journal", "memory", "--limit", "msgmni=4", "--limit", "semmni=4") as server:
        preloaded = environment(LD_PRELOAD=str(library), IPCSERVER=server.local)
        assert _run(preloaded, matrix, "full") == native
