"""Places in the order of acceptance, as the accept statements give them."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from tests.support.database import Place
from tests.support.hot import PROJECT, SUBSCRIPTION, Hot, delivery, event, hot_of
from tests.support.site import eventually
from waypost.storage.changes import Acceptance, Entry, Outcome
from waypost.storage.postgres import hot as postgres_hot
from waypost.storage.postgres.connection import DEFAULTS
from waypost.storage.postgres.session import Session

OTHER = b"q" * 16


@pytest.fixture
def hot(place: Place) -> Iterator[Hot]:
    with hot_of(place) as opened:
        yield opened


def entry(
    number: int,
    ordering_key: str | None = None,
    *,
    counter: str | None = None,
    key: str | None = None,
    project: bytes = PROJECT,
) -> Entry:
    row = (project, event(number), "a", b"{}", None, 1)
    owed = [(project, delivery(number), event(number), SUBSCRIPTION, 0, number, 0)]
    one = Entry(event(number), row, owed, key, b"f" * 16)
    one.ordering_key = ordering_key
    one.counter = ordering_key if counter is None else counter
    return one


def acceptance(*entries: Entry, now_us: int = 1_000) -> Acceptance:
    return Acceptance(
        entries[0].row[0],
        b"k" * 16,
        1,
        list(entries),
        now_us,
        now_us + 100,
        lambda _: None,
        keyed=any(one.key is not None for one in entries),
        ordered=any(one.counter is not None for one in entries),
    )


def sequences(hot: Hot, table: str = "queue") -> dict[bytes, int | None]:
    column = "event_id" if table == "queue" else "id"
    return dict(hot.rows(table, f"{column}, sequence"))


def places(hot: Hot, *numbers: int) -> list[int]:
    """Return the places of numbered events, which their deliveries have too."""
    assert sequences(hot) == sequences(hot, "events")
    found = [sequences(hot)[event(n)] for n in numbers]
    return [place for place in found if place is not None]


def test_events_without_a_counter_have_no_place_and_touch_no_counter(hot: Hot) -> None:
    hot.accept([acceptance(entry(1), entry(2))], {PROJECT: 1})
    assert set(sequences(hot).values()) == {None}
    assert hot.rows("ordering_counters", "*", "name") == []


@pytest.mark.parametrize("count", [1, 2, 130, 700])
def test_the_events_of_a_key_follow_each_other_without_a_gap(hot: Hot, count: int) -> None:
    mixed = [entry(n, "ab"[n % 2]) if n % 3 else entry(n) for n in range(count)]
    hot.accept([acceptance(*mixed[:2]), *(acceptance(one) for one in mixed[2:])], {PROJECT: 1})
    for name in "ab":
        found = places(hot, *(n for n in range(count) if mixed[n].counter == name))
        assert found == list(range(found[0], found[0] + len(found))) if found else count <= 2
    assert [row[1] for row in hot.rows("queue", "id, ordering_key")] == [
        one.ordering_key for one in mixed
    ]


def test_a_later_batch_comes_behind_whatever_the_clock_says(hot: Hot) -> None:
    for n, now_us in enumerate([1_000, 5_000, 10, 10]):
        hot.accept([acceptance(entry(n, "a"), now_us=now_us)], {PROJECT: 1})
    found = places(hot, 0, 1, 2, 3)
    assert found == sorted(set(found))
    last = hot.rows("ordering_counters", "last", "name")
    assert last == [(found[-1],)]


def test_a_counter_that_was_forgotten_goes_on_behind_where_it_was(hot: Hot) -> None:
    hot.accept([acceptance(entry(1, "a"), now_us=1_000)], {PROJECT: 1})
    hot.forget("ordering_counters")
    hot.accept([acceptance(entry(2, "a"), now_us=2_000)], {PROJECT: 1})
    first, second = places(hot, 1, 2)
    assert first < second


def test_the_counter_of_the_project_goes_on_behind_those_of_the_keys(hot: Hot) -> None:
    hot.accept([acceptance(entry(1, "a"), entry(2, "b"), now_us=1_000)], {PROJECT: 1})
    strict = [entry(3, "a", counter=""), entry(4, counter="")]
    hot.accept([acceptance(*strict, now_us=2_000)], {PROJECT: 1})
    first, second, third, fourth = places(hot, 1, 2, 3, 4)
    assert max(first, second) < third < fourth
    assert hot.rows("queue", "ordering_key") == [("a",), ("b",), ("a",), (None,)]


@pytest.mark.parametrize("key", [None, "k"])
def test_a_great_fan_out_has_the_place_of_its_event(hot: Hot, key: str | None) -> None:
    plain, great = entry(1, "a"), [entry(2), entry(3, "a"), entry(4, counter=""), entry(5, "b")]
    for one in great:
        one.owed, one.fan_out = [], (PROJECT, one.event_id, SUBSCRIPTION, 0)
    great[0].key = key
    hot.accept([acceptance(plain, *great)], {PROJECT: 1})
    of_event = sequences(hot, "events")
    found = hot.rows("fan_outs", "event_id, ordering_key, sequence", "event_id")
    names = [None, "a", None, "b"]
    assert found == [
        (one.event_id, name, of_event[one.event_id]) for one, name in zip(great, names, strict=True)
    ]
    assert [place is None for place in of_event.values()] == [False, True, False, False, False]
    assert sequences(hot) == {event(1): of_event[event(1)]}


def test_projects_have_counters_of_their_own(hot: Hot) -> None:
    mine, theirs = entry(1, "a"), entry(2, "a", project=OTHER)
    hot.accept([acceptance(mine), acceptance(theirs)], {PROJECT: 1, OTHER: 1})
    found = hot.rows("ordering_counters", "project_id, name", "project_id")
    assert found == [(PROJECT, "a"), (OTHER, "a")]


def test_what_was_stale_or_a_repetition_takes_no_place_that_another_has(hot: Hot) -> None:
    hot.accept([acceptance(entry(1, "a", key="k"))], {PROJECT: 1})
    stale = acceptance(entry(2, "a"))
    stale.routing_version = 0
    hot.accept([stale], {PROJECT: 1})
    assert stale.outcome is Outcome.STALE
    again, fresh = acceptance(entry(3, "a", key="k")), acceptance(entry(4, "a", key="l"))
    hot.accept([again, fresh], {PROJECT: 1})
    assert again.entries[0].duplicate_of == event(1)
    first, last = places(hot, 1, 4)
    assert first < last
    together = acceptance(entry(5, "a", key="m"), entry(6, "a", key="n"), entry(7, "a", key="m"))
    hot.accept([together], {PROJECT: 1})
    assert places(hot, 4, 5, 6) == sorted(places(hot, 4, 5, 6))


def test_of_two_writers_the_first_to_count_is_the_first_to_commit(hot: Hot, place: Place) -> None:
    """On PostgreSQL: the second one waits for the row of the counter."""
    if not isinstance(place, str):
        return  # one process writes
    hot.accept([acceptance(entry(1, "a"))], {PROJECT: 1})
    first, second = (Session(place, DEFAULTS, name) for name in ("first", "second"))
    first.begin()
    early, late = acceptance(entry(2, "a")), acceptance(entry(3, "a"))
    write(first, early)
    other = threading.Thread(target=write, args=(second, late))
    other.start()
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    eventually(lambda: hot.connection.execute(waiting).scalar_one() == 1)
    first.commit()
    other.join()
    assert places(hot, 1, 2, 3) == sorted(places(hot, 1, 2, 3))
    for session in (first, second):
        session.close()


def write(session: Session, one: Acceptance) -> None:
    values = postgres_hot.accept_values([one]) + postgres_hot.order_values([one])
    session.run(postgres_hot.ACCEPT_ORDERED, values)
