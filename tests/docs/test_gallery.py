"""The pictures of the documentation can be left out: a machine without a browser builds the site all the same."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.peers import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_without_chromium_it_says_so_and_ends_well(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "gallery.py", tmp_path / "gallery"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert "apt-get install chromium" in done.stdout
    assert not (tmp_path / "gallery").exists()
