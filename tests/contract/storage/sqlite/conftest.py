"""A database in a file, made from the schema as it is now."""

from pathlib import Path

import pytest

from tests.support import database
from tests.support.database import Records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the database is."""
    return tmp_path / "w.db"


@pytest.fixture
def records(path: Path) -> Records:
    """Return what makes rows in it; only while no store is open."""
    return database.make(path)
