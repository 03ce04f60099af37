"""The steps of the tour, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ipcserver.demo.steps import (
    alignment,
    auth_sys,
    blocking,
    call,
    crash,
    getport,
    record_mark,
    registration,
    retransmission,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipcserver.demo.screens import Screen
    from ipcserver.demo.stage import Stage

__all__ = ["STEPS", "Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        title: What it is called.
        play: Does what the step shows, between its screens; what it makes, it closes, also when it is left early.
    """

    title: str
    play: Callable[[Stage], Iterator[Screen]]


STEPS: Final = (
    Step("A program registers", registration.play),
    Step("A client asks for the port", getport.play),
    Step("The record mark", record_mark.play),
    Step("A call, byte by byte", call.play),
    Step("XDR: alignment and padding", alignment.play),
    Step("A receive that waits", blocking.play),
    Step("A retransmission", retransmission.play),
    Step("AUTH_SYS proves nothing", auth_sys.play),
    Step("A crash", crash.play),
)
