"""`waypost copy`; what is copied is the storage's matter, the whole walk the acceptance tests'."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgres
from tests.unit.cli.conftest import Run

FILE = "sqlite:///.waypost/waypost.db"


@pytest.fixture
def target() -> Iterator[str]:
    with postgres.fresh(lambda _: None, "empty_of_tests") as url:
        yield url


def test_it_makes_the_tables_fills_them_and_tells_of_each(waypost: Run, target: str) -> None:
    waypost("projects", "create", "--name", "acme")
    status, out, err = waypost("copy", "--from", FILE, "--to", target)
    assert status == 0, err
    assert "empty -> " in out
    lines = dict(line.split("\t", 1) for line in out.splitlines() if "\t" in line)
    assert lines["projects"].startswith("2\t")
    assert "are copied, and read back as they were" in err
    assert 'WAYPOST_SECRET_KEY="$(cat .waypost/waypost.db.key)"' in err
    status, _, err = waypost("copy", "--from", FILE, "--to", target)
    assert status == 1
    assert "is not empty" in err


@pytest.mark.parametrize(
    "source,target,words",
    [
        ("postgresql://h/d", FILE, "and no other way"),
        (FILE, "sqlite:///other.db", "and no other way"),
        ("w.db", "postgresql://h/d", "--from is no URL"),
        (FILE, "postgresql://u:hidden@h/d#x", "--to holds a character"),
        ("sqlite:///nowhere.db", "postgresql://h/d", "there is no database at nowhere.db"),
    ],
)
def test_places_that_make_no_sense_are_refused(
    waypost: Run, source: str, target: str, words: str
) -> None:
    status, _, err = waypost("copy", "--from", source, "--to", target)
    assert status == 2
    assert words in err
    assert "hidden" not in err
    assert not Path("nowhere.db").exists()
