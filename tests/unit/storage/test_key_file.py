"""The secret key: made once, kept to its owner, held to."""

import base64
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from waypost.clock import SystemEntropy
from waypost.model.errors import ConfigInvalid
from waypost.storage import key_file
from waypost.storage.schema import metadata

KEY = bytes(range(32))


def test_a_key_that_was_made_is_read_again(tmp_path: Path) -> None:
    database = tmp_path / "w.db"
    assert key_file.read(database) is None
    key = key_file.make(database, SystemEntropy())
    assert len(key) == 32
    assert key_file.read(database) == key
    assert key_file.key_file(database).stat().st_mode & 0o777 == 0o600


def test_a_key_is_never_made_over_another(tmp_path: Path) -> None:
    key_file.make(tmp_path / "w.db", SystemEntropy())
    with pytest.raises(FileExistsError):
        key_file.make(tmp_path / "w.db", SystemEntropy())


@pytest.mark.parametrize("text", [b"", b"####", base64.b64encode(b"short")])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: bytes) -> None:
    key_file.key_file(tmp_path / "w.db").write_bytes(text)
    with pytest.raises(ConfigInvalid, match="32 bytes in base64"):
        key_file.read(tmp_path / "w.db")


def test_a_fingerprint_tells_keys_apart_and_not_the_key() -> None:
    assert key_file.fingerprint(KEY) != key_file.fingerprint(KEY[::-1])
    assert KEY.hex()[:8] not in key_file.fingerprint(KEY)


def test_a_database_is_held_to_its_first_key() -> None:
    with create_engine("sqlite://").connect() as connection:
        metadata.create_all(connection)
        assert key_file.known_fingerprint(connection) is None
        key_file.confirm(connection, KEY)
        key_file.confirm(connection, KEY)
        with pytest.raises(ConfigInvalid, match="not the one that this database was written"):
            key_file.confirm(connection, KEY[::-1])
