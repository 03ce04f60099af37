"""Where a server listens: endpoint strings to sockets, and what to say when that fails."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from twisted.internet import endpoints
from twisted.internet.error import CannotListenError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CannotServe",
    "Endpoint",
    "ServedAddress",
    "netid_of",
    "open_endpoints",
    "parse_endpoint",
    "passed_descriptors",
]

BACKLOG: Final = 1024
_PRIVILEGED: Final = 1024
_BINDRESVPORT: Final = 600
_SUNRPC: Final = 111


class CannotServe(CannotListenError):
    """An address could not be listened on; its text says which, why, and what can be done."""

    def __init__(self, place: str, problem: OSError, hint: str = "") -> None:
        super().__init__(place, None, problem)  # type: ignore[no-untyped-call]
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        text = f"cannot listen on {self.place}: {self.socketError.strerror or self.socketError}"
        return f"{text} ({self.hint})" if self.hint else text


@dataclass(frozen=True, slots=True)
class ServedAddress:
    """Where a service listens.

    Args:
        netid: "tcp", "udp", "tcp6", "udp6" or "local".
        host: IP address; "" for a local socket.
        port: 0 for a local socket.
        path: Path of a local socket; else "".
    """

    netid: str
    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.netid == "local":
            return f"local {self.path}"
        return f"{self.netid} {f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint string, understood.

    Args:
        kind: "tcp", "udp", "unix" or "systemd".
        port: For tcp and udp; 0 takes any free one.
        interface: IP address to listen on. Loopback if nothing is said: the network is a choice.
        path: For unix.
        mode: Permissions of the socket file, for unix.
        backlog: Connections that may wait to be accepted.
        index: For systemd: which of the passed sockets.
    """

    kind: str
    port: int = 0
    interface: str = "127.0.0.1"
    path: str = ""
    mode: int = 0o666
    backlog: int = BACKLOG
    index: int = 0


def parse_endpoint(text: str) -> Endpoint:
    r"""Read an endpoint string.

    Args:
        text: As Twisted writes them: ``tcp:600``, ``tcp:600:interface=0.0.0.0``,
            ``udp:600:interface=::1``, ``unix:/run/x.sock:mode=660``, ``systemd:domain=INET:index=0``.
            Without ``interface`` it is 127.0.0.1. A colon of an IPv6 address may be escaped with a
            backslash, as Twisted wants it, and need not be; brackets are taken too.

    Raises:
        ValueError: It is none of these; the text says what is wrong.
    """
    kind, *rest = _split(text)
    positional: list[str] = []
    named: dict[str, str] = {}
    last = ""
    for piece in rest:
        name, equals, value = piece.partition("=")
        if equals and name in {"interface", "mode", "backlog", "domain", "index", "port", "address"}:
            named[last := name] = value
        elif last == "interface":
            named[last] += ":" + piece
        elif not named:
            positional.append(piece)
        else:
            msg = f"endpoint {text!r}: {piece!r} is not understood"
            raise ValueError(msg)
    try:
        backlog = int(named.get("backlog", BACKLOG))
        match kind:
            case "tcp" | "udp" | "tcp6" | "udp6":
                port = int(positional[0] if positional else named["port"])
                interface = named.get("interface", "::1" if kind.endswith("6") else "127.0.0.1").strip("[]")
                if not 0 <= port <= 65535 or len(positional) > 1:  # noqa: PLR2004 - the last port
                    msg = f"endpoint {text!r}: {positional or port} is no port"
                    raise ValueError(msg)
                return Endpoint(kind[:3], port, interface or "0.0.0.0", backlog=backlog)
            case "unix":
                path = ":".join(positional) or named["address"]
                return Endpoint("unix", path=path, mode=int(named.get("mode", "666"), 8), backlog=backlog)
            case "systemd":
                return Endpoint("systemd", index=int(named.get("index", "0")))
            case _:
                msg = f"endpoint {text!r}: tcp, udp, unix or systemd was expected, not {kind!r}"
                raise ValueError(msg)
    except KeyError as missing:
        msg = f"endpoint {text!r}: no {missing.args[0]} is given"
        raise ValueError(msg) from None


