"""What is known of an event and of each subscription of its project."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, or_, select

from waypost.model import ids
from waypost.model.delivery import Delivery, DeliveryState
from waypost.model.event import Event
from waypost.model.flow import Waits
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.shards import Shard, shard_of
from waypost.model.shown import ShownAttempt
from waypost.model.subscription import Inheritable, Ordering
from waypost.policy.judging import Taken
from waypost.policy.terms import terms_of
from waypost.policy.waits import Chained
from waypost.storage import (
    attempts,
    chains,
    deliveries,
    former_routes,
    lane_states,
    pages,
    projects,
    selecting,
    subscriptions,
)
from waypost.storage.cluster import shards, workers
from waypost.storage.schema import subscriptions as table

ATTEMPTS_MAX: Final = 20
"""So many attempts of each delivery are told, the latest."""

DELIVERIES_MAX: Final = 10
"""So many deliveries to each subscription, the latest."""


class Listed(msgspec.Struct, frozen=True):
    """A subscription that exists, or existed when an event was accepted.

    Attributes:
        url: where it points now, or pointed last.
        now: what it takes now, or took last.
        ordering: in which order its events are sent.
        then: what it took when the event was routed; None where that is not known.
        deleted_at_us: when it was deleted, UTC microseconds; None where it is not.
    """

    id: Id
    url: str
    description: str
    paused: bool
    suspended: bool
    verified: bool
    now: Taken
    then: Taken | None
    deleted_at_us: int | None
    ordering: Ordering = Ordering.NONE
    endpoint_id: Id | None = None


class Known(msgspec.Struct, frozen=True):
    """What is known of an event and a page of subscriptions.

    Attributes:
        deliveries: those of the event to these, newest first.
        attempts: those that ended, newest first.
        spreading: subscriptions to which the event is about to be owed.
        owners: the process that sends for each shard, by its name.
        held: what holds up the lanes of those that are owed it, as their owners wrote it down.
        chained: the places of those that are owed in an order, by delivery.
    """

    page: Page[Listed]
    deliveries: list[Delivery]
    attempts: list[ShownAttempt]
    spreading: set[Id]
    owners: Mapping[Shard, str]
    held: Mapping[Id, Waits]
    chained: Mapping[Id, Chained]


def read(connection: Connection, event: Event, request: PageRequest, only: Id | None) -> Known:
    """Return what is known of an event, and of one page of its project's subscriptions.

    Args:
        connection: where from.
        event: the event.
        request: which subscriptions.
        only: this one alone.
    """
    project_id = event.project_id
    page = _page(connection, event, request, only)
    of = [one.id for one in page.items]
    found = deliveries.list_of_event(connection, project_id, event.id, of, DELIVERIES_MAX)
    return Known(
        page,
        found,
        attempts.list_of_deliveries(connection, project_id, event.id, found, ATTEMPTS_MAX),
        {to for _, to in selecting.read_spreading(connection, project_id, [event.id])},
        read_owners(connection, of),
        lane_states.list_waits(connection, project_id, {one.subscription_id for one in found}),
        _read_places(connection, found, {one.id: one.ordering for one in page.items}),
    )


def _read_places(
    connection: Connection, found: Collection[Delivery], modes: Mapping[Id, Ordering]
) -> dict[Id, Chained]:
    places: dict[Id, Chained] = {}
    for one in found:
        mode = modes[one.subscription_id]
        if mode is not Ordering.NONE and one.state is DeliveryState.PENDING:
            lane = (one.project_id, one.subscription_id)
            place = chains.find_place(connection, *lane, mode, one.id)
            if place is not None:
                places[one.id] = place
    return places


def read_owners(connection: Connection, subscription_ids: Collection[Id]) -> dict[Shard, str]:
    """Return the names of the processes that send for these subscriptions, by their shards."""
    wanted = {shard_of(one) for one in subscription_ids}
    rows = connection.execute(
        select(shards.c.shard, workers.c.name)
        .join(workers, workers.c.id == shards.c.owner)
        .where(shards.c.shard.in_(wanted))
    )
    return {row.shard: row.name for row in rows}


def _page(
    connection: Connection, event: Event, request: PageRequest, only: Id | None
) -> Page[Listed]:
    accepted_us = ids.moment(event.id)
    query = select(table).where(
        table.c.project_id == event.project_id,
        or_(table.c.deleted_at_us.is_(None), table.c.deleted_at_us >= accepted_us),
    )
    if only is not None:
        query = query.where(table.c.id == only)
    rows = pages.read(connection, query, (table.c.id,), request, _row)
    version = event.routing_version
    changed = [row.id for row in rows.items if row.routed_from and row.routed_from > version]
    former = former_routes.read_at(connection, event.project_id, changed, version)
    defaults = projects.defaults(connection, event.project_id)
    listed = [_listed(row, former, event, defaults) for row in rows.items]
    return Page(listed, rows.has_more)


def _listed(row: Any, former: Mapping[Id, Taken], event: Event, defaults: Inheritable) -> Listed:
    subscription = subscriptions.of_row(row)
    now = former_routes.taken(subscription)
    holds = row.routed_from is None or row.routed_from <= event.routing_version
    return Listed(
        row.id,
        row.url,
        row.description,
        bool(row.paused),
        row.suspension is not None,
        subscription.is_verified,
        now,
        now if holds else former.get(row.id),
        row.deleted_at_us,
        terms_of(subscription, defaults).ordering,
        row.endpoint_id,
    )


def _row(row: Any) -> Any:
    return row
