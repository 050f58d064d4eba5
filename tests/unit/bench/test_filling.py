import sqlite3
import struct
import uuid
from itertools import pairwise
from pathlib import Path

from bench.databases import SqliteFile
from bench.filling import (
    DAY_MS,
    Stencil,
    days_before,
    event_times,
    fill_sqlite,
    fillings,
    identifier,
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

    assert (
        len({event for event, _, _ in rows}) == len({delivery for _, delivery, _ in rows}) == 1_000
    )
    assert [event for event, _, _ in rows] == sorted(event for event, _, _ in rows)
    event, delivery, delivered = rows[-1]
    assert event[:6] == delivery[:6]
    assert struct.unpack(">q", delivered)[0] // 1000 == int.from_bytes(event[:6], "big") + 3


def test_a_stencil_fills_its_gaps_wherever_they_are() -> None:
    event, delivery, at = b"E" * 16, b"D" * 16, b"T" * 8
    new = (b"e" * 16, b"d" * 16, b"t" * 8)

    cut = Stencil.cut(b"1" + delivery + b"100 %" + event + b"end" + at, (event, delivery, at))
    assert cut.rows([new, new]) == 2 * (b"1" + new[1] + b"100 %" + new[0] + b"end" + new[2])

    only = Stencil.cut(b"<" + event + b">", (event, delivery, at))
    assert only.rows([new]) == b"<" + new[0] + b">"


def test_sqlite_is_filled_with_copies_of_the_first_event(tmp_path: Path) -> None:
    database = SqliteFile(tmp_path)
    with sqlite3.connect(database.path) as connection:
        connection.execute("CREATE TABLE events (id, payload, PRIMARY KEY (id)) WITHOUT ROWID")
        connection.execute(
            "CREATE TABLE deliveries (event_id, id, state, finished_us,"
            " PRIMARY KEY (event_id, id)) WITHOUT ROWID"
        )
        connection.execute("INSERT INTO events VALUES (?, ?)", (b"\xff" * 16, b"{}"))
        connection.execute(
            "INSERT INTO deliveries VALUES (?, ?, ?, ?)", (b"\xff" * 16, b"\xfe" * 16, 1, 99)
        )
    said: list[str] = []

    fill_sqlite(database, 10, NOW_MS, said.append)

    with sqlite3.connect(database.path) as connection:
        rows = connection.execute(
            "SELECT e.payload, d.state, d.finished_us FROM events e"
            " JOIN deliveries d ON d.event_id = e.id ORDER BY e.id"
        ).fetchall()
    assert len(rows) == 11
    assert {row[:2] for row in rows} == {(b"{}", 1)}
    first_us = (NOW_MS - 7 * DAY_MS) * 1000 + 3_000
    assert [row[2] for row in rows[:2]] == [first_us, first_us + DAY_MS * 700]
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
