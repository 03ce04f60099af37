"""Known attacks on rpcbind, against ours: goals S3, S4, S12, A2, A6, A15 and A18."""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import peers
from tests.interop.rpcbind.conftest import Machine, start_registry
from tests.interop.rpcbind.test_behaviour import FALSE, TRUE, call, pmap, rpcb, text

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER = "10.9.8.1"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Ours on a machine with a network, whose callers are strangers."""
    with peers.namespace(tmp_path_factory.mktemp("attacked")) as space:
        space.run("ip", "link", "add", "net0", "type", "veth", "peer", "name", "net1")
        space.run("ip", "addr", "add", f"{OTHER}/24", "dev", "net0")
        space.run("ip", "link", "set", "net0", "up")
        space.run("ip", "link", "set", "net1", "up")
        yield start_registry(space, "ours")


def resident(machine: Machine) -> int:
    """Return the registry's memory in KiB."""
    status = Path(f"/proc/{machine.registry.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])


def is_well(machine: Machine) -> None:
    """Check that the registry answers within a second."""
    start = time.monotonic()
    assert machine.raw(call("udp", 2, 3, pmap(100000, 2, 17, 0)))[0].endswith("0000006f")
    assert time.monotonic() - start < 5  # the start of an interpreter on a busy machine is in it


def test_strangers_get_no_datagram_longer_than_their_own(ours: Machine) -> None:
    """Debian's rpcbind answers 40 bytes of DUMP with 684, when its table is empty."""
    ours.raw(*(call("local", 4, 1, rpcb(450000 + n, 1, "tcp", "0.0.0.0.4.1")) for n in range(50)))
    requests = [
        call("udp", version, procedure, rpcb(100000, 4, "tcp") if procedure in (3, 9, 11) else "", host=OTHER, wait=0.5)
        for version, procedures in ((2, (0, 4)), (3, (0, 3, 4, 6)), (4, (0, 3, 4, 6, 9, 11, 12)))
        for procedure in procedures
    ]
    for request, answer in zip(requests, ours.raw(*requests), strict=True):
        sent = 40 + len(request["arguments"]) // 2
        assert answer == "silence" or 8 + len(answer) // 2 <= sent, request
    dump = ours.raw(call("tcp", 4, 4, host=OTHER), call("udp", 4, 4))
    assert all(len(answer) > 4000 for answer in dump)  # over TCP, and to the machine itself, they are answered


def test_replies_are_not_answered(ours: Machine) -> None:
    reply = struct.pack(">6I", 0x1234, 1, 0, 0, 0, 0).hex()
    assert ours.raw({"kind": "udp", "data": reply, "wait": 0.5}) == ["silence"]


@pytest.mark.parametrize("kind", ["udp", "tcp", "local"])
def test_lengths_without_data_take_no_memory(ours: Machine, kind: str) -> None:
    """CVE-2017-8779 (rpcbomb): 60 bytes that made rpcbind allocate 4 GB and never give it back."""
    bombs = [
        call(kind, 4, 3, "000186a000000004" + "ffffffff"),
        call(kind, 4, 1, "000186a000000004" + "7ffffff0" + "00" * 8),
        call(kind, 4, 7, "fffffffc"),
        call(kind, 4, 8, "00000000" + "80000000"),
        call(kind, 2, 5, "000186a00000000200000000" + "ffffffff"),
    ]
    ours.raw(*bombs)
    before = resident(ours)
    answers = ours.raw(*(bombs * 20))
    garbage = "00" * 12 + "00000004"
    assert set(answers) == {garbage}
    assert resident(ours) - before < 1024
    is_well(ours)


def test_a_record_mark_of_two_gigabytes_is_refused_at_the_mark(ours: Machine) -> None:
    before = resident(ours)
    answers = ours.raw(*[{"kind": "tcp", "data": "ffffffff", "wait": 10.0}] * 32)
    assert set(answers) == {"closed"}
    assert resident(ours) - before < 1024
    is_well(ours)


def test_cut_datagrams_are_dropped(ours: Machine) -> None:
    whole = struct.pack(">10I", 0x1234, 0, 2, 100000, 4, 3, 0, 0, 0, 0) + bytes.fromhex(rpcb(100000, 4, "tcp"))
    ours.raw(*({"kind": "udp", "data": whole[:end].hex(), "repeat": 1} for end in range(0, len(whole), 3)))
    is_well(ours)


def test_one_user_cannot_fill_the_table(ours: Machine) -> None:
    """Debian's rpcbind grants 10,000 SETs to an unprivileged port, and grows slower with each."""
    before = resident(ours)
    answers = ours.raw(*(call("udp", 2, 1, pmap(460000 + n, 1, 17, 5000)) for n in range(1200)), uid=1000)
    assert answers[:900] == [TRUE] * 900
    assert answers[-100:] == [FALSE] * 100
    assert answers.count(TRUE) == 1000
    assert ours.raw(call("udp", 2, 1, pmap(470000, 1, 17, 5000)), uid=1001) == [TRUE]
    assert resident(ours) - before < 8 * 1024
    ours.raw(*(call("udp", 2, 2, pmap(460000 + n, 1, 17, 0)) for n in range(1000)), uid=1000)
    assert ours.raw(call("udp", 2, 1, pmap(460000, 1, 17, 5000)), uid=1000) == [TRUE]


def test_the_log_stays_short_however_many_are_refused(ours: Machine) -> None:
    before = ours.registry.output.count("\n")
    forged = call("udp", 2, 1, pmap(480000, 1, 17, 5000), host=OTHER, source=[OTHER, 700], repeat=5000)
    assert ours.raw(forged) == ["sent"]
    is_well(ours)
    assert ours.registry.output.count("\n") - before < 60
    assert ours.rows(480_000) == []


def test_idle_connections_do_not_keep_others_out(ours: Machine) -> None:
    requests: list[dict[str, Any]] = [call("tcp", 4, 0, hold=300), call("tcp", 2, 3, pmap(100000, 2, 17, 0))]
    start = time.monotonic()
    answers = ours.raw(*requests)
    assert answers[1].endswith("0000006f")
    assert time.monotonic() - start < 20


def test_calls_to_be_passed_on_reach_nobody(ours: Machine) -> None:
    """CVE-1999-0168 and its kin: the registry as a proxy that makes strangers local."""
    forged_set = struct.pack(">3I", 100000, 2, 1) + text(bytes.fromhex(pmap(490000, 1, 17, 5000)))
    answers = ours.raw(
        call("udp", 2, 5, forged_set.hex(), wait=0.5),
        call("udp", 4, 5, forged_set.hex(), host=OTHER, wait=0.5),
        call("udp", 4, 10, forged_set.hex(), host=OTHER),
    )
    assert answers == ["silence", "silence", "000000010000000100000005"]
    assert ours.rows(490_000) == []


def test_a_scan_of_programs_does_not_make_the_statistics_grow(ours: Machine) -> None:
    ours.raw(*(call("udp", 2, 3, pmap(n, 1, 17, 0)) for n in range(600)))
    before = resident(ours)
    ours.raw(*(call("udp", 2, 3, pmap(1000 + n, 1, 17, 0)) for n in range(3000)))
    assert resident(ours) - before < 1024
    assert len(bytes.fromhex(ours.raw(call("tcp", 4, 12))[0])) < 65536
