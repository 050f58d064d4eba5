"""Keyset pages: the one way in which a list is read from the database, or counted to a bound.

A position is an id, or several joined, and need not be a row's: the page begins behind it whether
or not something stands there (any more).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, func, literal, select, tuple_

from waypost.model import ids
from waypost.model.page import Page, PageRequest

T = TypeVar("T")

Order = Sequence[ColumnElement[Any]]

PAGE_BYTES: Final = 8 * 1024 * 1024
"""A page that weighs more ends early, with `has_more`; it holds at least one item."""


def runs_up(request: PageRequest) -> bool:
    """Whether the page is found from its oldest item up: it must touch a position below it."""
    return request.newer_than is not None and request.older_than is None


def admits(request: PageRequest, identifier: ids.Id) -> bool:
    """Whether an id lies in the part of the list that is asked for; as the statements decide."""
    lowest = ids.FIRST if request.begin_us is None else ids.lowest(request.begin_us)
    return (
        identifier >= lowest
        and (request.end_us is None or identifier < ids.lowest(request.end_us))
        and (request.older_than is None or identifier < request.older_than)
        and (request.newer_than is None or identifier > request.newer_than)
    )


def streamed(connection: Connection, query: Select[Any]) -> Select[Any]:
    """Return a query whose rows come as they are asked for, as they always do from SQLite.

    On PostgreSQL that takes a transaction, as every read of the store's is; outside of one the rows
    come all at once.
    """
    inner: Any = connection.connection.driver_connection
    in_transaction = (
        connection.dialect.name == "postgresql" and inner.info.transaction_status.name == "INTRANS"
    )
    return query.execution_options(stream_results=in_transaction)


def count(connection: Connection, query: Select[Any], most: int) -> int:
    """Return how many rows a query has, `most` at most: the database counts, and stops there."""
    if not most:
        return 0
    some = query.limit(most).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def _weightless(_: object) -> int:
    return 0


def read(
    connection: Connection,
    query: Select[Any],
    order: Order,
    request: PageRequest,
    model: Callable[[Row[Any]], T],
    weigh: Callable[[T], int] = _weightless,
) -> Page[T]:
    """Read one page of `query`, newest first.

    Args:
        connection: where from.
        query: all rows of the list, without order or limit.
        order: the id columns that the list is ordered by, unique together within it; a position
            is their values joined, and a range of time is one of the first.
        request: which part is asked for.
        model: makes an item of a row.
        weigh: tells an item's bytes, for the page's ceiling.
    """
    up = runs_up(request)
    ordered = (
        query.where(*within(order, request))
        .order_by(*(order if up else [column.desc() for column in order]))
        .limit(request.size + 1)
    )
    if weigh is not _weightless:
        # Not all at once: a page ends early where its items are heavy.
        ordered = streamed(connection, ordered)
    items: list[T] = []
    weight = 0
    with connection.execute(ordered) as rows:
        for row in rows:
            if len(items) == request.size or weight >= PAGE_BYTES:
                return Page(items[::-1] if up else items, has_more=True)
            items.append(model(row))
            weight += weigh(items[-1])
    return Page(items[::-1] if up else items, has_more=False)


def merge(
    parts: Iterable[Page[T]], request: PageRequest, position: Callable[[T], bytes]
) -> Page[T]:
    """Make one page of several that were read by the same request, none cut for its weight."""
    pages = list(parts)
    up = runs_up(request)
    items = sorted((item for page in pages for item in page.items), key=position, reverse=not up)
    more = len(items) > request.size or any(page.has_more for page in pages)
    kept = items[: request.size]
    return Page(kept[::-1] if up else kept, has_more=more)


def within(order: Order, request: PageRequest) -> list[ColumnElement[bool]]:
    """Return the conditions of the part of a list that is asked for; see `read`.

    One bound on each side, the nearer of a position and of the range of time: of two, the database
    would search by either.
    """
    first = order[0]
    conditions: list[ColumnElement[bool]] = []
    begin = None if request.begin_us is None else ids.lowest(request.begin_us)
    newer = request.newer_than
    if newer is not None and (begin is None or newer[: ids.ID_BYTES] >= begin):
        conditions.append(_key(order) > _value(order, newer))
    elif begin is not None:
        conditions.append(first >= begin)
    end = None if request.end_us is None else ids.lowest(request.end_us)
    older = request.older_than
    if older is not None and (end is None or older[: ids.ID_BYTES] < end):
        conditions.append(_key(order) < _value(order, older))
    elif end is not None:
        conditions.append(first < end)
    return conditions


def _key(order: Order) -> ColumnElement[Any]:
    return order[0] if len(order) == 1 else tuple_(*order)


def _value(order: Order, position: bytes) -> ColumnElement[Any]:
    if len(order) == 1:
        return literal(position)
    parts = [position[at : at + ids.ID_BYTES] for at in range(0, len(position), ids.ID_BYTES)]
    return tuple_(*map(literal, parts))
