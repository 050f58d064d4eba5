"""News of ordering keys: how many of a subscription were blocked or released since it was told.

Counted in the transaction that blocks or releases, and taken in the one that tells of it: a crash
neither loses nor doubles any. However many keys there are, it is one row of each kind.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, func, select, text, tuple_

from waypost.model.ids import FIRST, Id
from waypost.storage.order_tables import blocked_keys, key_news


class What(StrEnum):
    """What has happened to keys."""

    BLOCKED = "blocked"
    RELEASED = "released"


class By(StrEnum):
    """What has released a key."""

    PERSON = "person"
    DELIVERY = "delivery"


class KeyNews(msgspec.Struct, frozen=True):
    """What has happened to keys of a subscription.

    Attributes:
        count: to how many.
        ordering_key: the last of them; empty: all that a strict subscription is owed.
        delivery_id: with `event_id`, what has blocked it; None of a release.
        by: what has released it; None of a block.
    """

    project_id: Id
    subscription_id: Id
    what: What
    count: int
    ordering_key: str
    delivery_id: Id | None = None
    event_id: Id | None = None
    by: By | None = None

    @property
    def place(self) -> tuple[Id, Id, str]:
        """The key of the row."""
        return self.project_id, self.subscription_id, self.what.value


START: Final = (FIRST, FIRST, "")
"""Before the first of all."""

_NOTE: Final = text(
    "INSERT INTO key_news AS n (project_id, subscription_id, what, count, ordering_key,"
    " delivery_id, event_id, caused_by) VALUES (:project_id, :subscription_id, :what, :count,"
    " :ordering_key, :delivery_id, :event_id, :caused_by)"
    " ON CONFLICT (project_id, subscription_id, what) DO UPDATE SET"
    " count = n.count + excluded.count, ordering_key = excluded.ordering_key,"
    " delivery_id = excluded.delivery_id, event_id = excluded.event_id,"
    " caused_by = excluded.caused_by"
)


def note(connection: Connection, news: KeyNews) -> None:
    """Count what has happened to keys. Call it in the write that does it."""
    values = msgspec.structs.asdict(news)
    values["caused_by"] = values.pop("by")
    connection.execute(_NOTE, {k: _plain(v) for k, v in values.items()})


def free(connection: Connection, project_id: Id, of: ColumnElement[bool]) -> None:
    """Forget what is blocked of some subscriptions, because a person has changed their order.

    Call it in the write that changes it.
    """
    here = (blocked_keys.c.project_id == project_id, of)
    place = (blocked_keys.c.project_id, blocked_keys.c.subscription_id)
    freed = connection.execute(
        select(*place, func.count(), func.max(blocked_keys.c.ordering_key))
        .where(*here)
        .group_by(*place)
    ).all()
    for row in freed:
        news = KeyNews(row[0], row[1], What.RELEASED, row[2], row[3], by=By.PERSON)
        note(connection, news)
    if freed:
        connection.execute(delete(blocked_keys).where(*here))


def find(connection: Connection, after: tuple[Id, Id, str], limit: int) -> Sequence[KeyNews]:
    """Return news behind a place that was told of; `START` for the first. Sweeps all projects."""
    place = (key_news.c.project_id, key_news.c.subscription_id, key_news.c.what)
    rows = connection.execute(
        select(key_news).where(tuple_(*place) > tuple_(*after)).order_by(*place).limit(limit)
    )
    return [_news(row) for row in rows]


def take(connection: Connection, news: KeyNews) -> KeyNews | None:
    """Take news in order to tell of it, as it is by now; None where somebody else has."""
    row = connection.execute(
        delete(key_news)
        .where(
            key_news.c.project_id == news.project_id,
            key_news.c.subscription_id == news.subscription_id,
            key_news.c.what == news.what.value,
        )
        .returning(key_news)
    ).one_or_none()
    return None if row is None else _news(row)


def forget(connection: Connection, project_id: Id, subscription_id: Id) -> None:
    """Forget the news of a subscription that is no more."""
    connection.execute(
        delete(key_news).where(
            key_news.c.project_id == project_id, key_news.c.subscription_id == subscription_id
        )
    )


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value


def _news(row: Row[Any]) -> KeyNews:
    return KeyNews(
        row.project_id,
        row.subscription_id,
        What(row.what),
        row._mapping["count"],  # noqa: SLF001 - a row has a method of that name
        row.ordering_key,
        row.delivery_id,
        row.event_id,
        None if row.caused_by is None else By(row.caused_by),
    )
