"""The database's own clock, in a statement."""

import time

from sqlalchemy import select

from tests.support.database import Records
from waypost.storage.moment import now_us


def test_it_is_the_present_in_microseconds(records: Records) -> None:
    before = time.time()
    theirs = records.connection.execute(select(now_us())).scalar_one()
    assert before - 0.01 <= theirs / 1_000_000 <= time.time() + 0.01


def test_it_goes_on_within_a_transaction(records: Records) -> None:
    records.connection.exec_driver_sql("BEGIN")
    first = records.connection.execute(select(now_us())).scalar_one()
    limit = time.monotonic() + 5
    while records.connection.execute(select(now_us())).scalar_one() <= first:
        assert time.monotonic() < limit
    records.connection.exec_driver_sql("COMMIT")
