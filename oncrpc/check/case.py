"""What a check is, and the register of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from oncrpc.check.probe import Probe

__all__ = ["GROUPS", "STREAMS", "Case", "Deviation", "NotApplicable", "Register", "Status"]

GROUPS: Final = {
    "RM": "record marking",
    "HD": "headers",
    "ER": "errors",
    "AU": "authentication",
    "XD": "XDR strictness",
    "UD": "UDP",
    "RB": "robustness",
}

STREAMS: Final = frozenset({"tcp", "unix"})
EVERYWHERE: Final = frozenset({"tcp", "unix", "udp"})
DATAGRAMS: Final = frozenset({"udp"})


class Status(Enum):
    """How a check came out."""

    PASS = "pass"  # noqa: S105, not a password
    FAIL = "fail"
    """The server does not do what the quoted sentence says."""
    WARN = "warn"
    """Lawful, but it costs clients or users something; a failure only with ``--strict``."""
    SKIP = "skip"
    """Not for this transport, or not asked for."""


class Deviation(Exception):
    """The server did something else than expected.

    Args:
        expected: What the rule asks for.
        got: What happened.
        warn: Lawful all the same.
    """

    def __init__(self, expected: str, got: object, *, warn: bool = False) -> None:
        super().__init__(expected, got)
        self.expected, self.got, self.warn = expected, str(got), warn


class NotApplicable(Exception):
    """The check cannot be made here; the text says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One check.

    Args:
        code: Stable code: group, hyphen, number. A code is never given to another check.
        title: What must hold, as a sentence.
        section: Where the rule stands, as "RFC 5531, section 11".
        quote: The sentence of the RFC, verbatim; or our reason, where the rule is good practice.
        transports: Where it applies.
        destructive: It may take memory, descriptors or service from others; made only on request.
        run: Makes the check; returns what was got in words, or raises Deviation or NotApplicable.
    """

    code: str
    title: str
    section: str
    quote: str
    transports: frozenset[str]
    destructive: bool
    run: Callable[[Probe], object]

    @property
    def group(self) -> str:
        """The group's two letters."""
        return self.code.partition("-")[0]


class Register:
    """The checks of one group, in the order of their codes."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def case(
        self,
        code: str,
        title: str,
        section: str,
        quote: str,
        *,
        transports: frozenset[str] = EVERYWHERE,
        destructive: bool = False,
    ) -> Callable[[Callable[[Probe], object]], Callable[[Probe], object]]:
        """Make a function a check; the arguments are those of Case."""

        def add(run: Callable[[Probe], object]) -> Callable[[Probe], object]:
            self.cases.append(Case(code, title, section, quote, transports, destructive, run))
            return run

        return add
