"""Where the console is."""

from __future__ import annotations

import pytest

from ipcserver.config import Config, ConfigError


def test_there_is_none_unless_asked_for() -> None:
    assert Config().console is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:6000", ("127.0.0.1", 6000)),
        ("6000", ("127.0.0.1", 6000)),
        (":0", ("127.0.0.1", 0)),
        ("localhost:6000", ("127.0.0.1", 6000)),
        ("[::1]:6000", ("::1", 6000)),
        ("0.0.0.0:6000", ("0.0.0.0", 6000)),
    ],
)
def test_a_port_alone_means_loopback(text: str, place: tuple[str, int]) -> None:
    assert Config().updated({"console": text}, "here").console == place


@pytest.mark.parametrize("text", ["", "x", "example.com:80", "127.0.0.1:70000", "::1"])
def test_what_is_no_address_and_port_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"here: console: .*for example"):
        Config().updated({"console": text}, "here")
