"""What holds of the hot statements on SQLite alone; what they mean everywhere is told beside."""

from tests.support.database import Records
from waypost.storage.changes import Acceptance, Entry
from waypost.storage.sqlite import hot
from waypost.storage.sqlite.connection import raw


def test_a_request_that_is_written_again_is_judged_anew(records: Records) -> None:
    entries = []
    for _ in range(2):
        event_id = records.ids.next()
        row = (records.project, event_id, "a", b"{}", None, 1)
        entries.append(Entry(event_id, row, [], "key", bytes(16)))
    taken = Acceptance(records.project, bytes(16), 1, entries, 1, 9, lambda _: None, keyed=True)
    cursor = raw(records.connection).cursor()
    for _ in range(2):  # the first transaction is rolled back
        cursor.execute("BEGIN")
        hot.accept(cursor, [taken], {records.project: 1})
        assert [one.duplicate_of for one in taken.entries] == [None, entries[0].event_id]
        cursor.execute("ROLLBACK")
