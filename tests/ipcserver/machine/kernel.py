"""The kernel's own System V IPC, called by processes of several users in a namespace of its own."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.peers import environment, require_root, unavailable

PROGRAM: Final = Path(__file__).with_name("kernel_process.py")

BLOCKING_CALLS: Final = {"msgsnd", "msgrcv", "semop"}
SYSCALLS: Final = {"x86_64": {69, 70, 65, 220}, "aarch64": {189, 188, 193, 192}}
"""Numbers of msgsnd, msgrcv, semop and semtimedop."""

CAP_SYS_RESOURCE: Final = 24

PATIENCE_S: Final = 20.0
"""Only for a failure: every wait here ends with an event."""


@dataclass(frozen=True)
class User:
    """Who a process is."""

    uid: int
    gid: int
    gids: tuple[int, ...] = ()


class KernelProcess:
    """A process that makes calls."""

    def __init__(self, user: User, namespace: int) -> None:
        self.user = user
        self.waiting = False
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps([namespace, user.uid, user.gid, list(user.gids)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            bufsize=0,
        )
        self.pid = int(self._answer()["value"])

    def start(self, name: str, *arguments: Any) -> None:
        """Make a call; it may block."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, arguments]).encode() + b"\n")

    def call(self, name: str, *arguments: Any) -> Any:
        """Make a call that does not block; an errno is given as such."""
        self.start(name, *arguments)
        return self.result()

    def result(self) -> Any:
        """Wait for the answer: a value, or ("errno", number)."""
        answer = self._answer()
        return ("errno", answer["errno"]) if "errno" in answer else answer["value"]

    def blocked_or_answered(self) -> bool:
        """Wait until the call either has its answer or sleeps in the kernel; tell whether it sleeps."""
        numbers = SYSCALLS[os.uname().machine]
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self.ready():
                return False
            text = Path(f"/proc/{self.pid}/syscall").read_text(encoding="ascii").split()
            if text[0].isdigit() and int(text[0]) in numbers:
                # Seen asleep in the call, after it had nothing to say: it had not been woken by then.
                return not self.ready()
        msg = "neither blocked nor answered"
        raise AssertionError(msg)

    def ready(self) -> bool:
        """Tell whether there is an answer."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], 0)
        return bool(readable)

    def interrupt(self) -> None:
        """Send a signal that is caught."""
        os.kill(self.pid, signal.SIGUSR1)

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], PATIENCE_S)
        assert readable, "no answer from the kernel"
        line = self._process.stdout.readline()
        if not line:
            msg = "the process has died"
            raise AssertionError(msg)
        answer: dict[str, Any] = json.loads(line)
        return answer


class Kernel:
    """Processes in an IPC namespace of their own; with the last of them everything in it goes."""

    def __init__(self) -> None:
        require_root()
        if os.uname().machine not in SYSCALLS:
            unavailable(f"the numbers of system calls on {os.uname().machine} are not known here")
        if not Path("/proc/self/ns/ipc").exists() or not Path("/proc/self/syscall").exists():
            unavailable("this kernel does not show IPC namespaces or system calls in /proc")
        self.root = KernelProcess(User(0, 0), 0)
        status = Path("/proc/self/status").read_text(encoding="ascii")
        capabilities = int(status.partition("CapEff:")[2].split()[0], 16)
        self.root_may_raise = bool(capabilities >> CAP_SYS_RESOURCE & 1)

    def process(self, user: User) -> KernelProcess:
        """Start a process."""
        return KernelProcess(user, self.root.pid)

    def close(self) -> None:
        """End the namespace."""
        self.root.kill()


def name_of(number: int) -> str:
    """Give an errno its name."""
    return errno.errorcode[number]
