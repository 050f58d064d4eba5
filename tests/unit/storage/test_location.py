"""Where a database is, and that its password is never shown."""

from pathlib import Path

import pytest

from waypost.storage import location
from waypost.storage.location import PostgresUrl, SqliteFile


def test_a_file_is_named_by_its_path() -> None:
    assert location.read("sqlite:///a/w.db") == SqliteFile(Path("a/w.db"))
    assert location.read("sqlite:////a/w.db") == SqliteFile(Path("/a/w.db"))
    assert str(location.read("sqlite:///a/w.db")) == "a/w.db"


SHOWN = [
    ("postgresql://u:hidden@h:5432/db", "postgresql://u:***@h:5432/db"),
    ("postgres://u@h/db", "postgres://u@h/db"),
    ("postgresql://h", "postgresql://h"),
    ("postgresql://u:@h/db", "postgresql://u@h/db"),
    ("postgresql:///db?host=/run/postgresql", "postgresql:///db?host=/run/postgresql"),
    (
        "postgresql://a:1,b:2/db?target_session_attrs=read-write",
        "postgresql://a:1,b:2/db?target_session_attrs=read-write",
    ),
    (
        "postgresql://u:hidden@h/db?sslmode=require&password=hidden&sslpassword=hidden",
        "postgresql://u:***@h/db?sslmode=require&password=***&sslpassword=***",
    ),
    ("postgresql://u:hi%40dden%2F@h/db", "postgresql://u:***@h/db"),
]


@pytest.mark.parametrize("url,shown", SHOWN)
def test_what_is_shown_of_a_server_holds_no_password(url: str, shown: str) -> None:
    place = location.read(url)
    assert isinstance(place, PostgresUrl)
    assert str(place) == shown
    assert place.conninfo == url
    assert "hidden" not in repr(place)
    assert "hidden" not in place.hide(f'no way to read "{url}"')


REFUSED = [
    "",
    "w.db",
    "mysql://u:hidden@h/db",
    "host=h password=hidden",
    "password=hidden://x",
    "sqlite://",
    "sqlite:///",
    "sqlite:///:memory:",
    "sqlite:///w.db?mode=ro",
    "postgresql://u:hidden#x@h/db",
    "postgresql://u:hidden/x@h/db",
    "postgresql://u:hidden?x@h/db",
    "postgresql://u:hidden@x@h/db",
    "postgresql://u:hidden%@h/db",
    "postgresql://u:hidden%zz@h/db",
    "postgresql://u:hidden%00@h/db",
    "postgresql://u:hidden x@h/db",
    "postgresql://u:hidden\n@h/db",
]


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_no_url_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        location.read(url)
    assert "hidden" not in str(refused.value)
