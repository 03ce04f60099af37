"""Commands as people and other programs read them: a line of text, or a JSON object."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import xdr
from ipcserver._gen.ipc import ripc_hyper
from ipcserver._gen.machine import machine_command

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["as_line", "as_object", "decode_command", "plain"]

_TEXT_SHOWN: Final = 60
"""Characters of a message or of data that a line shows; JSON has all of it."""

decode_command: Final[Callable[[bytes], machine_command]] = xdr.codec(machine_command).decode
"""Decode a command; raises ValueError."""


def plain(value: Any) -> Any:
    """Turn a value of a generated type into what JSON has.

    Structs become objects, enumerators their names, ripc_hyper a number; opaque data becomes ``{"text": ...}`` if it
    is printable UTF-8 and ``{"hex": ...}`` if not, so that nothing is lost and most can be read.
    """
    if isinstance(value, ripc_hyper):
        return value.hi << 32 | value.lo
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return {"hex": value.hex()}
        return {"text": text} if text.isprintable() else {"hex": value.hex()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


def as_object(batch: int, command: machine_command) -> dict[str, Any]:
    """Turn a command into a JSON object.

    Args:
        batch: The number of its batch.
        command: The command.
    """
    body = {name: value for name, value in plain(command.body).items() if name != "op"}
    return {
        "batch": batch,
        "ticket": command.ticket,
        "clock_ns": command.clock_ns,
        "time": _time(command.time_s),
        "uid": command.caller.uid,
        "gid": command.caller.gid,
        "gids": list(command.caller.gids),
        "connection": command.connection,
        "xid": command.xid,
        "op": command.body.op.name.removeprefix("OP_"),
        "args": next(iter(body.values()), None),
    }


def as_line(batch: int, command: machine_command) -> str:
    """Turn a command into a line of text."""
    shown = as_object(batch, command)
    args = shown["args"]
    return (
        f"{batch:>8} {shown['ticket']:>9} {shown['time']} uid {shown['uid']:<6} conn {shown['connection']:<5} "
        f"{shown['op']:<18} {_flat(args) if isinstance(args, dict) else '' if args is None else args}"
    ).rstrip()


def _flat(args: dict[str, Any]) -> str:
    parts = []
    for name, value in args.items():
        if name == "ctx":
            if value["session"]:
                parts.append(f"session={value['session']}/{value['slot']}/{value['seq']}")
            continue
        parts.append(f"{name}={_short(value)}")
    return " ".join(parts)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        if value.keys() == {"text"}:
            value = repr(value["text"])
        elif value.keys() == {"hex"}:
            value = value["hex"]
        else:
            return "(" + _flat(value) + ")"
    text = str(value)
    return text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}... ({len(text)} characters)"


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return str(seconds)
