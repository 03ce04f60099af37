"""A call in the server's hands: what a procedure is given, and how it answers later."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

from oncrpc.program import Call, LaterType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oncrpc.auth import Credential
    from oncrpc.observe import CallSeen
    from oncrpc.program import Connection, Peer, Procedure
    from oncrpc.replay import ReplayKey
    from oncrpc.routes import Origin, Route
    from oncrpc.server import Server

__all__ = ["ServedCall"]

_XID = Struct(">I")


class ServedCall(Call):
    """One call to one procedure of one server.

    Made for each call that is not answered from its header alone, so it holds references only;
    what a program asks for is looked up when it asks.

    Args:
        raw_xid: The xid's four bytes.
        route: What the header means.
        origin: Where it came from.
        server: Encodes the answer.
    """

    __slots__ = (
        "_cancel",
        "_hangup",
        "answered",
        "origin",
        "raw_xid",
        "ready",
        "replay_key",
        "route",
        "seen",
        "server",
        "waiting",
    )

    def __init__(self, raw_xid: bytes, route: Route, origin: Origin, server: Server) -> None:
        self.raw_xid = raw_xid
        self.route = route
        self.origin = origin
        self.server = server
        self.answered = False
        self.waiting = False
        self.ready: Sequence[bytes] | None = None
        self.replay_key: ReplayKey | None = None
        self.seen: CallSeen | None = None
        self._cancel: list[Callable[[], object]] | None = None
        self._hangup: list[Callable[[], object]] | None = None

    def __repr__(self) -> str:
        return f"<call {self.xid:#x} of {self.route.procedure.name} from {self.origin.peer}>"

    @property
    def xid(self) -> int:
        """Transaction id, chosen by the caller."""
        xid: int = _XID.unpack(self.raw_xid)[0]
        return xid

    @property
    def program(self) -> int:
        """Program number."""
        return self.route.program.program

    @property
    def version(self) -> int:
        """Version of the program."""
        return self.route.program.version

    @property
    def procedure(self) -> Procedure:
        """The procedure called."""
        return self.route.procedure

    @property
    def credential(self) -> Credential:
        """Who calls, as accepted."""
        return self.route.credential

    @property
    def peer(self) -> Peer:
        """Where the call came from."""
        return self.origin.peer

    @property
    def netid(self) -> str:
        """How it came."""
        return self.origin.netid

    @property
    def connection(self) -> Connection | None:
        """The connection it came on; None for a datagram."""
        return self.origin.connection

    @property
    def reply_limit(self) -> int:
        """Most bytes that the encoded result may have here."""
        return max(0, self.origin.reply_limit - 4 - len(self.route.after_xid))

    def reply(self, value: Any) -> None:
        """Answer with the result, or NO_REPLY to answer nothing, after LATER was returned."""
        self._answer(self.server.silence if value is LaterType.NO_REPLY else self.server.success, value)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, after LATER was returned."""
        self._answer(self.server.failure, error)

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once if the connection is lost before this call is answered."""
        if self._cancel is None:
            self._cancel = []
        self._cancel.append(callback)

    def on_hangup(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once when the caller stops sending before this call is answered."""
        connection = self.origin.connection
        if connection is not None and connection.half_closed:
            callback()
            return
        if self._hangup is None:
            self._hangup = []
        self._hangup.append(callback)

    def hung_up(self) -> None:
        """The caller stopped sending."""
        callbacks, self._hangup = self._hangup, None
        self._tell(callbacks)

    def connection_lost(self) -> None:
        """The connection is gone: an answer would be dropped."""
        self.hung_up()
        self.waiting = False
        if not self.answered:
            self.server.lost(self)
        callbacks, self._cancel = self._cancel, None
        self._tell(callbacks)

    def _tell(self, callbacks: list[Callable[[], object]] | None) -> None:
        for callback in callbacks or ():
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - one program's fault must not keep the others from being told
                self.server.notice(
                    "handler failed", self.peer, f"{self.route.procedure.name}: at its cancelling", error
                )

    def _answer(self, encode: Callable[[ServedCall, Any], Sequence[bytes]], value: Any) -> None:
        if self.answered:
            msg = f"{self!r} was answered before"
            raise RuntimeError(msg)
        # Also for a caller that is gone: the replay cache keeps the reply for its next try.
        reply = encode(self, value)
        self._cancel = self._hangup = None
        if self.waiting:
            self.waiting = False
            self.origin.in_hand.discard(self)
            self.origin.deliver(reply)
        elif self.origin.connection is None or not self.origin.connection.closed:
            # The method has not returned yet: its reply goes out with those of its neighbours.
            self.ready = reply
