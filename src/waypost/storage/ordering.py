"""In which order subscriptions are sent to: by their own settings, or by their project's.

Who goes by that locks the subscription, and reads the project's defaults behind that. Who changes
the defaults locks all subscriptions that are left to them, before it writes them. So neither goes
by what the other is changing.
"""

from typing import Any, Final

from sqlalchemy import Connection, Select, literal, or_, select, update

from waypost.model.delivery import PARKED
from waypost.model.ids import Id
from waypost.model.subscription import NOTHING_SET, Inheritable, OnOrderFailure, Ordering
from waypost.policy.terms import Terms, terms_of
from waypost.storage import key_news, projects
from waypost.storage.order_tables import blocked_keys
from waypost.storage.schema import queue, subscriptions
from waypost.storage.subscriptions import NOT_SET, of_row

_HAS_PARKED: Final = (
    # As a value, which is looked for in the index of each: a join might walk through the queue.
    select(literal(1))
    .where(
        queue.c.project_id == subscriptions.c.project_id,
        queue.c.subscription_id == subscriptions.c.id,
        queue.c["class"] == PARKED,
    )
    .limit(1)
    .scalar_subquery()
    .is_not(None)
)


def held(connection: Connection, project_id: Id, subscription_id: Id) -> Terms | None:
    """Return what a subscription is sent by, and hold its order until the transaction ends.

    Returns:
        None where there is none (any more).
    """
    row = connection.execute(
        select(subscriptions)
        .where(
            subscriptions.c.project_id == project_id,
            subscriptions.c.id == subscription_id,
            subscriptions.c.deleted_at_us.is_(None),
        )
        .with_for_update(read=True)
    ).one_or_none()
    if row is None:
        return None
    return terms_of(of_row(row), projects.defaults(connection, project_id))


def follow(connection: Connection, project_id: Id, before: Inheritable, after: Inheritable) -> bool:
    """Bring the subscriptions that leave their order to their project to its new defaults.

    Call it in the write that changes these, before they are written.

    Returns:
        Whether events are to be numbered otherwise: the version of the routing is to be counted up.
    """
    was, will = terms_of(NOTHING_SET, before), terms_of(NOTHING_SET, after)
    reordered = was.ordering is not will.ordering
    if was.on_order_failure is will.on_order_failure and not reordered:
        return False
    of, mine = subscriptions.c.project_id == project_id, subscriptions.c.ordering == NOT_SET
    theirs = or_(mine, subscriptions.c.on_order_failure == NOT_SET)
    # In the order of their ids, so that two who do this don't wait for each other.
    connection.execute(
        select(subscriptions.c.id).where(of, theirs).order_by(subscriptions.c.id).with_for_update()
    ).all()
    if reordered:
        if was.ordering is not Ordering.NONE and will.ordering is not Ordering.STRICT:
            parked = update(subscriptions).where(of, mine, _HAS_PARKED).values(unparking=1)
            connection.execute(parked)
        _free(connection, project_id, select(subscriptions.c.id).where(of, mine))
    if will.on_order_failure is OnOrderFailure.CONTINUE:
        mine = subscriptions.c.on_order_failure == NOT_SET
        _free(connection, project_id, select(subscriptions.c.id).where(of, mine))
    return reordered


def _free(connection: Connection, project_id: Id, subscription_ids: Select[Any]) -> None:
    key_news.free(connection, project_id, blocked_keys.c.subscription_id.in_(subscription_ids))
