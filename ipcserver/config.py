"""How a server is set up: one frozen Config, from flags, the environment and one TOML file.

The flags of the command line win over the environment (``IPCSERVER_PORT`` and so on), which wins over the file,
which wins over the defaults here.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, get_args

from ipcserver.identity import Trust, TrustError

__all__ = [
    "PORT",
    "PORTMAPPER_PORT",
    "SYSTEM_STATE",
    "UNPRIVILEGED_PORT",
    "UNPRIVILEGED_PORTMAPPER_PORT",
    "Config",
    "ConfigError",
    "Journal",
    "Portmapper",
]

PORT: Final = 600
"""The port that IANA lists as "ipcserver"; privileged."""

PORTMAPPER_PORT: Final = 111
"""The portmapper's port (RFC 1833, section 2.2.1); privileged."""

UNPRIVILEGED_PORT: Final = 6600
"""Where an ordinary user's server listens when no port is given."""

UNPRIVILEGED_PORTMAPPER_PORT: Final = 6111
"""Where an ordinary user's portmapper listens."""

HIGHEST_PORT: Final = 65535

_NO_ID: Final = 0xFFFFFFFF
"""The number that is nobody's: chown(2) takes it for "as it is"."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{16,200}")

SYSTEM_STATE: Final = Path("/var/lib/ipcserver")
"""The state directory of a server that root runs."""

Portmapper = Literal["auto", "system", "builtin", "none"]
Journal = Literal["sqlite", "memory"]
LogFormat = Literal["text", "json"]
LimitsPreset = Literal["linux", "solaris2"]


class ConfigError(ValueError):
    """A setting that cannot be used; the text names where it stands and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All that a server needs to know before it starts."""

    listen: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses to listen on, over TCP and UDP. Loopback: serving a network is an explicit choice."""

    port: int | None = None
    """TCP and UDP port; 0 takes a free one. Default: 600, or 6600 for an ordinary user."""

    socket: Path | None = None
    """The local socket. Default: ipcserver.sock in the state directory."""

    state: Path | None = None
    """Directory of the journal. Default: /var/lib/ipcserver for root, else ipcserver in XDG_STATE_HOME."""

    journal: Journal = "sqlite"
    """"sqlite" keeps everything that was acknowledged; "memory" keeps nothing over a restart, and says so."""

    snapshot_commands: int = 500_000
    """Commands in the journal after which a snapshot takes their place: a restart replays about as many. More make
    restarts longer, fewer cost processor time."""

    portmapper: Portmapper = "auto"
    """Register with the machine's rpcbind ("system"), be the portmapper ("builtin"), the first of the two that can
    be had ("auto"), or neither ("none")."""

    portmapper_port: int | None = None
    """Port of the builtin portmapper. Default: 111, or 6111 for an ordinary user."""

    trust: tuple[Trust, ...] = ()
    """Networks whose AUTH_SYS credentials are believed, besides loopback."""

    limits: LimitsPreset = "linux"
    """The System V limits: those of a Linux kernel, or of Solaris 2."""

    limit: tuple[tuple[str, int], ...] = ()
    """Single limits that differ from the preset: names and values of ipcserver.machine.Limits, for example msgmnb."""

    console: tuple[str, int] | None = None
    """Address and port of the web console; None: there is none. It has no login, so loopback is its place."""

    console_actions: bool = False
    """Whether the console may change things: send, receive, semop, remove, for who has the token."""

    console_token: str | None = field(default=None, repr=False)
    """The token of the console's actions; None: a random one, told in the log."""

    console_identity: tuple[int, int] | None = None
    """Uid and gid that the console's actions are done as; None: those of the server's process."""

    user: str | None = None
    """The user to become after the ports are bound; only root can."""

    log_format: LogFormat = "text"
    """"text" for people, "json" for machines: one object a line."""

    @property
    def state_directory(self) -> Path:
        """The directory that the journal and the local socket are in."""
        if self.state is not None:
            return self.state
        if os.geteuid() == 0:
            return SYSTEM_STATE
        base = os.environ.get("XDG_STATE_HOME")
        return (Path(base) if base else Path.home() / ".local" / "state") / "ipcserver"

    @property
    def socket_path(self) -> Path:
        """The path of the local socket."""
        return self.socket if self.socket is not None else self.state_directory / "ipcserver.sock"

    @property
    def journal_path(self) -> Path:
        """The path of the SQLite journal."""
        return self.state_directory / "journal.sqlite"

    def updated(self, settings: dict[str, Any], where: str) -> Config:
        """Return this configuration with settings as they come from a file or the environment.

        Args:
            settings: Field name to value: text, number, list of texts, as TOML or a variable has it.
            where: What to call the place in an error, for example the file's name.

        Raises:
            ConfigError: An unknown name or a value that does not fit.
        """
        changes: dict[str, Any] = {}
        known = {each.name for each in fields(self)}
        for name, value in settings.items():
            if name not in known:
                message = f"{where}: there is no setting {name!r} (known: {', '.join(sorted(known))})"
                raise ConfigError(message)
            try:
                changes[name] = _READ[name](value)
            except (TypeError, ValueError, TrustError) as error:
                message = f"{where}: {name}: {error}"
                raise ConfigError(message) from None
        return replace(self, **changes)

    @classmethod
    def load(cls, file: Path | None = None, environ: dict[str, str] | None = None) -> Config:
        """Return the configuration of a file and of the environment.

        Args:
            file: A TOML file with the names of the fields as keys; None: no file.
            environ: Variables; those named IPCSERVER_ and a field's name in capitals count. Default: none.

        Raises:
            ConfigError: The file cannot be read, or a setting is wrong.
        """
        config = cls()
        if file is not None:
            try:
                settings = tomllib.loads(file.read_text())
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                message = f"{file}: {error}"
                raise ConfigError(message) from None
            config = config.updated(settings, str(file))
        for each in fields(cls):
            variable = f"IPCSERVER_{each.name.upper()}"
            if environ and variable in environ:
                config = config.updated({each.name: environ[variable]}, variable)
        return config


