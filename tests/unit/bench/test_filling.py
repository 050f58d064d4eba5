import sqlite3
import struct
import uuid
from itertools import pairwise
from pathlib import Path

from bench.databases import SqliteFile
from bench.filling import (
    DAY_MS,
    Sample,
    Stencil,
    days_before,
    event_times,
    fill_sqlite,
    fillings,
    identifier,
    sample,
    shares,
)

NOW_MS = 1_800_000_000_000


def test_ids_are_of_their_millisecond_and_grow() -> None:
    made = [identifier(NOW_MS + number, bytes([0xFF - number]) * 10) for number in range(3)]

    assert made == sorted(made)
    for number, one in enumerate(made):
        found = uuid.UUID(bytes=one)
        assert (found.version, found.variant) == (7, uuid.RFC_4122)
        assert found.int >> 80 == NOW_MS + number


def test_events_are_spread_over_a_week() -> None:
    times = list(event_times(700, NOW_MS))

    assert times[0] == NOW_MS - 7 * DAY_MS
    assert all(later - sooner == DAY_MS // 100 for sooner, later in pairwise(times))
    assert times[-1] < NOW_MS


def test_every_event_differs() -> None:
    (rows,) = fillings(1_000, NOW_MS)

    assert len({part for event, _, *deliveries in rows for part in (event, *deliveries)}) == 4_000
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    event, delivered, *deliveries = rows[-1]
    assert {event[:6]} == {one[:6] for one in deliveries}
    assert struct.unpack(">q", delivered)[0] // 1000 == int.from_bytes(event[:6], "big") + 3


def test_a_rare_sample_has_its_share_and_the_common_one_the_rest() -> None:
    samples = [Sample(b"common"), Sample(b"rare", 4), Sample(b"rarest", 8)]

    assert shares(samples, 0, 10) == [[0, 1, 2, 4, 5, 6, 8, 9], [3], [7]]
    assert shares(samples, 10, 2) == [[0], [1], []]


def test_a_sample_is_of_the_event_that_was_acknowledged() -> None:
    token = uuid.UUID(bytes=b"E" * 16)

    assert sample(b'{"token": "evt_%s"}' % str(token).encode(), 7) == Sample(b"E" * 16, 7)


def test_a_stencil_fills_its_gaps_wherever_they_are() -> None:
    event, delivery, at = b"E" * 16, b"D" * 16, b"T" * 8
    new = (b"e" * 16, b"d" * 16, b"t" * 8)

    cut = Stencil.cut(b"1" + delivery + b"100 %" + event + b"end" + at, (event, delivery, at))
    assert cut.rows([new, new]) == 2 * (b"1" + new[1] + b"100 %" + new[0] + b"end" + new[2])

    twice = Stencil.cut(delivery + b"<" + event + b">" + delivery, (event, b"", delivery))
    assert twice.rows([new]) == new[2] + b"<" + new[0] + b">" + new[2]


def test_sqlite_is_filled_with_copies_of_the_samples(tmp_path: Path) -> None:
    database = SqliteFile(tmp_path)
    common, failed = b"\xff" * 16, b"\xfe" * 16
    with sqlite3.connect(database.path) as connection:
        connection.execute("CREATE TABLE events (id, payload, PRIMARY KEY (id)) WITHOUT ROWID")
        for table, moment in (("deliveries", "finished_us"), ("attempts", "delivery_id")):
            connection.execute(
                f"CREATE TABLE {table} (event_id, id, state, {moment},"
                " PRIMARY KEY (event_id, id)) WITHOUT ROWID"
            )
        connection.execute(
            "CREATE TABLE diverted_events (id, event_id, diverted_us, PRIMARY KEY (id))"
        )
        for event, kind in ((common, b"{}"), (failed, b"[]")):
            connection.execute("INSERT INTO events VALUES (?, ?)", (event, kind))
            for delivery, state, at in ((b"\x01", 1, 99), (b"\x02", 2, 98)):
                values = (event, event[:15] + delivery, state, at)
                connection.execute("INSERT INTO deliveries VALUES (?, ?, ?, ?)", values)
        given_up = failed[:15] + b"\x02"
        connection.execute("INSERT INTO attempts VALUES (?, ?, 3, ?)", (failed, given_up, given_up))
        connection.execute("INSERT INTO diverted_events VALUES (?, ?, 97)", (given_up, failed))
    said: list[str] = []

    fill_sqlite(database, 10, NOW_MS, said.append, [Sample(common), Sample(failed, 5)])

    with sqlite3.connect(database.path) as connection:
        rows = connection.execute(
            "SELECT e.payload, d.state, d.finished_us FROM events e"
            " JOIN deliveries d ON d.event_id = e.id ORDER BY e.id, d.state"
        ).fetchall()
        box = connection.execute(
            "SELECT e.payload, d.state, b.diverted_us - d.finished_us, a.id = a.delivery_id"
            " FROM diverted_events b JOIN attempts a ON a.event_id = b.event_id AND a.id = b.id"
            " JOIN deliveries d ON d.event_id = b.event_id AND d.id = b.id"
            " JOIN events e ON e.id = b.event_id ORDER BY b.id"
        ).fetchall()
    assert len(rows) == 2 * 12
    first_us = (NOW_MS - 7 * DAY_MS) * 1000 + 3_000
    assert [row[2] for row in rows[:4]] == [first_us] * 2 + [first_us + DAY_MS * 700] * 2
    assert [row[0] for row in rows[8:12]] == [b"[]"] * 2 + [b"{}"] * 2
    assert box[:2] == [(b"[]", 2, 0, 1)] * 2
    assert len(box) == 3
    assert said == ["filled 10 of 10 events (100%)"]


def test_days_lead_up_to_the_first_partition_without_a_gap() -> None:
    first_ms = NOW_MS // DAY_MS * DAY_MS
    bound = str(uuid.UUID(bytes=identifier(first_ms, bytes(10))))

    days = days_before(bound, first_ms - 3 * DAY_MS + 5)

    assert len(days) == 3
    assert days[0][2] == bound
    assert [begin for _, begin, _ in days[:2]] == [end for _, _, end in days[1:]]
    assert len({name for name, _, _ in days}) == 3
    oldest = uuid.UUID(days[-1][1])
    assert oldest.int >> 80 == first_ms - 3 * DAY_MS
    assert days_before(bound, first_ms) == []
