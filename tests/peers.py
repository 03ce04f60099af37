"""The real programs that tests talk to: rpcbind, rpcinfo, rpcgen and C compilers, tshark, and where they may run.

A test that needs one asks with :func:`require`. A namespace is a machine of its own as far as ports go: there a test
may have port 111 and 600 without touching anybody else's.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal, NoReturn, Self, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

__all__ = [
    "IN_CI",
    "PACKAGES",
    "ROOT",
    "SPEC",
    "Background",
    "Namespace",
    "compile_c",
    "compile_rpc_client",
    "environment",
    "find",
    "namespace",
    "require",
    "require_root",
    "unavailable",
    "wait_for_port",
    "wait_until",
]

ROOT: Final = Path(__file__).resolve().parent.parent
"""The checkout."""

SPEC: Final = ROOT / "ipcserver" / "spec" / "ipc.x"
"""The IPC program as rpcgen reads it."""

IN_CI: Final = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
"""In CI a peer that is missing is a failure: otherwise a green run could mean that nothing was tried."""

PACKAGES: Final[Mapping[str, str]] = {
    "apr-1-config": "libapr1-dev",
    "cc": "gcc",
    "dumpcap": "wireshark-common",
    "editcap": "wireshark-common",
    "fakeroot-sysv": "fakeroot",
    "faketime": "faketime",
    "gcc": "gcc",
    "git": "git",
    "groff": "groff-base",
    "ip": "iproute2",
    "ipcmk": "util-linux",
    "ipcrm": "util-linux",
    "ipcs": "util-linux",
    "jq": "jq",
    "ldd": "libc-bin",
    "libtirpc": "libtirpc-dev",
    "make": "make",
    "mandoc": "mandoc",
    "mergecap": "wireshark-common",
    "nmap": "nmap",
    "nsenter": "util-linux",
    "perl": "perl",
    "php": "php-cli",
    "pkg-config": "pkg-config",
    "rpc.rstatd": "rstatd",
    "rpc.rusersd": "rusersd",
    "rpc.statd": "nfs-common",
    "rpcbind": "rpcbind",
    "rpcgen": "rpcsvc-proto",
    "rpcinfo": "rpcbind",
    "rup": "rstat-client",
    "rusers": "rusers",
    "setpriv": "util-linux",
    "showmount": "nfs-common",
    "ss": "iproute2",
    "strace": "strace",
    "stress-ng": "stress-ng",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "tshark": "tshark",
    "unshare": "util-linux",
    "xxd": "xxd",
}
"""Program to Debian package."""

T = TypeVar("T")

_SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def unavailable(reason: str) -> NoReturn:
    """Skip the test with this reason; in CI, fail it."""
    if IN_CI:
        pytest.fail(f"{reason} (a skip elsewhere, a failure in CI)", pytrace=False)
    pytest.skip(reason)


def find(program: str) -> str | None:
    """Return the path of a program, looking into sbin too; None if it is not installed."""
    return shutil.which(program, path=_SYSTEM_PATH)


def _present(program: str) -> bool:
    if program == "libtirpc":
        pkg_config = find("pkg-config")
        return (
            pkg_config is not None and subprocess.run([pkg_config, "--exists", "libtirpc"], check=False).returncode == 0
        )
    return find(program) is not None


def require(*programs: str) -> None:
    """Go on only if all these programs (or ``libtirpc``, the library with its headers) are installed.

    Fails in CI and skips elsewhere, with the Debian packages to install.
    """
    missing = [program for program in programs if not _present(program)]
    if missing:
        packages = " ".join(sorted({PACKAGES.get(program, program) for program in missing}))
        unavailable(f"not installed: {', '.join(missing)}; apt-get install {packages}")


def require_root() -> None:
    """Go on only as root."""
    if os.geteuid() != 0:
        unavailable("needs root: private namespaces with the real rpcbind, or ports below 1024")


def environment(**changes: str) -> dict[str, str]:
    """Return an environment for peers: plain English, sbin in the path, coverage and proxies left as they are."""
    return {**os.environ, "PATH": _SYSTEM_PATH, "LC_ALL": "C", **changes}


def wait_until(condition: Callable[[], T], what: str, *, timeout: float = 20.0) -> T:
    """Poll until a condition gives something true, and return it.

    Args:
        condition: Called every 10 ms or so.
        what: What is waited for, for the failure's text.
        timeout: Seconds; generous, for machines that are busy with other things.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout:g} s in vain for {what}", pytrace=False)
        time.sleep(0.01)


