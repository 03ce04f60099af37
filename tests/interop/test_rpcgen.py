"""ipc.x is for the oldest rpcgen there is; the real one takes it, in its oldest mode too."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.peers import SPEC, environment, require

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("mode", ["-b", "-C", "-M", "-N"], ids=["SunOS 4", "ANSI C", "threads", "new style"])
@pytest.mark.parametrize("output", ["-h", "-c", "-l", "-m"], ids=["header", "xdr", "client", "server"])
def test_rpcgen_accepts_the_specification(tmp_path: Path, mode: str, output: str) -> None:
    require("rpcgen")
    shutil.copy(SPEC, tmp_path)
    done = subprocess.run(
        ["rpcgen", mode, output, "-o", "made", SPEC.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "made").stat().st_size > 0


def test_what_rpcgen_makes_for_sunos_4_compiles(tmp_path: Path) -> None:
    require("rpcgen", "gcc", "libtirpc")
    shutil.copy(SPEC, tmp_path)
    for output, name in [("-h", "ipc.h"), ("-c", "ipc_xdr.c"), ("-l", "ipc_clnt.c")]:
        subprocess.run(["rpcgen", "-b", output, "-o", name, SPEC.name], cwd=tmp_path, check=True, env=environment())
    flags = subprocess.run(["pkg-config", "--cflags", "libtirpc"], capture_output=True, text=True, check=True).stdout
    subprocess.run(["gcc", "-w", *flags.split(), "-c", "ipc_xdr.c", "ipc_clnt.c"], cwd=tmp_path, check=True)


def without_comments() -> str:
    return re.sub(r"/\*.*?\*/", "", SPEC.read_text(), flags=re.DOTALL)


def test_no_name_is_longer_than_old_linkers_tell_apart() -> None:
    assert [name for name in re.findall(r"\w+", without_comments()) if len(name) > 31] == []


def test_no_type_is_used_that_old_rpcgens_lack() -> None:
    assert set(re.findall(r"\w+", without_comments())).isdisjoint({"hyper", "quadruple", "int64_t", "u_int64_t"})


def test_each_procedure_has_one_argument() -> None:
    procedures = re.findall(r"(\w+)\(([^()]*)\)\s*=\s*\d+;", without_comments())
    assert len(procedures) > 30
    assert [name for name, arguments in procedures if "," in arguments] == []


def test_the_program_number_is_of_the_range_for_local_use_and_no_version_is_zero() -> None:
    """RFC 5531, sections 8.1 and 8.3."""
    programs = re.findall(r"\}\s*=\s*(0x[0-9a-fA-F]+|\d+);\s*\}\s*=\s*(0x[0-9a-fA-F]+|\d+);", without_comments())
    assert [int(version, 0) for version, _ in programs] == [1]
    assert all(0x20000000 <= int(program, 0) <= 0x3FFFFFFF for _, program in programs)
