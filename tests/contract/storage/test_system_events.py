"""System events are kept in the caller's transaction, and owed to those who name their type."""

import msgspec
from sqlalchemy import func, select

from tests.support.database import Records
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.subscription import DisabledBy
from waypost.policy.system_events import DeliveryDiverted, event_of, system_types
from waypost.storage import events, fan_outs, projects, schema, subscriptions, system_events


def made(records: Records, owner: str | None = None) -> Event:
    example = next(one for one in system_types() if one.name == "waypost.delivery.diverted")
    news = msgspec.json.decode(example.example, type=DeliveryDiverted)
    return event_of(records.project, records.ids.next(), news, owner=owner)


def takers(records: Records) -> tuple[Id, ...]:
    part = fan_outs.find_next(records.connection)
    return () if part is None else part.subscriptions


def test_it_is_listed_with_what_it_is_about_and_the_version_it_was_routed_by(
    records: Records,
) -> None:
    projects.bump_routing(records.connection, records.project)
    event = made(records, "acme")
    system_events.keep(records.connection, event, mailed=False)
    kept = events.get(records.connection, records.project, event.id)
    assert kept == msgspec.structs.replace(event, routing_version=2)
    assert kept.attributes.owner == "acme"
    resource = kept.attributes.resource
    assert resource is not None
    assert resource.type == "event_subscription"
    assert takers(records) == ()
    count = select(func.count()).select_from(schema.mails)
    assert records.connection.execute(count).scalar_one() == 0


def test_it_is_owed_to_those_who_name_it(records: Records) -> None:
    wanted = [
        records.subscription(event_types=("waypost.*",)),
        records.subscription(event_types=("a", "waypost.delivery.*")),
        records.subscription(event_types=("waypost.delivery.diverted", "*"), paused=True),
        records.subscription(event_types=("waypost.*",), owner="acme"),
        records.subscription(
            event_types=("waypost.*",), filter='{"body": {"diverted": {"$gte": 3}}}'
        ),
        records.subscription(event_types=("waypost.*",), disabled_by=DisabledBy.FAILING),
    ]
    for settings in (
        {},
        {"event_types": ("*",)},
        {"event_types": ("waypost.breaker.*",)},
        {"event_types": ("waypost.*",), "owner": "other"},
        {"event_types": ("waypost.*",), "filter": '{"body": {"diverted": {"$gt": 3}}}'},
        {"event_types": ("waypost.*",), "disabled_by": DisabledBy.PERSON},
        {"event_types": ("waypost.*",), "project_id": records.other},
    ):
        records.subscription(**settings)
    gone = records.subscription(event_types=("waypost.*",))
    subscriptions.delete(records.connection, records.project, gone.id, 5)
    system_events.keep(records.connection, made(records, "acme"), mailed=False)
    assert takers(records) == tuple(one.id for one in wanted)


def test_whoever_names_it_no_more_is_owed_it_no_more(records: Records) -> None:
    one = records.subscription(event_types=("waypost.*",))
    subscriptions.update(records.connection, msgspec.structs.replace(one, event_types=("card.*",)))
    system_events.keep(records.connection, made(records), mailed=False)
    assert takers(records) == ()
    subscriptions.update(records.connection, one)
    system_events.keep(records.connection, made(records), mailed=False)
    assert takers(records) == (one.id,)
