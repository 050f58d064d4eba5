"""The queue: the heads of lanes, who is owed something, and what is ended without a try."""

from collections.abc import Callable

import pytest
from sqlalchemy import delete, select

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.model.delivery import DeliveryClass, DeliveryState, Owed, Reason
from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.model.ids import Id, moment
from waypost.model.subscription import Subscription
from waypost.policy.ending import NEVER_US
from waypost.storage import queue, schema
from waypost.storage.holding import Held
from waypost.storage.queue import LaneHead, LaneWanted


def owe(
    records: Records,
    to: Subscription,
    due_us: int,
    kind: DeliveryClass = DeliveryClass.FRESH,
    event_id: Id | None = None,
) -> Id:
    delivery_id = records.ids.next()
    place = (to.project_id, delivery_id, event_id or records.event(), to.id)
    queue.insert(records.connection, [Owed(*place, kind, due_us, attempts=3)])
    return delivery_id


def test_what_is_known_of_events_is_not_read_again(records: Records) -> None:
    to = records.subscription()
    first, second = (records.event(sequence=n) for n in (1, 2))
    owed = [
        Owed(to.project_id, records.ids.next(), event_id, to.id, DeliveryClass.REPLAY, 1)
        for event_id in (first, second)
    ]
    queue.insert(records.connection, owed, {first: Held(None, "k", 5)})
    places = select(schema.queue.c.event_id, schema.queue.c.ordering_key, schema.queue.c.sequence)
    found = {tuple(row) for row in records.connection.execute(places)}
    assert found == {(first, "k", 5), (second, None, None)}


def head(records: Records, of: Subscription, limit: int) -> LaneHead:
    [found] = heads(records, LaneWanted(of.project_id, of.id, limit))
    return found


def heads(records: Records, *lanes: LaneWanted) -> list[LaneHead]:
    return queue.read_heads(records.connection, lanes, payload_max=1_000)


def shape(found: LaneHead) -> list[Id]:
    return [row.owed.id for row in found.rows]


def test_of_what_is_named_that_is_found_which_was_not_tried(records: Records) -> None:
    one, elsewhere = records.subscription(), records.subscription(project_id=records.other)
    event_id = records.event()
    untried, _ = (records.pending(event_id, one) for _ in range(2))
    tried = owe(records, one, 5, event_id=event_id)
    replayed = Owed(one.project_id, records.ids.next(), event_id, one.id, DeliveryClass.REPLAY, 1)
    queue.insert(records.connection, [replayed])
    theirs = records.pending(records.event(project_id=records.other), elsewhere)
    named = [(one.project_id, each) for each in (untried, tried, replayed.id, theirs, bytes(16))]
    found = queue.find_untried(records.connection, named)
    place = (one.project_id, untried, event_id, one.id)
    assert found == [Owed(*place, DeliveryClass.FRESH, moment(untried))]
    steps = plans_of(records.connection, lambda: queue.find_untried(records.connection, named))
    assert walks(steps) == []


def test_a_head_holds_all_classes_by_their_due_time(records: Records) -> None:
    one, other = records.subscription(), records.subscription()
    late = owe(records, one, 300)
    retry = owe(records, one, 100, DeliveryClass.RETRY)
    replay = owe(records, one, 200, DeliveryClass.REPLAY)
    owe(records, other, 50)
    found = head(records, one, 10)
    assert shape(found) == [retry, replay, late]
    assert found.cut_us is None
    assert [row.owed.attempts for row in found.rows] == [3, 3, 3]


def test_a_head_that_is_cut_says_where(records: Records) -> None:
    one = records.subscription()
    for due_us in (1, 2, 3):
        owe(records, one, due_us)
    for due_us in (10, 20):
        owe(records, one, due_us, DeliveryClass.RETRY)
    found = head(records, one, 2)
    assert [row.owed.due_us for row in found.rows] == [1, 2, 10, 20]
    assert found.cut_us == 2
    assert head(records, one, 3).cut_us == 3
    assert head(records, one, 4).cut_us is None


