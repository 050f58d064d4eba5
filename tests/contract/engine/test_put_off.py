"""What was put off and ended before it was due is found by who looks for what was given up."""

import pytest

from tests.support import database
from tests.support.database import MICROS, Place, Records
from tests.support.replaying import Desk
from waypost.model.delivery import DeliveryState
from waypost.model.replay import ReplayKind

DAY_US = 24 * 3600 * MICROS


@pytest.mark.parametrize("kind", [ReplayKind.RECOVER, ReplayKind.DIVERTED])
async def test_what_ended_before_it_was_due_is_owed_again(
    records: Records, place: Place, kind: ReplayKind
) -> None:
    one = records.subscription()
    later_us = records.clock.now_us() + DAY_US
    at_once, put_off = records.event(), records.event()
    records.ended(at_once, one, DeliveryState.FAILED)
    records.ended(put_off, one, DeliveryState.FAILED, due_us=later_us)
    async with database.opened(place) as store:
        desk = Desk(records, store)
        replay = await desk.start(kind, one)
        await desk.finish()
        assert [pair[0] for pair in await desk.queued()] == [at_once, put_off]
        assert (await desk.look(replay)).progress() == 1.0


@pytest.mark.parametrize("kind", [ReplayKind.RECOVER, ReplayKind.DIVERTED])
async def test_what_is_given_up_again_is_not_met_by_the_same_job(
    records: Records, place: Place, kind: ReplayKind
) -> None:
    one = records.subscription()
    event_id = records.event()
    records.ended(event_id, one, DeliveryState.FAILED)
    async with database.opened(place) as store:
        desk = Desk(records, store)
        await desk.start(kind, one)
        records.clock.forward(1)
    again = records.event()
    records.ended(again, one, DeliveryState.FAILED, due_us=records.clock.now_us() + DAY_US)
    async with database.opened(place) as store:
        desk = Desk(records, store)
        await desk.finish()
        assert [pair[0] for pair in await desk.queued()] == [event_id]
