"""How much is owed."""

import pytest
from sqlalchemy import create_engine

from waypost.model.delivery import DeliveryClass, Owed
from waypost.storage import depth, queue
from waypost.storage.schema import metadata


def test_what_is_owed_is_counted_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    with create_engine("sqlite://").connect() as connection:
        metadata.create_all(connection)
        assert depth.queue_depth(connection) == 0
        owed = [
            Owed(bytes(16), bytes([n]) * 16, bytes(16), bytes(16), DeliveryClass.FRESH, 0)
            for n in range(5)
        ]
        queue.insert(connection, owed)
        assert depth.queue_depth(connection) == 5
        monkeypatch.setattr(depth, "AT_MOST", 3)
        assert depth.queue_depth(connection) == 3
