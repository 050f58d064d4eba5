"""Subscriptions. A deleted one keeps its row: what it was owed goes on naming it."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    func,
    or_,
    select,
)
from sqlalchemy import (
    insert as insert_into,
)
from sqlalchemy import (
    update as change,
)

from waypost.model import ids
from waypost.model.api import Api
from waypost.model.authentication import Sealed
from waypost.model.errors import NotFound
from waypost.model.failure import FailureHandling, Suspension
from waypost.model.flow import FlowControl
from waypost.model.page import Page, PageRequest
from waypost.model.subscription import (
    NO_NOTICES,
    DisabledBy,
    Notices,
    OnOrderFailure,
    Ordering,
    Signing,
    Subscription,
)
from waypost.model.transform import Transform
from waypost.model.verification import Verification, VerificationMode, VerificationState
from waypost.policy.routing import names_system
from waypost.storage import pages
from waypost.storage.schema import subscriptions

NOT_SET: Final = ""
"""Stands for an order that a subscription leaves to its project."""

_read_names = msgspec.json.Decoder(tuple[str, ...]).decode
_read_headers = msgspec.json.Decoder(dict[str, str]).decode
_decode_flow = msgspec.json.Decoder(FlowControl).decode
_NO_FLOW = FlowControl()
# Made once: it is asked with each step of a replay.
_ENABLED: Final = select(subscriptions.c.id).where(
    subscriptions.c.project_id == bindparam("of_project"),
    subscriptions.c.id.in_(bindparam("among", expanding=True)),
    subscriptions.c.disabled_by.is_(None),
    subscriptions.c.deleted_at_us.is_(None),
)
_read_handling = msgspec.json.Decoder(FailureHandling).decode
_read_suspension = msgspec.json.Decoder(Suspension).decode
_read_transform = msgspec.json.Decoder(Transform).decode
_read_verification = msgspec.json.Decoder(Verification).decode
_read_sealed = msgspec.json.Decoder(Sealed).decode
_read_notices = msgspec.json.Decoder(Notices).decode
_read_seconds = msgspec.json.Decoder(tuple[float, ...]).decode


def get(
    connection: Connection, project_id: ids.Id, subscription_id: ids.Id, api: Api | None = None
) -> Subscription:
    """Return a subscription.

    Raises:
        NotFound: the project has none with this id, or it was deleted, or not made by `api`.
    """
    found = find(connection, project_id, subscription_id)
    if found is None or api not in {None, found.api}:
        raise NotFound(ids.KINDS[ids.SUBSCRIPTION])
    return found


def find(
    connection: Connection, project_id: ids.Id, subscription_id: ids.Id
) -> Subscription | None:
    """Return a subscription, or None where the project has none with this id (any more)."""
    row = connection.execute(
        _of(project_id).where(subscriptions.c.id == subscription_id)
    ).one_or_none()
    return None if row is None else of_row(row)


def demand_ever(connection: Connection, project_id: ids.Id, subscription_id: ids.Id) -> None:
    """Make sure that a subscription exists, or has existed.

    Raises:
        NotFound: the project never had one with this id.
    """
    found = connection.execute(
        select(subscriptions.c.id).where(*_is(project_id, subscription_id))
    ).one_or_none()
    if found is None:
        raise NotFound(ids.KINDS[ids.SUBSCRIPTION])


def list_page(
    connection: Connection, project_id: ids.Id, request: PageRequest, api: Api | None = None
) -> Page[Subscription]:
    """Return one page of a project's subscriptions, or of those that were made by `api`."""
    query = _of(project_id)
    if api is not None:
        query = query.where(subscriptions.c.api == api.value)
    return pages.read(connection, query, (subscriptions.c.id,), request, of_row)


def count(connection: Connection, project_id: ids.Id, api: Api) -> int:
    """Return how many subscriptions a project has that were made by `api`."""
    made = _of(project_id).where(subscriptions.c.api == api.value).subquery()
    return int(connection.execute(select(func.count()).select_from(made)).scalar_one())


