"""The options of ``twistd ipcserver``."""

from __future__ import annotations

from dataclasses import fields

import pytest
from twisted.python.usage import UsageError

from ipcserver.config import Config
from ipcserver.tap import Options

OF_TWISTD = {"user", "log_format"}
"""Settings that twistd has its own options for: --uid and --logger."""

FILE_ONLY = {"snapshot_commands", "console_token"}
"""Settings that have no flag anywhere: for the file and the environment (a flag's value is seen by ps)."""


def test_every_setting_is_an_option_unless_twistd_has_one() -> None:
    names = {name for name, *_ in Options.optParameters} - {"config"}
    assert names == {field.name for field in fields(Config)} - OF_TWISTD - FILE_ONLY


def test_options_become_a_configuration() -> None:
    options = Options()
    options.parseOptions(["--port", "0", "--listen", "127.0.0.1,::1", "--limit", "msgmnb=1,msgmax=1"])
    config = options.config()
    assert (config.port, config.listen, config.limit) == (0, ("127.0.0.1", "::1"), (("msgmnb", 1), ("msgmax", 1)))


def test_a_wrong_setting_is_a_usage_error() -> None:
    options = Options()
    options.parseOptions(["--port", "many"])
    with pytest.raises(UsageError, match="command line: port"):
        options.config()
