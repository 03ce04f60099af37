"""The manual pages are those of the commands as they are, and man shows them without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.peers import ROOT, environment, require

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = ("ipcserver", "oncrpc", "rpcbind-reg", "xdr")
WRITTEN = [ROOT / "contrib" / "man" / f"{name}.1" for name in COMMANDS]

PAGES = [*WRITTEN, *sorted((ROOT / "clients" / "c").glob("*.[1-9]"))]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, ROOT / "tools" / "manpages.py", folder], check=True, cwd=ROOT)
    return folder


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_a_manual_page_is_what_the_command_says_of_itself_now(page: Path, made: Path) -> None:
    assert page.read_text() == (made / page.name).read_text(), "make generate writes it"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_manual_page_is_shown_without_a_warning(page: Path) -> None:
    require("groff")
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", page], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stderr == ""
    assert "SEE ALSO" in re.sub("\x1b\\[[0-9]*m|.\x08", "", done.stdout)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_manual_page_keeps_to_the_macros(page: Path) -> None:
    require("mandoc")
    done = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True, check=False, env=environment()
    )
    told = [line for line in done.stdout.splitlines() if "missing date" not in line]
    assert told == [], "no date on purpose: a page changes when the command does"
