"""A database of each kind, made from the schema as it is now."""

from collections.abc import Iterator

import pytest

from tests.support import database
from tests.support.database import Place, Records


@pytest.fixture
def records(place: Place) -> Iterator[Records]:
    """Return what makes rows in it; only while no store is open."""
    made = database.make(place)
    yield made
    made.connection.close()
    made.connection.engine.dispose()
