"""The composition root: the one place that builds a whole server from a Config.

Order of a start: bind (as root, if need be), become another user, replay the journal, serve, register. Of a stop: the
other way round.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.logger import Logger

from ipcserver.bind import BindError, Sockets, bind_hosts, bind_service
from ipcserver.config import PORT, PORTMAPPER_PORT, UNPRIVILEGED_PORTMAPPER_PORT, Config
from ipcserver.identity import Identities
from ipcserver.journal.memory import MemoryJournal
from ipcserver.journal.sqlite import SQLiteJournal
from ipcserver.machine import Limits
from ipcserver.program import IPCProgram
from ipcserver.replica import Replica
from oncrpc.limits import Limits as RPCLimits
from oncrpc.tx.service import RPCService
from rpcbind_reg.tx.embedded import PortmapperService
from rpcbind_reg.tx.registrar import Registrar, detect

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from socket import socket

    from ipcserver.journal.interface import Journal
    from oncrpc.tx.service import ServedAddress

__all__ = ["IPCService"]

_log = Logger(namespace="ipcserver")
