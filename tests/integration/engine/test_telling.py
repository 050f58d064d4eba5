"""System events, rule by rule, under a clock that the test moves."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.database import Records
from tests.support.engine import BACKLOG_US, Post, Works, works
from waypost.model import ids
from waypost.model.event import Attributes
from waypost.model.failure import AlertEndpoint, FailureHandling, OnGivingUp
from waypost.model.flow import Breaker
from waypost.model.subscription import DisabledBy, Ordering, Subscription

TAKER = "https://taker.example/"
HOUR = 3600
BREAKER = Breaker(failure_ratio=0.5, min_requests=2, open_s=10, probes=1)
OFF = Breaker(enabled=False)


def taker(records: Records, *types: str, **settings: Any) -> Subscription:
    return records.subscription(
        url=TAKER, event_types=types or ("waypost.*",), breaker=OFF, **settings
    )


class Script:
    """Lets takers succeed, and answers everybody else with a status."""

    def __init__(self, engine: Works, status: int = 500) -> None:
        self.engine = engine
        self.status = status
        self.taker_status = 204
        engine.receivers.script = self.answer

    def answer(self, post: Post) -> None:
        post.answer(self.taker_status if post.host == "taker.example" else self.status)

    @property
    def news(self) -> list[Any]:
        """Everything that takers were told, as it was told."""
        return [
            msgspec.json.decode(post.body, type=Any)
            for post in self.engine.receivers.posts
            if post.host == "taker.example"
        ]

    @property
    def types(self) -> list[str]:
        return [one["type"].removeprefix("waypost.") for one in self.news]


async def listed(engine: Works) -> list[str]:
    rows = await engine.rows("events")
    found = sorted((row.id, row.type) for row in rows if row.type.startswith("waypost."))
    return [name.removeprefix("waypost.") for _, name in found]


async def test_an_opened_breaker_is_told_and_its_closing_a_minute_later(
    records: Records, path: Path
) -> None:
    taker(records)
    one = records.subscription(breaker=BREAKER, event_types=("card.*",), description="Cards")
    async with works(records, path) as engine:
        script = Script(engine)
        await engine.accept(3)
        await engine.quiet()
        await engine.tell()
        [opened] = script.news
        assert opened == {
            "type": "waypost.breaker.opened",
            "timestamp": opened["timestamp"],
            "subscription": ids.spell(ids.SUBSCRIPTION, one.id),
            "description": "Cards",
            "open_until": opened["open_until"],
            "openings": 1,
        }
        script.status = 204
        await engine.forward(10)
        await engine.tell()
        assert script.types == ["breaker.opened"], "it is soon for more"
        await engine.forward(60)
        await engine.tell()
        await engine.tell()
        assert script.types == ["breaker.opened", "breaker.closed"]


async def test_a_breaker_that_flips_all_the_time_makes_two_events_a_minute_at_most(
    records: Records, path: Path
) -> None:
    taker(records)
    records.subscription(breaker=BREAKER, event_types=("card.*",), retry_schedule_s=())
    async with works(records, path) as engine:
        script = Script(engine)
        for turn in range(100):
            script.status = 500 if turn % 2 else 204
            await engine.accept(3)
            await engine.forward(10)
            await engine.tell()
        minutes = 100 * 11 / 60
        breakers = [name for name in script.types if name.startswith("breaker.")]
        assert 10 < len(breakers) <= 2 * minutes + 2
        assert breakers[:4] == ["breaker.opened", "breaker.closed"] * 2


async def test_failing_is_told_after_two_hours_and_after_a_day_and_so_is_its_end(
    records: Records, path: Path
) -> None:
    taker(records)
    records.subscription(
        event_types=("card.*",), retry_schedule_s=(HOUR,) * 60, breaker=OFF, concurrency=1
    )
    async with works(records, path, disable_after_us=10**15) as engine:
        script = Script(engine)
        await engine.accept()
        told_at: list[int] = []
        for hour in range(30):
            await engine.tell()
            if len(script.news) > len(told_at):
                told_at.append(hour)
            await engine.forward(HOUR)
        assert told_at == [2, 24]
        assert script.types == ["subscription.failing"] * 2
        assert [one["failing_for_s"] for one in script.news] == [2 * HOUR, 24 * HOUR]
        script.status = 204
        await engine.forward(2 * HOUR)
        await engine.tell()
        await engine.tell()
        assert script.types[-1] == "subscription.recovered"
        assert script.types.count("subscription.recovered") == 1
        assert script.news[-1]["recovered_by"] == "delivery"


async def test_a_series_that_was_not_told_ends_untold(records: Records, path: Path) -> None:
    taker(records)
    records.subscription(event_types=("card.*",), retry_schedule_s=(HOUR,) * 3)
    async with works(records, path) as engine:
        script = Script(engine)
        await engine.accept()
        await engine.tell()
        script.status = 204
        await engine.forward(HOUR)
        await engine.tell()
        await engine.forward(48 * HOUR)
        await engine.tell()
        assert script.types == []


async def test_a_server_that_was_down_tells_the_day_alone(records: Records, path: Path) -> None:
    taker(records)
    records.subscription(
        event_types=("card.*",), failing_since_us=records.clock.now_us() - 30 * HOUR * 10**6
    )
    async with works(records, path) as engine:
        script = Script(engine)
        await engine.tell()
        await engine.tell()
        assert [one["failing_for_s"] for one in script.news] == [24 * HOUR]
    async with works(records, path) as engine:
        script = Script(engine)
        await engine.tell()
        assert script.types == [], "it was told before the restart"


async def test_what_is_disabled_or_suspended_is_told_in_the_same_commit(
    records: Records, path: Path
) -> None:
    taker(records)
    suspend = FailureHandling(on_giving_up=(OnGivingUp.DIVERT, OnGivingUp.SUSPEND))
    one = records.subscription(
        event_types=("card.*",), failure_handling=suspend, retry_schedule_s=()
    )
    two = records.subscription(event_types=("card.*",), url="https://gone.example/")
    async with works(records, path) as engine:

        def answer(post: Post) -> None:
            if post.host == "taker.example":
                post.answer(204)
            elif post.host != "gone.example":
                post.answer(503, body=b"down")
            else:
                post.answer(410)

        script = Script(engine)
        engine.receivers.script = answer
        [event] = await engine.accept()
        await engine.quiet()
        assert sorted(await listed(engine)) == ["subscription.disabled", "subscription.suspended"]
        await engine.tell()
        news = {found["type"]: found for found in script.news}
        suspended = news["waypost.subscription.suspended"]
        assert suspended["subscription"] == ids.spell(ids.SUBSCRIPTION, one.id)
        assert suspended["event"] == ids.spell(ids.EVENT, event.id)
        assert suspended["failure_trigger"] == "503"
        assert suspended["failure_message"] == "status 503: down"
        disabled = news["waypost.subscription.disabled"]
        assert disabled["subscription"] == ids.spell(ids.SUBSCRIPTION, two.id)
        assert disabled["disabled_by"] == "gone"


async def test_diverted_events_are_told_once_a_minute_with_their_number(
    records: Records, path: Path
) -> None:
    taker(records)
    one = records.subscription(event_types=("card.*",), retry_schedule_s=(), breaker=OFF)
    async with works(records, path) as engine:
        script = Script(engine)
        await engine.accept()
        await engine.tell()
        for _ in range(20):
            await engine.accept(50)
            await engine.tell()
        assert [found["diverted"] for found in script.news] == [1]
        await engine.forward(60)
        await engine.tell()
        assert [found["diverted"] for found in script.news] == [1, 1000]
        last = script.news[-1]
        assert last["subscription"] == ids.spell(ids.SUBSCRIPTION, one.id)
        assert last["reason"] == "retries_exhausted"
        await engine.forward(60)
        await engine.tell()
        assert len(script.news) == 2


async def test_ten_thousand_diverted_at_once_are_one_event(records: Records, path: Path) -> None:
    taker(records)
    one = records.subscription(event_types=("card.*",), paused=True)
    async with works(records, path) as engine:
        script = Script(engine)
        for _ in range(5):
            await engine.accept(1000)
        await engine.disable(one, DisabledBy.FAILING)
        await engine.quiet()
        assert await engine.count("diverted_events") == 5000
        await engine.tell()
        assert [found["diverted"] for found in script.news if "diverted" in found] == [5000]


async def test_what_becomes_of_system_events_makes_none(records: Records, path: Path) -> None:
    taker(records, retry_schedule_s=())
    records.subscription(
        url="https://other-taker.example/", event_types=("waypost.*",), retry_schedule_s=()
    )
    records.subscription(event_types=("card.*",), retry_schedule_s=(), breaker=OFF)
    async with works(records, path) as engine:
        script = Script(engine)
        script.taker_status = 500
        await engine.accept()
        for _ in range(50):
            await engine.tell()
            await engine.forward(61)
        assert await listed(engine) == ["delivery.diverted"]
        assert await engine.count("diverted_events") == 3


async def test_whoever_takes_everything_takes_no_system_events(
    records: Records, path: Path
) -> None:
    everything = records.subscription(url=TAKER)
    star = records.subscription(url=TAKER, event_types=("*",))
    prefix = records.subscription(url=TAKER, event_types=("waypost.delivery.*", "*"))
    exact = records.subscription(url=TAKER, event_types=("waypost.delivery.diverted",))
    other = records.subscription(url=TAKER, event_types=("waypost.breaker.*",))
    records.subscription(url=TAKER, event_types=("waypost.*",), owner="somebody else")
    records.subscription(
        url=TAKER, event_types=("waypost.*",), filter='{"body": {"diverted": {"$gt": 5}}}'
    )
    records.subscription(url=TAKER, event_types=("waypost.*",), disabled_by=DisabledBy.PERSON)
    owner = records.subscription(url=TAKER, event_types=("waypost.*",), owner="acme")
    records.subscription(event_types=("card.*",), retry_schedule_s=(), owner="acme")
    async with works(records, path) as engine:
        script = Script(engine)
        await engine.accept(attributes=Attributes(owner="acme"))
        await engine.tell()
        row = next(one for one in await engine.rows("events") if one.type.startswith("waypost."))
        taken = {
            one.subscription_id for one in await engine.rows("deliveries") if one.event_id == row.id
        }
        assert taken == {prefix.id, exact.id, owner.id}
        assert not taken & {everything.id, star.id, other.id}
        told = [one for one in script.news if one.get("type") == "waypost.delivery.diverted"]
        assert len(told) == 3


async def test_a_high_backlog_is_told_once_until_it_is_over(records: Records, path: Path) -> None:
    taker(records)
    one = records.subscription(event_types=("card.*",), paused=True)
    async with works(records, path) as engine:
        script = Script(engine, 204)
        await engine.accept(7)
        await engine.forward(BACKLOG_US / 10**6 - 10)
        await engine.tell()
        assert script.news == []
        for _ in range(5):
            await engine.forward(61)
            await engine.tell()
        [high] = script.news
        assert (high["deliveries"], high["waits_for"]) == (7, "paused")
        await engine.change(one, paused=False)
        await engine.forward(61)
        await engine.tell()
        await engine.change(one, paused=True)
        await engine.accept()
        await engine.forward(BACKLOG_US / 10**6 + 61)
        await engine.tell()
        assert script.types == ["backlog.high"] * 2


async def test_alert_endpoints_hear_of_failing(records: Records, path: Path) -> None:
    hidden = ids.alerts_of(records.project)
    endpoint = records.subscription(project_id=hidden, url="https://taker.example/alerts")
    alerting = FailureHandling(
        on_giving_up=(OnGivingUp.ALERT,),
        alert_endpoints=(AlertEndpoint(endpoint.id, endpoint.url),),
    )
    records.subscription(
        event_types=("card.*",), retry_schedule_s=(HOUR,) * 5, failure_handling=alerting
    )
    async with works(records, path) as engine:
        script = Script(engine)
        await engine.accept()
        await engine.tell()
        for _ in range(3):
            await engine.forward(HOUR)
            await engine.tell()
        assert script.types == ["subscription.failing"]
        assert script.news[0]["failing_for_s"] == 2 * HOUR
        rows = [one for one in await engine.rows("events") if one.project_id == hidden]
        assert len(rows) == 1


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_crash_neither_loses_nor_doubles_what_is_told(
    records: Records, path: Path, where: str
) -> None:
    taker(records)
    records.subscription(
        event_types=("card.*",), failing_since_us=records.clock.now_us() - 3 * HOUR * 10**6
    )
    records.subscription(event_types=("card.*",), retry_schedule_s=(), breaker=OFF)
    async with works(records, path) as engine:
        Script(engine)
        await engine.accept()
        await engine.forward(1)
        if where == "after":
            # Told, and killed before anybody is owed it.
            await engine.teller.run_once()
    async with works(records, path) as engine:
        script = Script(engine)
        await engine.tell()
        await engine.tell()
        assert sorted(set(script.types)) == ["delivery.diverted", "subscription.failing"]
        assert len(script.types) == 2


@pytest.mark.parametrize("ordering", list(Ordering))
async def test_system_events_have_no_place_in_an_order_and_come_all_the_same(
    records: Records, path: Path, ordering: Ordering
) -> None:
    taker(records, "waypost.*", "card.*", ordering=ordering)
    records.subscription(event_types=("card.*",), retry_schedule_s=(), breaker=OFF)
    async with works(records, path) as engine:
        script = Script(engine)
        await engine.accept()
        await engine.tell()
        await engine.accept()
        await engine.tell()
        told = [one.get("type") for one in script.news]
        assert sorted(told, key=str) == [None, None, "waypost.delivery.diverted"]
