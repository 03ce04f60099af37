"""The suites: where each comes from, how it is run, how its verdicts are read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.interop.suites.sources import debian_source, pypi_source
from tests.interop.suites.verdicts import Reader, lines, status, tap, unittests
from tests.peers import environment, find, require, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["SUITES", "Step", "Suite"]

HERE: Final = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Step:
    """One program of a suite."""

    name: str
    command: Sequence[str | Path]
    directory: Path
    read: Reader
    changes: Mapping[str, str] = field(default_factory=dict)
    """To its environment."""


@dataclass(frozen=True)
class Suite:
    """A suite that was written for the kernel."""

    name: str
    origin: str
    """Where its code comes from."""
    prepare: Callable[[Path], Sequence[Step]]
    """Puts it into a folder of the test's own and says what is to be run."""
    least: int
    """How many tests pass by the kernel at least: a suite that was not found, or not understood, is no proof."""
    long: bool = False
    """Only for ``make torture``."""


def _copy(source: Path, directory: Path) -> Path:
    return Path(shutil.copytree(source, directory / "suite", symlinks=True))


def _compile(directory: Path, *arguments: str | Path) -> None:
    require("gcc")
    command = ["gcc", "-w", "-O1", "-D_GNU_SOURCE", *map(str, arguments)]
    subprocess.run(command, cwd=directory, check=True, timeout=120, env=environment())


def _require_modules(package: str, *modules: str) -> None:
    require("perl")
    command = ["perl", *(f"-M{module}" for module in modules), "-e", "1"]
    if subprocess.run(command, capture_output=True, check=False, timeout=60, env=environment()).returncode != 0:
        unavailable(f"not installed: Perl's {', '.join(modules)}; apt-get install {package}")


def _perl(directory: Path, folder: str, files: Sequence[Path], **changes: str) -> list[Step]:
    require("perl")
    return [Step(file.stem, ["perl", file], directory / folder, tap, changes) for file in sorted(files)]


def _perl_modules(directory: Path) -> list[Step]:
    require("perl")
    source = debian_source("perl", "cpan/IPC-SysV", "t/io", "t/test.pl", "t/charset_tools.pl", "t/loc_tools.pl")
    copied = _copy(source, directory)
    modules = [copied / "cpan" / "IPC-SysV" / "t" / f"{name}.t" for name in ("ipcsysv", "msg", "sem")]
    return [
        *_perl(copied, "cpan/IPC-SysV", modules),
        *(Step(f"io/{name}", ["perl", f"io/{name}.t"], copied / "t", tap) for name in ("msg", "sem")),
    ]


def _php(directory: Path) -> list[Step]:
    require("php")
    copied = _copy(debian_source("php8.2", "run-tests.php", "ext/sysvmsg/tests", "ext/sysvsem/tests"), directory)
    php = find("php")
    assert php is not None
    read = lines(
        r"(?P<word>PASS|FAIL|SKIP|BORK) [^\r\n]*\[(?P<name>ext/[^\]\r\n]*)\]",
        {"PASS": "pass", "FAIL": "fail", "SKIP": "skip", "BORK": "fail"},
    )
    command = [php, "run-tests.php", "-q", "-p", php, "ext/sysvmsg/tests", "ext/sysvsem/tests"]
    return [Step("phpt", command, copied, read, {"TEST_PHP_EXECUTABLE": php, "NO_INTERACTION": "1"})]


def _sysv_ipc(directory: Path) -> list[Step]:
    tests = pypi_source("sysv_ipc", "1.2.0") / "tests"
    copied = _copy(tests, directory).rename(directory / "tests")
    modules = [f"{copied.name}.test_message_queues", f"{copied.name}.test_semaphores"]
    return [Step("unittest", [sys.executable, "-m", "unittest", "-v", *modules], directory, unittests)]


def _stress(*load: str) -> Callable[[Path], list[Step]]:
    def prepare(directory: Path) -> list[Step]:
        require("stress-ng")
        read = lines(r"metrc: \[\d+\] (?P<name>msg|sem-sysv) +(?P<word>[1-9])", dict.fromkeys("123456789", "pass"))
        command = ["stress-ng", "--verify", "--metrics-brief", "--temp-path", str(directory), "--timeout", "60", *load]
        return [Step("stressors", command, directory, read)]

    return prepare


def _apr(directory: Path) -> list[Step]:
    require("apr-1-config")
    copied = _copy(debian_source("apr", "test"), directory) / "test"
    (copied / "abts_tests.h").write_text(
        '#include "abts.h"\n#include "testutil.h"\n'
        "const struct testlist { abts_suite *(*func)(abts_suite *); } alltests[] = {{testprocmutex}};\n"
    )
    options = [
        subprocess.run(["apr-1-config", *flags], check=True, capture_output=True, text=True).stdout.split()
        for flags in (("--cppflags", "--includes"), ("--link-ld", "--libs"))
    ]
    sources = ("abts.c", "testutil.c", "testprocmutex.c")
    _compile(copied, *options[0], '-DBINPATH="."', "-o", "testall", *sources, *options[1])
    read = lines(r"^(?P<name>test\w+) +:.*?(?P<word>SUCCESS|FAILED)", {"SUCCESS": "pass", "FAILED": "fail"})
    return [Step("testall", [copied / "testall", "-v"], copied, read)]


