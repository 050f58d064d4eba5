"""What is to be told is found, marked once, and found again when it comes anew."""

from typing import Any

import pytest
from sqlalchemy import update

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.model import ids
from waypost.model.delivery import PARKED, DeliveryState, Reason
from waypost.model.flow import BreakerState, LaneState, Wait, Waits
from waypost.model.replay import Replay, ReplayKind, ReplayState
from waypost.model.subscription import DisabledBy, Subscription
from waypost.policy.system_events import LEVELS_US
from waypost.storage import lane_states, replays, schema, subscriptions, told
from waypost.storage.told import Backlog, Finished, Found, What

HOUR_US = 3_600_000_000
OPEN = LaneState(BreakerState.OPEN, opened_until_us=77, openings=2)


def place(one: Subscription) -> tuple[bytes, bytes]:
    return one.project_id, one.id


def test_failing_is_found_at_each_level_until_it_is_told(records: Records) -> None:
    connection, now_us = records.connection, records.clock.now_us()

    def found() -> list[Found]:
        return told.find_failing(connection, now_us, LEVELS_US, 10)

    one = records.subscription(failing_since_us=now_us - 2 * HOUR_US)
    records.subscription(failing_since_us=now_us - 2 * HOUR_US + 1)
    records.subscription(failing_since_us=now_us - 30 * HOUR_US, disabled_by=DisabledBy.FAILING)
    gone = records.subscription(failing_since_us=now_us - 30 * HOUR_US)
    subscriptions.delete(connection, *place(gone), now_us)
    assert found() == [Found(*place(one), now_us - 2 * HOUR_US)]
    since_us = now_us - 2 * HOUR_US
    assert told.mark(connection, *place(one), What.FAILING, now_us)
    assert not told.mark(connection, *place(one), What.FAILING, now_us)
    assert found() == []
    now_us += 21 * HOUR_US
    assert one.id not in {each.subscription_id for each in found()}
    now_us += HOUR_US
    [again] = [each for each in found() if each.subscription_id == one.id]
    assert again == Found(*place(one), since_us, since_us + 2 * HOUR_US)
    assert again.told_us is not None
    assert not told.mark(connection, *place(one), What.FAILING, now_us, again.told_us + 1)
    assert told.mark(connection, *place(one), What.FAILING, now_us, again.told_us)
    assert one.id not in {each.subscription_id for each in found()}


def test_a_series_that_ended_is_found_as_recovered(records: Records) -> None:
    connection, now_us = records.connection, records.clock.now_us()
    one = records.subscription(failing_since_us=now_us)
    told.mark(connection, *place(one), What.FAILING, now_us + 5)
    assert told.find_recovered(connection, 10) == []
    subscriptions.set_failing_since(connection, *place(one), now_us + 9)
    ended = [Found(*place(one), now_us + 5)]
    assert told.find_recovered(connection, 10) == ended
    subscriptions.set_failing_since(connection, *place(one), None)
    assert told.find_recovered(connection, 10) == ended
    assert not told.forget(connection, *place(one), What.FAILING, now_us)
    assert told.forget(connection, *place(one), What.FAILING, now_us + 5)
    assert told.find_recovered(connection, 10) == []


def test_breakers_are_found_as_they_open_and_close(records: Records) -> None:
    connection = records.connection
    one, other = records.subscription(), records.subscription()
    waiting = LaneState(waits=Waits(Wait.PAUSED))
    lane_states.save(connection, *place(other), waiting)
    assert told.find_opened(connection, 10) == []
    lane_states.save(connection, *place(one), OPEN)
    assert told.find_opened(connection, 10) == [Found(*place(one), 77, openings=2)]
    told.mark(connection, *place(one), What.BREAKER, 1000)
    assert told.find_opened(connection, 10) == []
    assert told.find_closed(connection, 2000, 10) == []
    lane_states.save(connection, *place(one), waiting)
    assert told.find_closed(connection, 999, 10) == []
    assert told.find_closed(connection, 1000, 10) == [Found(*place(one), 1000)]
    lane_states.save(connection, *place(one), None)
    assert told.find_closed(connection, 1000, 10) == [Found(*place(one), 1000)]
    assert told.list_told(connection, What.BREAKER) == [place(one)]
    told.forget_all(connection, *place(one))
    assert told.list_told(connection, What.BREAKER) == []


