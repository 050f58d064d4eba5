"""The hot statements, for any number of rows, against what the tables hold afterwards."""

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from tests.support.database import Place
from tests.support.hot import PROJECT, SUBSCRIPTION, Hot, delivery, event, hot_of
from waypost.model import ids
from waypost.model.delivery import AttemptState, DeliveryState, Reason, Timings
from waypost.storage import queue, schema
from waypost.storage.changes import Acceptance, Entry, Outcome, Settlement

KEY = b"k" * 16
TIMINGS = msgspec.msgpack.encode(Timings())
SIZES = (0, 1, 2, 3, 64, 127, 128, 129, 255, 300, 1_000)


@pytest.fixture
def hot(place: Place) -> Iterator[Hot]:
    with hot_of(place) as opened:
        yield opened


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
    reason = "x" if state is DeliveryState.FAILED else None
    if state is not None:
        final = (*place, delivery(number), SUBSCRIPTION, int(state), attempts + 1, 5, reason)
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


def untried(number: int, attempts: int = 0) -> Settlement:
    """Return that a delivery is over without another try."""
    made = settlement(number, state=DeliveryState.CANCELLED)
    made.attempts, made.attempt = attempts, ()
    made.delivery = (*(made.delivery or ())[:5], attempts, 5, Reason.SKIPPED)
    return made


@pytest.mark.parametrize("attempts", [0, 3])
def test_one_that_ends_without_a_try_has_no_attempt(hot: Hot, attempts: int) -> None:
    hot.owe([1], attempts=attempts)
    hot.owe([2, 3])
    over, retried = untried(1, attempts), settlement(3, state=None)
    hot.settle([over, settlement(2), retried])
    assert not over.late
    assert not retried.late
    assert hot.rows("deliveries", "id, state, attempts, reason, status_code") == [
        (delivery(1), DeliveryState.CANCELLED, attempts, Reason.SKIPPED, None),
        (delivery(2), DeliveryState.DELIVERED, 1, None, 200),
    ]
    assert hot.rows("attempts", "delivery_id") == [(delivery(3),)]
    assert hot.rows("queue", "id") == [(delivery(3),)]
    assert hot.rows("diverted_events") == []


def test_of_what_ended_otherwise_meanwhile_nothing_is_written(hot: Hot) -> None:
    hot.owe([1], attempts=7)
    hot.owe([2])
    before, over, again = untried(2), untried(1), untried(2)
    hot.settle([before])
    hot.settle([over])
    hot.settle([again])
    assert [one.late for one in (before, over, again)] == [False, True, True]
    assert hot.rows("queue", "id, attempts") == [(delivery(1), 7)]
    assert hot.rows("deliveries", "id") == [(delivery(2),)]
    assert hot.rows("attempts") == []


@pytest.mark.parametrize("count", SIZES)
def test_any_number_of_events_is_written(hot: Hot, count: int) -> None:
    taken = [acceptance(entry(n)) for n in range(count)]
    assert hot.accept(taken, {PROJECT: 1}) == count
    assert {one.outcome for one in taken} <= {Outcome.COMMITTED}
    expected = [event(n) for n in range(count)]
    assert [row[0] for row in hot.rows("events", "id")] == expected
    assert [row[0] for row in hot.rows("queue", "event_id")] == expected


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.FAILED])
def test_any_number_of_deliveries_is_settled(hot: Hot, count: int, state: DeliveryState) -> None:
    hot.owe(list(range(count + 1)))
    settled = [settlement(n, state=state) for n in range(count)]
    hot.settle(settled)
    assert not any(one.late for one in settled)
    assert hot.rows("queue", "id") == [(delivery(count),)]
    final = hot.rows("deliveries", "id, state, attempts")
    assert final == [(delivery(n), int(state), 1) for n in range(count)]
    failed = state is DeliveryState.FAILED
    assert len(hot.rows("diverted_events")) == count * failed
    assert len(hot.rows("attempts")) == count * failed


