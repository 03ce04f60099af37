"""A machine of its own for each module, once with Debian's rpcbind and once with ours in its place."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests import peers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RAW: Final = peers.ROOT / "tests" / "interop" / "rpcbind" / "raw.py"
SOURCE: Final = peers.ROOT / "tests" / "interop" / "rpcbind" / "registrant.c"


@dataclass
class Machine:
    """A machine with a registry.

    Attributes:
        space: Its namespace: port 111 is the registry's.
        kind: "rpcbind" (Debian's, the referee) or "ours".
        registry: The running registry.
        options: What it was started with.
    """

    space: peers.Namespace
    kind: str
    registry: peers.Background
    options: tuple[str, ...] = ()

    def rpcinfo(self, *arguments: str, check: bool = True) -> str:
        """Run the real rpcinfo and return its output."""
        return self.space.run("rpcinfo", *arguments, check=check).stdout

    def as_user(self, uid: int, *arguments: str | Path, check: bool = True) -> str:
        """Run a command as another user and return its output."""
        identity = ("--reuid", str(uid), "--regid", str(uid), "--clear-groups")
        return self.space.run("setpriv", *identity, *arguments, check=check).stdout

    def raw(self, *requests: dict[str, Any], uid: int = 0) -> list[str]:
        """Make raw calls from within the machine, as raw.py describes them; return the answers."""
        identity = ("setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups") if uid else ()
        done = self.space.run(*identity, sys.executable, RAW, input=json.dumps(requests).encode(), timeout=120)
        answers: list[str] = json.loads(done.stdout)
        return answers

    def rows(self, program: int) -> list[list[str]]:
        """Return what is registered for a program: version, netid, address, owner."""
        lines = [line.split() for line in self.rpcinfo().splitlines()[1:]]
        return [[*line[1:4], line[-1]] for line in lines if line[0] == str(program)]


def start_registry(space: peers.Namespace, kind: str, *, callit: bool = False, state: bool = False) -> Machine:
    """Start a registry that listens on every address of the machine.

    Args:
        space: Where.
        kind: "rpcbind" or "ours".
        callit: Pass calls on.
        state: Keep the table over a restart.
    """
    peers.require("rpcinfo", "setpriv")
    if kind == "rpcbind":
        options = (*(["-r"] if callit else []), *(["-w"] if state else []))
        return Machine(space, kind, space.rpcbind(*options), options)
    options = ("--listen", "0.0.0.0", "--listen", "::")
    options += ("--callit", "--trust", "10.0.0.0/8") if callit else ()
    options += ("--state", "/run/rpcbind/rpcbind.xdr") if state else ()
    registry = space.start(sys.executable, "-m", "rpcbind_reg.cli", "serve", *options)
    registry.wait_for_output("serving portmap 2 and rpcbind 3, 4")
    return Machine(space, kind, registry, options)


@pytest.fixture(scope="module", params=["rpcbind", "ours"])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with a registry, shared by a module's tests: each takes program numbers of its own."""
    with peers.namespace(tmp_path_factory.mktemp(request.param)) as space:
        yield start_registry(space, request.param)


@pytest.fixture(scope="session")
def registrant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C program that registers itself in every way libtirpc has, compiled."""
    return peers.compile_c(tmp_path_factory.mktemp("registrant"), [SOURCE], "registrant")
