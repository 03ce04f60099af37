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

__all__ = ["ServedCall"]

_XID = Struct(">I")


class _More:
    """What few calls need: those that are answered later, watched, or remembered."""

    __slots__ = ("cancel", "hangup", "limit", "ready", "replay_key", "seen", "waiting")

    def __init__(self) -> None:
        self.waiting = False
        self.limit = 0
        self.ready: Sequence[bytes] | None = None
        self.replay_key: ReplayKey | None = None
        self.seen: CallSeen | None = None
        self.cancel: list[Callable[[], object]] = []
        self.hangup: list[Callable[[], object]] = []


class ServedCall(Call):
    """One call to one procedure of one server.

    Made for each call that is not answered from its header alone, so it holds references only;
    what a program asks for is looked up when it asks.

    Args:
        raw_xid: The xid's four bytes.
        route: What the header means.
        origin: Where it came from.
    """

    __slots__ = ("_more", "answered", "origin", "raw_xid", "route")

    def __init__(self, raw_xid: bytes, route: Route, origin: Origin) -> None:
        self.raw_xid = raw_xid
        self.route = route
        self.origin = origin
        self.answered = False
        self._more: _More | None = None

    @property
    def more(self) -> _More:
        """What few calls need, made when it is."""
        more = self._more
        if more is None:
            more = self._more = _More()
        return more

    @property
    def replay_key(self) -> ReplayKey | None:
        """Its key in the replay cache, if its reply is to be kept there."""
        return None if self._more is None else self._more.replay_key

    @property
    def seen(self) -> CallSeen | None:
        """What observers were told at its start, until they are told its end."""
        return None if self._more is None else self._more.seen

    def take_ready(self) -> Sequence[bytes] | None:
        """Return the reply that was made before the procedure returned, once."""
        if self._more is None:
            return None
        ready, self._more.ready = self._more.ready, None
        return ready

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
    def whole_limit(self) -> int:
        """Most bytes of the whole reply.

        An unknown sender of datagrams is sent no more than it sent: that differs from call to call, and a call that
        waits keeps its own.
        """
        more = self._more
        return self.origin.reply_limit if more is None else more.limit or self.origin.reply_limit

    @property
    def reply_limit(self) -> int:
        """Most bytes that the encoded result may have here."""
        return max(0, self.whole_limit - 4 - len(self.route.after_xid))

    def reply(self, value: Any) -> None:
        """Answer with the result, or NO_REPLY to answer nothing, after LATER was returned."""
        more = self._more
        route = self.route
        if more is not None and more.waiting and route.direct and more.replay_key is None and not self.answered:
            # Nothing stands between the result and the connection.
            try:
                body = route.encode(value)
            except Exception:  # noqa: BLE001 - NO_REPLY, or no value of its type: the long way tells which
                body = b""
                fits = False
            else:
                fits = route.size - 4 + len(body) <= more.limit
            if fits:
                self.answered = True
                more.waiting = False
                more.cancel, more.hangup = [], []
                self.origin.in_hand.discard(self)
                self.origin.deliver((self.raw_xid, route.after_xid, body))
                return
        self._answer(self.route.server.silence if value is LaterType.NO_REPLY else self.route.server.success, value)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, after LATER was returned."""
        self._answer(self.route.server.failure, error)

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once if the connection is lost before this call is answered."""
        self.more.cancel.append(callback)

    def on_hangup(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once when the caller stops sending before this call is answered."""
        connection = self.origin.connection
        if connection is not None and connection.half_closed:
            callback()
        else:
            self.more.hangup.append(callback)

    def hung_up(self) -> None:
        """The caller stopped sending."""
        more = self.more
        callbacks, more.hangup = more.hangup, []
        self._tell(callbacks)

    def connection_lost(self) -> None:
        """The connection is gone: an answer would be dropped."""
        self.hung_up()
        more = self.more
        more.waiting = False
        if not self.answered:
            self.route.server.lost(self)
        callbacks, more.cancel = more.cancel, []
        self._tell(callbacks)

    def _tell(self, callbacks: list[Callable[[], object]]) -> None:
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - one program's fault must not keep the others from being told
                name = self.route.procedure.name
                self.route.server.notice("handler failed", self.peer, f"{name}: when its caller was gone", error)

    def _answer(self, encode: Callable[[ServedCall, Any], Sequence[bytes]], value: Any) -> None:
        if self.answered:
            msg = f"{self!r} was answered before"
            raise RuntimeError(msg)
        # Also for a caller that is gone: the replay cache keeps the reply for its next try.
        reply = encode(self, value)
        more = self.more
        more.cancel, more.hangup = [], []
        if more.waiting:
            more.waiting = False
            self.origin.in_hand.discard(self)
            self.origin.deliver(reply)
        elif self.origin.connection is None or not self.origin.connection.closed:
            # The method has not returned yet: its reply goes out with those of its neighbours.
            more.ready = reply
