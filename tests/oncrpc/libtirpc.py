"""A real C server: sample.x through rpcgen, server.c, gcc and libtirpc; built once for each run of the tests."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers import compile_c, require

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = Path(__file__).parent / "c_server"
SPEC = SOURCES / "sample.x"


@dataclass(frozen=True)
class CServer:
    """Where the server listens."""

    tcp: int
    udp: int
    path: str


@functools.cache
def build() -> Path:
    """Compile the server; the directory lives as long as the run."""
    require("rpcgen", "gcc", "libtirpc")
    directory = Path(tempfile.mkdtemp(prefix="oncrpc-c-"))
    shutil.copy(SPEC, directory)
    made = []
    for flag, name in (("-h", "sample.h"), ("-c", "sample_xdr.c"), ("-m", "sample_svc.c")):
        subprocess.run(["rpcgen", flag, "-o", name, SPEC.name], cwd=directory, check=True)
        made.append(directory / name)
    compile_c(directory, [SOURCES / "server.c", *made[1:]], "server")
    return directory


@contextmanager
def c_server(directory: Path, *, max_record: int = 0) -> Iterator[CServer]:
    """Run the server; its socket file lies in the directory."""
    path = str(directory / "socket")
    server = subprocess.Popen([build() / "server", path, str(max_record)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        words = server.stdout.readline().split()
        yield CServer(tcp=int(words[1]), udp=int(words[3]), path=path)
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()
