"""System events: kept in the transaction of the change that they tell of, and owed by it.

What is owed stands in a fan-out, which names the subscriptions that match; its deliveries are made
behind it, as of any event that many subscriptions want.
"""

import msgspec
from sqlalchemy import Connection, insert, or_, select

from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.subscription import DisabledBy
from waypost.policy import filters
from waypost.policy.content import Content
from waypost.policy.routing import takes_type
from waypost.storage import fan_outs, mails, projects
from waypost.storage.schema import events, subscriptions

_encode = msgspec.msgpack.Encoder().encode
_read_names = msgspec.json.Decoder(tuple[str, ...]).decode


def keep(connection: Connection, event: Event, *, mailed: bool) -> None:
    """Keep a system event, and owe it to those subscriptions of its project that name its type.

    Args:
        connection: inside the write that makes the change.
        event: the event, routed by no version yet.
        mailed: it is to be told by e-mail as well.
    """
    project_id = event.project_id
    connection.execute(
        insert(events).values(
            project_id=project_id,
            id=event.id,
            type=event.type,
            payload=event.payload,
            attributes=_encode(event.attributes),
            routing_version=projects.routing_version(connection, project_id),
        )
    )
    takers = _takers(connection, event)
    if takers:
        fan_outs.insert(connection, project_id, event.id, takers)
    if mailed:
        mails.owe(connection, project_id, event.id)


def _takers(connection: Connection, event: Event) -> list[Id]:
    """Return the subscriptions that are owed an event, as the transaction finds them."""
    table = subscriptions.c
    rows = connection.execute(
        select(table.id, table.event_types, table.filter)
        .where(
            table.project_id == event.project_id,
            table.takes_system == 1,
            table.deleted_at_us.is_(None),
            or_(table.disabled_by.is_(None), table.disabled_by != DisabledBy.PERSON.value),
            or_(table.owner.is_(None), table.owner == event.attributes.owner),
        )
        .order_by(table.id)
    ).all()
    content = Content(event.payload, event.attributes)
    return [
        row.id
        for row in rows
        if takes_type(_read_names(row.event_types), event.type)
        and (row.filter is None or filters.restored(row.filter).matches(content))
    ]
