"""Raw calls to a registry from within its namespace: ``raw.py`` reads JSON requests and writes JSON answers.

A request: kind ("tcp", "udp", "local"), host, version, procedure, arguments (hex), source ([host, port] to call from),
data (hex, sent as it is instead of a call), repeat (send so often and do not wait), hold (open so many connections
first, and keep them). An answer: the reply behind its xid and type, in hex, or "silence", "closed", "refused".
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from typing import Any

XID = 0x1234


def call(version: int, procedure: int, arguments: bytes) -> bytes:
    return struct.pack(">10I", XID, 0, 2, 100000, version, procedure, 0, 0, 0, 0) + arguments


def connect(request: dict[str, Any]) -> socket.socket:
    kind, host = request["kind"], request.get("host", "127.0.0.1")
    family = socket.AF_UNIX if kind == "local" else socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    made.settimeout(request.get("wait", 5.0))
    if "source" in request:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(tuple(request["source"]))
    made.connect("/run/rpcbind.sock" if kind == "local" else (host, 111))
    return made


def receive(kind: str, made: socket.socket) -> str:
    try:
        if kind == "udp":
            return made.recv(65536)[8:].hex()
        reply = b""
        while len(reply) < 4 or len(reply) < 4 + (struct.unpack(">I", reply[:4])[0] & 0x7FFFFFFF):
            part = made.recv(65536)
            if not part:
                return "closed"
            reply += part
        return reply[12:].hex()
    except TimeoutError:
        return "silence"
    except OSError:
        return "closed"


def answer(request: dict[str, Any], held: list[socket.socket]) -> str:
    held += [connect(request) for _ in range(request.get("hold", 0))]
    if "data" in request:
        data = bytes.fromhex(request["data"])
    else:
        data = call(request["version"], request["procedure"], bytes.fromhex(request.get("arguments", "")))
        if request["kind"] != "udp":
            data = struct.pack(">I", 0x80000000 | len(data)) + data
    try:
        with connect(request) as made:
            for _ in range(request.get("repeat", 0)):
                made.send(data)
            if "repeat" in request:
                return "sent"
            made.sendall(data)
            return receive(request["kind"], made)
    except ConnectionRefusedError:
        return "refused"


def main() -> None:
    held: list[socket.socket] = []
    json.dump([answer(request, held) for request in json.load(sys.stdin)], sys.stdout)


main()
