"""A project's defaults hold for its subscriptions at once, where they set nothing themselves."""

from pathlib import Path

from tests.support.database import Records
from tests.support.engine import works
from waypost.model.delivery import DeliveryState, Reason

EXHAUSTED = (DeliveryState.FAILED, Reason.EXHAUSTED)


async def test_they_hold_from_the_next_try_on(records: Records, path: Path) -> None:
    records.subscription()
    async with works(records, path) as engine:
        await engine.set_defaults(
            records.project, timeout_s=3.0, concurrency=2, retry_schedule_s=()
        )
        await engine.accept(5)
        assert [post.timeout_s for post in engine.receivers.open] == [3.0, 3.0]
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        assert await engine.ends() == {EXHAUSTED: 1}


async def test_a_receiver_in_memory_takes_them_and_loses_them_again(
    records: Records, path: Path
) -> None:
    records.subscription()
    async with works(records, path) as engine:
        await engine.accept()
        await engine.set_defaults(records.project, concurrency=1, timeout_s=4.0)
        await engine.accept(2)
        assert len(engine.receivers.open) == 1
        await engine.set_defaults(records.project, concurrency=2, timeout_s=4.0)
        assert [post.timeout_s for post in engine.receivers.open] == [20.0, 4.0]
        await engine.set_defaults(records.project)
        assert [post.timeout_s for post in engine.receivers.open] == [20.0, 4.0, 20.0]


async def test_own_settings_and_other_projects_do_not_mind(records: Records, path: Path) -> None:
    records.subscription(timeout_s=7.0, concurrency=3)
    records.subscription(project_id=records.other)
    async with works(records, path) as engine:
        await engine.accept()
        await engine.set_defaults(records.project, timeout_s=3.0, concurrency=1)
        await engine.accept(3)
        await engine.accept(2, project_id=records.other)
        assert sorted(post.timeout_s for post in engine.receivers.open) == [7.0] * 3 + [20.0] * 2
