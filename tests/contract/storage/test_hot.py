"""The hot statements, for any number of rows, against what the tables hold afterwards."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from waypost.model import ids
from waypost.model.delivery import AttemptState, DeliveryState, Timings
from waypost.storage import hot, schema
from waypost.storage.changes import Acceptance, Entry, Outcome, Settlement

PROJECT = b"p" * 16
SUBSCRIPTION = b"s" * 16
KEY = b"k" * 16
TIMINGS = msgspec.msgpack.encode(Timings())
SIZES = (0, 1, 2, 3, 64, 127, 128, 129, 255, 300, 1_000)


def database(at: str = ":memory:") -> sqlite3.Connection:
    raw = sqlite3.connect(at, isolation_level=None)
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    schema.metadata.create_all(engine)
    return raw


@pytest.fixture
def cursor(tmp_path: Path) -> Iterator[sqlite3.Cursor]:
    raw = database(str(tmp_path / "w.db"))
    yield raw.cursor()
    raw.close()


def event(number: int) -> bytes:
    return ids.make(1_000_000 + number, number)


def delivery(number: int) -> bytes:
    return ids.make(9_000_000 + number, number)


def rows(cursor: sqlite3.Cursor, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    return cursor.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall()


def owe(cursor: sqlite3.Cursor, numbers: list[int], attempts: int = 0) -> None:
    hot.INSERT_QUEUE.run(
        cursor,
        [(PROJECT, delivery(n), event(n), SUBSCRIPTION, 0, n, attempts) for n in numbers],
    )


def settlement(
    number: int,
    *,
    state: DeliveryState | None = DeliveryState.DELIVERED,
    attempts: int = 0,
    response: bytes = b"ok",
    project: bytes = PROJECT,
) -> Settlement:
    """Return what became of a delivery; no state: it is tried again."""
    place = (project, event(number))
    success = state is DeliveryState.DELIVERED
    final = diverted = None
    if state is not None:
        final = (*place, delivery(number), SUBSCRIPTION, int(state), attempts + 1, 5, None)
    if state is DeliveryState.FAILED:
        diverted = (project, delivery(number), event(number), SUBSCRIPTION, "x", 5, attempts + 1)
    attempt = (
        *place,
        ids.attempt_of(delivery(number), attempts + 1, number),
        delivery(number),
        SUBSCRIPTION,
        attempts + 1,
        int(AttemptState.SUCCESS if success else AttemptState.FAILED),
        200 if success else 500,
        response,
        None,
        TIMINGS,
        0,
    )
    return Settlement(
        project,
        event(number),
        delivery(number),
        attempts,
        attempt,
        lambda _: None,
        delivery=final,
        retry_at_us=None if state is not None else 77,
        diverted=diverted,
    )


def acceptance(
    *entries: Entry, keyed: bool = False, now_us: int = 10, version: int = 1
) -> Acceptance:
    return Acceptance(
        PROJECT, KEY, version, list(entries), now_us, now_us + 100, lambda _: None, keyed=keyed
    )


def entry(number: int, key: str | None = None, body: bytes = b"") -> Entry:
    row = (PROJECT, event(number), "a", b"{}", None, 1)
    owed = [(PROJECT, delivery(number), event(number), SUBSCRIPTION, 0, number, 0)]
    return Entry(event(number), row, owed, key, body.ljust(16)[:16])


@pytest.mark.parametrize("owed", [True, False])
def test_one_that_ended_without_a_try_has_no_attempt(cursor: sqlite3.Cursor, owed: bool) -> None:
    owe(cursor, [1, 2] if owed else [2])
    untried = settlement(1, state=DeliveryState.CANCELLED)
    untried.attempt = ()
    if not owed:
        # It was ended otherwise meanwhile.
        hot.INSERT_QUEUE.run(cursor, [(PROJECT, delivery(1), event(1), SUBSCRIPTION, 0, 1, 7)])
    hot.settle(cursor, [untried, settlement(2)])
    assert untried.late is not owed
    ended = [(delivery(1), DeliveryState.CANCELLED, None)] * owed
    assert rows(cursor, "deliveries", "id, state, response") == [
        *ended,
        (delivery(2), DeliveryState.DELIVERED, b"ok"),
    ]
    assert rows(cursor, "attempts") == []


@pytest.mark.parametrize("count", SIZES)
def test_any_number_of_events_is_written(cursor: sqlite3.Cursor, count: int) -> None:
    taken = [acceptance(entry(n)) for n in range(count)]
    assert hot.accept(cursor, taken, {PROJECT: 1}) == count
    assert {one.outcome for one in taken} <= {Outcome.COMMITTED}
    expected = [event(n) for n in range(count)]
    assert [row[0] for row in rows(cursor, "events", "id")] == expected
    assert [row[0] for row in rows(cursor, "queue", "event_id")] == expected


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.FAILED])
def test_any_number_of_deliveries_is_settled(
    cursor: sqlite3.Cursor, count: int, state: DeliveryState
) -> None:
    owe(cursor, list(range(count + 1)))
    settled = [settlement(n, state=state) for n in range(count)]
    hot.settle(cursor, settled)
    assert not any(one.late for one in settled)
    assert rows(cursor, "queue", "id") == [(delivery(count),)]
    final = rows(cursor, "deliveries", "id, state, attempts")
    assert final == [(delivery(n), int(state), 1) for n in range(count)]
    failed = state is DeliveryState.FAILED
    assert len(rows(cursor, "diverted_events")) == count * failed
    assert len(rows(cursor, "attempts")) == count * failed


def test_a_first_try_that_delivers_is_kept_with_its_delivery(cursor: sqlite3.Cursor) -> None:
    owe(cursor, [1])
    hot.settle(cursor, [settlement(1)])
    kept = rows(cursor, "deliveries", "status_code, response, timings, resent")
    assert kept == [(200, b"ok", TIMINGS, 0)]
    assert rows(cursor, "attempts") == []


def test_a_later_try_that_delivers_is_kept_as_an_attempt(cursor: sqlite3.Cursor) -> None:
    owe(cursor, [1], attempts=1)
    hot.settle(cursor, [settlement(1, attempts=1)])
    assert rows(cursor, "deliveries", "status_code, attempts") == [(None, 2)]
    assert rows(cursor, "attempts", "number, status_code") == [(2, 200)]


@pytest.mark.parametrize("count", [1, 129])
def test_a_retry_keeps_its_place_in_the_queue(cursor: sqlite3.Cursor, count: int) -> None:
    owe(cursor, list(range(count)))
    settled = [settlement(n, state=None) for n in range(count)]
    hot.settle(cursor, settled)
    assert not any(one.late for one in settled)
    found = set(rows(cursor, "queue", "class, due_us, attempts"))
    assert found == {(1, 77, 1)}
    assert len(rows(cursor, "attempts")) == count
    assert rows(cursor, "deliveries") == []


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.FAILED, None])
def test_of_what_was_cancelled_meanwhile_only_the_try_is_recorded(
    cursor: sqlite3.Cursor, state: DeliveryState | None
) -> None:
    owe(cursor, [1, 2])
    hot.end_untried(
        cursor,
        PROJECT,
        SUBSCRIPTION,
        [(delivery(1), event(1), 0)],
        state=int(DeliveryState.CANCELLED),
        reason="subscription_deleted",
        divert=False,
        now_us=3,
    )
    late, other = settlement(1, state=state), settlement(2)
    hot.settle(cursor, [late, other])
    assert (late.late, other.late) == (True, False)
    states = rows(cursor, "deliveries", "id, state")
    assert states == [
        (delivery(1), int(DeliveryState.CANCELLED)),
        (delivery(2), int(DeliveryState.DELIVERED)),
    ]
    assert rows(cursor, "attempts", "delivery_id") == [(delivery(1),)]
    assert rows(cursor, "diverted_events") == []


@pytest.mark.parametrize("state", [DeliveryState.FAILED, None])
def test_of_what_was_tried_again_since_only_the_try_is_recorded(
    cursor: sqlite3.Cursor, state: DeliveryState | None
) -> None:
    owe(cursor, [1], attempts=1)
    late = settlement(1, state=state, attempts=0)
    hot.settle(cursor, [late])
    assert late.late
    assert rows(cursor, "queue", "id, attempts") == [(delivery(1), 1)]
    assert rows(cursor, "deliveries") == []
    assert len(rows(cursor, "attempts")) == 1


def test_the_projects_of_one_batch_are_settled_apart(cursor: sqlite3.Cursor) -> None:
    owe(cursor, [1])
    mine, theirs = settlement(1), settlement(1, project=b"q" * 16)
    hot.INSERT_QUEUE.run(cursor, [(b"q" * 16, delivery(1), event(1), SUBSCRIPTION, 0, 1, 0)])
    hot.settle(cursor, [mine])
    assert rows(cursor, "queue", "project_id") == [(b"q" * 16,)]
    hot.settle(cursor, [theirs])
    assert rows(cursor, "queue") == []


def test_the_same_answer_again_is_kept_by_reference(cursor: sqlite3.Cursor) -> None:
    long, short = b"x" * 64, b"y" * 63
    owe(cursor, [1, 2])
    answers = [long, long, short, short, b"z" * 64, long]
    for number, answer in enumerate(answers):
        hot.settle(cursor, [settlement(1, state=None, attempts=number, response=answer)])
    hot.settle(cursor, [settlement(2, state=None, response=long)])
    found = rows(cursor, "attempts", "id, delivery_id, number, response, same_as")
    mine = sorted((n, response, same) for _, d, n, response, same in found if d == delivery(1))
    first = next(i for i, d, n, *_ in found if d == delivery(1) and n == 1)
    assert mine == [
        (1, long, None),
        (2, None, first),
        (3, short, None),
        (4, short, None),
        (5, b"z" * 64, None),
        (6, None, first),
    ]
    assert [row[3] for row in found if row[1] == delivery(2)] == [long]


def test_of_an_event_with_many_attempts_only_some_are_looked_through(
    cursor: sqlite3.Cursor,
) -> None:
    answer = b"x" * 64
    owe(cursor, [1])
    hot.settle(cursor, [settlement(1, state=None, response=b"n" * 64)])
    hot.settle(cursor, [settlement(1, state=None, attempts=1, response=answer)])
    others = [(PROJECT, event(1), ids.make(10**12 + n, n), delivery(2)) for n in range(150)]
    cursor.executemany(
        "INSERT INTO attempts (project_id, event_id, id, delivery_id, subscription_id, number,"
        " state, status_code, timings, resent) VALUES (?, ?, ?, ?, x'00', 1, 1, 500, x'90', 0)",
        others,
    )
    hot.settle(cursor, [settlement(1, state=None, attempts=2, response=answer)])
    hot.settle(cursor, [settlement(1, state=None, attempts=3, response=b"n" * 64)])
    found = cursor.execute(
        "SELECT number, response, same_as FROM attempts WHERE delivery_id = ? ORDER BY number",
        (delivery(1),),
    ).fetchall()
    assert found == [
        (1, b"n" * 64, None),
        (2, answer, None),
        (3, answer, None),
        (4, None, delivery(1)),
    ]


def test_stale_routing_writes_nothing(cursor: sqlite3.Cursor) -> None:
    stale, good = acceptance(entry(1), version=1), acceptance(entry(2), version=2)
    assert hot.accept(cursor, [stale, good], {PROJECT: 2}) == 1
    assert (stale.outcome, good.outcome) == (Outcome.STALE, Outcome.COMMITTED)
    assert rows(cursor, "events", "id") == [(event(2),)]
    unknown = acceptance(entry(3))
    assert hot.accept(cursor, [unknown], {}) == 0
    assert unknown.outcome is Outcome.STALE


def test_a_fan_out_is_written_in_place_of_its_deliveries(cursor: sqlite3.Cursor) -> None:
    great = entry(1)
    great.owed = []
    great.fan_out = (PROJECT, event(1), SUBSCRIPTION * 3, 0)
    hot.accept(cursor, [acceptance(great)], {PROJECT: 1})
    assert rows(cursor, "queue") == []
    found = cursor.execute("SELECT event_id, subscriptions, position FROM fan_outs").fetchall()
    assert found == [(event(1), SUBSCRIPTION * 3, 0)]


def test_a_key_that_expired_is_taken_anew(cursor: sqlite3.Cursor) -> None:
    hot.accept(cursor, [acceptance(entry(1, "k"), keyed=True, now_us=10)], {PROJECT: 1})
    at_the_end = acceptance(entry(2, "k", b"other"), keyed=True, now_us=110)
    hot.accept(cursor, [at_the_end], {PROJECT: 1})
    assert at_the_end.outcome is Outcome.COMMITTED
    held = cursor.execute("SELECT event_id, expires_at_us FROM idempotency_keys").fetchall()
    assert held == [(event(2), 210)]


def test_a_request_that_is_written_again_is_judged_anew(cursor: sqlite3.Cursor) -> None:
    taken = acceptance(entry(1, "k"), entry(2, "k"), keyed=True)
    for _ in range(2):  # the first transaction is rolled back
        cursor.execute("BEGIN")
        hot.accept(cursor, [taken], {PROJECT: 1})
        assert [one.duplicate_of for one in taken.entries] == [None, event(1)]
        cursor.execute("ROLLBACK")


REQUESTS = st.lists(
    st.lists(
        st.tuples(st.sampled_from([None, "a", "b", "c"]), st.sampled_from([b"1", b"2"])),
        min_size=1,
        max_size=4,
    ),
    max_size=8,
)


@given(batches=st.lists(REQUESTS, max_size=3))
def test_keys_mean_what_a_dictionary_says(
    batches: list[list[list[tuple[str | None, bytes]]]],
) -> None:
    """Whatever comes in one batch or in several: one key, one event; another body, none at all."""
    cursor = database().cursor()
    known: dict[str, tuple[bytes, bytes]] = {}
    events: list[bytes] = []
    receipts = number = 0
    for batch in batches:
        taken = []
        for request in batch:
            entries = []
            for key, body in request:
                number += 1
                entries.append(entry(number, key, body))
            taken.append(acceptance(*entries, keyed=any(key for key, _ in request)))
        hot.accept(cursor, taken, {PROJECT: 1})
        for one in taken:
            fresh: dict[str, tuple[bytes, bytes]] = {}
            written: list[bytes] = []
            repeated = 0
            mismatch = None
            for index, part in enumerate(one.entries):
                held = None if part.key is None else fresh.get(part.key) or known.get(part.key)
                if held is None:
                    written.append(part.event_id)
                    if part.key is not None:
                        fresh[part.key] = (part.event_id, part.fingerprint)
                elif held[1] != part.fingerprint:
                    mismatch = index
                    receipts += part.key not in fresh
                    break
                else:
                    repeated += 1
                    assert part.duplicate_of == held[0]
            if mismatch is None:
                assert one.outcome is Outcome.COMMITTED
                known |= fresh
                events += written
                receipts += repeated
            else:
                assert (one.outcome, one.at_index) == (Outcome.MISMATCH, mismatch)
    assert [row[0] for row in rows(cursor, "events", "id")] == sorted(events)
    assert [row[0] for row in rows(cursor, "queue", "event_id")] == sorted(events)
    held_now = cursor.execute("SELECT key, event_id FROM idempotency_keys").fetchall()
    assert dict(held_now) == {key: value[0] for key, value in known.items()}
    assert len(rows(cursor, "receipts")) == receipts
    cursor.connection.close()
