"""The checks, one module for each group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oncrpc.check.groups import (
    authentication,
    errors,
    headers,
    record_marking,
    robustness,
    udp,
    xdr_strictness,
)

if TYPE_CHECKING:
    from oncrpc.check.case import Case

__all__ = ["all_cases"]


def all_cases() -> list[Case]:
    """Every check there is, in the order in which they are made."""
    groups = (record_marking, headers, errors, authentication, xdr_strictness, udp, robustness)
    return [case for group in groups for case in group.register.cases]
