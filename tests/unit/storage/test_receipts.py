"""The repetitions of an idempotency key are found with their event."""

from sqlalchemy import insert

from tests.support.database import Records
from waypost.model import ids
from waypost.model.event import Receipt
from waypost.storage import receipts
from waypost.storage.schema import receipts as table


def kept(records: Records, event_id: ids.Id, *, same: bool) -> Receipt:
    """Keep a receipt, a second after the last."""
    records.clock.forward(1)
    receipt_id, key_id = records.ids.next(), records.ids.next()
    row = {"project_id": records.project, "event_id": event_id, "id": receipt_id}
    records.connection.execute(insert(table).values(**row, key_id=key_id, same_body=int(same)))
    return Receipt(ids.moment(receipt_id), key_id, same)


def test_the_latest_come_first(records: Records) -> None:
    event_id, other = records.event(), records.event()
    first, second = kept(records, event_id, same=True), kept(records, event_id, same=False)
    kept(records, other, same=True)
    found = receipts.list_latest(records.connection, records.project, event_id)
    assert found == [second, first]
    assert receipts.list_latest(records.connection, records.other, event_id) == []


def test_there_are_no_more_than_a_hundred(records: Records) -> None:
    event_id = records.event()
    made = [kept(records, event_id, same=True) for _ in range(receipts.SHOWN + 1)]
    found = receipts.list_latest(records.connection, records.project, event_id)
    assert found == made[:0:-1]
