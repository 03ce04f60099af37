"""The commands rpcbind-reg and oncrpc info, against a registry in this process."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from click.testing import CliRunner
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from rpcbind_reg import sync
from rpcbind_reg.cli import group, passed_descriptors, place_of
from rpcbind_reg.client import Place
from rpcbind_reg.info import info
from rpcbind_reg.mappings import Mapping, owner_name
from rpcbind_reg.state import decode_state
from rpcbind_reg.tx.embedded import PortmapperService
from rpcbind_reg.uaddr import join
from tests import peers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import click
    from twisted.internet.defer import Deferred

ME = owner_name(os.geteuid())


class Bench:
    """A registry, and commands run beside it in a thread."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "s")
        self.service = PortmapperService([f"unix:{self.path}", "tcp:0", "udp:0"])
        self.service.privilegedStartService()
        self.service.startService()
        self.port = str(self.service.addresses[1].port)

    def run(self, command: click.Command, *arguments: str) -> Deferred[Any]:
        return deferToThread(CliRunner().invoke, command, arguments)

    def set(self, *arguments: str) -> Deferred[Any]:
        return self.run(group, "set", "--at", self.path, *arguments)

    def unset(self, *arguments: str) -> Deferred[Any]:
        return self.run(group, "unset", "--at", self.path, *arguments)

    async def stop(self) -> None:
        await self.service.stopService()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    pytest_twisted.blockon(ensureDeferred(made.stop()))


class TestList:
    """rpcbind-reg list."""

    @pytest_twisted.ensureDeferred
    async def test_rows_have_names_addresses_and_owners(self, bench: Bench) -> None:
        done = await bench.run(group, "list", bench.path)
        lines = [line.split() for line in done.stdout.splitlines()]
        assert lines[0] == ["program", "name", "version", "netid", "address", "port", "owner"]
        assert ["100000", "portmapper", "4", "local", bench.path, "superuser"] in lines
        assert done.exit_code == 0

    @pytest_twisted.ensureDeferred
    async def test_json_is_whole(self, bench: Bench) -> None:
        done = await bench.run(group, "list", "--json", bench.path)
        assert {row["version"] for row in json.loads(done.stdout)} == {2, 3, 4}

    @pytest_twisted.ensureDeferred
    async def test_a_terminal_is_not_steered_by_what_somebody_registered(self, bench: Bench) -> None:
        bench.service.registry.mappings.set(Mapping(300000, 1, "x25", "a", "\x1b[31m"))
        done = await bench.run(group, "list", bench.path)
        assert "\x1b" not in done.stdout

    @pytest_twisted.ensureDeferred
    async def test_no_registry_is_one_line_and_status_3(self, bench: Bench, tmp_path: Path) -> None:
        done = await bench.run(group, "list", str(tmp_path / "none"))
        assert (done.exit_code, done.stderr.count("\n")) == (3, 1)
        assert "no registry (rpcbind, portmapper) answers at" in done.stderr


class TestChanges:
    """rpcbind-reg set and unset."""

    @pytest_twisted.ensureDeferred
    async def test_set_and_unset(self, bench: Bench) -> None:
        done = await bench.set("300000", "1", "tcp", "1025")
        assert done.stdout == "registered program 300000 version 1 on tcp at 0.0.0.0.4.1\n"
        assert (await bench.set("300000", "1", "tcp6", "[::1]:1025")).exit_code == 0
        assert (await bench.set("300000", "1", "udp", "127.0.0.1.4.1")).exit_code == 0
        assert (await bench.set("300000", "1", "local", "/run/x")).exit_code == 0
        rows = [row for row in bench.service.registry.mappings if row.program == 300000]
        assert [row.uaddr for row in rows] == ["0.0.0.0.4.1", "::1.4.1", "127.0.0.1.4.1", "/run/x"]
        done = await bench.unset("300000", "1", "tcp")
        assert done.stdout == "unregistered program 300000 version 1 on tcp at 0.0.0.0.4.1\n"
        assert (await bench.unset("300000", "1")).stdout.count("unregistered") == 3
        assert (await bench.unset("300000", "1")).stdout == "nothing of the kind is registered\n"

    @pytest_twisted.ensureDeferred
    async def test_what_is_in_the_way_is_told(self, bench: Bench) -> None:
        await bench.set("300000", "1", "tcp", "1025")
        done = await bench.set("300000", "1", "tcp", "1026")
        assert done.exit_code == 1
        assert f"0.0.0.0.4.1 is registered for it already, owner {ME}" in done.stderr

    @pytest_twisted.ensureDeferred
    async def test_what_stays_is_told(self, bench: Bench) -> None:
        done = await bench.unset("portmapper", "4")
        assert done.exit_code == 1
        assert "3 stayed: they belong to superuser" in done.stderr

    @pytest.mark.parametrize("words", [("teleport", "9"), ("tcp", "here:9"), ("tcp", "::1.0.9"), ("tcp", "99999")])
    @pytest_twisted.ensureDeferred
    async def test_what_is_no_address_is_refused(self, bench: Bench, words: tuple[str, str]) -> None:
        assert (await bench.set("300000", "1", *words)).exit_code == 2