def _split(text: str) -> list[str]:
    """Split at colons that have no backslash before them."""
    pieces = [""]
    escaped = False
    for character in text:
        if escaped:
            pieces[-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ":":
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def open_endpoints(endpoints: Sequence[str | socket.socket], *, listen: bool = True) -> list[socket.socket]:
    """Return bound sockets for endpoints; all of them or none.

    Args:
        endpoints: Endpoint strings, and sockets that are bound already. Those stay the caller's if this raises.
        listen: Whether streams listen too. Without it nobody can connect yet: for servers that have to read their
            data first.

    Raises:
        CannotServe: One cannot be listened on.
        ValueError: A string is no endpoint.
    """
    parsed = [each if isinstance(each, socket.socket) else parse_endpoint(each) for each in endpoints]
    passed: list[int] | None = None
    opened: list[socket.socket] = []
    ours: list[socket.socket] = []
    try:
        for each in parsed:
            if isinstance(each, socket.socket):
                opened.append(each)
                continue
            if each.kind == "systemd":
                if passed is None:
                    passed = passed_descriptors()
                made = _passed(passed, each.index)
            elif each.kind == "unix":
                made = _local(each)
            else:
                made = _internet(each)
            opened.append(made)
            ours.append(made)
        if listen:
            for each, bound in zip(parsed, opened, strict=True):
                if bound.type == socket.SOCK_STREAM:
                    _listen(bound, each.backlog if isinstance(each, Endpoint) else BACKLOG)
    except BaseException:
        for each in ours:
            each.close()
        raise
    return opened


def netid_of(bound: socket.socket) -> str:
    """Return the netid of a socket (RFC 5665, section 5.1)."""
    if bound.family == getattr(socket, "AF_UNIX", None):
        return "local"
    name = "tcp" if bound.type == socket.SOCK_STREAM else "udp"
    return name + ("6" if bound.family == socket.AF_INET6 else "")


def address_of(bound: socket.socket) -> ServedAddress:
    """Return where a socket listens."""
    netid = netid_of(bound)
    name = bound.getsockname()
    if netid == "local":
        return ServedAddress(netid, "", 0, os.fsdecode(name))
    return ServedAddress(netid, name[0], name[1])


def _internet(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.interface else socket.AF_INET
    stream = endpoint.kind == "tcp"
    host = f"[{endpoint.interface}]" if family == socket.AF_INET6 else endpoint.interface
    place = f"{endpoint.kind} {host}:{endpoint.port}"
    try:
        bound = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    except OSError as problem:
        raise CannotServe(place, problem) from problem
    try:
        if stream:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # One socket for each family: :: and 0.0.0.0 can be served side by side.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((endpoint.interface, endpoint.port))
    except OSError as problem:
        bound.close()
        raise CannotServe(place, problem, _hint(endpoint, problem)) from problem
    return bound


def _hint(endpoint: Endpoint, problem: OSError) -> str:
    port = endpoint.port
    if problem.errno == errno.EADDRINUSE:
        who = f"`ss -{'t' if endpoint.kind == 'tcp' else 'u'}lnp sport = :{port}` shows who has it"
        if _BINDRESVPORT <= port < _PRIVILEGED:
            return (
                "an RPC program of this machine (ypbind, statd, mountd, an NFS mount) may have it: bindresvport(3)"
                f" gives them ports from 600 on, except those in /etc/bindresvport.blacklist; {who}"
            )
        return f"most likely rpcbind has it; {who}" if port == _SUNRPC else who
    if problem.errno in {errno.EACCES, errno.EPERM} and port < _PRIVILEGED:
        return "ports below 1024 are for root or CAP_NET_BIND_SERVICE"
    return ""


def _local(endpoint: Endpoint) -> socket.socket:
    path = endpoint.path
    place = f"unix {path}"
    try:
        _remove_stale(path)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as problem:
        raise CannotServe(place, problem) from problem
    try:
        # Nobody can connect between bind and chmod: it does not listen yet.
        bound.bind(path)
        os.chmod(path, endpoint.mode)  # noqa: PTH101 - beside bind(), which takes text
    except OSError as problem:
        bound.close()
        raise CannotServe(place, problem, _local_hint(path, problem)) from problem
    return bound


def _local_hint(path: str, problem: OSError) -> str:
    if problem.errno != errno.EADDRINUSE:
        return ""
    with suppress(OSError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return "something that is no socket is there"
    return "another server listens there"


def _listen(bound: socket.socket, backlog: int) -> None:
    """Listen; a socket that systemd passed does already, and takes no harm."""
    try:
        bound.listen(backlog)
    except OSError as problem:
        # Linux lets two sockets bind one port with SO_REUSEADDR; the second learns of it here.
        raise CannotServe(str(address_of(bound)), problem) from problem


def _remove_stale(path: str) -> None:
    """Remove a socket file that a killed server left; leave one that somebody listens on."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - beside bind(), which takes text
        except OSError:
            return


def passed_descriptors() -> list[int]:
    """Return the descriptors of the sockets that systemd passed to this process (sd_listen_fds(3)), if it did."""
    # Twisted's endpoints take the variables away when they are imported, which anything may have done by now, and
    # keep what these said here, for their own "systemd:" strings.
    return endpoints._SystemdParser._sddaemon.inheritedDescriptors()  # noqa: SLF001


def _passed(descriptors: list[int], index: int) -> socket.socket:
    """Return a socket that systemd passed."""
    if index >= len(descriptors):
        problem = OSError(errno.ENOENT, f"systemd passed {len(descriptors)} sockets")
        msg = f"systemd socket {index}"
        raise CannotServe(msg, problem, "is the .socket unit running?")
    os.set_inheritable(descriptors[index], False)
    # Family and type are those of the descriptor.
    return socket.socket(fileno=descriptors[index])
