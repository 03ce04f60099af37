"""What the tests of the commands share: a C server, and the command line run in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from oncrpc.cli import _group
from tests.oncrpc.libtirpc import CServer, c_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., Result]


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CServer]:
    with c_server(tmp_path_factory.mktemp("c")) as running:
        yield running


@pytest.fixture
def run() -> Run:
    """Run ``oncrpc`` with arguments; the result has exit_code, stdout, stderr."""

    def invoke(*arguments: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(_group, [str(argument) for argument in arguments], input=stdin, prog_name="oncrpc")

    return invoke


@pytest.fixture
def tcp(server: CServer) -> str:
    return f"tcp:127.0.0.1:{server.tcp}"


@pytest.fixture
def udp(server: CServer) -> str:
    return f"udp:127.0.0.1:{server.udp}"
