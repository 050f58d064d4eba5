"""`waypost doctor` on SQLite: each thing it looks at, sound and unsound."""

import base64
from pathlib import Path

import pytest

from tests.support.doctor import found_bad
from tests.unit.cli.conftest import Run
from waypost import config
from waypost.cli import doctor
from waypost.cli.findings import Finding
from waypost.storage import key_file
from waypost.storage.sqlite import disk

KEY = base64.b64encode(bytes(range(32))).decode()


def findings(**environment: str) -> dict[str, Finding]:
    settings = config.load(environment=environment)
    return {one.subject: one for one in doctor.examine(settings)}


def test_before_the_first_start_it_says_what_will_be_made(folder: Path) -> None:
    found = findings()
    assert "will be made" in found["database"].text
    assert "will be made" in found["secret key"].text
    assert list(folder.iterdir()) == [], "it changes nothing"


@pytest.mark.parametrize(
    "version,good,words",
    [
        ((3, 51, 3), True, "3.51.3"),
        ((3, 51, 2), True, "one connection alone"),
        ((3, 37, 0), True, "WAL-reset bug"),
        ((3, 36, 9), False, "too old"),
    ],
)
def test_sqlite_is_judged_by_its_version(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], good: bool, words: str
) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", version)
    assert findings()["sqlite"].good is good
    assert words in findings()["sqlite"].text


def test_files_that_others_can_open_are_bad(waypost: Run) -> None:
    waypost("keys", "create", "--name", "a")
    file = Path(".waypost/waypost.db.key")
    file.chmod(0o644)
    found = findings()["permissions"]
    assert found.good is False
    assert str(file) in found.text
    status, out, _ = waypost("doctor")
    assert status == 1
    assert len(found_bad(out)) == 1


def test_a_network_file_system_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "file_system", lambda _: "nfs4")
    assert findings()["file system"].good is False


def test_too_little_room_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda _: 1_000)
    assert findings()["disk"].good is False


def test_a_damaged_key_file_is_bad(folder: Path) -> None:
    Path(".waypost").mkdir()
    key_file.key_file(Path(".waypost/waypost.db")).write_text("nonsense")
    found = findings()["secret key"]
    assert found.good is False


def test_a_configured_key_is_told_by_its_fingerprint() -> None:
    text = findings(WAYPOST_SECRET_KEY=KEY, WAYPOST_ADMIN_KEY="an-admin-key-of-mine")
    assert key_file.fingerprint(bytes(range(32))) in text["secret key"].text
    assert KEY not in str(text)
    assert "an-admin-key-of-mine" not in str(text)


def test_a_database_that_is_none_is_bad(folder: Path) -> None:
    Path(".waypost").mkdir()
    Path(".waypost/waypost.db").write_text("not a database, but long enough to look like one" * 20)
    assert findings()["database"].good is False


def test_a_database_whose_key_is_lost_or_another_is_bad(waypost: Run) -> None:
    waypost("migrate")
    waypost("keys", "list")  # the first opening binds the database to its key
    assert findings()["secret key"].good is True
    assert findings(WAYPOST_SECRET_KEY=KEY)["secret key"].good is False
    key_file.key_file(Path(".waypost/waypost.db")).unlink()
    lost = findings()["secret key"]
    assert lost.good is False
    assert "WAYPOST_SECRET_KEY" in lost.text
