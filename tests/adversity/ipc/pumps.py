"""Clients with many calls under way at once, on one connection: what makes hundreds of thousands of calls.

Blocking sockets and the bare protocol, a session slot for each call. When the connection is gone each slot sends its
call again, with the same number, on the next one.
"""

from __future__ import annotations

import itertools
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import xdr
from ipcserver._gen import ipc as gen
from ipcserver.errors import SessionLost
from ipcserver.hypers import to_hyper
from oncrpc import sync
from oncrpc.auth import AuthSys, encode_opaque_auth
from oncrpc.errors import RPCError
from oncrpc.message import encode_call
from oncrpc.records import frame_record
from tests.adversity.ipc.history import History

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.adversity.ipc.history import Event

__all__ = ["Pump"]

_RESULTS_AT: Final = 24
"""Where results begin in a successful reply with an empty verifier."""
_PAUSE_S: Final = 0.02


class _Slot:
    """One call after the other."""

    def __init__(self, number: int, client: str, history: History) -> None:
        self.number = number
        self.client = client
        self.history = history
        self.seq = 0
        self.count = 0
        self.waiting: bytes | None = None
        """The arguments of the call that is under way."""
        self.event: tuple[int, Event] | None = None


class Pump:
    """Sends or receives with all slots of a session.

    Args:
        name: The client's name.
        address: ``(host, port)``.
        queue: The queue's id.
        path: Where slot ``n`` notes what it sees: at ``path~n``.
        slots: How many calls are under way.
        receives: Whether it receives; else it sends, each slot a type of its own from first_type on.
        first_type: The type of slot 0.
        life: Makes names of messages that no earlier client of this name used.
    """

    def __init__(
        self,
        name: str,
        address: tuple[str, int],
        *,
        queue: int,
        path: Path,
        slots: int,
        receives: bool,
        first_type: int,
        life: int,
    ) -> None:
        self._address = address
        self._queue = queue
        self._receives = receives
        self._first_type = first_type
        self._life = life
        self._credential = AuthSys.current()
        self._opaque = encode_opaque_auth(self._credential.flavor, self._credential.encode())
        self._session = to_hyper(0)
        self._slots = [
            _Slot(number, f"{name}~{number}", History(path.with_name(f"{path.stem}~{number}.history")))
            for number in range(slots)
        ]
        self._xids = itertools.count(1)
        self._by_xid: dict[int, _Slot] = {}
        kind = gen.ripc_msgrcv_args if receives else gen.ripc_msgsnd_args
        self._encode: Callable[[object], bytes] = xdr.codec(kind).encode
        self._decode = xdr.codec(gen.ripc_msgrcv_res).decode

    def run(self, stop: threading.Event) -> None:
        """Pump until told to stop, then finish the calls under way and say goodbye.

        Raises:
            SessionLost: The session ended while calls were under way; run() may be called again.
        """
        self._hello()
        while not stop.is_set() or any(slot.waiting for slot in self._slots):
            with suppress(OSError), socket.create_connection(self._address, 5) as connection:
                self._talk(connection, stop)
            time.sleep(_PAUSE_S)
        with suppress(RPCError, OSError), self._stub() as stub:
            stub.ripc_goodbye(self._session)

    def _stub(self) -> AbstractContextManager[gen.IPCPROG_1_SyncClient]:
        where = f"tcp:{self._address[0]}:{self._address[1]}"
        return sync.connect(gen.IPCPROG_1_SyncClient, where, credential=self._credential, timeout=5)

    def _hello(self) -> None:
        nonce = to_hyper(time.monotonic_ns() & (2**62 - 1))
        while True:
            with suppress(RPCError, OSError), self._stub() as stub:
                granted = stub.ripc_hello(gen.ripc_hello_args(nonce, "pump", 1, 0, len(self._slots), 0))
                assert isinstance(granted, gen.ripc_hello_res_RIPC_OK)
                self._session = granted.ok.session
                break
            time.sleep(_PAUSE_S)
        for slot in self._slots:
            slot.seq, slot.waiting, slot.event = 0, None, None

    def _talk(self, connection: socket.socket, stop: threading.Event) -> None:
        """Call over one connection until it breaks, or there is nothing left to do."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._by_xid.clear()
        connection.sendall(b"".join(self._call(slot) for slot in self._slots if slot.waiting or not stop.is_set()))
        buffer = bytearray()
        while self._by_xid:
            data = connection.recv(1 << 18)
            if not data:
                return
            buffer += data
            calls = []
            while len(buffer) >= 4:
                size = int.from_bytes(buffer[:4], "big") & 0x7FFFFFFF
                if len(buffer) < 4 + size:
                    break
                slot = self._answered(bytes(buffer[4 : 4 + size]))
                del buffer[: 4 + size]
                if not stop.is_set():
                    calls.append(self._call(slot))
            if calls:
                connection.sendall(b"".join(calls))

    def _call(self, slot: _Slot) -> bytes:
        """Make the next call of a slot, or that one again which has no answer."""
        if slot.waiting is None:
            slot.seq += 1
            ctx = gen.ripc_ctx(self._session, slot.number, slot.seq, 1)
            if self._receives:
                slot.event = slot.history.begin(slot.client, "receive")
                slot.waiting = self._encode(
                    gen.ripc_msgrcv_args(ctx, self._queue, 0, 300, to_hyper(0), to_hyper(gen.RIPC_MSGMAX))
                )
            else:
                slot.count += 1
                mtype = self._first_type + slot.number
                what = f"{mtype}:{self._life}.{slot.count}"
                slot.event = slot.history.begin(slot.client, "send", what)
                text = what.encode() + b" " + bytes(100)
                slot.waiting = self._encode(gen.ripc_msgsnd_args(ctx, self._queue, 0, 5000, to_hyper(mtype), text))
        xid = next(self._xids)
        self._by_xid[xid] = slot
        procedure = 12 if self._receives else 11
        program = gen.IPCPROG_1_Server.program
        return frame_record(encode_call(xid, program, 1, procedure, credential=self._opaque) + slot.waiting)

    def _answered(self, reply: bytes) -> _Slot:
        """Note what a reply says."""
        slot = self._by_xid.pop(int.from_bytes(reply[:4], "big"))
        assert reply[4:_RESULTS_AT] == bytes(3) + b"\x01" + bytes(16), reply
        status = gen.ripc_status(int.from_bytes(reply[_RESULTS_AT : _RESULTS_AT + 4], "big"))
        if status is gen.RIPC_ENOSESSION:
            for other in self._slots:
                other.history.lost()
            raise SessionLost
        assert slot.event is not None
        number, event = slot.event
        event.value = status
        if status is gen.RIPC_OK and self._receives:
            result = self._decode(reply[_RESULTS_AT:])
            assert isinstance(result, gen.ripc_msgrcv_res_RIPC_OK)
            event.what = result.msg.mtext.partition(b" ")[0].decode()
        slot.history.end(number, event, "done" if status is gen.RIPC_OK else "refused")
        slot.waiting = slot.event = None
        return slot
