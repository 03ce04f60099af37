"""librpcipc.so in a network of its own: where the server is found, and what a network that is cut does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.ipcserver.serving import Serving
from tests.peers import Namespace, namespace, require, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers import Background

MESSAGES = 1000


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Namespace]:
    """A machine with nothing but a loopback interface."""
    with namespace(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "options", [["--portmapper", "builtin", "--port", "7600"], ["--portmapper", "none"]], ids=["asked for", "600"]
)
def test_a_port_that_is_not_given_is_the_portmappers_or_600(
    network: Namespace, library: Path, process: Path, tmp_path: Path, options: list[str]
) -> None:
    Serving(tmp_path, *options, namespace=network).start()
    if "builtin" in options:
        network.wait_for_port(111)
    for address in ("127.0.0.1", "localhost"):
        said = network.run("env", f"LD_PRELOAD={library}", f"IPCSERVER={address}", process, "give", "7", timeout=20)
        assert said.stdout.split() == ["going", "0", "semop", "0"]


def _until_sent_again(network: Namespace, times: int) -> None:
    """Wait until TCP has sent something in vain so many times: after 0.2, 0.6, 1.4, 3 s."""
    require("ss")

    def silent() -> bool:
        timers = re.findall(r"timer:\(on,[^,]*,(\d+)\)", network.run("ss", "-tnoH", "state", "established").stdout)
        return any(int(timer) >= times for timer in timers)

    wait_until(silent, f"{times} retransmissions")


@pytest.mark.parametrize("patience", ["patient", "hasty"])
def test_a_network_that_is_cut_is_a_delay_and_nothing_is_lost_or_doubled(  # noqa: PLR0917 - fixtures
    network: Namespace, library: Path, hasty_library: Path, process: Path, tmp_path: Path, patience: str
) -> None:
    Serving(tmp_path, "--portmapper", "none", "--port", "7600", namespace=network).start()

    def run(*arguments: str) -> Background:
        preload = hasty_library if patience == "hasty" else library
        return network.start(process, *arguments, LD_PRELOAD=str(preload), IPCSERVER="127.0.0.1:7600")

    holder = run("hold", "8")
    taker = run("take", "9")
    drain = run("drain", "7", str(MESSAGES))
    count = run("count", "7", str(MESSAGES))
    holder.wait_for_output("held")
    taker.wait_for_output("going")
    drain.wait_for_output("a quarter")
    network.run("ip", "link", "set", "lo", "down")
    _until_sent_again(network, 4 if patience == "hasty" else 2)
    network.run("ip", "link", "set", "lo", "up")
    drain.wait_for_output("received")
    count.wait_for_output("sent")
    assert drain.output.split() == ["a", "quarter", str(MESSAGES // 4), "received", str(MESSAGES)]
    assert count.output.split() == ["sent", str(MESSAGES)]
    run("give", "9").wait_for_output("semop")
    taker.wait_for_output("semop")
    assert taker.output.split() == ["going", "0", "semop", "0"]
    # Whoever held something holds it still.
    run("take", "8").wait_for_output("semop")
