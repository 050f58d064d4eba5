"""What cannot be undone leaves a trace of who did it."""

from sqlalchemy import select

from tests.support.database import Records
from waypost.storage import audit
from waypost.storage.schema import audit as table


def test_who_did_what_to_what_is_kept(records: Records) -> None:
    principal, record_id = records.principal(), records.ids.next()
    audit.record(records.connection, principal, record_id, "thing.delete", "thing_1")
    row = records.connection.execute(select(table)).one()
    assert tuple(row) == (
        records.project,
        record_id,
        principal.key_id,
        "thing.delete",
        "thing_1",
        "test",
    )