def test_many_lanes_are_read_together(records: Records) -> None:
    one, two, none = (records.subscription() for _ in range(3))
    other = records.subscription(project_id=records.other)
    event_id = records.event()
    foreign = records.event(project_id=records.other)
    mine = [owe(records, one, due_us, event_id=event_id) for due_us in range(3)]
    retry = owe(records, two, 7, DeliveryClass.RETRY, event_id)
    theirs = owe(records, other, 5, event_id=foreign)
    found = heads(
        records,
        *(LaneWanted(lane.project_id, lane.id, 2) for lane in (other, none, one, two)),
    )
    assert [shape(lane) for lane in found] == [[theirs], [], mine[:2], [retry]]
    assert [lane.cut_us for lane in found] == [None, None, 1, None]


@pytest.mark.parametrize("passed_over", [0, 2, 100])
def test_what_is_known_does_not_count(
    records: Records, passed_over: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "PASSED_OVER_MAX", passed_over)
    one, two = records.subscription(), records.subscription()
    event_id = records.event()
    owed = [owe(records, one, due_us, event_id=event_id) for due_us in range(6)]
    theirs = [owe(records, two, due_us, event_id=event_id) for due_us in range(2)]
    first, second = heads(
        records,
        LaneWanted(one.project_id, one.id, 3, owed[:2]),
        LaneWanted(two.project_id, two.id, 2, theirs[:1]),
    )
    assert [each for each in shape(first) if each not in owed[:2]] == owed[2:5]
    assert first.cut_us == 4
    assert theirs[1] in shape(second)
    assert second.cut_us is None


def test_an_event_comes_with_it_unless_it_is_large(records: Records) -> None:
    one = records.subscription()
    attributes = Attributes(owner="o")
    small = records.event("a.b", attributes)
    plain = records.event("a.b")
    large = records.event("c")
    for payload, event_id in ((b"x" * 1_000, plain), (b"x" * 1_001, large)):
        records.connection.execute(
            schema.events.update().where(schema.events.c.id == event_id).values(payload=payload)
        )
    for due_us, event_id in enumerate((small, plain, large)):
        owe(records, one, due_us, event_id=event_id)
    first, second, third = (row.event for row in head(records, one, 9).rows)
    assert first is not None
    assert (first.id, first.type, first.payload) == (small, "a.b", b"{}")
    assert first.attributes == attributes
    assert first.routing_version == 1
    assert second is not None
    assert (len(second.payload), second.attributes) == (1_000, NO_ATTRIBUTES)
    assert third is None
    loaded = queue.find_event(records.connection, one.project_id, large)
    assert loaded is not None
    assert len(loaded.payload) == 1_001
    assert queue.find_event(records.connection, records.other, large) is None


def test_who_is_owed_something_is_found_in_every_project(records: Records) -> None:
    one, two = records.subscription(), records.subscription()
    other = records.subscription(project_id=records.other)
    records.subscription()
    for to in (one, one, two, other, other):
        owe(records, to, 1, event_id=bytes(16))
    for kind in DeliveryClass:
        owe(records, two, 2, kind, bytes(16))
    lanes = sorted((s.project_id, s.id) for s in (one, two, other))
    assert queue.list_lanes(records.connection) == lanes


def test_nobody_is_owed_anything_at_first(records: Records) -> None:
    assert queue.list_lanes(records.connection) == []


def clear(
    records: Records,
    of: Subscription,
    *sparing: Id,
    limit: int = 500,
    divert: bool = True,
    span: tuple[int, int] | None = None,
    but_replays: bool = False,
) -> int:
    return queue.clear(
        records.connection,
        of.project_id,
        of.id,
        state=DeliveryState.FAILED,
        reason=Reason.GONE,
        divert=divert,
        now_us=42,
        sparing=sparing,
        span=span,
        but_replays=but_replays,
        limit=limit,
    )


