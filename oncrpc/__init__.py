"""ONC RPC, version 2 (RFC 5531): the parts that know the protocol and do no I/O.

Twisted is under :mod:`oncrpc.tx` and nowhere else; importing this package does not import it.
"""

from oncrpc.auth import AUTH_NONE, AuthNone, AuthSys, Credential
from oncrpc.program import (
    LATER,
    NO_REPLY,
    Call,
    ClientStub,
    Connection,
    LaterType,
    Peer,
    PeerCredentials,
    Procedure,
    Program,
    Result,
)

__all__ = [
    "AUTH_NONE",
    "LATER",
    "NO_REPLY",
    "AuthNone",
    "AuthSys",
    "Call",
    "ClientStub",
    "Connection",
    "Credential",
    "LaterType",
    "Peer",
    "PeerCredentials",
    "Procedure",
    "Program",
    "Result",
]
