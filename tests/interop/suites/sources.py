"""Source packages of this machine's distribution, and of PyPI, fetched when a test wants them.

They are kept under ``build/suites`` of the checkout, so that the next run has them. apt's own lists and settings are
left alone: what it needs to know about sources is kept there too.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.peers import ROOT, environment, require, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["debian_source", "pypi_source"]

KEPT: Final = ROOT / "build" / "suites"
ATTEMPTS: Final = 3
"""A mirror may hiccup."""


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time fetches; tests run in several."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _try(command: Sequence[str], directory: Path) -> str | None:
    """Run a command that may need several attempts; return what went wrong, None if nothing did."""
    said = ""
    for _ in range(ATTEMPTS):
        done = subprocess.run(
            command,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=180,
            env=environment(),
        )
        if done.returncode == 0:
            return None
        said = done.stdout
    return f"{' '.join(command)}: {said}"


def _apt(*arguments: str) -> list[str]:
    state = KEPT / "apt"
    for name in ("parts", "lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    settings = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": str(state / "parts"),
        "Dir::State::Lists": str(state / "lists"),
        "Dir::Cache": str(state / "cache"),
        "APT::Sandbox::User": "",
    }
    return ["apt-get", "-qq", *(f"--option={name}={value}" for name, value in settings.items()), *arguments]


def _lists_of_sources() -> str | None:
    """Have apt learn which sources there are, from wherever it has this machine's packages.

    Those of the release itself: mirrors of security updates may come without sources.
    """
    if (KEPT / "apt" / "known").exists():
        return None
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    targets = {tuple(line.split()) for line in done.stdout.splitlines()}
    origins = sorted(" ".join(target) for target in targets if "-" not in target[1] and target[2] == "main")
    command = _apt("update")
    (KEPT / "apt" / "parts" / "sources.list").write_text("".join(f"deb-src {origin}\n" for origin in origins))
    failed = _try(command, KEPT)
    if failed is None:
        (KEPT / "apt" / "known").touch()
    return failed


def _unpack(archive: Path, into: Path, members: Sequence[str]) -> None:
    """Unpack what is below the named folders, or named itself, without the archive's first folder."""
    with tarfile.open(archive) as tar:
        for member in tar:
            member.name = member.name.partition("/")[2]
            wanted = not members or any(member.name == name or member.name.startswith(f"{name}/") for name in members)
            if member.name and wanted:
                tar.extract(member, into, filter="data")


def debian_source(package: str, *members: str) -> Path:
    """Return a folder with (parts of) the upstream sources of a package of this distribution.

    Args:
        package: The source package.
        members: Files and folders of it that are wanted; default: all.
    """
    require("apt-get")
    made = KEPT / package
    complete = made / ".complete"
    with _alone():
        if not complete.exists() or complete.read_text().splitlines() != list(members):
            made.mkdir(exist_ok=True)
            failed = _lists_of_sources() or _try(_apt("source", "--download-only", "--only-source", package), made)
            if failed is not None:
                unavailable(f"the sources of {package} cannot be had: {failed}")
            archives = [path for path in made.glob("*.orig.tar.*") if path.suffix != ".asc"]
            for archive in archives:
                _unpack(archive, made / "upstream", members)
                archive.unlink()
            complete.write_text("\n".join(members))
    return made / "upstream"


def pypi_source(project: str, version: str) -> Path:
    """Return a folder with a project's source distribution."""
    made = KEPT / f"{project}-{version}"
    with _alone():
        if not (made / ".complete").exists():
            made.mkdir(exist_ok=True)
            wanted = [f"{project}=={version}", "--no-deps", "--no-binary=:all:", "--no-build-isolation", "--quiet"]
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *wanted]
            failed = _try(pip, made)
            if failed is not None:
                unavailable(f"{project} {version} cannot be had: {failed}")
            for archive in made.glob("*.tar.gz"):
                _unpack(archive, made / "upstream", ())
            (made / ".complete").touch()
    return made / "upstream"
