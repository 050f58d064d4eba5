"""What subscriptions took before they were changed: kept as long as the events of that time.

An event records the version of the routing that it was matched by. A subscription's row holds its
present settings and the version from which they hold; each change leaves the former ones here.
"""

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, or_, select, update

from waypost.model import ids
from waypost.model.ids import Id
from waypost.model.subscription import DisabledBy, Subscription
from waypost.policy.judging import Taken
from waypost.storage.schema import former_routes, subscriptions

_read_names = msgspec.json.Decoder(tuple[str, ...]).decode


def taken(subscription: Subscription) -> Taken:
    """Return what of a subscription decides about which events it is owed."""
    return Taken(
        subscription.event_types,
        subscription.owner,
        subscription.filter,
        subscription.disabled_by,
    )


def begin(connection: Connection, project_id: Id, subscription_id: Id, version: int) -> None:
    """Note that a subscription's settings hold from a version of the routing on."""
    connection.execute(
        update(subscriptions)
        .where(subscriptions.c.project_id == project_id, subscriptions.c.id == subscription_id)
        .values(routed_from=version)
    )


def end(connection: Connection, former: Subscription, version: int, at_us: int) -> None:
    """Keep what a subscription took until a version of the routing, and note where it ended.

    Args:
        connection: inside the write that changes it.
        former: the subscription as it was.
        version: the first version for which that does not hold.
        at_us: the present, UTC microseconds.
    """
    here = (subscriptions.c.project_id == former.project_id, subscriptions.c.id == former.id)
    since = connection.execute(select(subscriptions.c.routed_from).where(*here)).scalar_one()
    # One change of a subscription has its own microsecond: its row has the subscription's chance.
    chance = int.from_bytes(former.id[8:], "big") & ids.MAX_CHANCE
    types = former.event_types
    connection.execute(
        insert(former_routes).values(
            project_id=former.project_id,
            id=ids.make(at_us, (chance + version) & ids.MAX_CHANCE),
            subscription_id=former.id,
            since=since,
            until=version,
            event_types=None if types is None else msgspec.json.encode(types).decode(),
            owner=former.owner,
            filter=former.filter,
            disabled_by=former.disabled_by and former.disabled_by.value,
        )
    )
    begin(connection, former.project_id, former.id, version)


def read_at(
    connection: Connection, project_id: Id, subscription_ids: Collection[Id], version: int
) -> dict[Id, Taken]:
    """Return what these subscriptions took at a version, of those that took something else then."""
    rows = connection.execute(
        select(former_routes).where(
            former_routes.c.project_id == project_id,
            former_routes.c.subscription_id.in_(subscription_ids),
            former_routes.c.until > version,
            or_(former_routes.c.since.is_(None), former_routes.c.since <= version),
        )
    )
    return {row.subscription_id: _taken(row) for row in rows}


def _taken(row: Any) -> Taken:
    return Taken(
        None if row.event_types is None else _read_names(row.event_types),
        row.owner,
        row.filter,
        None if row.disabled_by is None else DisabledBy(row.disabled_by),
    )
