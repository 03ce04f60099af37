"""Makes the checks, one after the other, and keeps what came out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oncrpc.check import wire
from oncrpc.check.case import GROUPS, Case, Deviation, NotApplicable, Status
from oncrpc.check.probe import Probe, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Result", "Suite", "choose", "run_case"]


@dataclass(frozen=True, slots=True)
class Result:
    """How one check came out.

    Args:
        case: The check.
        status: Its verdict.
        sent: What was sent, one line for each message.
        expected: What the rule asks for; empty if it was met.
        got: What came instead, or in what way the rule was met.
        seconds: How long it took.
    """

    case: Case
    status: Status
    sent: tuple[str, ...] = ()
    expected: str = ""
    got: str = ""
    seconds: float = 0.0


def choose(cases: Iterable[Case], only: Sequence[str]) -> list[Case]:
    """The cases named by code ("RM-3") or group ("RM"), in their own order; all if nothing is named.

    Raises:
        ValueError: A name is neither.
    """
    cases = list(cases)
    wanted = [name.upper() for name in only]
    known = {case.code for case in cases} | set(GROUPS)
    if unknown := [name for name in wanted if name not in known]:
        msg = f"no check or group {', '.join(unknown)}; groups: {', '.join(GROUPS)}"
        raise ValueError(msg)
    return [case for case in cases if not wanted or case.code in wanted or case.group in wanted]


def run_case(case: Case, target: Target) -> Result:
    """Make one check against a server; nothing the server does raises."""
    probe = Probe(target)
    begun = time.monotonic()
    status, expected = Status.PASS, ""
    try:
        got = str(case.run(probe))
    except Deviation as deviation:
        status = Status.WARN if deviation.warn else Status.FAIL
        expected, got = deviation.expected, deviation.got
    except NotApplicable as reason:
        status, got = Status.SKIP, str(reason)
    except OSError as error:
        status, expected, got = Status.FAIL, "a connection", f"no connection: {error}"
    return Result(case, status, tuple(probe.sent), expected, got, time.monotonic() - begun)


class Suite:
    """A run over one server.

    Args:
        target: The server under test.
        cases: What to check.
        destructive: Make the destructive checks too.
    """

    def __init__(self, target: Target, cases: Sequence[Case], *, destructive: bool = False) -> None:
        self.target, self.cases, self.destructive = target, cases, destructive
        self.results: list[Result] = []

    def answers(self) -> str:
        """Why the checks cannot begin: what came instead of the answer to a NULL call; empty if it was answered.

        Any reply will do: a server that answers NULL wrongly is there to be checked.
        """
        outcome = Probe(self.target).alive()
        return "" if isinstance(outcome, wire.Reply) else str(outcome)

    def run(self, tell: Callable[[Result], None] = lambda _: None) -> list[Result]:
        """Make the checks; each result is told as soon as it is there.

        After a failure the server is asked whether it still answers; if not, the rest is skipped.
        """
        gone = ""
        for case in self.cases:
            if gone:
                result = Result(case, Status.SKIP, got=f"the server does not answer any more since {gone}")
            elif self.target.transport not in case.transports:
                result = Result(case, Status.SKIP, got=f"not over {self.target.transport}")
            elif case.destructive and not self.destructive:
                result = Result(case, Status.SKIP, got="destructive: only with --destructive")
            else:
                result = run_case(case, self.target)
                if result.status is Status.FAIL and self.answers():
                    gone = case.code
            self.results.append(result)
            tell(result)
        return self.results

    def count(self, status: Status) -> int:
        """How many checks came out so."""
        return sum(result.status is status for result in self.results)

    def passed(self, *, strict: bool = False) -> bool:
        """True if nothing failed (with strict: and nothing was warned of)."""
        return not self.count(Status.FAIL) and not (strict and self.count(Status.WARN))
