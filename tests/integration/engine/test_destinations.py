"""A destination of Stedi's: its points of retry, and when it is disabled, under a moved clock."""

from pathlib import Path

from tests.support.database import URL, Records
from tests.support.engine import Works, works
from waypost.dialects.stedi import wire
from waypost.dialects.stedi.wire import CreateIn
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.subscription import DisabledBy, Subscription
from waypost.policy import settings
from waypost.storage import subscriptions

POINTS_S = (300, 1_800, 7_200, 28_800, 86_400, 172_800)
DELIVERED = (DeliveryState.DELIVERED, None)
GIVEN_UP = (DeliveryState.FAILED, Reason.SUBSCRIPTION_FAILING)
EXHAUSTED = (DeliveryState.FAILED, Reason.EXHAUSTED)


def destination(records: Records) -> Subscription:
    """Keep a subscription with the settings of a new destination; the body is the payload's."""
    wanted = wire.settings_of_new(
        CreateIn(name="n", destination_url=URL, event_types=["card.created"])
    )
    bare = Subscription(records.project, records.ids.next(), "")
    made = settings.merge(bare, wanted)
    fields = {name: getattr(made, name) for name in Subscription.__struct_fields__}
    return records.subscription(**{**fields, "format": "payload"})


async def disabled_by(engine: Works, one: Subscription) -> DisabledBy | None:
    found = await engine.store.read(lambda c: subscriptions.get(c, one.project_id, one.id))
    return found.disabled_by


async def test_it_is_tried_at_its_points_and_disabled_after_two_days(
    records: Records, path: Path
) -> None:
    one = destination(records)
    async with works(records, path) as engine:
        engine.receivers.script = lambda post: post.answer(500)
        await engine.accept()
        await engine.quiet()
        at_s = 0.0
        for tries, point_s in enumerate(POINTS_S, start=1):
            await engine.forward(point_s - at_s - 1)
            assert len(engine.sent) == tries
            await engine.forward(1)
            assert len(engine.sent) == tries + 1
            at_s = point_s
            assert (await disabled_by(engine, one) is not None) is (point_s == POINTS_S[-1])
        assert await engine.ends() == {GIVEN_UP: 1}
        assert await disabled_by(engine, one) is DisabledBy.FAILING


async def test_one_that_takes_other_events_stays_enabled(records: Records, path: Path) -> None:
    one = destination(records)
    async with works(records, path) as engine:
        (poison,) = await engine.accept()
        engine.receivers.script = lambda post: post.answer(
            500 if post.webhook_id.endswith(poison.id.hex()[-12:]) else 200
        )
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        at_s = 0
        for point_s in POINTS_S:
            await engine.forward(point_s - at_s)
            await engine.accept()
            await engine.quiet()
            at_s = point_s
        assert await engine.ends() == {EXHAUSTED: 1, DELIVERED: len(POINTS_S)}
        assert await disabled_by(engine, one) is None
