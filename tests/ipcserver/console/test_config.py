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


def test_actions_are_off_unless_asked_for() -> None:
    assert Config().console_actions is False
    assert Config().updated({"console_actions": True}, "here").console_actions is True
    assert Config.load(None, {"IPCSERVER_CONSOLE_ACTIONS": "yes"}).console_actions is True
    with pytest.raises(ConfigError, match="neither yes nor no"):
        Config().updated({"console_actions": "perhaps"}, "here")


def test_a_token_is_long_enough_and_shown_by_nothing() -> None:
    config = Config.load(None, {"IPCSERVER_CONSOLE_TOKEN": "0123456789abcdef"})
    assert config.console_token == "0123456789abcdef"
    assert "0123456789abcdef" not in repr(config)
    for wrong in ("short", "with blanks in it all over", "grüße-aus-der-ferne-hier"):
        with pytest.raises(ConfigError, match="16 to 200") as caught:
            Config.load(None, {"IPCSERVER_CONSOLE_TOKEN": wrong})
        assert wrong not in str(caught.value)


@pytest.mark.parametrize(("text", "found"), [("1000:100", (1000, 100)), ("0", (0, 0)), ("65534:65534", (65534, 65534))])
def test_an_identity_is_a_uid_and_a_gid(text: str, found: tuple[int, int]) -> None:
    assert Config().updated({"console_identity": text}, "here").console_identity == found


@pytest.mark.parametrize("text", ["", "root", "-1:0", "4294967295:0", "1:2:3"])
def test_what_is_no_identity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"UID:GID, for example"):
        Config().updated({"console_identity": text}, "here")
