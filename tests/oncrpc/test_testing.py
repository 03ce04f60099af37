from __future__ import annotations

import pytest

from oncrpc.auth import AuthSys
from oncrpc.errors import GarbageArguments
from oncrpc.program import LATER, Peer
from oncrpc.testing import make_call
from tests.oncrpc.served import Pair, Served


def test_a_procedure_can_be_called_without_a_server() -> None:
    program = Served()
    caller = AuthSys(0, "here", 1, 2)
    call = make_call(Served.procedures[2], credential=caller, peer=Peer("::1", 5), netid="udp6", reply_limit=100)
    assert program.served_add(call, Pair(2, 3)) == 5
    assert (call.credential, call.peer.port, call.netid, call.reply_limit) == (caller, 5, "udp6", 100)
    assert (call.xid, call.program, call.version, call.connection) == (1, 0, 0, None)
    assert call.procedure.name == "SERVED_ADD"


def test_late_answers_are_kept_and_only_one_is_taken() -> None:
    call = make_call()
    assert Served().served_later(call, b"") is LATER
    call.reply(b"late")
    assert call.replies == [b"late"]
    with pytest.raises(RuntimeError):
        call.fail(GarbageArguments())


def test_a_caller_can_be_made_to_go() -> None:
    call = make_call()
    told: list[str] = []
    call.on_hangup(lambda: told.append("hangup"))
    call.on_cancel(lambda: told.append("cancel"))
    call.cancel()
    call.cancel()
    assert told == ["hangup", "cancel"]
    call.fail(GarbageArguments())
    assert len(call.failures) == 1