def _texts(value: Any) -> tuple[str, ...]:
    """Read a list of texts, or one text with commas."""
    items = value.split(",") if isinstance(value, str) else list(value)
    if not all(isinstance(item, str) and item for item in items):
        message = f"{value!r} is not a list of texts"
        raise ValueError(message)
    return tuple(items)


def _port(value: Any) -> int:
    """Read a port number."""
    number = int(value)
    if isinstance(value, bool) or not 0 <= number <= HIGHEST_PORT:
        message = f"{value!r} is not a port (0 to 65535)"
        raise ValueError(message)
    return number


def _console(value: Any) -> tuple[str, int]:
    """Read HOST:PORT, [HOST]:PORT, or a port on loopback."""
    host, _, port = str(value).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if host == "localhost":
        host = ""
    try:
        return str(ip_address(host or "127.0.0.1")), _port(port)
    except ValueError:
        message = f"{value!r} is not ADDRESS:PORT, for example 127.0.0.1:8600"
        raise ValueError(message) from None


def _switch(value: Any) -> bool:
    """Read yes or no."""
    if isinstance(value, bool):
        return value
    words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": False}
    found = words.get(str(value).lower())
    if found is None:
        message = f"{value!r} is neither yes nor no"
        raise ValueError(message)
    return found


def _token(value: Any) -> str:
    """Read a token: one that nobody guesses and every header can carry."""
    text = _text(value)
    if not _TOKEN.fullmatch(text):
        message = "a token has 16 to 200 letters, digits and any of - . _ ~ + / ="
        raise ValueError(message)
    return text


def _identity(value: Any) -> tuple[int, int]:
    """Read UID:GID, or a UID alone for the group of the same number."""
    uid, _, gid = str(value).partition(":")
    try:
        found = int(uid), int(gid or uid)
    except ValueError:
        found = -1, -1
    if not all(0 <= number < _NO_ID for number in found):
        message = f"{value!r} is not UID:GID, for example 1000:1000"
        raise ValueError(message)
    return found


def _count(value: Any) -> int:
    """Read a number above zero."""
    number = int(value)
    if isinstance(value, bool) or number < 1:
        message = f"{value!r} is not a number above zero"
        raise ValueError(message)
    return number


def _text(value: Any) -> str:
    """Read a text."""
    if not isinstance(value, str):
        message = f"{value!r} is not a text"
        raise TypeError(message)
    return value


def _one_of(kind: Any) -> Any:
    """Return a reader of one word of a Literal type."""
    words = get_args(kind)

    def read(value: Any) -> Any:
        if value not in words:
            message = f"{value!r} is none of {', '.join(words)}"
            raise ValueError(message)
        return value

    return read


def _limits(value: Any) -> tuple[tuple[str, int], ...]:
    """Read a table of limits; in text they are NAME=NUMBER with commas."""
    pairs = value.items() if isinstance(value, dict) else [item.partition("=")[::2] for item in _texts(value)]
    return tuple((name.strip(), int(number)) for name, number in pairs)


def _trusts(value: Any) -> tuple[Trust, ...]:
    """Read a list of trusted networks; in one text they are parted by blanks, for commas part their uids."""
    items = value.split() if isinstance(value, str) else _texts(value)
    return tuple(Trust.parse(item) for item in items)


_READ: Final = {
    "listen": _texts,
    "port": _port,
    "socket": lambda value: Path(_text(value)),
    "state": lambda value: Path(_text(value)),
    "journal": _one_of(Journal),
    "snapshot_commands": _count,
    "portmapper": _one_of(Portmapper),
    "portmapper_port": _port,
    "trust": _trusts,
    "limits": _one_of(LimitsPreset),
    "limit": _limits,
    "console": _console,
    "console_actions": _switch,
    "console_token": _token,
    "console_identity": _identity,
    "user": _text,
    "log_format": _one_of(LogFormat),
}
