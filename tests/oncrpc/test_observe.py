from __future__ import annotations

from oncrpc.observe import CallSeen, MessageSeen, Notice, Observer, StreamTap, attributes
from oncrpc.program import Peer
from oncrpc.records import frame_fragments, frame_record


def seen(**changes: object) -> CallSeen:
    call = CallSeen(1, 100003, 3, 7, "NFS", "NFS_READ", 1, Peer("192.0.2.1", 700), "tcp6", 9, 40, 0.0)
    for name, value in changes.items():
        setattr(call, name, value)
    return call


def test_calls_have_the_names_that_opentelemetry_gives_them() -> None:
    assert attributes(seen(outcome="SUCCESS")) == {
        "rpc.system.name": "onc_rpc",
        "onc_rpc.program.name": "NFS",
        "onc_rpc.version": 3,
        "onc_rpc.procedure.number": 7,
        "onc_rpc.procedure.name": "NFS_READ",
        "rpc.response.status_code": "SUCCESS",
        "network.transport": "tcp",
        "client.address": "192.0.2.1",
        "client.port": 700,
    }


def test_what_is_not_known_is_left_out() -> None:
    found = attributes(seen(program_name="", procedure_name="", peer=Peer("", 0), netid="local"))
    assert found == {
        "rpc.system.name": "onc_rpc",
        "onc_rpc.program.name": "100003",
        "onc_rpc.version": 3,
        "onc_rpc.procedure.number": 7,
        "network.transport": "unix",
    }


class Told(Observer):
    def __init__(self) -> None:
        self.messages: list[MessageSeen] = []
        self.notices: list[Notice] = []

    def noticed(self, notice: Notice) -> None:
        self.notices.append(notice)

    def message_seen(self, message: MessageSeen) -> None:
        self.messages.append(message)


def tapped() -> tuple[Told, StreamTap]:
    told = Told()
    ends = {"client": Peer("192.0.2.1", 700), "server": Peer("192.0.2.2", 111)}
    return told, StreamTap([told], **ends, netid="tcp", connection=4)


def test_a_clients_stream_is_told_as_the_server_sees_it() -> None:
    told, tap = tapped()
    stream = frame_record(b"question") + frame_fragments(b"a second one", (5, 0))
    for at in range(0, len(stream), 7):
        tap.sent(stream[at : at + 7])
    tap.received(frame_record(b"answer"))
    assert [(b"".join(each.parts), each.outgoing) for each in told.messages] == [
        (b"question", False),
        (b"a second one", False),
        (b"answer", True),
    ]
    assert told.messages[1].fragments == (5, 0, 7)
    first = told.messages[0]
    assert (first.peer.port, first.local.port, first.netid, first.connection) == (700, 111, "tcp", 4)


def test_an_observer_of_a_client_that_fails_harms_nobody() -> None:
    class Bad(Observer):
        def message_seen(self, message: MessageSeen) -> None:
            raise ValueError

    told = Told()
    tap = StreamTap([Bad(), told], client=Peer("", 0), server=Peer("", 0), netid="local", connection=1)
    tap.sent(frame_record(b"first") + frame_record(b"second"))
    assert [each.parts for each in told.messages] == [(b"first",), (b"second",)]
    assert [notice.kind for notice in told.notices] == ["observer failed"] * 2


def test_a_stream_that_is_none_is_not_followed() -> None:
    told, tap = tapped()
    tap.received(b"HTTP/1.1 400 Bad Request" + bytes(100))
    tap.sent(frame_record(bytes(StreamTap.LARGEST + 1))[:8])
    tap.sent(frame_record(b"afterwards"))
    assert told.messages == []
