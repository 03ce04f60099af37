"""Who may change the table, and which calls are passed on: goals S2 and S12."""

from __future__ import annotations

import pytest

from rpcbind_reg.access import Caller, CallitPolicy, Origin, is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_exactly_the_machine_itself(host: str) -> None:
    assert is_loopback(host)
    assert Caller("udp", host, 700).may_change


@pytest.mark.parametrize("host", ["127.0.0.2", "10.0.0.1", "::2", "::ffff:127.0.0.2", "0.0.0.0", "junk"])
def test_everything_else_is_elsewhere(host: str) -> None:
    caller = Caller("udp", host, 700, 0)
    assert caller.origin is Origin.ELSEWHERE
    assert not caller.may_change


def test_a_port_below_1024_raises_no_rights() -> None:
    assert Caller("udp", "127.0.0.1", 700).owner == Caller("udp", "127.0.0.1", 7000).owner == "unknown"


def test_the_kernel_tells_the_owner() -> None:
    assert Caller("local", uid=0).owner == "superuser"
    assert Caller("local", uid=1000).owner == "1000"
    assert Caller("tcp", "127.0.0.1", 7000, 1000).owner == "1000"


def test_callers_are_written_for_the_log() -> None:
    assert str(Caller("local", uid=1000)) == "uid 1000 on the local socket"
    assert str(Caller("udp", "127.0.0.1", 700)) == "a user the system does not tell on port 700 of 127.0.0.1"
    assert str(Caller("udp", "10.0.0.9", 700)) == "port 700 of 10.0.0.9"


class TestCallit:
    """CALLIT, BCAST and INDIRECT."""

    def test_nothing_is_passed_on_unless_asked(self) -> None:
        assert not CallitPolicy().allows(100001, 0)

    def test_of_the_registry_itself_procedure_0_alone(self) -> None:
        assert CallitPolicy(enabled=True).allows(100000, 0)
        assert not any(CallitPolicy(enabled=True).allows(100000, number) for number in range(1, 13))

    @pytest.mark.parametrize(
        ("program", "procedure"), [(100003, 1), (100005, 1), (100005, 3), (100009, 1), (100017, 1), (100004, 3)]
    )
    def test_programs_that_trust_the_local_host_are_shut(self, program: int, procedure: int) -> None:
        assert not CallitPolicy(enabled=True).allows(program, procedure)

    def test_procedure_0_and_ordinary_programs_are_open(self) -> None:
        assert CallitPolicy(enabled=True).allows(100003, 0)
        assert CallitPolicy(enabled=True).allows(100002, 2)
