"""How long a lease is, told by the server itself: nothing here looks at a clock."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from ipcserver._gen import ipc as gen
from ipcserver.calls import ok
from ipcserver.hypers import to_hyper
from oncrpc import sync
from tests.peers import wait_until

if TYPE_CHECKING:
    from tests.ipcserver.serving import Serving

__all__ = ["SHORT", "wait_for_a_lease_to_end"]

SHORT: Final = ("--limit", "lease_ms=1000")
"""Arguments for a server whose leases are the shortest that it allows."""


def wait_for_a_lease_to_end(server: Serving) -> None:
    """Open a session that then stays silent, and wait until the server has ended it.

    Whoever's lease began before and was not renewed meanwhile has lost it too.
    """
    with sync.connect(gen.IPCPROG_1_SyncClient, server.tcp) as stub:
        nonce = to_hyper(secrets.randbits(62))
        hello = stub.ripc_hello(gen.ripc_hello_args(nonce, "silent", 1, flags=0, slots=1, lease_ms=0))
        session = ok(hello, "hello").ok.session
        context = gen.ripc_ctx(session, 0, 1, 1)
        new = stub.ripc_semget(gen.ripc_semget_args(context, gen.RIPC_PRIVATE, 1, gen.RIPC_CREAT, 0o600))
        id = ok(new, "semget").id
        context = gen.ripc_ctx(session, 0, 2, 1)
        up = gen.ripc_sembuf(0, 1, gen.RIPC_UNDO)
        assert stub.ripc_semop(gen.ripc_semop_args(context, id, 0, [up])) is gen.RIPC_OK
        wait_until(
            lambda: ok(stub.ripc_semgetval(gen.ripc_semnum_args(id, 0)), "GETVAL").sem.semval == 0,
            "the end of a silent session",
        )
