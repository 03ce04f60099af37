"""``oncrpc check`` against real servers: libtirpc's in each of its ways, rpcbind, and our own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oncrpc.check.case import Status
from oncrpc.check.groups import all_cases
from oncrpc.check.probe import Target
from oncrpc.check.runner import Suite
from tests.oncrpc.libtirpc import c_server
from tests.peers import Background

if TYPE_CHECKING:
    from tests.peers import Namespace

ONCRPC = Path(sys.executable).parent / "oncrpc"

# What libtirpc does wrong everywhere: silence or a closed connection for other RPC versions and for headers too big;
# credentials are not looked at closely.
ALWAYS = {"HD-3": "fail", "HD-4": "fail", "AU-13": "warn", "AU-14": "warn", "XD-3": "warn", "XD-4": "warn"}
# Its blocking mode reads a record to its end before anything else, and takes an empty fragment for the end.
BLOCKING = ALWAYS | dict.fromkeys(["RM-5", "RM-6", "RM-14", "RB-1"], "fail")
# Its non-blocking mode takes every fragment for a whole record.
NON_BLOCKING = ALWAYS | dict.fromkeys(["RM-2", "RM-3", "RM-4", "RM-5", "RM-6", "RM-8"], "fail")
# By datagram it decodes beyond the end, into what an earlier datagram left in the buffer.
DATAGRAMS = ALWAYS | dict.fromkeys(["HD-7", "AU-15", "XD-7", "XD-8"], "fail")


def unlike_the_rules(suite: Suite) -> dict[str, str]:
    return {
        result.case.code: result.status.value for result in suite.results if result.status in (Status.FAIL, Status.WARN)
    }


@pytest.mark.parametrize(
    ("transport", "max_record", "expected"),
    [("tcp", 0, BLOCKING), ("tcp", 65536, NON_BLOCKING), ("udp", 0, DATAGRAMS)],
    ids=["tcp, blocking", "tcp, non-blocking", "udp"],
)
def test_libtirpc_is_noticed_for_what_it_is(
    tmp_path: Path, transport: str, max_record: int, expected: dict[str, str]
) -> None:
    with c_server(tmp_path, max_record=max_record) as server:
        port = server.tcp if transport == "tcp" else server.udp
        kind: Any = transport
        target = Target(kind, "127.0.0.1", port, 0x20000601, 1, wait=3, argument_procedures=(1, 2, 3))
        suite = Suite(target, all_cases())
        suite.run()
    assert unlike_the_rules(suite) == expected
    assert suite.count(Status.PASS) >= 40


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rpcbind_is_found_by_its_own_port_and_checked(rpcbind_namespace: Namespace, transport: str) -> None:
    done = rpcbind_namespace.run(
        ONCRPC, "check", "127.0.0.1", "100000", "2", f"--{transport}", "--json", check=False, timeout=120
    )
    report = json.loads(done.stdout)
    assert report["target"] == f"{transport}:127.0.0.1:111"
    failed = {result["code"] for result in report["results"] if result["status"] == "fail"}
    # rpcbind serves versions 2 to 4, in non-blocking mode.
    expected = {
        "tcp": {"RM-2", "RM-3", "RM-4", "RM-5", "RM-6", "RM-8", "HD-3", "HD-4"},
        "udp": {"HD-3", "HD-4", "HD-7", "AU-15"},
    }
    assert failed == expected[transport]


OURS = """
import sys

from oncrpc.tx.reactor import install

reactor = install()

from oncrpc import program
from oncrpc.tx.service import RPCService
from tests.oncrpc.sample import PROCEDURES


class Sample(program.Program):
    program = 0x20000601
    version = 1
    procedures = PROCEDURES[:3]

    def sample_null(self, call):
        return None

    def sample_echo(self, call, data):
        return data

    def sample_add(self, call, pair):
        return pair.a + pair.b


service = RPCService([Sample()], ["tcp:0:interface=127.0.0.1", "udp:0:interface=127.0.0.1"])
service.privilegedStartService()
service.startService()
print("ports", *[address.port for address in service.addresses], flush=True)
from twisted.internet import reactor

reactor.run()
"""


def test_our_own_server_passes_everything_destructive_checks_included(tmp_path: Path) -> None:
    with Background([sys.executable, "-c", OURS], tmp_path / "log", cwd=Path(__file__).parents[2]) as ours:
        line = next(line for line in ours.wait_for_output("ports ").splitlines() if line.startswith("ports "))
        tcp, udp = map(int, line.split()[1:])
        for transport, port in (("tcp", tcp), ("udp", udp)):
            kind: Any = transport
            target = Target(kind, "127.0.0.1", port, 0x20000601, 1, wait=5, argument_procedures=(1, 2))
            suite = Suite(target, all_cases(), destructive=True)
            suite.run()
            # Padding in credentials is not looked at, as C servers do not.
            assert set(unlike_the_rules(suite)) <= {"XD-3"}, [
                (result.case.code, result.got) for result in suite.results if result.status is Status.FAIL
            ]
