from __future__ import annotations

from oncrpc.observe import CallSeen, attributes
from oncrpc.program import Peer


def seen(**changes: object) -> CallSeen:
    call = CallSeen(1, 100003, 3, 7, "NFS", "NFS_READ", 1, Peer("192.0.2.1", 700), "tcp6", 9, 40, 0.0)
    for name, value in changes.items():
        setattr(call, name, value)
    return call


def test_calls_have_the_names_that_opentelemetry_gives_them() -> None:
    assert attributes(seen(outcome="SUCCESS")) == {
        "rpc.system.name": "onc_rpc",
        "onc_rpc.program.name": "NFS",
        "onc_rpc.version": 3,
        "onc_rpc.procedure.number": 7,
        "onc_rpc.procedure.name": "NFS_READ",
        "rpc.response.status_code": "SUCCESS",
        "network.transport": "tcp",
        "client.address": "192.0.2.1",
        "client.port": 700,
    }


def test_what_is_not_known_is_left_out() -> None:
    found = attributes(seen(program_name="", procedure_name="", peer=Peer("", 0), netid="local"))
    assert found == {
        "rpc.system.name": "onc_rpc",
        "onc_rpc.program.name": "100003",
        "onc_rpc.version": 3,
        "onc_rpc.procedure.number": 7,
        "network.transport": "unix",
    }
