"""Settings: where they come from, what is refused, what is shown."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conventions import tree
from waypost import config
from waypost.cli.settings import reference_page
from waypost.config import SETTINGS, Config, Listen, Settings
from waypost.model.errors import ConfigInvalid

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


def test_every_default_is_a_value_that_could_be_given() -> None:
    given = {one.name: one.default for one in SETTINGS if one.default is not None}
    assert load(dict(given)).config == Config()


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


def test_sizes_and_spans_may_have_units() -> None:
    settings = load(
        {"max_event_bytes": "64 KiB", "idempotency_ttl": "2h", "intake_memory": "0.5GiB"}
    )
    assert settings.config.max_event_bytes == 65_536
    assert settings.config.idempotency_ttl == 7_200
    assert settings.config.intake_memory == 2**29


REFUSED = [
    ("listen", "8080", "is not host:port"),
    ("listen", "a:65536", "is not host:port"),
    ("listen", ":80", "is not host:port"),
    ("listen", "", "is not host:port"),
    ("database_url", "postgresql://u:hidden@h/db", "names the database 'postgresql'"),
    ("database_url", "sqlite://", "is not sqlite:///"),
    ("database_url", "sqlite:///:memory:", "is not sqlite:///"),
    ("database_url", "sqlite:///x.db?mode=ro", "is not sqlite:///"),
    ("secret_key", "####", "is not base64"),
    ("secret_key", "c2hvcnQ=", "holds 5 bytes instead of 32"),
    ("admin_key", "short", "is not 16 to 256 visible ASCII characters"),
    ("admin_key", "with a blank in the middle", "is not 16 to 256 visible"),
    ("egress_allow", "10.0.0.0/33", "is refused"),
    ("egress_allow", "0.0.0.0/0", "is refused"),
    ("egress_ca", "/nowhere.pem", "names no file"),
    ("max_event_bytes", "1048577", "it is at least 1 and at most"),
    ("max_event_bytes", "", "is not a number of bytes"),
    ("max_event_bytes", "1 mile", "is not a number of bytes"),
    ("max_in_flight", "-1", "is not a whole number"),
    ("max_in_flight", "0", "it is at least 1"),
    ("drain_timeout", "soon", "is not a number of seconds"),
    ("log_format", "xml", "it is one of auto, json, pretty"),
    ("http_exempt_peers", "10.0.0.1/8", "is no list of networks"),
]


@pytest.mark.parametrize("name,value,reason", REFUSED)
def test_a_wrong_value_is_refused_with_its_place_and_reason(
    name: str, value: str, reason: str
) -> None:
    variable = row(name).variable
    with pytest.raises(ConfigInvalid) as refused:
        config.load(environment={variable: value})
    assert refused.value.message.startswith(f"{variable} ")
    assert reason in refused.value.message
    assert "hidden" not in refused.value.message


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


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigInvalid, match="max_batch_bytes is smaller than max_event_bytes"):
        load({"max_batch_bytes": "1KiB"})


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


def test_a_database_url_names_a_file() -> None:
    assert load({"database_url": "sqlite:////var/x.db"}).config.database == Path("/var/x.db")
    assert load({"database_url": "sqlite:///a/x.db"}).config.database == Path("a/x.db")


def test_an_ipv6_address_is_written_with_brackets() -> None:
    listen = load({"listen": "[::1]:80"}).config.listen
    assert (listen.host, listen.port, listen.at(81)) == ("::1", 80, "[::1]:81")


def test_every_setting_is_read_by_something() -> None:
    """A setting that nothing reads would be accepted and ignored."""
    readers = [*(tree.PACKAGE / "server").glob("*.py"), *(tree.PACKAGE / "cli").glob("*.py")]
    code = "".join(reader.read_text("utf-8") for reader in readers)
    read = {"database_url": "config.database"}
    assert [
        one.name for one in SETTINGS if read.get(one.name, f"config.{one.name}") not in code
    ] == []


def test_the_reference_page_is_in_step() -> None:
    page = tree.ROOT / "docs" / "reference" / "settings.md"
    assert page.read_text("utf-8") == reference_page(), "waypost config --reference > it"
