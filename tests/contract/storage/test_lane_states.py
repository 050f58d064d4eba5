"""The state of lanes: comes back as it was kept, to its own project alone."""

from sqlalchemy import func, select

from tests.support.database import Records
from waypost.model.flow import BreakerState, LaneState, Wait, Waits
from waypost.storage import lane_states, schema

FULL = LaneState(
    BreakerState.OPEN,
    opened_until_us=1_700_000_000_000_000,
    openings=3,
    limit=4,
    waits=Waits(Wait.BREAKER_OPEN, 1_700_000_000_000_000),
    at_us=17,
)
BARE = LaneState(waits=Waits(Wait.PAUSED))


def test_every_field_comes_back(records: Records) -> None:
    one, two = records.ids.next(), records.ids.next()
    lane_states.save(records.connection, records.project, one, FULL)
    lane_states.save(records.connection, records.other, two, BARE)
    assert lane_states.load_all(records.connection) == {one: FULL, two: BARE}
    assert lane_states.find(records.connection, records.project, one) == FULL
    assert lane_states.find(records.connection, records.other, one) is None


def test_a_later_state_replaces_it_and_nothing_to_tell_leaves_no_row(records: Records) -> None:
    one = records.ids.next()
    for state in (FULL, BARE):
        lane_states.save(records.connection, records.project, one, state)
    assert lane_states.find(records.connection, records.project, one) == BARE
    lane_states.save(records.connection, records.project, one, None)
    lane_states.save(records.connection, records.project, one, None)
    count = select(func.count()).select_from(schema.lane_state)
    assert records.connection.execute(count).scalar_one() == 0


def test_what_holds_lanes_up_is_listed_for_those_asked_for(records: Records) -> None:
    one, two, free, others = (records.ids.next() for _ in range(4))
    for identifier, state in ((one, FULL), (two, BARE), (free, LaneState(limit=1))):
        lane_states.save(records.connection, records.project, identifier, state)
    lane_states.save(records.connection, records.other, others, BARE)
    found = lane_states.list_waits(records.connection, records.project, [one, free, others])
    assert found == {one: FULL.waits}