def _fakeroot(directory: Path) -> list[Step]:
    require("fakeroot-sysv")
    return [Step("files", ["fakeroot-sysv", "sh", HERE / "fakeroot.sh"], directory, tap)]


def _util_linux(directory: Path) -> list[Step]:
    require("ipcs", "ipcmk", "ipcrm")
    copied = _copy(debian_source("util-linux", "tests", "tools", "include"), directory)
    _compile(copied, "-include", "stdint.h", "-Iinclude", "-o", "test_sysinfo", "tests/helpers/test_sysinfo.c")
    # What is left out looks at segments, which stay the kernel's, and their limits.
    for name in ("limits", "limits2", "mk-rm-shm"):
        (copied / "tests" / "ts" / "ipcs" / name).unlink()
    command = [
        "tests/run.sh",
        "--use-system-commands",
        "--nolocks",
        f"--srcdir={copied}",
        f"--builddir={copied}",
        "ipcs",
    ]
    read = lines(
        r"^ +(?:ipcs)?: (?P<name>\S+) +\.\.\. (?P<word>OK|SKIPPED|FAILED)",
        {"OK": "pass", "SKIPPED": "skip", "FAILED": "fail"},
    )
    return [Step("ipcs", command, copied, read)]


def _glibc(directory: Path) -> list[Step]:
    copied = _copy(debian_source("glibc", "sysvipc"), directory) / "sysvipc"
    steps = []
    for name in ("test-sysvmsg", "test-sysvsem"):
        options = ("-D__syscall_slong_t=long", f"-I{HERE / 'glibc'}", f"-I{HERE / 'glibc' / 'support'}")
        # Its own sys/msg.h and the like are for building glibc: the installed ones go before them.
        _compile(copied, *options, "-idirafter", copied, "-o", name, "-include", "support/check.h", f"{name}.c")
        steps.append(Step(name, [copied / name], copied, status))
    return steps


def _sharelite(directory: Path) -> list[Step]:
    _require_modules("libipc-sharelite-perl", "IPC::ShareLite")
    copied = _copy(debian_source("libipc-sharelite-perl", "t"), directory)
    return _perl(copied, ".", [copied / "t" / f"{name}.t" for name in ("00-load", "sharelite", "unicode-key")])


def _shareable(directory: Path) -> list[Step]:
    packages = "libipc-shareable-perl libmock-sub-perl libtest-sharedfork-perl"
    _require_modules(packages, "IPC::Shareable", "Mock::Sub", "Test::SharedFork")
    copied = _copy(debian_source("libipc-shareable-perl", "t"), directory)
    # 67 takes all of the kernel's segments, 81 is for its author, those above 90 read its documentation.
    files = [file for file in (copied / "t").glob("*.t") if file.name[:2] not in {"67", "81", "90", "91", "92", "93"}]
    # 20 makes as many tests as there are different ones among ten random letters.
    (copied / "Seeded.pm").write_text("srand 7; 1;")
    return _perl(copied, ".", files, CI_TESTING="1", PERL5OPT=f"-I{copied} -MSeeded")


SHORT: Final = ("--msg", "2", "--msg-ops", "1000", "--sem-sysv", "1", "--sem-sysv-procs", "3", "--sem-sysv-ops", "500")
LONG: Final = ("--msg", "4", "--msg-ops", "20000", "--msg-types", "10", "--sem-sysv", "2", "--sem-sysv-ops", "20000")

SUITES: Final = (
    Suite("Perl: IPC::SysV, io/msg, io/sem", "Debian source package perl", _perl_modules, 90),
    Suite("PHP: sysvmsg, sysvsem", "Debian source package php8.2, by php-cli", _php, 10),
    Suite("sysv_ipc 1.2.0", "PyPI", _sysv_ipc, 70),
    Suite("APR: process mutexes", "Debian source package apr, by libapr1-dev", _apr, 2),
    Suite("fakeroot, System V mode", "Debian package fakeroot", _fakeroot, 14),
    Suite("stress-ng: msg, sem-sysv", "Debian package stress-ng", _stress(*SHORT), 3),
    Suite("stress-ng: msg, sem-sysv, longer", "Debian package stress-ng", _stress(*LONG), 3, long=True),
    Suite("glibc: sysvipc", "Debian source package glibc", _glibc, 2, long=True),
    Suite("util-linux: ipcs, ipcmk, ipcrm", "Debian source package util-linux", _util_linux, 6, long=True),
    Suite("IPC::ShareLite", "Debian source package libipc-sharelite-perl", _sharelite, 15, long=True),
    Suite("IPC::Shareable", "Debian source package libipc-shareable-perl", _shareable, 300, long=True),
)