def wait_for_port(port: int, host: str = "127.0.0.1", *, timeout: float = 20.0) -> None:
    """Wait until a TCP port of this machine (not of a namespace) accepts a connection."""

    def connects() -> bool:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return False
        return True

    wait_until(connects, f"TCP port {port} on {host}", timeout=timeout)


class Background:
    """A program that runs beside the test, its output kept in a file and shown if the test fails.

    Args:
        arguments: The command.
        log: Where standard output and standard error go.
        stdin: As for Popen.
        env: The environment; default: :func:`environment`.
        cwd: The working directory.
        pass_fds: Descriptors that it inherits.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        log: Path,
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env) if env is not None else environment(),
                cwd=cwd,
                start_new_session=True,
                pass_fds=pass_fds,
            )

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def wait_for_output(self, text: str, *, timeout: float = 20.0) -> str:
        """Wait until a text appears in the output; return the whole output.

        The test fails if the program ends without it.
        """

        def appeared() -> bool:
            if text in self.output:
                return True
            if self.process.poll() is not None and text not in self.output:
                pytest.fail(f"ended with {self.process.returncode} before it wrote {text!r}:\n{self.output}")
            return False

        wait_until(appeared, f"{text!r} from {self.process.args!r}, which wrote:\n{self.output}", timeout=timeout)
        return self.output

    def stop(self, *, timeout: float = 20.0) -> int:
        """End it, politely first; return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait(timeout)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self.process.kill()
        self.process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if kind is not None:
            print(f"--- {self.process.args!r}\n{self.output}")


