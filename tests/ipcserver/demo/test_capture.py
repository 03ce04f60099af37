from __future__ import annotations

import io

from ipcserver.demo.capture import Capture
from ipcserver.demo.tape import Heard


def heard(lane: str, *, outgoing: bool) -> Heard:
    return Heard(lane, 1.5, "tcp", 1, ("127.0.0.2", 40000), ("127.0.0.1", 600), outgoing, bytes(24))


def test_messages_are_counted_and_written_with_their_own_time() -> None:
    file = io.BytesIO()
    capture = Capture(file)
    before = len(file.getvalue())
    capture.write(heard("server", outgoing=False))
    assert capture.messages == 1
    packet = file.getvalue()[before:]
    assert packet[12:20] == bytes(4) + (1_500_000).to_bytes(4, "little")


def test_each_life_of_each_server_has_its_own_streams() -> None:
    file = io.BytesIO()
    capture = Capture(file)
    sizes = []
    for lane, life in (("server", 0), ("portmapper", 0), ("server", 1)):
        before = len(file.getvalue())
        capture.write(heard(lane, outgoing=False), life)
        tcp = file.getvalue()[before + 28 + 20 :]
        sizes.append(int.from_bytes(tcp[4:8], "big"))
    assert sizes == [1, 1, 1]
