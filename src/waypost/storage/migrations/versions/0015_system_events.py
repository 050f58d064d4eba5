"""System events: who takes them, and what they have told."""

import sqlalchemy as sa
from alembic import op

from waypost.storage.columns import IdType, Name

revision = "0015_system_events"
down_revision = "0014_records"


def upgrade() -> None:
    for table, name in (
        ("subscriptions", "takes_system"),
        ("diverted_events", "told"),
        ("replays", "told"),
    ):
        column = sa.Column(name, sa.SmallInteger(), nullable=False, server_default="0")
        op.add_column(table, column)
    # What is over is not told of any more.
    op.execute("UPDATE diverted_events SET told = 1")
    op.execute("UPDATE replays SET told = 1 WHERE state IN ('done', 'cancelled')")
    op.create_table(
        "told",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("subscription_id", IdType, nullable=False),
        sa.Column("what", Name, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "subscription_id", "what"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mails",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("event_id", IdType, nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "event_id"),
        sqlite_with_rowid=False,
    )
    place = ["project_id", "subscription_id"]
    for name, table, columns, only in (
        ("ix_subscriptions_system", "subscriptions", ["project_id", "id"], "takes_system = 1"),
        (
            "ix_subscriptions_failing",
            "subscriptions",
            ["failing_since_us"],
            "failing_since_us IS NOT NULL",
        ),
        ("ix_diverted_untold", "diverted_events", [*place, "id"], "told = 0"),
        ("ix_replays_untold", "replays", ["project_id", "id"], "told = 0"),
        ("ix_lane_state_breaker", "lane_state", place, "breaker <> 0"),
    ):
        where = sa.text(only)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
