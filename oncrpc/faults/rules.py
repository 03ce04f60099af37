"""Which calls are answered wrongly, and how: the rules of the fault server, as people write them.

A rule is words, in any order: which calls it is for, and what is done to their replies::

    proc=3 every=2 delay=0.5 duplicate
    nth=1 drop
    chance=0.1 cut=10

All rules that fit a call are applied, in their order. No I/O here, and no randomness but what is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from oncrpc.errors import AcceptStat, AuthStat

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FAULTS", "SELECTORS", "CallFacts", "Fault", "Rule", "parse_rule"]

SELECTORS: Final = {
    "prog": "N: program number",
    "vers": "N: version number",
    "proc": "N[,N...]: procedure numbers",
    "over": "tcp, udp or unix: the transport",
    "nth": "N: only the Nth of the calls that fit otherwise",
    "first": "N: only the first N of them",
    "after": "N: all but the first N of them",
    "every": "N: each Nth of them",
    "chance": "0..1: with this probability (see --seed)",
}
"""Words that say for which calls a rule is."""

FAULTS: Final = {
    "delay": "SECONDS: answer so much later",
    "drop": "never answer",
    "duplicate": "[N]: answer N times in all (2)",
    "hold": "answer only after the next call has been answered (replies in another order)",
    "fragment": "BYTES: cut the record into fragments of so many bytes",
    "empty-fragments": "[N]: N empty fragments before the data (1)",
    "dribble": "[SECONDS]: write single bytes, so long apart (0.01)",
    "wrong-xid": "answer with another xid",
    "status": "PROG_UNAVAIL, PROG_MISMATCH, PROC_UNAVAIL, GARBAGE_ARGS, SYSTEM_ERR or a number: this accept_stat",
    "versions": "LOW-HIGH: PROG_MISMATCH with this range",
    "rpc-mismatch": "[LOW-HIGH]: deny with RPC_MISMATCH (2-2)",
    "auth-error": "[STAT]: deny with AUTH_ERROR and this auth_stat, by name or number (AUTH_TOOWEAK)",
    "reply-stat": "N: a reply_stat that does not exist (2)",
    "as-call": "send the reply with msg_type CALL",
    "verifier": "BYTES: a verifier of so many bytes; over 400 is wrong",
    "truncate": "BYTES: only so many bytes of the reply, rightly framed",
    "oversize": "BYTES: so many zero bytes more than there should be",
    "announce": "BYTES: a record mark that says so many bytes, whatever follows",
    "garbage": "[BYTES]: random bytes instead of a reply (64)",
    "cut": "[BYTES]: close the connection after so many bytes of the answer (0)",
    "reset": "close the connection with RST, without an answer",
}
"""Words that say what is done."""

_DEFAULTS: Final = {
    "duplicate": "2",
    "empty-fragments": "1",
    "dribble": "0.01",
    "rpc-mismatch": "2-2",
    "auth-error": "AUTH_TOOWEAK",
    "reply-stat": "2",
    "garbage": "64",
    "cut": "0",
}
_PLAIN: Final = {"drop", "hold", "wrong-xid", "as-call", "reset"}
_SECONDS: Final = {"delay", "dribble"}
_RANGES: Final = {"versions", "rpc-mismatch"}

LONGEST_WAIT: Final = 86_400.0
MOST_BYTES: Final = 0x7FFFFFFF
MOST_COPIES: Final = 1000


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What a rule can ask of a call.

    Args:
        xid: Transaction identifier.
        program: Program number.
        version: Version number.
        procedure: Procedure number.
        over: "tcp", "udp" or "unix".
    """

    xid: int
    program: int
    version: int
    procedure: int
    over: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is done to a reply.

    Args:
        name: A key of FAULTS.
        amount: Seconds, bytes, copies or a status, as the name asks for.
        low: Of a range of versions.
        high: Likewise.
    """

    name: str
    amount: float = 0
    low: int = 0
    high: int = 0

    @property
    def count(self) -> int:
        """The amount as a whole number."""
        return int(self.amount)

    def __str__(self) -> str:
        """As it was written, more or less."""
        if self.name in _PLAIN:
            return self.name
        return f"{self.name}={self.low}-{self.high}" if self.name in _RANGES else f"{self.name}={self.amount:g}"


@dataclass(slots=True)
class Rule:
    """One rule, with its count of the calls that fitted.

    Args:
        text: As written.
        faults: What is done.
        programs: Program numbers; empty fits all. The next three likewise.
        versions: Version numbers.
        procedures: Procedure numbers.
        over: Transport; empty fits all.
        nth: Only this one of the calls that fit; 0 is any. The next three likewise.
        first: Only so many.
        after: Only behind so many.
        every: Only each so-manieth.
        chance: Probability.
    """

    text: str
    faults: tuple[Fault, ...] = ()
    programs: tuple[int, ...] = ()
    versions: tuple[int, ...] = ()
    procedures: tuple[int, ...] = ()
    over: str = ""
    nth: int = 0
    first: int = 0
    after: int = 0
    every: int = 0
    chance: float = 1.0
    seen: int = field(default=0, init=False)

    def applies(self, call: CallFacts, random: Callable[[], float]) -> bool:
        """Whether the rule is for this call; counts it if it fits.

        Args:
            call: The call.
            random: Gives a number from 0 to 1.
        """
        if (
            (self.programs and call.program not in self.programs)
            or (self.versions and call.version not in self.versions)
            or (self.procedures and call.procedure not in self.procedures)
            or (self.over and call.over != self.over)
        ):
            return False
        self.seen += 1
        if (
            (self.nth and self.seen != self.nth)
            or (self.first and self.seen > self.first)
            or (self.after and self.seen <= self.after)
            or (self.every and self.seen % self.every)
        ):
            return False
        return self.chance >= 1.0 or random() < self.chance


def parse_rule(text: str) -> Rule:
    """Read a rule.

    Raises:
        ValueError: A word is unknown or its value does not fit; the message says what was expected.
    """
    rule, faults = Rule(text), []
    for word in text.split():
        name, equals, value = word.partition("=")
        if name in SELECTORS:
            _select(rule, name, value)
        elif name in FAULTS:
            faults.append(_fault(name, value if equals else _DEFAULTS.get(name, "")))
        else:
            msg = f"{word!r} is neither a selector ({', '.join(SELECTORS)}) nor a fault ({', '.join(FAULTS)})"
            raise ValueError(msg)
    if not faults:
        msg = f"the rule {text!r} does nothing: give it a fault ({', '.join(FAULTS)})"
        raise ValueError(msg)
    rule.faults = tuple(faults)
    return rule


def _number(name: str, value: str, least: int, most: int) -> int:
    try:
        number = int(value, 0)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        msg = f"{name}={value}: a whole number from {least} to {most} is needed"
        raise ValueError(msg)
    return number


def _fraction(name: str, value: str, most: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        msg = f"{name}={value}: a number from 0 to {most:g} is needed"
        raise ValueError(msg)
    return number


def _select(rule: Rule, name: str, value: str) -> None:
    match name:
        case "prog":
            rule.programs = tuple(_number(name, each, 0, 0xFFFFFFFF) for each in value.split(","))
        case "vers":
            rule.versions = tuple(_number(name, each, 0, 0xFFFFFFFF) for each in value.split(","))
        case "proc":
            rule.procedures = tuple(_number(name, each, 0, 0xFFFFFFFF) for each in value.split(","))
        case "over":
            if value not in ("tcp", "udp", "unix"):
                msg = f"over={value}: tcp, udp or unix is needed"
                raise ValueError(msg)
            rule.over = value
        case "chance":
            rule.chance = _fraction(name, value, 1.0)
        case _:
            setattr(rule, name, _number(name, value, 1, MOST_BYTES))


def _fault(name: str, value: str) -> Fault:
    if name in _PLAIN:
        if value:
            msg = f"{name}={value}: it takes no value"
            raise ValueError(msg)
        return Fault(name)
    if name in _SECONDS:
        return Fault(name, _fraction(name, value, LONGEST_WAIT))
    if name in _RANGES:
        low, _, high = value.partition("-")
        return Fault(name, low=_number(name, low, 0, 0xFFFFFFFF), high=_number(name, high or low, 0, 0xFFFFFFFF))
    if name == "status":
        return Fault(name, _named(name, value, AcceptStat))
    if name == "auth-error":
        return Fault(name, _named(name, value, AuthStat))
    least = 1 if name in ("fragment", "duplicate") else 0
    return Fault(name, _number(name, value, least, MOST_COPIES if name == "duplicate" else MOST_BYTES))


def _named(name: str, value: str, kind: type[AcceptStat | AuthStat]) -> int:
    known = {member.name: int(member) for member in kind}
    if value.upper() in known:
        return known[value.upper()]
    if value.isdigit():
        return _number(name, value, 0, 0xFFFFFFFF)
    msg = f"{name}={value}: {', '.join(known)} or a number is needed"
    raise ValueError(msg)
