"""``twistd ipcserver``: the same server under Twisted's own daemon runner."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from ipcserver.config import Config, ConfigError
from ipcserver.service import IPCService
from oncrpc.tx.reactor import make_monotonic

__all__ = ["Options", "makeService"]


class Options(BaseOptions):
    """Options of ``twistd ipcserver``: those of ``ipcserver serve``, but for what twistd has itself (``--uid``)."""

    optParameters: ClassVar = [
        ["config", "c", None, "A TOML file with settings; flags win over it."],
        ["listen", "l", None, "Addresses to serve on, with commas between them."],
        ["port", "p", None, "TCP and UDP port; 0: a free one."],
        ["socket", None, None, "The local socket."],
        ["state", "d", None, "Where the journal is."],
        ["journal", "j", None, "sqlite or memory."],
        ["portmapper", None, None, "auto, system, builtin or none."],
        ["portmapper_port", None, None, "Port of the builtin portmapper."],
        ["trust", None, None, "Networks whose AUTH_SYS is believed, with blanks between them."],
        ["limits", None, None, "linux or solaris2."],
        ["limit", None, None, "Single limits that differ from the preset, NAME=NUMBER, with commas between them."],
        ["console", None, None, "Address and port of the web console."],
        ["console_actions", None, None, "yes: the console's page may change things, for who has the token."],
        ["console_identity", None, None, "UID:GID whose rights the page's actions have."],
    ]

    def config(self) -> Config:
        """Return the configuration.

        Raises:
            UsageError: A setting is wrong.
        """
        settings: dict[str, Any] = {name: value for name, value in self.items() if value is not None}
        file = settings.pop("config", None)
        try:
            return Config.load(None if file is None else Path(file), dict(os.environ)).updated(settings, "command line")
        except ConfigError as error:
            raise UsageError(str(error)) from None


def makeService(options: Options) -> IPCService:
    """Return the service that twistd starts."""
    make_monotonic(reactor)
    return IPCService(options.config(), reactor=reactor)
