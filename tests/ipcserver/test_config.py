"""Settings: from flags, the environment and a TOML file to one Config."""

from __future__ import annotations

from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest

from ipcserver import config as module
from ipcserver.config import Config, ConfigError
from ipcserver.identity import Trust


class TestWhereSettingsComeFrom:
    """The environment wins over the file, the file over the defaults."""

    def test_without_anything_the_defaults_hold(self) -> None:
        assert Config.load() == Config()

    def test_a_file_sets_every_kind_of_field(self, tmp_path: Path) -> None:
        file = tmp_path / "ipcserver.toml"
        file.write_text(
            'listen = ["0.0.0.0", "::"]\nport = 6000\nstate = "/srv/ipc"\njournal = "memory"\n'
            'portmapper = "none"\ntrust = ["192.0.2.0/24:root"]\nlog_format = "json"\nlimits = "solaris2"\n'
        )
        config = Config.load(file)
        assert config == Config(
            listen=("0.0.0.0", "::"),
            port=6000,
            state=Path("/srv/ipc"),
            journal="memory",
            portmapper="none",
            trust=(Trust(ip_network("192.0.2.0/24"), root=True),),
            log_format="json",
            limits="solaris2",
        )

    def test_a_variable_wins_over_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "ipcserver.toml"
        file.write_text("port = 6000\n")
        assert Config.load(file, {"IPCSERVER_PORT": "7000"}).port == 7000

    def test_a_variable_may_hold_several_values(self) -> None:
        config = Config.load(
            None, {"IPCSERVER_LISTEN": "127.0.0.1,::1", "IPCSERVER_TRUST": "10.0.0.0/8:root [fd00::]/8"}
        )
        assert config.listen == ("127.0.0.1", "::1")
        assert [str(trust.network) for trust in config.trust] == ["10.0.0.0/8", "fd00::/8"]

    @pytest.mark.parametrize(
        "text", ["limit = {msgmnb = 65536, msgmax = 4096}", 'limit = ["msgmnb=65536", "msgmax=4096"]']
    )
    def test_limits_are_a_table_or_a_list(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "ipcserver.toml"
        file.write_text(text)
        assert Config.load(file).limit == (("msgmnb", 65536), ("msgmax", 4096))
        assert Config.load(None, {"IPCSERVER_LIMIT": "msgmnb=65536,msgmax=4096"}).limit == Config.load(file).limit

    def test_other_variables_are_nobodys_business(self) -> None:
        assert Config.load(None, {"IPCSERVER": "host:600", "PORT": "1"}) == Config()

    def test_every_field_can_be_read_from_text(self) -> None:
        assert set(module._READ) == {field.name for field in fields(Config)}


class TestWrongSettings:
    """The error names the place, the setting, and what would be right."""

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("prot = 1\n", "there is no setting 'prot'"),
            ("port = 65536\n", "port: 65536 is not a port"),
            ("port = true\n", "port: True is not a port"),
            ('port = "x"\n', "port: invalid literal"),
            ('journal = "disk"\n', "journal: 'disk' is none of sqlite, memory"),
            ("state = 1\n", "state: 1 is not a text"),
            ("listen = [1]\n", "listen: [1] is not a list of texts"),
            ('trust = ["nowhere"]\n', "trust: 'nowhere' is not a network"),
            ("port = \n", "Invalid value"),
            ('limit = ["msgmnb"]\n', "limit: invalid literal"),
        ],
    )
    def test_a_wrong_line_is_refused_with_file_and_field(self, tmp_path: Path, text: str, complaint: str) -> None:
        file = tmp_path / "ipcserver.toml"
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            Config.load(file)
        assert str(file) in str(caught.value)
        assert complaint in str(caught.value)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"absent\.toml"):
            Config.load(tmp_path / "absent.toml")

    def test_a_wrong_variable_is_named(self) -> None:
        with pytest.raises(ConfigError, match=r"IPCSERVER_PORT: port: invalid"):
            Config.load(None, {"IPCSERVER_PORT": "ten"})


class TestPaths:
    """Where things are when nobody said."""

    def test_the_socket_and_the_journal_are_in_the_state_directory(self, tmp_path: Path) -> None:
        config = Config(state=tmp_path)
        assert config.socket_path == tmp_path / "ipcserver.sock"
        assert config.journal_path == tmp_path / "journal.sqlite"

    def test_an_ordinary_user_has_a_state_directory_of_his_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        assert Config().state_directory == tmp_path / "ipcserver"

    def test_root_has_the_systems(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.geteuid", lambda: 0)
        assert Config().state_directory == Path("/var/lib/ipcserver")
