"""How the text of a setting is read, and what is said where it can't be."""

from collections.abc import Mapping

import pytest

from waypost import config
from waypost.config import SETTINGS, Settings
from waypost.model.errors import ConfigInvalid


def load(flags: Mapping[str, str | None] | None = None, **environment: str) -> Settings:
    return config.load(flags, environment=environment)


def row(name: str) -> config.Setting:
    return next(one for one in SETTINGS if one.name == name)


def test_sizes_and_spans_may_have_units() -> None:
    settings = load(
        {"max_event_bytes": "64 KiB", "idempotency_ttl": "2h", "intake_memory": "0.5GiB"}
    )
    assert settings.config.max_event_bytes == 65_536
    assert settings.config.idempotency_ttl == 7_200
    assert settings.config.intake_memory == 2**29


def test_switches_and_spans_without_end() -> None:
    settings = load({"notify": "off", "retention": "30d", "diverted_retention": "Forever"})
    assert settings.config.notify is False
    assert settings.config.retention == 30 * 86_400
    assert settings.config.diverted_retention is None


def test_an_ipv6_address_is_written_with_brackets() -> None:
    listen = load({"listen": "[::1]:80"}).config.listen
    assert (listen.host, listen.port, listen.at(81)) == ("::1", 80, "[::1]:81")
    assert str(listen) == "[::1]:80"


REFUSED = [
    ("listen", "8080", "is not host:port"),
    ("listen", "a:65536", "is not host:port"),
    ("listen", ":80", "is not host:port"),
    ("listen", "", "is not host:port"),
    ("database_url", "mysql://u:hidden@h/db", "names the database 'mysql'"),
    ("database_url", "host=h password=hidden", "is no URL"),
    ("database_url", "postgresql://u:hidden%zz@h/db", "holds a %"),
    ("database_url", "postgresql://u:hidden/x@h/db", "write @ as %40, / as %2F"),
    ("role", "worker", "it is one of all, api, deliver"),
    ("processes", "0", "it is at least 1"),
    ("notify", "yes", "it is one of on, off"),
    ("retention", "never", "is not a number of seconds"),
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


@pytest.mark.parametrize(
    "name, text, read",
    [
        ("smtp_host", "mail.example", "mail.example"),
        ("smtp_host", "10.0.0.1", "10.0.0.1"),
        ("smtp_host", "::1", "::1"),
        ("smtp_user", "a b", "a b"),
        ("smtp_from", "a+b@c.example", "a+b@c.example"),
        ("smtp_to", "a@b, c@d.example a@b", ("a@b", "c@d.example")),
    ],
)
def test_what_mail_takes(name: str, text: str, read: object) -> None:
    assert row(name).read(text) == read


@pytest.mark.parametrize(
    "name, text",
    [
        ("smtp_host", "mail.example:25"),
        ("smtp_user", ""),
        ("smtp_user", "a\nb"),
        ("smtp_password", "x" * 257),
        ("smtp_from", "a@b\r\nBcc: c@d"),
        ("smtp_from", "Waypost <a@b>"),
        ("smtp_to", "a@b; c@d"),
        ("smtp_to", " ".join(f"a{n}@b" for n in range(21))),
        ("smtp_security", "ssl"),
        ("smtp_port", "0"),
    ],
)
def test_what_mail_does_not_take(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        row(name).read(text)
