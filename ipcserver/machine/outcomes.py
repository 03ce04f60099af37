"""Outcomes: results of ipc.x, and how each kind of call is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ipcserver._gen.ipc import (
    ripc_hello_res,
    ripc_hello_res_default,
    ripc_id_res,
    ripc_id_res_default,
    ripc_int_res,
    ripc_int_res_default,
    ripc_msgrcv_res,
    ripc_msgrcv_res_default,
    ripc_stamp_res,
    ripc_stamp_res_default,
    ripc_status,
    ripc_word_res,
    ripc_word_res_default,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "hello_refusal",
    "id_refusal",
    "int_refusal",
    "msgrcv_refusal",
    "stamp_refusal",
    "status_refusal",
    "word_refusal",
]

if TYPE_CHECKING:
    Outcome: TypeAlias = (
        ripc_status | ripc_id_res | ripc_msgrcv_res | ripc_int_res | ripc_word_res | ripc_stamp_res | ripc_hello_res
    )
    """What a command comes to: the result that goes on the wire."""

    Refusal: TypeAlias = Callable[[ripc_status], Outcome]
    """Makes the result of a call that is refused with a status."""

# Refusals are values that nobody changes: one of each is enough, and waits end with them by the thousand.
_STATUS = {status: status for status in ripc_status}
_ID = {status: ripc_id_res_default(status) for status in ripc_status}
_MSGRCV = {status: ripc_msgrcv_res_default(status) for status in ripc_status}
_INT = {status: ripc_int_res_default(status) for status in ripc_status}
_WORD = {status: ripc_word_res_default(status) for status in ripc_status}
_HELLO = {status: ripc_hello_res_default(status) for status in ripc_status}
_STAMP = {status: ripc_stamp_res_default(status) for status in ripc_status}

status_refusal: Refusal = _STATUS.__getitem__
id_refusal: Refusal = _ID.__getitem__
msgrcv_refusal: Refusal = _MSGRCV.__getitem__
int_refusal: Refusal = _INT.__getitem__
word_refusal: Refusal = _WORD.__getitem__
stamp_refusal: Refusal = _STAMP.__getitem__
hello_refusal: Refusal = _HELLO.__getitem__
