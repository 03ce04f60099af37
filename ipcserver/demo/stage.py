"""What the steps of the tour have at hand: the server, two client machines, the tape, and ways to read from them."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

from ipcserver._gen import ipc
from ipcserver.demo import calls
from ipcserver.demo.clients import Station
from ipcserver.demo.errors import DemoError
from ipcserver.journal import inspect
from ipcserver.journal.readable import decode_command
from oncrpc.explain import Programs, explain_message, explain_stream
from rpcbind_reg._gen import portmap

if TYPE_CHECKING:
    from ipcserver.demo.clients import Exchange, Wire
    from ipcserver.demo.host import Host
    from ipcserver.demo.loop import Loop
    from ipcserver.demo.tape import Ended, Heard
    from oncrpc.explain import Explanation

__all__ = ["MAPPED", "TRUST", "Stage", "clock"]

_GROUP: Final = 100
_ADDRESSES: Final = ("127.0.0.2", "127.0.0.3")
_TAPE: Final = 2000

MAPPED: Final = (500, 5500)
"""A uid as sparc2 numbers its users, and the uid that the server is configured to take it for."""

TRUST: Final = (f"{_ADDRESSES[1]}/32:{MAPPED[0]}={MAPPED[1]}",)
"""The server's configuration: loopback is believed anyhow, root never."""


class Stage:
    """Everything that the tour plays with.

    Args:
        loop: Runs it.

    Attributes:
        host: The server's process; set before the first step.
        sparc1: One client machine.
        sparc2: The other.
        programs: What can be told by name.
        tape: The last messages that the server and its portmapper heard and said, in order.
    """

    host: Host

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.sparc1 = Station("sparc1", "alice", 1001, gid=_GROUP, address=_ADDRESSES[0], loop=loop)
        self.sparc2 = Station("sparc2", "bob", 1002, gid=_GROUP, address=_ADDRESSES[1], loop=loop)
        self.programs = Programs([ipc.IPCPROG_1_SyncClient, portmap.PMAP_PROG_2_SyncClient])
        self.tape: deque[Heard] = deque(maxlen=_TAPE)

    @property
    def separate(self) -> bool:
        """Whether the two machines have addresses of their own."""
        return self.sparc1.address != self.sparc2.address

    def prepare(self, *, registered: bool = True) -> None:
        """Make sure that the server runs, and that no socket of an earlier step is open.

        Args:
            registered: Whether it is to be registered too.

        Raises:
            DemoError: It cannot be started.
        """
        self.sparc1.close()
        self.sparc2.close()
        if not self.host.running:
            self.host.start()
        if registered and not self.host.registered:
            self.host.order("register")

    def pause(self, seconds: float) -> None:
        """Let some time pass; everything that comes is taken."""
        self.loop.run(seconds)

    # -- sockets --------------------------------------------------------------------------------

    def tcp(self, station: Station) -> Wire:
        """Connect a station to the server."""
        return station.open("tcp", self.host.ready.port)

    def udp(self, station: Station) -> Wire:
        """Give a station a datagram socket towards the server."""
        return station.open("udp", self.host.ready.port)

    def new_queue(self, wire: Wire, number: int, mode: int = 0o666) -> int:
        """Make an empty queue.

        Args:
            wire: Who makes and owns it.
            number: Which of the tour's keys it has; a queue that has it already goes.
            mode: Its permissions.

        Returns:
            Its id.
        """
        found = wire.call(*calls.msgget(calls.KEY + number, flags=0))
        if found.result.status is ipc.RIPC_OK:
            wire.call(*calls.msgrmid(found.result.id))
        made = wire.call(*calls.msgget(calls.KEY + number, mode))
        if made.result.status is not ipc.RIPC_OK:
            message = f"no queue: {made.result.status.name}"
            raise DemoError(message)
        return int(made.result.id)

    # -- reading -----------------------------------------------------------------------------------

    def explain(self, exchange: Exchange, data: bytes, *, reply: bool = False) -> Explanation:
        """Explain bytes that went over a station's socket.

        Args:
            exchange: The call that they belong to.
            data: A call, or an answer, as it went.
            reply: Whether it is the answer.
        """
        of = exchange.numbers if reply else None
        if exchange.netid == "udp":
            return explain_message(data, self.programs, call=of)
        return next(iter(explain_stream(data, self.programs, call=of)))

    def answers_on_tape(self, since: float, lane: str) -> list[tuple[Heard, Heard]]:
        """Return calls and their answers that one server heard.

        Args:
            since: Seconds since 1970.
            lane: "server" or "portmapper".
        """
        found: list[tuple[Heard, Heard]] = []
        waiting: dict[tuple[tuple[str, int], int], Heard] = {}
        for heard in self.tape:
            if heard.at < since or heard.lane != lane:
                continue
            key = heard.peer, heard.xid
            if not heard.outgoing:
                waiting[key] = heard
            elif (call := waiting.pop(key, None)) is not None:
                found.append((call, heard))
        return found

    def outcomes(self, exchange: Exchange, count: int, *, seconds: float = 5.0) -> list[Ended]:
        """Return what the server says that became of a call, each time it came.

        Args:
            exchange: The call.
            count: How often it was sent: the server's word comes by another way than its answer.
            seconds: How long that may take.
        """

        def found() -> list[Ended]:
            name = exchange.procedure.name
            return [each for each in self.host.ended if (each.xid, each.procedure) == (exchange.xid, name)]

        self.loop.run(seconds, lambda: len(found()) >= count)
        return found()

    def journalled(self, xid: int) -> int:
        """Return how many commands in the journal, on disk, came with a transaction id."""
        batches = inspect.read(self.host.journal)
        return sum(decode_command(command).xid == xid for batch in batches for command in batch.commands)

    def waiters(self, station: Station) -> int:
        """Ask the server how many calls wait."""
        wire = self.tcp(station)
        try:
            number = next(each.number for each in ipc.IPCPROG_1_SyncClient.procedures if each.name == "RIPC_INFO")
            return int(wire.call(ipc.IPCPROG_1_SyncClient, number).result.waiters)
        finally:
            wire.close()


def clock(at: float) -> str:
    """Return a time of day, to the millisecond."""
    return time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03d}"
