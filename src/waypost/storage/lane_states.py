"""The state of lanes: how receivers fare, and what holds up what they are owed.

A lane of which there is nothing to tell has no row.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from waypost.model.flow import BreakerState, LaneState, Wait, Waits
from waypost.model.ids import Id
from waypost.storage.schema import lane_state


def load_all(connection: Connection) -> dict[Id, LaneState]:
    """Return the state of every subscription's lane of which there is something to tell."""
    rows = connection.execute(select(lane_state))
    return {row.subscription_id: _state(row) for row in rows}


def find(connection: Connection, project_id: Id, subscription_id: Id) -> LaneState | None:
    """Return the state of a subscription's lane; None where there is nothing to tell of it."""
    row = connection.execute(
        select(lane_state).where(*_is(project_id, subscription_id))
    ).one_or_none()
    return None if row is None else _state(row)


def list_waits(
    connection: Connection, project_id: Id, subscription_ids: Collection[Id]
) -> dict[Id, Waits]:
    """Return what holds up the lanes of these subscriptions, of those that are held up."""
    rows = connection.execute(
        select(lane_state).where(
            lane_state.c.project_id == project_id,
            lane_state.c.subscription_id.in_(subscription_ids),
            lane_state.c.waits_for.is_not(None),
        )
    )
    return {row.subscription_id: Waits(Wait(row.waits_for), row.waits_until_us) for row in rows}


def save(
    connection: Connection, project_id: Id, subscription_id: Id, state: LaneState | None
) -> None:
    """Keep the state of a subscription's lane; None: there is nothing to tell. In a write only."""
    connection.execute(delete(lane_state).where(*_is(project_id, subscription_id)))
    if state is not None:
        waits = state.waits
        connection.execute(
            insert(lane_state).values(
                project_id=project_id,
                subscription_id=subscription_id,
                breaker=int(state.breaker),
                opened_until_us=state.opened_until_us,
                openings=state.openings,
                in_flight_max=state.limit,
                waits_for=waits and waits.what.value,
                waits_until_us=waits and waits.until_us,
                at_us=state.at_us,
            )
        )


def _is(project_id: Id, subscription_id: Id) -> tuple[Any, Any]:
    return lane_state.c.project_id == project_id, lane_state.c.subscription_id == subscription_id


def _state(row: Row[Any]) -> LaneState:
    return LaneState(
        breaker=BreakerState(row.breaker),
        opened_until_us=row.opened_until_us,
        openings=row.openings,
        limit=row.in_flight_max,
        waits=None if row.waits_for is None else Waits(Wait(row.waits_for), row.waits_until_us),
        at_us=row.at_us,
    )
