"""Settings: where they come from, what is refused, what is shown."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from waypost import config
from waypost.config import SETTINGS, Listen, Settings
from waypost.model.errors import ConfigInvalid
from waypost.storage import location

KEY = base64.b64encode(bytes(range(32))).decode()


def load(
    flags: Mapping[str, str | None] | None = None, file: Path | None = None, **environment: str
) -> Settings:
    return config.load(flags, file=file, environment=environment)


def row(name: str) -> config.Setting:
    return next(one for one in SETTINGS if one.name == name)


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "other.toml") -> Path:
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


def test_a_flag_goes_before_a_variable_and_a_variable_before_the_file(toml: Any) -> None:
    file = toml("listen = 'f:1'\nlog_level = 'error'\nlog_format = 'json'")
    settings = load({"listen": "c:3"}, file, WAYPOST_LISTEN="e:2", WAYPOST_LOG_LEVEL="debug")
    assert settings.config.listen == Listen("c", 3)
    assert settings.config.log_level == "debug"
    assert settings.config.log_format == "json"
    assert settings.origin(row("listen")) == "--listen"
    assert settings.origin(row("log_level")) == "WAYPOST_LOG_LEVEL"
    assert settings.origin(row("log_format")) == f"log_format in {file}"
    assert settings.origin(row("database_url")) == "default"


def test_a_flag_that_is_not_given_says_nothing(toml: Any) -> None:
    settings = load({"listen": None}, toml("listen = 'f:1'"))
    assert settings.config.listen == Listen("f", 1)


def test_a_value_equal_to_the_default_still_has_an_origin() -> None:
    settings = load(WAYPOST_LISTEN="127.0.0.1:8080")
    assert settings.origin(row("listen")) == "WAYPOST_LISTEN"


def test_the_file_in_the_folder_is_read_and_another_is_read_instead(toml: Any) -> None:
    toml("listen = 'here:1'", "waypost.toml")
    other = toml("listen = 'other:2'")
    assert load().config.listen.host == "here"
    assert load(WAYPOST_CONFIG=str(other)).config.listen.host == "other"
    third = toml("listen = 'third:3'", "third.toml")
    assert load(None, third, WAYPOST_CONFIG=str(other)).config.listen.host == "third"


def test_a_toml_file_may_hold_numbers_and_lists(toml: Any) -> None:
    file = toml('max_in_flight = 7\negress_allow = ["10.0.0.0/8", "::1"]\ndrain_timeout = 1.5')
    settings = load(None, file)
    assert settings.config.max_in_flight == 7
    assert settings.config.drain_timeout == 1.5
    assert [str(one) for one in settings.config.egress_allow.allow] == ["10.0.0.0/8", "::1/128"]


def test_a_setting_of_a_file_that_does_not_exist_is_refused_with_a_guess(toml: Any) -> None:
    with pytest.raises(ConfigInvalid, match="'listn' is no setting; did you mean 'listen'"):
        load(None, toml("listn = 'a:1'"))


@pytest.mark.parametrize("text", ["listen = ", "listen = {a = 1}", "listen = 1979-05-27"])
def test_a_file_that_makes_no_sense_is_refused(toml: Any, text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"other\.toml"):
        load(None, toml(text))


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="can't be read"):
        load(None, tmp_path / "nowhere.toml")


def test_a_variable_that_is_no_setting_is_told_and_not_refused() -> None:
    # Kubernetes sets WAYPOST_PORT for a service of this name.
    assert load(WAYPOST_PORT="tcp://10.0.0.1:80", PATH="x").unknown == ("WAYPOST_PORT",)


def test_secrets_are_masked_wherever_a_configuration_is_shown() -> None:
    settings = load(WAYPOST_SECRET_KEY=KEY, WAYPOST_ADMIN_KEY="an-admin-key-of-mine")
    assert settings.config.secret_key == bytes(range(32))
    shown = {one.name: settings.text(one) for one in SETTINGS}
    assert shown["secret_key"] == shown["admin_key"] == "***"
    assert "admin-key-of-mine" not in repr(settings.config)
    assert repr(settings.config.secret_key) not in repr(settings.config)


POSTGRES = "postgresql://waypost:hidden@db.example:5432/waypost"


def test_a_password_is_never_shown() -> None:
    settings = load(WAYPOST_DATABASE_URL=POSTGRES)
    assert settings.config.database == location.read(POSTGRES)
    shown = settings.text(row("database_url"))
    assert shown == "postgresql://waypost:***@db.example:5432/waypost"
    assert "hidden" not in repr(settings.config)
