"""oncrpc.tx.datagram beyond what test_service.py shows: what the socket itself may do."""

from __future__ import annotations

import socket

from oncrpc.server import Server
from oncrpc.testing import call_message
from oncrpc.tx.datagram import DatagramListener
from tests.oncrpc.served import PROGRAM, Served
from tests.oncrpc.tx.loop import Loop

NULL = call_message(PROGRAM, 1, 0)


def listener(loop: Loop, program: Served) -> tuple[DatagramListener, socket.socket, int]:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    made = DatagramListener(loop, Server([program]), bound, "udp", replay=None)  # type: ignore[arg-type, unused-ignore]
    made.start()
    return made, bound, bound.getsockname()[1]


def test_a_sender_that_is_gone_does_not_keep_others_from_being_answered() -> None:
    loop, program = Loop(), Served()
    made, _, port = listener(loop, program)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.sendto(NULL, ("127.0.0.1", port))
    loop.turn()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(NULL, ("127.0.0.1", port))
        loop.turn(0.1)
        loop.turn(0.1)
        assert len(client.recv(100)) == 24
    made.stop()
    loop.close()


def test_a_late_reply_after_the_end_is_dropped() -> None:
    loop, program = Loop(), Served()
    made, _, port = listener(loop, program)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(call_message(PROGRAM, 1, 4, bytes(4)), ("127.0.0.1", port))
        loop.until(lambda: program.calls)
        made.stop()
        program.calls[0].reply(b"")
    assert made.fileno() == -1
    loop.close()
