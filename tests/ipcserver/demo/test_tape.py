from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipcserver.demo.tape import Ended, Entry, Failed, Heard, Ready, Said, TapeReader, encode

texts = st.text(max_size=20)
numbers = st.integers(0, 2**32 - 1)
places = st.tuples(texts, st.integers(0, 65535))
times = st.floats(0, 2e9)

entries = st.one_of(
    st.builds(Heard, texts, times, texts, numbers, places, places, st.booleans(), st.binary(min_size=4, max_size=40)),
    st.builds(Ended, texts, times, numbers, texts, texts, numbers, numbers),
    st.builds(Ready, numbers, numbers, texts, st.lists(texts, max_size=3).map(tuple)),
    st.builds(Failed, texts),
    st.builds(Said, texts),
)


@given(st.lists(entries, max_size=5), st.integers(1, 50))
def test_what_is_written_is_read_in_any_split(written: list[Entry], size: int) -> None:
    line = b"".join(map(encode, written))
    reader = TapeReader()
    read = [entry for at in range(0, len(line), size) for entry in reader.feed(line[at : at + size])]
    assert read == written


def test_what_a_killed_process_left_unfinished_is_not_read() -> None:
    reader = TapeReader()
    assert reader.feed(encode(Said("registered")) + encode(Failed("no"))[:-5]) == [Said("registered")]


def test_connections_of_several_servers_can_be_told_apart() -> None:
    stream = Heard("server", 0.0, "tcp", 3, ("127.0.0.2", 1), ("127.0.0.1", 600), False, bytes(8))
    datagram = Heard("server", 0.0, "udp", 0, ("127.0.0.2", 1), ("127.0.0.1", 600), False, bytes(8))
    assert stream.seen(1000).connection == 1003
    assert datagram.seen(1000).connection == 0
