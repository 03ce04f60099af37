"""How a client's calls are made: what it does while the server is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipcserver.client import connect
from oncrpc.errors import RPCError
from tests.ipcserver.serving import Serving

if TYPE_CHECKING:
    from pathlib import Path


def test_the_pauses_between_tries_are_short_beside_the_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is back counts the lease anew: the client must be back within it."""
    pauses: list[float] = []
    with Serving(tmp_path, "--journal", "memory", "--limit", "lease_ms=1000") as server:
        ipc = connect(server.tcp, patience=0.3)
        server.kill()
        monkeypatch.setattr("ipcserver.calls.time.sleep", pauses.append)
        with pytest.raises((OSError, RPCError)):
            ipc.info()
        ipc.close()
    assert max(pauses) == 0.25
