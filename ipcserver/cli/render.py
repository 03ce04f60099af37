"""Rows and tables for people, as ipcs(1) has them; pure: from the server's answers to text and rich tables."""

from __future__ import annotations

import pwd
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.table import Table

from ipcserver.hypers import from_hyper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipcserver._gen import ipc as gen

__all__ = [
    "as_json",
    "details",
    "key_text",
    "limits_table",
    "mode_text",
    "owner_text",
    "queues_table",
    "segments_table",
    "sets_table",
]

_INT32: Final = 0xFFFFFFFF


def key_text(key: int) -> str:
    """Return a key as ipcs(1) shows it: 0x and eight digits."""
    return f"0x{key & _INT32:08x}"


def mode_text(mode: int) -> str:
    """Return permission bits in octal."""
    return f"{mode & 0o777:03o}"


@lru_cache(maxsize=1024)
def owner_text(uid: int) -> str:
    """Return a user's name, or the number of one that this machine does not know."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def _time(value: gen.ripc_hyper) -> str:
    """Return a time in local form, or "never"."""
    seconds = from_hyper(value)
    if seconds == 0:
        return "never"
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def _table(title: str, *columns: str) -> Table:
    """Return an empty table; columns that start with ">" are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
    return table


def queues_table(queues: Iterable[gen.ripc_msqid_ds]) -> Table:
    """Return the table of message queues."""
    table = _table(
        "Message queues", "key", ">msqid", "owner", "perms", ">messages", ">used bytes", ">last send", ">last receive"
    )
    for ds in queues:
        table.add_row(
            key_text(ds.perm.key),
            str(ds.id),
            owner_text(ds.perm.uid),
            mode_text(ds.perm.mode),
            str(ds.qnum),
            str(from_hyper(ds.cbytes)),
            _time(ds.stime),
            _time(ds.rtime),
        )
    return table


def segments_table(segments: Iterable[gen.ripc_shmid_ds]) -> Table:
    """Return the table of memory segments."""
    table = _table("Memory segments", "key", ">shmid", "owner", "perms", ">bytes", ">attached", "status")
    for ds in segments:
        table.add_row(
            key_text(ds.perm.key),
            str(ds.id),
            owner_text(ds.perm.uid),
            mode_text(ds.perm.mode),
            str(from_hyper(ds.segsz)),
            str(ds.nattch),
            "dest" if ds.removed else "",
        )
    return table


def sets_table(sets: Iterable[gen.ripc_semid_ds]) -> Table:
    """Return the table of semaphore sets."""
    table = _table("Semaphore sets", "key", ">semid", "owner", "perms", ">semaphores", ">last operation")
    for ds in sets:
        table.add_row(
            key_text(ds.perm.key),
            str(ds.id),
            owner_text(ds.perm.uid),
            mode_text(ds.perm.mode),
            str(ds.nsems),
            _time(ds.otime),
        )
    return table


def limits_table(info: gen.ripc_info_res) -> Table:
    """Return the table of limits and of what is used of them."""
    limits = info.limits
    table = _table("Limits and use", "limit", ">most", ">used")
    for name, most, used in (
        ("queues (msgmni)", limits.msgmni, info.queues.used),
        ("bytes in a message (msgmax)", limits.msgmax, ""),
        ("bytes in a new queue (msgmnb)", limits.msgmnb, ""),
        ("messages", "", from_hyper(info.queues.parts)),
        ("bytes of messages", "", from_hyper(info.queues.bytes_)),
        ("semaphore sets (semmni)", limits.semmni, info.sets.used),
        ("semaphores in a set (semmsl)", limits.semmsl, ""),
        ("semaphores in all (semmns)", limits.semmns, from_hyper(info.sets.parts)),
        ("operations in a semop (semopm)", limits.semopm, ""),
        ("value of a semaphore (semvmx)", limits.semvmx, ""),
        ("segments (shmmni)", limits.shmmni, info.segments.used),
        ("bytes in a segment (shmmax)", from_hyper(limits.shmmax), ""),
        ("bytes in all segments (shmall)", from_hyper(limits.shmall), from_hyper(info.segments.bytes_)),
        ("sessions", "", info.sessions),
        ("waiting calls", "", info.waiters),
    ):
        table.add_row(name, str(most), str(used))
    return table


def as_json(ds: Any) -> dict[str, Any]:
    """Return a status as a JSON object: perm flattened, times in seconds, 64-bit values as numbers."""
    result: dict[str, Any] = {}
    for name in ds.__dataclass_fields__:
        value = getattr(ds, name)
        if name == "perm":
            result.update({part: getattr(value, part) for part in value.__dataclass_fields__})
        else:
            result[name] = from_hyper(value) if hasattr(value, "hi") else value
    return result


def details(ds: Any) -> Table:
    """Return one object's whole status, a field a line."""
    table = _table("", "field", "value")
    table.show_header = False
    for name, value in as_json(ds).items():
        if name in {"uid", "cuid"}:
            text = f"{value} ({owner_text(value)})"
        elif name == "key":
            text = key_text(value)
        elif name == "mode":
            text = mode_text(value)
        elif name.endswith("time"):
            text = _time(getattr(ds, name))
        else:
            text = str(value)
        table.add_row(name, text)
    return table