def test_a_box_is_emptied_once_and_system_events_in_it_count_for_nothing(records: Records) -> None:
    connection = records.connection
    one, other = records.subscription(), records.subscription(project_id=records.other)
    made = [records.ended(records.event(), one, DeliveryState.FAILED) for _ in range(3)]
    records.ended(records.event("waypost.breaker.opened"), one, DeliveryState.FAILED)
    records.ended(records.event(project_id=records.other), other, DeliveryState.FAILED)
    start = (ids.FIRST, ids.FIRST)
    places = sorted([place(one), place(other)])
    assert told.find_boxes(connection, start, 10) == places
    assert told.find_boxes(connection, start, 1) == places[:1]
    assert told.find_boxes(connection, places[0], 10) == places[1:]
    box = told.empty_box(connection, *place(one))
    assert (box.looked, box.count, box.delivery_id) == (4, 3, made[-1])
    assert box.reason is Reason.EXHAUSTED
    assert told.empty_box(connection, *place(one)) == told.NOTHING
    assert told.find_boxes(connection, start, 10) == [place(other)]
    whole = told.empty_box(connection, *place(other)).behind(box)
    assert whole.count == 4
    assert told.NOTHING.behind(box) == box


def test_a_replay_is_told_of_when_it_is_finished(records: Records) -> None:
    connection, project_id = records.connection, records.project
    made = [
        Replay(project_id, records.ids.next(), ReplayKind.RECOVER, to, 0, 1)
        for to in (None, records.ids.next())
    ]
    for replay in made:
        replays.insert(connection, replay)
    assert told.find_finished(connection, 10) == []
    for replay in made:
        replays.enter(connection, project_id, replay.id, ReplayState.CANCELLED, 5)
    assert told.find_finished(connection, 10) == [
        Finished(project_id, one.id, one.kind, one.subscription_id, ReplayState.CANCELLED, 0)
        for one in made
    ]
    assert told.mark_finished(connection, project_id, made[0].id)
    assert not told.mark_finished(connection, project_id, made[0].id)
    assert [one.id for one in told.find_finished(connection, 10)] == [made[1].id]


def test_a_backlog_tells_its_age_its_size_and_what_holds_it_up(records: Records) -> None:
    connection = records.connection
    one = records.subscription()

    def read(before_us: int) -> Backlog | None:
        return told.read_backlog(connection, *place(one), before_us)

    assert read(10**18) is None
    event_id = records.event()
    first = ids.moment(records.pending(event_id, one))
    records.pending(event_id, one)
    assert read(first) is None
    assert read(first + 1) == Backlog(first, 2, None)
    lane_states.save(connection, *place(one), LaneState(waits=Waits(Wait.PAUSED)))
    assert read(first + 1) == Backlog(first, 2, Wait.PAUSED)
    connection.execute(update(schema.queue).values({"class": PARKED}))
    assert read(first + 1) == Backlog(first, 2, Wait.PAUSED), "what waits for others waits as well"


@pytest.mark.parametrize("what", ["failing", "opened", "boxes", "finished"])
def test_looking_walks_through_no_table_that_grows(records: Records, what: str) -> None:
    looks: dict[str, Any] = {
        "failing": lambda: told.find_failing(records.connection, 5, LEVELS_US, 10),
        "opened": lambda: told.find_opened(records.connection, 10),
        "boxes": lambda: told.find_boxes(records.connection, (ids.FIRST, ids.FIRST), 1),
        "finished": lambda: told.find_finished(records.connection, 10),
    }
    steps = walks(plans_of(records.connection, looks[what]))
    # What stands in these indexes is what is still to be told, and little.
    assert [step for step in steps if "USING" not in step or "INDEX ix_" not in step] == []