class Namespace:
    """A network and mount namespace of the test's own: loopback is up, /run is empty, nothing listens.

    Made by :func:`namespace`. Programs run in it as root with the same files otherwise.

    Args:
        holder: The id of the process that holds it open.
        directory: Where logs go.
        stack: Ends what was started in it.
    """

    def __init__(self, holder: int, directory: Path, stack: ExitStack) -> None:
        self.holder = holder
        self.directory = directory
        self._stack = stack
        self._started = 0
        self._enter = ["nsenter", f"--target={holder}", "--net", "--mount", f"--wd={directory}", "--"]

    def run(
        self,
        *arguments: str | Path,
        check: bool = True,
        timeout: float = 60.0,
        input: bytes | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end; the result has its output (stderr merged) as text.

        Args:
            arguments: The command.
            check: Fail the test if it ends with another status than 0.
            timeout: Seconds.
            input: Bytes for its standard input.
        """
        done = subprocess.run(
            [*self._enter, *map(str, arguments)],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
            env=environment(),
        )
        result = subprocess.CompletedProcess(arguments, done.returncode, done.stdout.decode(errors="replace"))
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(map(str, arguments))} ended with {done.returncode}:\n{result.stdout}")
        return result

    def start(self, *arguments: str | Path, **changes: str) -> Background:
        """Start a program in it, which is ended with the namespace at the latest; changes go to its environment."""
        self._started += 1
        log = self.directory / f"{self._started:02}-{Path(arguments[0]).name}.log"
        background = Background([*self._enter, *arguments], log, env=environment(**changes))
        return self._stack.enter_context(background)

    def rpcbind(self, *options: str) -> Background:
        """Start the real rpcbind in it and wait until it answers on TCP, UDP and its local socket."""
        require("rpcbind")
        self.run("mkdir", "-p", "/run/rpcbind")
        started = self.start("rpcbind", "-f", *options)
        self.wait_for_port(111)
        self.wait_for_port(111, "udp")
        wait_until(lambda: "/run/rpcbind.sock" in self._proc("unix"), "rpcbind's local socket")
        return started

    def ports(self, netid: Literal["tcp", "udp", "tcp6", "udp6"] = "tcp") -> set[int]:
        """Return the ports that are listened on (TCP) or bound (UDP) in it."""
        rows = [line.split() for line in self._proc(netid).splitlines()[1:]]
        listening = "0A" if netid.startswith("tcp") else "07"
        return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == listening}

    def wait_for_port(
        self, port: int, netid: Literal["tcp", "udp", "tcp6", "udp6"] = "tcp", *, timeout: float = 20.0
    ) -> None:
        """Wait until a port of it is listened on (TCP) or bound (UDP); the kernel tells, nothing is sent."""
        wait_until(lambda: port in self.ports(netid), f"{netid} port {port} in the namespace", timeout=timeout)

    def share(self, *paths: Path) -> None:
        """Let every user of it reach these, also below folders that only root may enter, such as /root.

        Such a folder is hidden, in the namespace alone, by an empty one with the paths mounted in their places.
        """
        hidden: dict[Path, list[Path]] = {}
        for path in paths:
            closed = [folder for folder in path.parents if not folder.stat().st_mode & 0o001]
            if closed:
                hidden.setdefault(closed[-1], []).append(path)
        for folder, inside in hidden.items():
            kept = [Path(f"/run/shared{folder}/{number}") for number in range(len(inside))]
            for path, place in zip(inside, kept, strict=True):
                self.run("mkdir", "-p", place)
                self.run("mount", "--rbind", path, place)
            self.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
            for path, place in zip(inside, kept, strict=True):
                self.run("mkdir", "-p", path)
                self.run("mount", "--rbind", place, path)

    def wait_for_program(self, number: int, *, timeout: float = 20.0) -> None:
        """Wait until the portmapper of it lists a program, whatever its versions and ports."""
        require("rpcinfo")

        def listed() -> bool:
            done = self.run("rpcinfo", "-p", "127.0.0.1", check=False)
            return any(line.split()[:1] == [str(number)] for line in done.stdout.splitlines())

        wait_until(listed, f"program {number} with the portmapper", timeout=timeout)

    def _proc(self, table: str) -> str:
        return Path(f"/proc/{self.holder}/net/{table}").read_text()


@contextmanager
def namespace(directory: Path) -> Iterator[Namespace]:
    """Make a network and mount namespace for the length of a ``with``; needs root.

    Args:
        directory: Where the logs of what runs in it go, for example tmp_path.
    """
    require("unshare", "nsenter", "ip")
    require_root()
    script = "ip link set lo up && mount -t tmpfs tmpfs /run && echo ready && exec cat"
    command = ["unshare", "--net", "--mount", "--propagation=private", "sh", "-c", script]
    holder = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        first = holder.stdout.readline()
        if first != b"ready\n":
            unavailable(f"no network namespace can be made here: {first.decode(errors='replace').strip()}")
        with ExitStack() as stack:
            yield Namespace(holder.pid, directory, stack)
    finally:
        holder.stdin.close()  # cat ends, and with it the namespace
        holder.wait(20)
        holder.stdout.close()


def _tool(arguments: Sequence[str | Path], directory: Path) -> None:
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
        env=environment(),
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, arguments))}:\n{done.stdout.decode(errors='replace')}")


def compile_c(directory: Path, sources: Sequence[Path], program: str) -> Path:
    """Compile and link C sources with libtirpc; return the program's path.

    Args:
        directory: Where the program goes; headers are looked for here too.
        sources: The .c files.
        program: Its name.
    """
    require("gcc", "libtirpc")
    flags = [
        subprocess.run(["pkg-config", option, "libtirpc"], capture_output=True, check=True, text=True).stdout.split()
        for option in ("--cflags", "--libs")
    ]
    _tool(["gcc", "-g", "-w", f"-I{directory}", *flags[0], "-o", program, *sources, *flags[1], "-lpthread"], directory)
    return directory / program


def compile_rpc_client(directory: Path, spec: Path, sources: Sequence[Path], program: str) -> Path:
    """Compile a .x file with the real rpcgen and link its stubs with C sources; return the program's path.

    Args:
        directory: Where all of it is made; the header is there as the .x file's name with .h.
        spec: The .x file; it is copied, so that rpcgen's output has plain names.
        sources: C files that use the stubs.
        program: The program's name.
    """
    require("rpcgen", "gcc", "libtirpc")
    if spec.parent != directory:
        shutil.copy(spec, directory / spec.name)
    stem = spec.stem
    made = [(f"{stem}.h", "-h"), (f"{stem}_clnt.c", "-l"), (f"{stem}_xdr.c", "-c")]
    for name, option in made:
        (directory / name).unlink(missing_ok=True)  # rpcgen refuses to write over a file
        _tool(["rpcgen", option, "-o", name, spec.name], directory)
    stubs = [path for path in (directory / f"{stem}_clnt.c", directory / f"{stem}_xdr.c") if path.exists()]
    return compile_c(directory, [*stubs, *sources], program)
