"""Blocked keys: ordering keys of which an event was given up, and that wait to be released."""

from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy import insert as insert_into

from waypost.model.delivery import BlockedKey
from waypost.model.event import SYSTEM
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.storage import chains, events, key_news, ordering, pages
from waypost.storage.key_news import By, KeyNews, What
from waypost.storage.order_tables import blocked_keys
from waypost.storage.schema import queue

COUNTED_MAX: Final = 10_000
"""Blocked keys are counted no further."""


def block(connection: Connection, key: BlockedKey, attempts: int) -> bool:
    """Block a key, if the delivery is still owed and was tried so often. Call it in a write only.

    A key that is blocked already is so from the earlier of the two places on.

    Returns:
        False where the delivery was settled otherwise, or tried again, or the subscription's keys
        are not to be blocked any more.
    """
    terms = ordering.held(connection, key.project_id, key.subscription_id)
    if terms is None or not terms.blocks:
        return False
    owed = select(queue.c.id).where(
        queue.c.project_id == key.project_id,
        queue.c.id == key.delivery_id,
        queue.c.attempts == attempts,
    )
    if connection.execute(owed).first() is None:
        return False
    place = _is(key.project_id, key.subscription_id, key.ordering_key)
    present = connection.execute(select(blocked_keys.c.sequence).where(*place)).scalar_one_or_none()
    if present is None:
        connection.execute(insert_into(blocked_keys).values(**msgspec.structs.asdict(key)))
        _note_blocked(connection, key)
    elif key.sequence < present:
        values = msgspec.structs.asdict(key)
        connection.execute(update(blocked_keys).where(*place).values(**values))
    return True


def release(
    connection: Connection,
    project_id: Id,
    subscription_id: Id,
    ordering_key: str,
    *,
    by: Id | None = None,
) -> bool:
    """Release a key: what waits behind it is sent. Call it in a write only.

    Args:
        connection: inside the write.
        project_id: the project.
        subscription_id: of whom.
        ordering_key: the key.
        by: only where it is blocked by this event.

    Returns:
        False where it is not blocked.
    """
    place = _is(project_id, subscription_id, ordering_key)
    if by is not None:
        place = (*place, blocked_keys.c.event_id == by)
    gone = connection.execute(delete(blocked_keys).where(*place))
    if gone.rowcount != 1:
        return False
    whom = By.PERSON if by is None else By.DELIVERY
    news = KeyNews(project_id, subscription_id, What.RELEASED, 1, ordering_key, by=whom)
    key_news.note(connection, news)
    chains.unpark_first(connection, project_id, subscription_id, ordering_key)
    return True


def free_all(connection: Connection, project_id: Id, subscription_id: Id) -> None:
    """Forget what is blocked of a subscription whose order was changed. Call it in a write only."""
    key_news.free(connection, project_id, blocked_keys.c.subscription_id == subscription_id)


def delete_all(connection: Connection, project_id: Id, subscription_id: Id) -> None:
    """Forget what is blocked of a subscription that is no more. Call it in a write only."""
    connection.execute(
        delete(blocked_keys).where(
            blocked_keys.c.project_id == project_id,
            blocked_keys.c.subscription_id == subscription_id,
        )
    )
    key_news.forget(connection, project_id, subscription_id)


def count(connection: Connection, project_id: Id, subscription_id: Id) -> int:
    """Count the blocked keys of a subscription, up to `COUNTED_MAX`."""
    some = select(blocked_keys.c.ordering_key).where(
        blocked_keys.c.project_id == project_id,
        blocked_keys.c.subscription_id == subscription_id,
    )
    return pages.count(connection, some, COUNTED_MAX)


def list_page(
    connection: Connection, project_id: Id, subscription_id: Id, request: PageRequest
) -> Page[BlockedKey]:
    """Return one page of the blocked keys of a subscription, by the delivery that blocks each."""
    query = select(blocked_keys).where(
        blocked_keys.c.project_id == project_id,
        blocked_keys.c.subscription_id == subscription_id,
    )
    return pages.read(connection, query, (blocked_keys.c.delivery_id,), request, _blocked_key)


def _note_blocked(connection: Connection, key: BlockedKey) -> None:
    """Count a key that was blocked, unless by a system event: these are never about themselves."""
    kind = events.types_of(connection, key.project_id, [key.event_id]).get(key.event_id, "")
    if kind.startswith(SYSTEM):
        return
    place = (key.project_id, key.subscription_id)
    news = KeyNews(*place, What.BLOCKED, 1, key.ordering_key, key.delivery_id, key.event_id)
    key_news.note(connection, news)


def _is(project_id: Id, subscription_id: Id, ordering_key: str) -> tuple[Any, ...]:
    return (
        blocked_keys.c.project_id == project_id,
        blocked_keys.c.subscription_id == subscription_id,
        blocked_keys.c.ordering_key == ordering_key,
    )


def _blocked_key(row: Row[Any]) -> BlockedKey:
    return BlockedKey(**row._mapping)  # noqa: SLF001 - what it is for
