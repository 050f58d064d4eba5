"""A database for each test, before anything runs on it, and what was logged."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support import database
from tests.support.database import Records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the database is."""
    return tmp_path / "w.db"


@pytest.fixture
def records(path: Path) -> Records:
    """Return what makes rows in it; only while no engine runs."""
    return database.make(path)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """Return what was logged, which is shown nowhere else."""
    with capture_logs() as entries:
        yield entries
