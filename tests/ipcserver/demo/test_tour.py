"""The whole tour, as somebody runs it: in a process of its own, without a terminal and with one."""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from ipcserver.demo.steps import STEPS
from tests.ipcserver.serving import IPCSERVER
from tests.peers import environment, require, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

FREE: Final = ("--port", "0", "--portmapper-port", "0")
SECONDS: Final = 120


def play(folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the tour into a pipe; its temporary files are to be in a folder."""
    return subprocess.run(
        [*IPCSERVER, "demo", *FREE, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**environment(TMPDIR=str(folder)), **changes},
    )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@dataclass
class Whole:
    """A tour from its beginning to its end."""

    output: str
    left: list[str]
    """temporary files after it"""

    @property
    def command(self) -> list[str]:
        """How the tour says that its capture is read."""
        return next(line.split() for line in self.output.splitlines() if line.startswith("  tshark"))

    def step(self, number: int) -> str:
        """The text of a step, with single blanks."""
        parts = re.split(r"(?m)^\d/9  .*\n=+\n", self.output)
        titles = re.findall(r"(?m)^(\d)/9  .*\n=+\n", self.output)
        found = [part for title, part in zip(titles, parts[1:], strict=True) if title == str(number)]
        return " ".join(" ".join(found).split())


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A place for temporary files with a short name: a local socket is to be in it."""
    with tempfile.TemporaryDirectory(prefix="tour-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("tour")
    capture = folder / "tour.pcapng"
    arguments = ("--auto", "0", "--console", "127.0.0.1:0", "--record", str(capture))
    with tempfile.TemporaryDirectory(prefix="tour-") as temporary:
        done = play(Path(temporary), *arguments, COLUMNS="80", NO_COLOR="1")
        left = os.listdir(temporary)  # noqa: PTH208 - names
    assert (done.returncode, done.stderr) == (0, "")
    return Whole(done.stdout, left)


def test_all_steps_are_played_in_order(tour: Whole) -> None:
    titles = list(dict.fromkeys(re.findall(r"(?m)^(\d/9  .*)$", tour.output)))
    assert titles == [f"{number}/9  {step.title}" for number, step in enumerate(STEPS, 1)]


def test_no_line_is_longer_than_the_terminal_is_wide(tour: Whole) -> None:
    assert [line for line in tour.output.splitlines() if len(line) > 80 and "tshark" not in line] == []
    assert "\x1b" not in tour.output


def test_it_says_what_runs_where(tour: Whole) -> None:
    assert re.search(r"console +http://127\.0\.0\.1:[1-9]\d*/", tour.output)
    assert re.search(r"portmapper +127\.0\.0\.1 port [1-9]\d*", tour.output)


def test_the_registration_is_what_the_portmapper_heard(tour: Whole) -> None:
    text = tour.step(1)
    assert re.search(r"PMAPPROC_UNSET .* TRUE .*PMAPPROC_SET .* udp.* TRUE .*PMAPPROC_SET .* tcp.* TRUE", text)
    assert re.search(r"536871512 1 udp \d+ IPCPROG", text)


def test_getport_and_the_record_mark_are_real_bytes(tour: Whole) -> None:
    assert "It asks, in one datagram of 56 bytes" in tour.step(2)
    assert "0: not registered" in tour.step(2)
    assert "80 00 00 28" in tour.step(3)
    assert "00 00 00 0a no 10" in tour.step(3)


def test_each_field_of_the_call_has_a_sentence_and_a_section(tour: Whole) -> None:
    text = tour.step(4)
    for field in (
        "record mark",
        "xid",
        "rpcvers",
        "machinename",
        "uid",
        "verf",
        "key",
        "mode",
        "accept_stat",
        "status",
    ):
        assert re.search(rf"{field} .{{0,200}}?RFC \d+", text), field


def test_wrong_arguments_are_refused_and_odd_padding_is_not(tour: Whole) -> None:
    assert re.search(r"73756e21 RIPC_OK .* GARBAGE_ARGS", tour.step(5))


def test_the_blocked_receive_is_woken_by_the_other_machine(tour: Whole) -> None:
    found = re.search(
        r"0\.000 MSGRCV .* (\d+\.\d{3}) MSGSND .* (\d+\.\d{3}) ← RIPC_OK, 'wake up, sparc1'", tour.step(6)
    )
    assert found is not None
    assert 0 < float(found[1]) <= float(found[2])
    assert "says that 1 call of its clients waits" in tour.step(6)


def test_the_retransmission_was_executed_once_as_three_counters_say(tour: Whole) -> None:
    text = tour.step(7)
    assert re.search(r"SUCCESS .* REPLAYED", text)
    assert re.search(r"how many messages\? 1 the journal on disk: commands with xid 0x\w+ 1 the replay", text)
    assert re.search(r"answered again so far 1 ", text)
    assert re.search(r"SUCCESS, REPLAYED 1 0x\w+ SUCCESS 2", text)


def test_the_server_believes_a_lie_but_not_root(tour: Whole) -> None:
    text = tour.step(8)
    assert """bob, uid 1002 RIPC_EACCES alice, uid 1001 RIPC_OK "alice's salary: 4711\"""" in text
    assert re.search(r"sparc1 0 65534 sparc2 0 65534", text)


def test_the_crash_is_one_and_the_message_is_there_after_it(tour: Whole) -> None:
    text = tour.step(9)
    before, after = re.search(r"Process (\d+) is dead: SIGKILL", text), re.search(r"A new process, (\d+),", text)
    assert before is not None
    assert after is not None
    assert before[1] != after[1]
    assert "← 'written before the crash'" in text
    assert "← 'sent after the crash'" in text
    assert not alive(int(before[1]))
    assert not alive(int(after[1]))


def test_nothing_is_left_behind(tour: Whole) -> None:
    assert tour.left == []


def test_tshark_reads_the_capture(tour: Whole) -> None:
    require("tshark")
    fields = ("rpc.msgtyp", "rpc.xid", "rpc.program", "rpc.procedure", "portmap.procedure_v2", "udp.srcport")
    command = [
        *tour.command,
        "-T",
        "fields",
        "-E",
        "occurrence=f",
        *(part for field in fields for part in ("-e", field)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    found = re.search(r"(\d+) messages are in", tour.output)
    assert found is not None
    assert len(rows) == int(found[1])
    assert [row for row in rows if not row[1]] == []
    calls = [row for row in rows if row[0] == "0"]
    assert {row[2] for row in calls} == {"100000", "536871512"}
    assert {"1", "2", "3", "4"} <= {row[4] for row in calls if row[2] == "100000"}
    # The same xid from the same socket: the retransmission of a send, and those of the receive over the crash.
    again = collections.Counter((row[1], row[3], row[5]) for row in calls if row[5])
    assert [count for (_, procedure, _), count in again.items() if procedure == "11" and count > 1] == [2]
    assert [count > 3 for (_, procedure, _), count in again.items() if procedure == "12" and count > 1] == [True]


def test_a_narrow_terminal_and_a_single_step_will_do(temporary: Path) -> None:
    done = play(temporary, "--auto", "0", "--no-console", "--step", "9", COLUMNS="48")
    assert (done.returncode, done.stderr) == (0, "")
    assert "8/9" not in done.stdout
    assert "9/9  A crash" in done.stdout
    assert [line for line in done.stdout.splitlines() if len(line) > 48] == []
    assert list(temporary.iterdir()) == []


def test_a_port_that_is_taken_is_one_line_and_no_tour(temporary: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for option, value in (
            ("--port", f"{port}"), ("--portmapper-port", f"{port}"), ("--console", f"127.0.0.1:{port}")
        ):  # fmt: skip
            done = play(temporary, "--auto", "0", option, value)
            assert done.returncode == 1
            assert re.fullmatch(rf"ipcserver: .*\b{port}\b.*in use.*\n", done.stderr)
    assert list(temporary.iterdir()) == []


def test_without_a_terminal_it_says_what_to_do(temporary: Path) -> None:
    done = play(temporary)
    assert done.returncode == 2
    assert "--auto" in done.stderr


def test_a_capture_that_cannot_be_written_is_one_line(temporary: Path) -> None:
    done = play(temporary, "--auto", "0", "--record", str(temporary / "no" / "such.pcapng"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


class Terminal:
    """The tour on a terminal of 80 by 24."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [*IPCSERVER, "demo", *FREE, "--no-console", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=environment(TMPDIR=str(folder), TERM="xterm"),
        )
        os.close(theirs)
        self.text = ""

    def wait_for(self, text: str) -> None:
        """Wait until something is shown."""
        self.text = ""
        deadline = time.monotonic() + 40
        while text not in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", self.text):
            ready, _, _ = select.select([self._mine], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"waited in vain for {text!r}: {self.text}"
            self.text += os.read(self._mine, 1 << 16).decode(errors="replace")

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self._mine, key.encode())

    def end(self) -> int:
        """Wait for the end, and return the exit status."""
        wait_until(self._over, "the end of the tour", timeout=30)
        return self.process.wait()

    def _over(self) -> bool:
        # Somebody has to read, or the tour waits for the terminal.
        if select.select([self._mine], [], [], 0)[0]:
            # EIO is Linux's way to say that nobody has the terminal open any more.
            with contextlib.suppress(OSError):
                self.text += os.read(self._mine, 1 << 16).decode(errors="replace")
        return self.process.poll() is not None

    def close(self) -> None:
        """Close the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._mine)


@pytest.fixture
def terminal(temporary: Path) -> Iterator[Terminal]:
    made = Terminal(temporary)
    yield made
    made.close()


def test_keys_turn_pages_jump_and_end(terminal: Terminal, temporary: Path) -> None:
    terminal.wait_for("q ends")
    terminal.press("\n")
    terminal.wait_for("the steps")
    terminal.press("6")
    terminal.wait_for("has been waiting for")
    terminal.wait_for("has been waiting for")  # it lives
    terminal.press("\n")
    terminal.wait_for("One send, two answers")
    terminal.press("q")
    assert terminal.end() == 0
    assert "The tour is over" in terminal.text
    assert "\x1b[?25h" in terminal.text  # the cursor is back
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_no_process_and_no_file_behind(
    number: signal.Signals, status: int, terminal: Terminal, temporary: Path
) -> None:
    terminal.wait_for("q ends")
    found = re.search(r"in process (\d+)", terminal.text)
    assert found is not None
    assert alive(int(found[1]))
    terminal.process.send_signal(number)
    assert terminal.end() == status
    assert not alive(int(found[1]))
    assert list(temporary.iterdir()) == []


def test_the_server_ends_with_a_tour_that_was_killed(terminal: Terminal) -> None:
    terminal.wait_for("q ends")
    found = re.search(r"in process (\d+)", terminal.text)
    assert found is not None
    terminal.process.kill()
    terminal.process.wait()
    wait_until(lambda: not alive(int(found[1])), "the end of the server")
