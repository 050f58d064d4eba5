"""What each lane was owed last, in one statement."""

from collections.abc import Iterator

import pytest

from tests.support import database, postgres
from tests.support.database import Records
from waypost.model.delivery import DeliveryClass, Owed
from waypost.model.ids import Id
from waypost.storage import queue
from waypost.storage.postgres.lanes import newest

PROJECT, OTHER = b"1" * 16, b"2" * 16


@pytest.fixture
def records() -> Iterator[Records]:
    with postgres.fresh(database.fill) as url:
        made = database.make(url)
        yield made
        made.connection.close()
        made.connection.engine.dispose()


def owe(
    records: Records,
    project_id: Id,
    subscription_id: Id,
    kind: DeliveryClass = DeliveryClass.FRESH,
    due_us: int = 1,
) -> Id:
    made = records.ids.next()
    one = Owed(project_id, made, made, subscription_id, kind, due_us)
    queue.insert(records.connection, [one])
    return made


def test_nothing_is_owed_to_nobody(records: Records) -> None:
    assert newest(records.connection) == []


def test_each_lane_tells_what_came_due_last_of_first_tries_and_of_replays(records: Records) -> None:
    one, two, three = (bytes([number]) * 16 for number in (1, 2, 3))
    owe(records, PROJECT, one, due_us=1)
    fresh = owe(records, PROJECT, one, due_us=2)
    owe(records, PROJECT, one, due_us=1 << 60)
    owe(records, PROJECT, one, DeliveryClass.REPLAY, due_us=5)
    replay = owe(records, PROJECT, one, DeliveryClass.REPLAY, due_us=7)
    owe(records, PROJECT, one, DeliveryClass.REPLAY, due_us=6)
    owe(records, PROJECT, one, DeliveryClass.RETRY, due_us=1 << 60)
    owe(records, PROJECT, two, DeliveryClass.RETRY)
    elsewhere = owe(records, OTHER, three, due_us=1)
    found = newest(records.connection)
    assert sorted(found, key=str) == sorted(
        [
            (PROJECT, one, fresh),
            (PROJECT, one, replay),
            (PROJECT, two, None),
            (OTHER, three, elsewhere),
        ],
        key=str,
    )