def test_a_first_try_that_delivers_is_kept_with_its_delivery(hot: Hot) -> None:
    hot.owe([1])
    hot.settle([settlement(1)])
    kept = hot.rows("deliveries", "status_code, response, timings, resent")
    assert kept == [(200, b"ok", TIMINGS, 0)]
    assert hot.rows("attempts") == []


def test_a_later_try_that_delivers_is_kept_as_an_attempt(hot: Hot) -> None:
    hot.owe([1], attempts=1)
    hot.settle([settlement(1, attempts=1)])
    assert hot.rows("deliveries", "status_code, attempts") == [(None, 2)]
    assert hot.rows("attempts", "number, status_code") == [(2, 200)]


@pytest.mark.parametrize("count", [1, 129])
def test_a_retry_keeps_its_place_in_the_queue(hot: Hot, count: int) -> None:
    hot.owe(list(range(count)))
    settled = [settlement(n, state=None) for n in range(count)]
    hot.settle(settled)
    assert not any(one.late for one in settled)
    found = set(hot.rows("queue", "class, due_us, attempts"))
    assert found == {(1, 77, 1)}
    assert len(hot.rows("attempts")) == count
    assert hot.rows("deliveries") == []


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.FAILED, None])
def test_of_what_was_cancelled_meanwhile_only_the_try_is_recorded(
    hot: Hot, state: DeliveryState | None
) -> None:
    hot.owe([1, 2])
    queue.clear(
        hot.connection,
        PROJECT,
        SUBSCRIPTION,
        state=DeliveryState.CANCELLED,
        reason=Reason.SUBSCRIPTION_DELETED,
        divert=False,
        now_us=3,
        sparing=[delivery(2)],
    )
    late, other = settlement(1, state=state), settlement(2)
    hot.settle([late, other])
    assert (late.late, other.late) == (True, False)
    states = hot.rows("deliveries", "id, state")
    assert states == [
        (delivery(1), int(DeliveryState.CANCELLED)),
        (delivery(2), int(DeliveryState.DELIVERED)),
    ]
    assert hot.rows("attempts", "delivery_id") == [(delivery(1),)]
    assert hot.rows("diverted_events") == []


@pytest.mark.parametrize("state", [DeliveryState.FAILED, None])
def test_of_what_was_tried_again_since_only_the_try_is_recorded(
    hot: Hot, state: DeliveryState | None
) -> None:
    hot.owe([1], attempts=1)
    late = settlement(1, state=state, attempts=0)
    hot.settle([late])
    assert late.late
    assert hot.rows("queue", "id, attempts") == [(delivery(1), 1)]
    assert hot.rows("deliveries") == []
    assert len(hot.rows("attempts")) == 1


def test_the_projects_of_one_batch_are_settled_apart(hot: Hot) -> None:
    hot.owe([1])
    mine, theirs = settlement(1), settlement(1, project=b"q" * 16)
    hot.owe([1], project=b"q" * 16)
    hot.settle([mine])
    assert hot.rows("queue", "project_id") == [(b"q" * 16,)]
    hot.settle([theirs])
    assert hot.rows("queue") == []


def test_the_same_answer_again_is_kept_by_reference(hot: Hot) -> None:
    long, short = b"x" * 64, b"y" * 63
    hot.owe([1, 2])
    answers = [long, long, short, short, b"z" * 64, long]
    for number, answer in enumerate(answers):
        hot.settle([settlement(1, state=None, attempts=number, response=answer)])
    hot.settle([settlement(2, state=None, response=long)])
    found = hot.rows("attempts", "id, delivery_id, number, response, same_as")
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
    hot: Hot,
) -> None:
    answer = b"x" * 64
    hot.owe([1])
    hot.settle([settlement(1, state=None, response=b"n" * 64)])
    hot.settle([settlement(1, state=None, attempts=1, response=answer)])
    others = {
        "project_id": PROJECT,
        "event_id": event(1),
        "delivery_id": delivery(2),
        "subscription_id": SUBSCRIPTION,
        "number": 1,
        "state": 1,
        "status_code": 500,
        "timings": TIMINGS,
        "resent": 0,
    }
    hot.connection.execute(
        insert(schema.attempts),
        [{**others, "id": ids.make(10**12 + n, n)} for n in range(150)],
    )
    hot.settle([settlement(1, state=None, attempts=2, response=answer)])
    hot.settle([settlement(1, state=None, attempts=3, response=b"n" * 64)])
    found = [
        row[:3]
        for row in hot.rows("attempts", "number, response, same_as, delivery_id", "number")
        if row[3] == delivery(1)
    ]
    assert found == [
        (1, b"n" * 64, None),
        (2, answer, None),
        (3, answer, None),
        (4, None, delivery(1)),
    ]


