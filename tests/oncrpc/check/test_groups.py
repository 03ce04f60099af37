"""oncrpc.check.groups: every check passes on a right server and notices a wrong one."""

from __future__ import annotations

import pytest

from oncrpc.check.case import Case, Status
from oncrpc.check.groups import all_cases
from oncrpc.check.probe import Target
from oncrpc.check.runner import Suite, choose
from tests.oncrpc.check.wrong_servers import PROGRAM, VERSION, WRONG, RightServer

CASES = all_cases()


def target(server: RightServer, transport: str, wait: float = 0.6) -> Target:
    assert transport in {"tcp", "udp"}
    port = server.udp_port if transport == "udp" else server.port
    return Target(
        "udp" if transport == "udp" else "tcp", "127.0.0.1", port, PROGRAM, VERSION, wait=wait, argument_procedures=(1,)
    )


def test_codes_are_unique_and_belong_to_a_group() -> None:
    assert len({case.code for case in CASES}) == len(CASES)
    assert {case.group for case in CASES} == {"RM", "HD", "ER", "AU", "XD", "UD", "RB"}


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_right_server_passes_everything_without_a_warning(transport: str) -> None:
    with RightServer() as server:
        suite = Suite(target(server, transport, wait=5), CASES)
        suite.run()
    assert [
        (result.case.code, result.got) for result in suite.results if result.status in (Status.FAIL, Status.WARN)
    ] == []
    assert suite.count(Status.PASS) > 45


@pytest.mark.parametrize("wrong", WRONG, ids=lambda kind: kind.__name__)
def test_a_wrong_server_is_noticed_by_the_checks_for_it(wrong: type[RightServer]) -> None:
    with wrong() as server:
        for case in choose(CASES, sorted(wrong.fails)):
            suite = Suite(target(server, wrong.transport), [case])
            (result,) = suite.run()
            assert result.status in (Status.FAIL, Status.WARN), (case.code, result.got)
            assert result.expected
            assert result.got


def test_every_check_has_a_wrong_server_that_it_notices() -> None:
    noticed = {code for wrong in WRONG for code in wrong.fails}
    assert {case.code for case in CASES if not case.destructive} - noticed == set()


@pytest.mark.parametrize("case", [case for case in CASES if case.destructive], ids=lambda case: case.code)
def test_destructive_checks_are_made_only_on_request(case: Case) -> None:
    transport = "tcp" if "tcp" in case.transports else "udp"
    with RightServer() as server:
        (result,) = Suite(target(server, transport), [case]).run()
    assert result.status is Status.SKIP
