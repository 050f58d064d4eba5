"""A database for each test, and what was logged."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support import database, postgres
from tests.support.database import Records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the database is."""
    return tmp_path / "w.db"


@pytest.fixture
def url() -> Iterator[str]:
    """Have a database on PostgreSQL, for several processes."""
    with postgres.fresh(database.fill) as made:
        yield made


@pytest.fixture
def records(request: pytest.FixtureRequest, path: Path) -> Iterator[Records]:
    """Return what makes rows in it; in that at `url` where a test asks for one."""
    shared = "url" in request.fixturenames
    made = database.make(request.getfixturevalue("url") if shared else path)
    yield made
    if shared:
        made.connection.close()
        made.connection.engine.dispose()


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """Return what was logged, which is shown nowhere else."""
    with capture_logs() as entries:
        yield entries