class TestInfo:
    """Command oncrpc info."""

    @pytest_twisted.ensureDeferred
    async def test_it_lists(self, bench: Bench) -> None:
        done = await bench.run(info, "127.0.0.1", "--port", bench.port)
        assert "portmapper" in done.stdout
        short = await bench.run(info, "127.0.0.1", "--port", bench.port, "--short")
        assert short.stdout.splitlines()[1].split() == ["100000", "portmapper", "2,3,4", "local,tcp,udp", "superuser"]
        rows = await bench.run(info, "127.0.0.1", "--port", bench.port, "--json")
        assert len(json.loads(rows.stdout)) == 8

    @pytest_twisted.ensureDeferred
    async def test_it_calls_every_version_that_is_there(self, bench: Bench) -> None:
        done = await bench.run(info, "127.0.0.1", "portmapper", "--port", bench.port)
        where = f"tcp:127.0.0.1:{bench.port}"
        assert done.stdout == "".join(f"portmapper version {n} at {where}: ready\n" for n in (2, 3, 4))
        one = await bench.run(info, "127.0.0.1", "portmapper", "4", "--port", bench.port, "--json")
        assert json.loads(one.stdout)["versions"] == [{"version": 4, "answer": "ready"}]

    @pytest_twisted.ensureDeferred
    async def test_what_does_not_answer_is_status_1(self, bench: Bench) -> None:
        bench.service.registry.mappings.set(Mapping(300000, 1, "tcp", join("0.0.0.0", int(bench.port))))
        done = await bench.run(info, "127.0.0.1", "300000", "1", "--port", bench.port)
        assert (done.exit_code, "PROG_UNAVAIL" in done.stdout) == (1, True)
        done = await bench.run(info, "127.0.0.1", "300001", "--port", bench.port)
        assert (done.exit_code, "knows no program 300001" in done.stderr) == (1, True)

    @pytest_twisted.ensureDeferred
    async def test_statistics(self, bench: Bench) -> None:
        done = await bench.run(info, "-m", "127.0.0.1", "--port", bench.port)
        assert "version 4\n  procedure  calls  granted\n  GETSTAT    1" in done.stdout
        assert json.loads((await bench.run(info, "-m", "127.0.0.1", "--port", bench.port, "--json")).stdout)["4"]

    @pytest_twisted.ensureDeferred
    async def test_no_registry_is_status_3(self, bench: Bench) -> None:
        assert (await bench.run(info, "127.0.0.1", "--port", "1")).exit_code == 3


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("server.lab", Place("server.lab")),
        ("server.lab:1111", Place("server.lab", 1111)),
        ("::1", Place("::1")),
        ("[::1]", Place("::1")),
        ("[::1]:1111", Place("::1", 1111)),
        ("/run/x", Place("/run/x")),
    ],
)
def test_places_are_read_as_people_write_them(text: str, place: Place) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("text", [":1", "host:0", "host:99999", "host:x"])
def test_what_is_no_place_is_a_usage_error(text: str) -> None:
    assert CliRunner().invoke(group, ["list", text]).exit_code == 2


class TestServe:
    """rpcbind-reg serve, as an ordinary user can run it."""

    def serve(self, folder: Path, *options: str) -> peers.Background:
        path = ("--socket", str(folder / "s"))
        return peers.Background(
            [sys.executable, "-m", "rpcbind_reg.cli", "serve", "--port", "0", *path, *options], folder / "log"
        )

    def test_it_serves_until_it_is_told_to_stop(self, tmp_path: Path) -> None:
        with self.serve(tmp_path, "--listen", "127.0.0.1", "--state", str(tmp_path / "state.xdr")) as registry:
            told = registry.wait_for_output("serving portmap 2 and rpcbind 3, 4")
            place = Place(str(tmp_path / "s"))
            assert sync.register(Mapping(300000, 1, "tcp", "0.0.0.0.4.1"), place=place)
            found = re.search(r"tcp 127\.0\.0\.1:(\d+)", told)
            assert found is not None
            assert sync.find(300000, 1, Place("127.0.0.1", int(found[1]))) == "127.0.0.1.4.1"
            assert registry.stop() == 0
        assert [row.program for row in decode_state((tmp_path / "state.xdr").read_bytes())] == [300000]

    def test_a_second_one_is_told_who_is_there_already(self, tmp_path: Path) -> None:
        with self.serve(tmp_path) as registry:
            registry.wait_for_output("serving portmap 2")
            (tmp_path / "second").mkdir()
            second = peers.Background(
                [sys.executable, "-m", "rpcbind_reg.cli", "serve", "--port", "0", "--socket", str(tmp_path / "s")],
                tmp_path / "second" / "log",
            )
            assert second.process.wait(30) == 1
            assert f"cannot listen on unix {tmp_path / 's'}: Address already in use" in second.output

    def test_the_log_can_be_for_machines(self, tmp_path: Path) -> None:
        with self.serve(tmp_path, "--log-format", "json") as registry:
            registry.wait_for_output("serving portmap 2")
            lines = [json.loads(line.strip("\x1e")) for line in registry.output.splitlines() if line.strip("\x1e")]
            assert any("serving portmap 2" in str(line.get("log_format", "")) for line in lines)

    @pytest.mark.parametrize(("option", "value"), [("--trust", "no network"), ("--user", "nobody.of.the.kind")])
    def test_what_cannot_be_is_one_line(self, tmp_path: Path, option: str, value: str) -> None:
        registry = self.serve(tmp_path, option, value)
        assert registry.process.wait(30) in (1, 2)
        assert "Traceback" not in registry.output
        assert value in registry.output


def test_sockets_are_taken_from_systemd_only_if_they_are_ours() -> None:
    assert [*passed_descriptors({"LISTEN_PID": "7", "LISTEN_FDS": "2"}, 7)] == [3, 4]
    assert [*passed_descriptors({"LISTEN_PID": "8", "LISTEN_FDS": "2"}, 7)] == []
    assert [*passed_descriptors({"LISTEN_PID": "7", "LISTEN_FDS": "x"}, 7)] == []
    assert [*passed_descriptors({}, 7)] == []


def test_help_names_all_commands() -> None:
    told = CliRunner().invoke(group, ["--help"]).stdout
    assert all(f"  {name} " in told for name in ("list", "set", "unset", "serve"))
