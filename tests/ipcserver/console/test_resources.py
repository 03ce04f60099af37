"""The API: what is served is what is documented."""

from __future__ import annotations

import re

from ipcserver.console.actions import ACTIONS
from ipcserver.console.resources import PATHS
from tests.peers import ROOT

PAGE = (ROOT / "docs" / "reference" / "console.md").read_text()


def test_every_path_is_documented_with_its_method_and_none_that_is_not_served() -> None:
    documented = {
        (method, path.partition("?")[0].replace("/N", "/"))
        for method, path in re.findall(r"^\| `(GET|POST) /(\S+)` \|", PAGE, re.MULTILINE)
    }
    served = {("POST" if path == "api/explain" else "GET", path) for path in PATHS}
    assert documented == served | {("POST", f"api/actions/{name}") for name in ACTIONS}
