"""A database of PostgreSQL's."""

from collections.abc import Iterator

import pytest

from tests.support import database, postgres
from tests.support.database import Records


@pytest.fixture
def url() -> Iterator[str]:
    """Return where a database of the test's own is."""
    with postgres.fresh(database.fill) as url:
        yield url


@pytest.fixture
def records(url: str) -> Iterator[Records]:
    """Return what makes rows in it."""
    made = database.make(url)
    yield made
    made.connection.close()
    made.connection.engine.dispose()
