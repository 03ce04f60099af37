"""What the tests of librpcipc.so have in common: the library, and ordinary programs to put on a server."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.peers import ROOT, environment, require

if TYPE_CHECKING:
    from pathlib import Path

HERE = ROOT / "tests" / "interop"


def _preload(build: Path, *flags: str) -> Path:
    require("gcc", "make", "pkg-config", "rpcgen", "libtirpc")
    arguments = [f"BUILD={build}", f"CFLAGS={' '.join(['-O2', '-g', '-Werror', *flags])}"]
    done = subprocess.run(
        ["make", "-C", str(ROOT / "clients" / "c"), *arguments, "preload"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return build / "librpcipc.so"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """librpcipc.so by its Makefile."""
    return _preload(tmp_path_factory.mktemp("preload"))


@pytest.fixture(scope="session")
def hasty_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but it gives a connection up after half a second of silence instead of ten."""
    return _preload(tmp_path_factory.mktemp("hasty"), "-DCHUNK_MS=500L", "-DMARGIN_MS=500L")


def _program(directory: Path, name: str, *options: str, source: Path = HERE) -> Path:
    require("gcc")
    made = directory / (f"{name}.so" if "-shared" in options else name)
    command = ["gcc", "-O1", "-g", "-w", *options, "-o", str(made), str(source / f"{name}.c"), "-lpthread", "-ldl"]
    subprocess.run(command, check=True, timeout=60, env=environment())
    return made


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that makes every call and says what it gave."""
    return _program(tmp_path_factory.mktemp("program"), "sysv_program")


@pytest.fixture(scope="session")
def process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that replaces itself and has children; beside it, under .so, a library for it to load."""
    directory = tmp_path_factory.mktemp("process")
    _program(directory, "sysv_process", "-shared", "-fPIC", "-DPLUGIN")
    return _program(directory, "sysv_process", "-rdynamic")


@pytest.fixture(scope="session")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that makes every call with all combinations of good and bad arguments."""
    return _program(tmp_path_factory.mktemp("matrix"), "sysv_matrix")


@pytest.fixture(scope="session")
def sysv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of benchmarks/preload.py: its processes hold something and wait in msgrcv."""
    return _program(tmp_path_factory.mktemp("sysv"), "sysv", source=ROOT / "benchmarks" / "rpc")