def test_stale_routing_writes_nothing(hot: Hot) -> None:
    stale, good = acceptance(entry(1), version=1), acceptance(entry(2), version=2)
    assert hot.accept([stale, good], {PROJECT: 2}) == 1
    assert (stale.outcome, good.outcome) == (Outcome.STALE, Outcome.COMMITTED)
    assert hot.rows("events", "id") == [(event(2),)]
    unknown = acceptance(entry(3))
    assert hot.accept([unknown], {}) == 0
    assert unknown.outcome is Outcome.STALE


def test_a_fan_out_is_written_in_place_of_its_deliveries(hot: Hot) -> None:
    great = entry(1)
    great.owed = []
    great.fan_out = (PROJECT, event(1), SUBSCRIPTION * 3, 0)
    hot.accept([acceptance(great)], {PROJECT: 1})
    assert hot.rows("queue") == []
    found = hot.rows("fan_outs", "event_id, subscriptions, position", "event_id")
    assert found == [(event(1), SUBSCRIPTION * 3, 0)]


def test_a_key_that_expired_is_taken_anew(hot: Hot) -> None:
    hot.accept([acceptance(entry(1, "k"), keyed=True, now_us=10)], {PROJECT: 1})
    at_the_end = acceptance(entry(2, "k", b"other"), keyed=True, now_us=110)
    hot.accept([at_the_end], {PROJECT: 1})
    assert at_the_end.outcome is Outcome.COMMITTED
    held = hot.rows("idempotency_keys", "event_id, expires_at_us", "event_id")
    assert held == [(event(2), 210)]


REQUESTS = st.lists(
    st.lists(
        st.tuples(st.sampled_from([None, "a", "b", "c"]), st.sampled_from([b"1", b"2"])),
        min_size=1,
        max_size=4,
    ),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(REQUESTS, max_size=3))
def test_keys_mean_what_a_dictionary_says(
    hot: Hot, batches: list[list[list[tuple[str | None, bytes]]]]
) -> None:
    """Whatever comes in one batch or in several: one key, one event; another body, none at all."""
    hot.forget("events", "queue", "idempotency_keys", "receipts")
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
        hot.accept(taken, {PROJECT: 1})
        for one in taken:
            fresh: dict[str, tuple[bytes, bytes]] = {}
            written: list[bytes] = []
            repeats: list[tuple[Entry, bytes]] = []
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
                    repeats.append((part, held[0]))
            if mismatch is None:
                assert one.outcome is Outcome.COMMITTED
                assert [part.duplicate_of for part, _ in repeats] == [held for _, held in repeats]
                known |= fresh
                events += written
                receipts += len(repeats)
            else:
                assert (one.outcome, one.at_index) == (Outcome.MISMATCH, mismatch)
    assert [row[0] for row in hot.rows("events", "id")] == sorted(events)
    assert [row[0] for row in hot.rows("queue", "event_id")] == sorted(events)
    held_now = hot.rows("idempotency_keys", "key, event_id", "key")
    assert {row[0]: row[1] for row in held_now} == {key: value[0] for key, value in known.items()}
    assert len(hot.rows("receipts")) == receipts
