"""The console beside the real rpcbind: it shows what the server says to it."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from tests.ipcserver.serving import IPCSERVER
from tests.peers import ROOT, namespace, require, require_root, wait_until

if TYPE_CHECKING:
    from pathlib import Path

_ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"


def test_registering_with_the_systems_rpcbind_is_in_the_traffic(tmp_path: Path) -> None:
    require("rpcbind")
    require_root()
    with namespace(tmp_path) as machine:
        machine.rpcbind()
        flags = ("--state", tmp_path / "state", "--journal", "memory", "--portmapper", "system")
        server = machine.start(*IPCSERVER, "serve", *flags, "--console", "127.0.0.1:0", PYTHONPATH=str(ROOT))
        found = re.search(r"http://\S+/", server.wait_for_output("the console is at http"))
        assert found is not None

        def asked() -> list[dict[str, Any]]:
            shown = json.loads(machine.run(sys.executable, "-c", _ASK, f"{found[0]}api/traffic").stdout)
            return [each for each in shown["calls"] if each["lane"] == "rpcbind"]

        calls = wait_until(
            lambda: [each for each in asked() if "SET" in each["title"] and each["done"]], "RPCBPROC_SET"
        )
        assert {(each["client"], each["outcome"]) for each in calls} == {("this server", "SUCCESS")}
        detail = json.loads(
            machine.run(sys.executable, "-c", _ASK, f"{found[0]}api/traffic/{calls[0]['number']}").stdout
        )
        names = {part["name"] for part in detail["messages"][0]["explanation"]["parts"]}
        assert "r_addr" in names
