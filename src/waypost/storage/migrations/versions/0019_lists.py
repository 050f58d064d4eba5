"""Events are found by their type, and deliveries that came to nothing by how they ended."""

import sqlalchemy as sa
from alembic import op

revision = "0019_lists"
down_revision = "0018_notices"

_TYPED = sa.text("type <> ''")
_ENDED = sa.text("state <> 1")


def upgrade() -> None:
    on_sqlite = op.get_context().dialect.name == "sqlite"
    op.create_index(
        "ix_events_type",
        "events",
        ["project_id", "type", "id"] if on_sqlite else ["type", "project_id", "id"],
        sqlite_where=_TYPED,
        postgresql_where=_TYPED,
    )
    op.create_index(
        "ix_deliveries_missed",
        "deliveries",
        ["project_id", "state", "event_id", "id"]
        if on_sqlite
        else ["state", "project_id", "event_id", "id"],
        sqlite_where=_ENDED,
        postgresql_where=_ENDED,
    )
