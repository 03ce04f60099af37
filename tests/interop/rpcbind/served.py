"""A program under a registrar, as three lines of a user's code would have it: ``served.py PROGRAM [PORT]``.

Serves procedure 0 on TCP, UDP (both families) and a local socket, and keeps the program registered. Prints each new
state of the registrar; ends in good order at SIGTERM.
"""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver

from oncrpc.program import Procedure, Program
from oncrpc.tx.service import RPCService
from rpcbind_reg.registration import registrations
from rpcbind_reg.tx.registrar import Registrar


class Served(Program):
    """A program with nothing but procedure 0."""

    program = int(sys.argv[1])
    version = 1
    procedures = (Procedure(0, "NULL", "null", (), None),)

    def null(self, call: object) -> None:
        """Do nothing."""
        return


def main() -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    path = f"/run/served.{Served.program}.{port}"
    hosts = ("0.0.0.0", "::")
    endpoints = [f"{kind}:{port}:interface={host}" for host in hosts for kind in ("tcp", "udp")]
    service = RPCService([Served()], [*endpoints, f"unix:{path}"])
    service.startService()
    registrar = Registrar(lambda: registrations([Served], service.addresses), poll_interval=1.0)
    registrar.startService()
    registrar.when_settled().addCallback(lambda state: print("settled:", state.detection.presence.name, flush=True))
    reactor.addSystemEventTrigger("before", "shutdown", registrar.stopService)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


main()