def was_deleted(
    connection: Connection, project_id: ids.Id, subscription_id: ids.Id, api: Api
) -> bool:
    """Tell whether a project had a subscription, made by `api`, that was deleted."""
    row = connection.execute(
        select(subscriptions.c.deleted_at_us).where(
            *_is(project_id, subscription_id), subscriptions.c.api == api.value
        )
    ).one_or_none()
    return row is not None and row.deleted_at_us is not None


class SubscriptionFilter(msgspec.Struct, frozen=True):
    """Which subscriptions are asked for; what is None or empty does not narrow.

    Attributes:
        api: in which API they were made.
        is_active: enabled and not suspended.
        event_types: asks for one of these, as they were set.
    """

    api: Api | None = None
    description: str | None = None
    is_enabled: bool | None = None
    is_suspended: bool | None = None
    is_active: bool | None = None
    event_types: tuple[str, ...] = ()


def list_slice(
    connection: Connection, project_id: ids.Id, which: SubscriptionFilter, skip: int, size: int
) -> tuple[list[Subscription], bool]:
    """Return some of a project's subscriptions, oldest first, and whether there are more.

    Args:
        connection: where from.
        project_id: whose.
        which: which of them.
        skip: how many of these come before.
        size: how many at most.
    """
    rows = connection.execute(
        _of(project_id)
        .where(*_conditions(which))
        .order_by(subscriptions.c.id)
        .limit(size + 1)
        .offset(skip)
    ).all()
    return [of_row(row) for row in rows[:size]], len(rows) > size


def _conditions(which: SubscriptionFilter) -> list[ColumnElement[bool]]:
    columns = subscriptions.c
    enabled, free = columns.disabled_by.is_(None), columns.suspension.is_(None)
    found: list[ColumnElement[bool]] = []
    if which.api is not None:
        found.append(columns.api == which.api.value)
    if which.description is not None:
        found.append(columns.description == which.description)
    if which.is_enabled is not None:
        found.append(enabled if which.is_enabled else ~enabled)
    if which.is_suspended is not None:
        found.append(~free if which.is_suspended else free)
    if which.is_active is not None:
        found.append(and_(enabled, free) if which.is_active else ~and_(enabled, free))
    if which.event_types:
        # A list of JSON: each name stands in it between quotes, which no name holds.
        names = [msgspec.json.encode(one).decode() for one in which.event_types]
        found.append(or_(*(columns.event_types.contains(name, autoescape=True) for name in names)))
    return found


def load_all(connection: Connection) -> list[Subscription]:
    """Return every subscription of every project that is not deleted: for the router, at start."""
    return [of_row(row) for row in connection.execute(_present())]


def list_of(connection: Connection, project_id: ids.Id) -> list[ids.Id]:
    """Return the ids of all subscriptions of a project that are not deleted."""
    found = _of(project_id).with_only_columns(subscriptions.c.id)
    return list(connection.execute(found).scalars())


def enabled_of(
    connection: Connection, project_id: ids.Id, subscription_ids: Collection[ids.Id]
) -> set[ids.Id]:
    """Return which of these subscriptions are enabled."""
    wanted = {"of_project": project_id, "among": list(subscription_ids)}
    return set(connection.execute(_ENABLED, wanted).scalars())


def list_unverified(connection: Connection, limit: int) -> list[Subscription]:
    """Return subscriptions of any project whose URL is still to be verified."""
    pending = subscriptions.c.verification_state == VerificationState.PENDING.value
    place = (subscriptions.c.project_id, subscriptions.c.id)
    query = _present().where(pending).order_by(*place).limit(limit)
    return [of_row(row) for row in connection.execute(query)]


def insert(connection: Connection, subscription: Subscription) -> None:
    """Keep a new subscription."""
    connection.execute(
        insert_into(subscriptions).values(
            project_id=subscription.project_id,
            id=subscription.id,
            api=subscription.api.value,
            **_settings(subscription),
        )
    )