def test_clearing_may_end_only_what_was_made_in_a_span(records: Records) -> None:
    one, event_id = records.subscription(), records.event()
    made: list[Id] = []
    for _ in range(4):
        records.clock.forward(1)
        made.append(records.pending(event_id, one))
    since_us = moment(made[2])
    late = Owed(one.project_id, made[0], event_id, one.id, DeliveryClass.RETRY, since_us + 10**9, 1)
    records.connection.execute(delete(schema.queue).where(schema.queue.c.id == made[0]))
    queue.insert(records.connection, [late])

    def ended(span: tuple[int, int]) -> list[Id]:
        before = set(records.connection.execute(select(schema.queue.c.id)).scalars())
        while clear(records, one, made[1], limit=1, span=span):
            pass
        after = set(records.connection.execute(select(schema.queue.c.id)).scalars())
        return sorted(before - after)

    assert ended((since_us, NEVER_US)) == made[2:]
    assert ended((0, since_us)) == [made[0]], "the other is spared"


def test_clearing_may_leave_what_somebody_has_asked_for(records: Records) -> None:
    one, event_id = records.subscription(), records.event()
    made = {kind: owe(records, one, 1, kind, event_id) for kind in DeliveryClass}
    assert clear(records, one, span=(0, NEVER_US), but_replays=True) == 2
    left = records.connection.execute(select(schema.queue.c.id)).scalars().all()
    assert left == [made[DeliveryClass.REPLAY]]
    assert clear(records, one, span=(0, NEVER_US)) == 1


@pytest.mark.parametrize("divert", [True, False])
def test_clearing_ends_in_parts_what_is_not_spared(records: Records, divert: bool) -> None:
    one, other = records.subscription(), records.subscription()
    event_id = records.event()
    mine = [
        owe(records, one, due_us, kind, event_id) for due_us in range(4) for kind in DeliveryClass
    ]
    theirs = owe(records, other, 1, event_id=event_id)
    spared = (mine[0], mine[1], mine[11])
    parts: list[int] = []
    while parts[-1:] != [0]:
        parts.append(clear(records, one, *spared, limit=4, divert=divert))
    assert parts == [4, 4, 1, 0]
    left = records.connection.execute(select(schema.queue.c.id)).scalars().all()
    assert sorted(left) == sorted((*spared, theirs))
    final = records.connection.execute(select(schema.deliveries)).all()
    assert sorted(row.id for row in final) == sorted(set(mine) - set(spared))
    assert {(row.state, row.reason, row.attempts, row.finished_us) for row in final} == {
        (DeliveryState.FAILED, Reason.GONE.value, 3, 42)
    }
    diverted = records.connection.execute(select(schema.diverted_events)).all()
    assert sorted(row.id for row in diverted) == sorted(row.id for row in final if divert)


@pytest.mark.parametrize("look", ["head", "lanes", "clear"])
def test_reading_a_lane_never_walks_through_the_queue(records: Records, look: str) -> None:
    one = records.subscription()
    owe(records, one, 1)
    acts: dict[str, Callable[[], object]] = {
        "head": lambda: head(records, one, 10),
        "lanes": lambda: queue.list_lanes(records.connection),
        "clear": lambda: clear(records, one),
    }
    steps = plans_of(records.connection, acts[look])
    assert any("ix_queue_lane" in step for step in steps), steps
    assert walks(steps) == []


def test_replays_that_are_cut_do_not_cut_the_rest(records: Records) -> None:
    one = records.subscription()
    for due_us in (1, 2, 3):
        owe(records, one, due_us, DeliveryClass.REPLAY)
    owe(records, one, 9)
    found = head(records, one, 2)
    assert [row.owed.due_us for row in found.rows] == [1, 2, 9]
    assert (found.cut_us, found.replays_cut_us) == (None, 2)
    assert head(records, one, 4).replays_cut_us is None
