"""In whose name calls run: a session, a connection that stands in for one, or nobody that could be told to be gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipcserver._gen.ipc import RIPC_BOUND
from ipcserver._gen.machine import OWNER_CONNECTION, OWNER_DATAGRAM, machine_owner, machine_owner_kind

if TYPE_CHECKING:
    from ipcserver._gen.machine import machine_caller
    from ipcserver.machine.sessions import Session, Slot
    from ipcserver.machine.waiting import Waiter

__all__ = ["Call", "Connection", "Datagrams", "Owner", "Owners"]


class Owner:
    """What is undone when its end comes: waits, adjustments, attachments.

    Attributes:
        id: The session, or the connection.
        waits: Its waiting calls by arrival.
        adjusted: Ids of the sets that keep adjustments for it.
        attached: Ids of the segments that it has attached.
    """

    __slots__ = ("adjusted", "attached", "id", "waits")

    kind: machine_owner_kind

    def __init__(self, id: int) -> None:
        self.id = id
        self.waits: dict[int, Waiter] = {}
        self.adjusted: dict[int, None] = {}
        self.attached: dict[int, None] = {}

    def to_xdr(self) -> machine_owner:
        """Give what snapshots call it."""
        return machine_owner(self.kind, self.id)


class Connection(Owner):
    """A connection: an implicit session for calls without one, and what explicit sessions speak through."""

    __slots__ = ("sessions",)

    kind = OWNER_CONNECTION

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.sessions: dict[int, Session] = {}

    @property
    def idle(self) -> bool:
        """Whether its end would change nothing."""
        return not (self.waits or self.adjusted or self.attached or self.sessions)

    @property
    def undoes(self) -> bool:
        """Whether its end would undo anything at once, and not only leave a session to its lease."""
        if self.waits or self.adjusted or self.attached:
            return True
        return any(session.waits or session.flags & RIPC_BOUND for session in self.sessions.values())


class Datagrams(Owner):
    """Callers without session and connection. They can wait a while, but own nothing: nobody would notice their end."""

    __slots__ = ()

    kind = OWNER_DATAGRAM


class Owners:
    """The connections that the machine keeps something for."""

    __slots__ = ("connections", "datagrams")

    def __init__(self) -> None:
        self.connections: dict[int, Connection] = {}
        self.datagrams = Datagrams(0)

    def connection(self, id: int) -> Connection:
        """Give a connection; it is made known if it was not."""
        found = self.connections.get(id)
        if found is None:
            found = self.connections[id] = Connection(id)
        return found


class Call:
    """One call: who calls, in whose name, and where the answer goes.

    Attributes:
        slot: The slot of the session that the call takes; None outside sessions.
        pid: The caller's process, as lspid and others show it.
    """

    __slots__ = ("_owner", "_owners", "caller", "connection", "pid", "slot", "ticket", "xid")

    def __init__(  # noqa: PLR0917 - made for every call: keywords take time
        self,
        caller: machine_caller,
        pid: int,
        ticket: int,
        connection: int,
        xid: int,
        owners: Owners,
        owner: Owner | None,
        slot: Slot | None,
    ) -> None:
        self.caller = caller
        self.pid = pid
        self.ticket = ticket
        self.connection = connection
        self.xid = xid
        self.slot = slot
        self._owner = owner
        self._owners = owners

    @property
    def owner(self) -> Owner:
        """In whose name; a connection is made known only when it comes to own something."""
        if self._owner is None:
            self._owner = self._owners.connection(self.connection) if self.connection else self._owners.datagrams
        return self._owner