def update(connection: Connection, subscription: Subscription) -> None:
    """Keep the changed settings and state of a subscription."""
    connection.execute(
        change(subscriptions)
        .where(*_is(subscription.project_id, subscription.id))
        .values(**_settings(subscription))
    )


def set_disabled(
    connection: Connection,
    project_id: ids.Id,
    subscription_id: ids.Id,
    by: DisabledBy,
) -> Subscription | None:
    """Disable a subscription, unless it is disabled already.

    Returns:
        The subscription as it now stands, or None where there is none (any more).
    """
    connection.execute(
        change(subscriptions)
        .where(*_is(project_id, subscription_id), subscriptions.c.disabled_by.is_(None))
        .values(disabled_by=by.value)
    )
    return find(connection, project_id, subscription_id)


def set_suspended(
    connection: Connection,
    project_id: ids.Id,
    subscription_id: ids.Id,
    why: Suspension,
) -> Subscription | None:
    """Suspend a subscription, unless it is suspended already; returns as `set_disabled` does."""
    connection.execute(
        change(subscriptions)
        .where(*_is(project_id, subscription_id), subscriptions.c.suspension.is_(None))
        .values(suspension=_json(why))
    )
    return find(connection, project_id, subscription_id)


def set_failing_since(
    connection: Connection,
    project_id: ids.Id,
    subscription_id: ids.Id,
    since_us: int | None,
) -> None:
    """Keep when a series of nothing but failures began, UTC microseconds; None: it has ended."""
    connection.execute(
        change(subscriptions)
        .where(*_is(project_id, subscription_id))
        .values(failing_since_us=since_us)
    )


def list_unparking(
    connection: Connection, of: Sequence[tuple[ids.Id, ids.Id]]
) -> list[tuple[ids.Id, ids.Id]]:
    """Return those (project, subscription) of which something may be parked by a former order.

    By their ids, as everybody locks them who locks several.
    """
    found: list[tuple[ids.Id, ids.Id]] = []
    for project_id in sorted({project_id for project_id, _ in of}):
        rows = connection.execute(
            select(subscriptions.c.id).where(
                subscriptions.c.project_id == project_id,
                subscriptions.c.id.in_([one for project, one in of if project == project_id]),
                subscriptions.c.unparking == 1,
            )
        )
        found += sorted((project_id, one) for one in rows.scalars())
    return found


def end_unparking(
    connection: Connection, project_id: ids.Id, subscription_id: ids.Id
) -> Subscription | None:
    """Keep that nothing is parked any more by an order that was changed; returns as `find` does."""
    connection.execute(
        change(subscriptions).where(*_is(project_id, subscription_id)).values(unparking=0)
    )
    return find(connection, project_id, subscription_id)


def failing_since(connection: Connection) -> dict[ids.Id, int]:
    """Return since when each subscription has had nothing but failures, of those that have."""
    rows = connection.execute(
        select(subscriptions.c.id, subscriptions.c.failing_since_us).where(
            subscriptions.c.failing_since_us.is_not(None), subscriptions.c.deleted_at_us.is_(None)
        )
    )
    return {row.id: row.failing_since_us for row in rows}


def delete(connection: Connection, project_id: ids.Id, subscription_id: ids.Id, at_us: int) -> None:
    """Mark a subscription deleted.

    Raises:
        NotFound: the project has none with this id, or it was deleted before.
    """
    marked = connection.execute(
        change(subscriptions)
        .where(*_is(project_id, subscription_id), subscriptions.c.deleted_at_us.is_(None))
        .values(deleted_at_us=at_us)
    )
    if marked.rowcount != 1:
        raise NotFound(ids.KINDS[ids.SUBSCRIPTION])


def _is(project_id: ids.Id, subscription_id: ids.Id) -> tuple[Any, Any]:
    return (
        subscriptions.c.project_id == project_id,
        subscriptions.c.id == subscription_id,
    )


def _of(project_id: ids.Id) -> Select[Any]:
    return _present().where(subscriptions.c.project_id == project_id)


