"""What is installed is what is in the tree, and twistd finds its plugin however the package was installed."""

from __future__ import annotations

import configparser
import importlib
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import click
import pytest

from tests.peers import ROOT, unavailable
from tests.tree import PACKAGES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    return parser


def in_tree() -> set[str]:
    """Every folder with an __init__.py, dotted."""
    return {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }


def test_setup_cfg_lists_every_package_of_the_tree() -> None:
    listed = setup_cfg()["options"]["packages"].split()
    assert sorted(listed) == sorted(in_tree() | {"twisted.plugins"})


def test_no_file_makes_twisted_ours() -> None:
    assert not (ROOT / "twisted" / "__init__.py").exists()
    assert not (ROOT / "twisted" / "plugins" / "__init__.py").exists()


def test_every_package_is_marked_as_typed() -> None:
    assert all((ROOT / package / "py.typed").exists() for package in PACKAGES)


def console_scripts() -> list[str]:
    """The lines that say which commands there are."""
    return setup_cfg()["options.entry_points"]["console_scripts"].strip().splitlines()


def test_every_command_is_there_and_explains_itself() -> None:
    for line in console_scripts():
        module, _, function = line.partition("=")[2].strip().partition(":")
        code = (
            f"import importlib, sys; sys.exit(not callable(getattr(importlib.import_module({module!r}), {function!r})))"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Give a command and all below it, with their names."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from commands(found, f"{name} {inner}")


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("ipcserver", "ipcserver.cli:main"),
        ("oncrpc", "oncrpc.cli:_group"),
        ("rpcbind-reg", "rpcbind_reg.cli:group"),
        ("xdr", "xdr.cli:main"),
    ],
)
def test_the_help_of_every_command_is_laid_out_as_it_was_written(name: str, group: str) -> None:
    module, _, attribute = group.partition(":")
    for full, command in commands(getattr(importlib.import_module(module), attribute), name):
        help_text = command.get_help(click.Context(command, info_name=full))
        assert "\\b" not in help_text, f"{full}: click wants a backspace, not a backslash and a b"


def test_twistd_finds_the_plugin_of_this_installation(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twisted", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "ipcserver" in done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from what git would clone plus what is new, with the setuptools of this environment."""
    directory = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        unavailable("not a git checkout: a wheel is built from the files that git knows")
    source = directory / "source"
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", directory, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (made,) = directory.glob("*.whl")
    return made


def test_a_wheel_has_the_plugin_the_specifications_and_the_generated_modules(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    needed = {"twisted/plugins/ipcserver_plugin.py", *(f"{package}/py.typed" for package in PACKAGES)}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.suffix in {".py", ".x", ".sql", ".html", ".css", ".js"}:
                needed.add(path.relative_to(ROOT).as_posix())
    assert sorted(needed - inside) == []


def test_a_wheel_has_nothing_else(wheel: Path) -> None:
    roots = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in roots if not name.endswith((".dist-info", ".data"))} == {*PACKAGES, "twisted"}


def test_a_wheel_installs_the_manual_page_of_every_command(wheel: Path) -> None:
    commands = [line.partition("=")[0].strip() for line in console_scripts()]
    data = [name.partition(".data/data/")[2] for name in zipfile.ZipFile(wheel).namelist() if ".data/" in name]
    assert sorted(data) == sorted(f"share/man/man1/{name}.1" for name in commands)


def test_twistd_finds_the_plugin_of_a_wheel(wheel: Path, tmp_path: Path) -> None:
    """Unpacked in front of everything else, as an installation into another environment would be."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from twisted.plugin import getPlugins\n"
        "from twisted.application.service import IServiceMaker\n"
        "import ipcserver\n"
        "assert ipcserver.__file__.startswith(sys.argv[1]), ipcserver.__file__\n"
        "found = [p for p in getPlugins(IServiceMaker) if p.tapname == 'ipcserver']\n"
        "from twisted.plugins import ipcserver_plugin\n"
        "assert ipcserver_plugin.__file__.startswith(sys.argv[1]), ipcserver_plugin.__file__\n"
        "sys.exit(not found)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "site"], check=True, cwd=tmp_path)
