"""The table of settings: its defaults, what contradicts itself, and that all of it is used."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conventions import tree
from waypost import config
from waypost.cli.settings import reference_page
from waypost.config import SETTINGS, Config, Settings
from waypost.model.errors import ConfigInvalid
from waypost.storage.location import SqliteFile

POSTGRES = "postgresql://waypost:hidden@db.example:5432/waypost"


def load(flags: Mapping[str, str | None] | None = None, **environment: str) -> Settings:
    return config.load(flags, environment=environment)


def test_every_default_is_a_value_that_could_be_given() -> None:
    given = {one.name: one.default for one in SETTINGS if one.default is not None}
    assert load(dict(given)).config == Config()


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigInvalid, match="max_batch_bytes is smaller than max_event_bytes"):
        load({"max_batch_bytes": "1KiB"})


def test_a_database_url_names_a_file() -> None:
    assert load({"database_url": "sqlite:////var/x.db"}).config.database == SqliteFile(
        Path("/var/x.db")
    )


@pytest.mark.parametrize("asked", [{"role": "api"}, {"role": "deliver"}, {"processes": "2"}])
def test_what_needs_postgresql_is_refused_on_a_file(asked: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid, match="needs PostgreSQL"):
        load(dict(asked))
    load({**asked, "database_url": POSTGRES})


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


MAIL = {"smtp_host": "mail.example", "smtp_from": "w@a.example", "smtp_to": "o@b.example"}


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"smtp_host": None}, "smtp_from is set, and smtp_host is not"),
        ({"smtp_from": None}, "smtp_host is set, and smtp_from is not"),
        ({"smtp_to": None}, "smtp_host is set, and smtp_to is not"),
        ({"smtp_user": "w"}, "of smtp_user and smtp_password, both are set or none"),
        (
            {"smtp_user": "w", "smtp_password": "p", "smtp_security": "none"},
            "the password would go over the network for all to read",
        ),
    ],
)
def test_half_of_the_settings_of_mail_is_refused(changed: dict[str, str | None], said: str) -> None:
    load(dict(MAIL))
    with pytest.raises(ConfigInvalid, match=said):
        load({**MAIL, **changed})