def _present() -> Select[Any]:
    return select(subscriptions).where(subscriptions.c.deleted_at_us.is_(None))


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _settings(subscription: Subscription) -> dict[str, Any]:
    """Return the columns that may change."""
    return {
        "url": subscription.url,
        "description": subscription.description,
        "event_types": _json(subscription.event_types),
        "disabled_by": subscription.disabled_by and subscription.disabled_by.value,
        "paused": int(subscription.paused),
        "headers": _json(subscription.headers),
        "timeout_ms": round((subscription.timeout_s or 0) * 1000),
        "concurrency": subscription.concurrency or 0,
        "format": subscription.format,
        "signing": subscription.signing.value,
        "owner": subscription.owner,
        "retry_schedule": _json(subscription.retry_schedule_s),
        "transform": _json(subscription.transform),
        "failing_since_us": subscription.failing_since_us,
        "filter": subscription.filter,
        "flow": _flow(subscription),
        "failure_handling": _json(subscription.failure_handling),
        "suspension": _json(subscription.suspension),
        "verification": _json(subscription.verification),
        "format_settings": subscription.format_settings,
        "endpoint_id": subscription.endpoint_id,
        "takes_system": int(names_system(subscription.event_types)),
        "authentication": _json(subscription.authentication),
        "verification_state": subscription.verification and subscription.verification.state.value,
        "ordering": _value(subscription.ordering),
        "on_order_failure": _value(subscription.on_order_failure),
        "verify": subscription.verify and subscription.verify.value,
        "unparking": int(subscription.unparking),
        "insecure_tls": int(subscription.insecure_tls),
        "particulars": _json(subscription.particulars or None),
        "notices": None if subscription.notices == NO_NOTICES else _json(subscription.notices),
        "name": subscription.name,
        "changed_us": subscription.changed_us,
    }


def of_row(row: Row[Any]) -> Subscription:
    """Return the subscription that a row of the table holds."""
    types, schedule, handling = row.event_types, row.retry_schedule, row.failure_handling
    asked = row.verification
    return Subscription(
        project_id=row.project_id,
        id=row.id,
        url=row.url,
        description=row.description,
        event_types=None if types is None else _read_names(types),
        disabled_by=None if row.disabled_by is None else DisabledBy(row.disabled_by),
        paused=bool(row.paused),
        headers=_read_headers(row.headers),
        timeout_s=row.timeout_ms / 1000 or None,
        concurrency=row.concurrency or None,
        format=row.format,
        signing=Signing(row.signing),
        owner=row.owner,
        retry_schedule_s=None if schedule is None else _read_seconds(schedule),
        transform=None if row.transform is None else _read_transform(row.transform),
        failing_since_us=row.failing_since_us,
        filter=row.filter,
        **_read_flow(row.flow),
        failure_handling=None if handling is None else _read_handling(handling),
        suspension=None if row.suspension is None else _read_suspension(row.suspension),
        verification=None if asked is None else _read_verification(asked),
        ordering=Ordering(row.ordering) if row.ordering else None,
        on_order_failure=OnOrderFailure(row.on_order_failure) if row.on_order_failure else None,
        verify=None if row.verify is None else VerificationMode(row.verify),
        unparking=bool(row.unparking),
        format_settings=row.format_settings,
        endpoint_id=row.endpoint_id,
        insecure_tls=bool(row.insecure_tls),
        api=Api(row.api),
        particulars={} if row.particulars is None else msgspec.json.decode(row.particulars),
        authentication=None if row.authentication is None else _read_sealed(row.authentication),
        notices=NO_NOTICES if row.notices is None else _read_notices(row.notices),
        name=row.name,
        changed_us=row.changed_us,
    )


def _value(order: Ordering | OnOrderFailure | None) -> str:
    return NOT_SET if order is None else order.value


def _flow(control: FlowControl) -> str | None:
    found = {name: getattr(control, name) for name in FlowControl.__struct_fields__}
    given = FlowControl(**found)
    return None if given == _NO_FLOW else _json(given)


def _read_flow(text: str | None) -> dict[str, Any]:
    return {} if text is None else msgspec.structs.asdict(_decode_flow(text))
