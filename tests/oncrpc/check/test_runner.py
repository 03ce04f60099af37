"""oncrpc.check.runner: choosing checks, making them, and stopping when the server is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oncrpc.check.case import Case, Deviation, NotApplicable, Register, Status
from oncrpc.check.groups import all_cases
from oncrpc.check.probe import Target
from oncrpc.check.runner import Suite, choose, run_case
from tests.oncrpc.check.wrong_servers import PROGRAM, VERSION, RightServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from oncrpc.check.probe import Probe

NOBODY = Target("tcp", "127.0.0.1", 1, PROGRAM, VERSION, wait=0.2)


def case(run: Callable[[Probe], object], code: str = "ER-1", *, destructive: bool = False) -> Case:
    register = Register()
    register.case(code, "title", "RFC 5531, section 1", "quote", destructive=destructive)(run)
    return register.cases[0]


def raiser(error: Exception) -> Callable[[Probe], object]:
    def run(probe: Probe) -> object:
        probe.note("something", b"abcd")
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Deviation("this", "that"), Status.FAIL),
        (Deviation("this", "that", warn=True), Status.WARN),
        (NotApplicable("not here"), Status.SKIP),
        (ConnectionRefusedError("closed"), Status.FAIL),
    ],
)
def test_what_a_check_raises_is_its_verdict(error: Exception, status: Status) -> None:
    result = run_case(case(raiser(error)), NOBODY)
    assert result.status is status
    assert result.sent == ("something: 61626364",)


def test_what_a_check_returns_is_what_it_got() -> None:
    result = run_case(case(lambda probe: 42), NOBODY)
    assert (result.status, result.got, result.expected) == (Status.PASS, "42", "")


def test_checks_are_chosen_by_code_or_group_in_their_own_order() -> None:
    chosen = [one.code for one in choose(all_cases(), ["er-2", "UD", "ER-1"])]
    assert chosen[:2] == ["ER-1", "ER-2"]
    assert all(code.startswith("UD") for code in chosen[2:])
    assert choose(all_cases(), []) == all_cases()
    with pytest.raises(ValueError, match="XX"):
        choose(all_cases(), ["XX"])


def test_a_server_that_is_not_there_is_told_before_anything_is_checked() -> None:
    assert "refused" in Suite(NOBODY, all_cases()).answers()


def test_the_rest_is_skipped_when_the_server_is_gone() -> None:
    with RightServer() as server:
        target = Target("tcp", "127.0.0.1", server.port, PROGRAM, VERSION, wait=0.3)

        def kill(probe: Probe) -> object:
            server.__exit__(None, None, None)
            raise Deviation("to live", "it is dead")  # noqa: EM101, a verdict

        suite = Suite(target, [case(lambda probe: "ok"), case(kill, "ER-2"), case(lambda probe: "ok", "ER-3")])
        told: list[str] = []
        suite.run(lambda result: told.append(result.case.code))
    assert [result.status for result in suite.results] == [Status.PASS, Status.FAIL, Status.SKIP]
    assert "since ER-2" in suite.results[2].got
    assert told == ["ER-1", "ER-2", "ER-3"]
    assert not suite.passed()


def test_warnings_count_only_when_strict() -> None:
    with RightServer() as server:
        target = Target("tcp", "127.0.0.1", server.port, PROGRAM, VERSION)
        suite = Suite(target, [case(raiser(Deviation("a", "b", warn=True)))])
        suite.run()
    assert suite.passed()
    assert not suite.passed(strict=True)


def test_destructive_checks_are_made_when_asked_for() -> None:
    with RightServer() as server:
        target = Target("tcp", "127.0.0.1", server.port, PROGRAM, VERSION)
        made = [
            Suite(target, [case(lambda probe: "ok", destructive=True)], destructive=asked).run()[0].status
            for asked in (False, True)
        ]
    assert made == [Status.SKIP, Status.PASS]
