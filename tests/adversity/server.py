"""The server that is attacked: the tests' program over TCP, UDP and a local socket, in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from oncrpc.tx.reactor import install


def main() -> None:
    """Serve until killed; tell the addresses in one line of JSON first.

    Args (one JSON object): limits (fields of Limits), trust (networks), local (path of a socket),
    descriptors (soft limit), data (path of a file that is opened anew for each call of SERVED_COUNT:
    what a store would do).
    """
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    if "descriptors" in wanted:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted["descriptors"], wanted["descriptors"]))
    reactor = install(wanted.get("reactor", ""))

    from twisted.python import log

    from oncrpc.limits import Limits
    from oncrpc.program import LATER, Call, LaterType
    from oncrpc.trust import Trust
    from oncrpc.tx.service import RPCService
    from tests.oncrpc.served import Served

    class Attacked(Served):
        def served_count(self, call: Call) -> int:
            if "data" in wanted:
                with open(wanted["data"], "a") as data:  # noqa: PTH123 - the descriptor is the point
                    data.write("x")
            return super().served_count(call)

        def served_echo(self, call: Call, arg: bytes) -> bytes:
            return arg

        def served_add(self, call: Call, arg: Any) -> int:
            # As C does it: what leaves 32 bits comes round again, and is no fault of the server's.
            result: int = (arg.a + arg.b + 2**31) % 2**32 - 2**31
            return result

        def served_two(self, call: Call, a: int, b: int) -> int:
            return (a - b + 2**31) % 2**32 - 2**31

        def served_later(self, call: Call, arg: bytes) -> LaterType:
            return LATER

    log.startLogging(sys.stderr, setStdout=False)
    endpoints = ["tcp:0", "udp:0"]
    if "local" in wanted:
        endpoints.append(f"unix:{wanted['local']}")
    service = RPCService(
        [Attacked()],
        endpoints,
        limits=Limits(**wanted.get("limits", {})),
        trust=Trust(tuple(wanted["trust"])) if "trust" in wanted else None,
        replay="all" if wanted.get("replay") else "datagrams",
    )
    service.startService()
    ports = {address.netid: address.port for address in service.addresses}
    sys.stdout.write(json.dumps({"pid": os.getpid(), **ports}) + "\n")
    sys.stdout.flush()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()  # type: ignore[no-untyped-call, unused-ignore]


if __name__ == "__main__":
    main()
